"""A walk through folders that ends, whatever links, loops and depths somebody has made there."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """All folders at or below one: each with the names of the folders and of the files in it.

    Like `os.walk`, links are followed and what the caller takes out of the list of folders is left
    out; but no folder is visited twice, nor one that holds the root, and depth is no matter.
    Folders that cannot be read are passed over. Links come after all that is there itself, so that
    what can be reached by both has its own name, whatever somebody calls a link to it.
    """
    here = Path(os.path.abspath(root))
    visited = {_identity(place) for place in (*here.parents, *here.resolve().parents)}
    waiting, later = [Path(root)], deque()
    while waiting or later:
        place = waiting.pop() if waiting else later.popleft()
        if (identity := _identity(place)) in visited:
            continue
        visited.add(identity)
        folders, files, links = [], [], set()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    (folders if _is_folder(entry) else files).append(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
        except OSError:
            continue
        folders.sort()
        yield place, folders, files
        waiting += [place / name for name in reversed(folders) if name not in links]
        later += [place / name for name in folders if name in links]


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(place)
    except (OSError, ValueError):  # it is gone, a link leads nowhere or to itself
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
