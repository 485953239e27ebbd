"""Which files of a folder or archive are images, and what is left out and why.

An image has a known ending, or none and the first bytes of one. What systems and programs leave
beside images (`__MACOSX/`, `._photo.jpg`, `@eaDir/`) is no part of the data. Standard library only.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src.data.containers import (
    DAMAGED,
    NEEDED,
    PACKED,
    Container,
    FolderFiles,
    is_archive,
    open_container,
)
from src.errors import SettingError
from src.runs.escape import line

IMAGES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".avif", ".tif", ".tiff", ".gif",
    ".ppm", ".pgm",
)  # fmt: skip
# What lies beside images and is none: nobody misses it, and it is not counted.
DOCUMENTS = (
    ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".pdf", ".yaml", ".yml",
    ".py", ".db", ".ini", ".log", ".zip", ".tar", ".gz", ".tgz",
)  # fmt: skip
HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
# Folders of small copies and of deleted files, as cameras, Synology, QNAP, Windows and others name
# them; FFHQ's `thumbnails128x128` is none of them.
COPIES = {
    "@eadir", "thumbs", "thumbnails", "_thumbs", "_thumbnails", "#recycle", "$recycle.bin",
    "#snapshot", "lost+found",
}  # fmt: skip
ARRAYS = (".npz", ".npy")
CIFAR10 = (
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
)
SVHN = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
PARQUET, PARQUET_DEPTH = ".parquet", 2
HUB = "hf://"  # begins the name of a data set of the Hugging Face hub
CELEBA = "img_align_celeba"  # folder or archive of CelebA's images
CELEBA_DEPTH = 2  # folders above it


class Listing(NamedTuple):
    """The images among the files of a container.

    Attributes:
        names: sorted.
        left_out: from a reason to the number of files that are left out for it.
    """

    names: list[str]
    left_out: dict[str, int]


def list_images(container: Container) -> Listing:
    """All images of a container.

    Raises:
        SettingError: if there are none.
    """
    names, copies, left_out = [], [], Counter()
    for name in container.names:
        if not _may_be_image(name):
            if ending := _unknown(name):
                left_out[f"of another kind ({ending})"] += 1
        elif is_hidden(name):
            left_out["hidden"] += _has_ending(name)
        elif _has_ending(name) and container.leads_nowhere(name):
            left_out["behind broken links"] += 1
        elif _has_ending(name) or _looks_like_image(container, name):
            (copies if _is_copy(name) else names).append(name)
    if names:
        if copies:
            folders = {part for name in copies for part in name.split("/")[:-1] if _is_copies(part)}
            shown = line(", ".join(sorted(folders)), 60)
            left_out[f"small or deleted copies ({shown})"] = len(copies)
    else:
        names = copies  # somebody wants just these
    if not names:
        raise SettingError(
            f"data.root={container.path}: {_why_none(container)}.\nSet data.root to {NEEDED}."
        )
    return Listing(sorted(names), dict(+left_out))


def has_images(root: Path) -> bool:
    """True if a folder or archive has an image; looks no further than the first."""
    container = open_container(root)
    with container:
        names = container.walked() if isinstance(container, FolderFiles) else container.names
        return any(
            _may_be_image(name)
            and not is_hidden(name)
            and (_has_ending(name) or _looks_like_image(container, name))
            for name in names
        )


def why_none(root: Path) -> str:
    """Return the reason why no images are found in a folder or archive, for a message."""
    with open_container(root) as container:
        return _why_none(container)


def _why_none(container: Container) -> str:
    said = "no images there"
    names = sorted(name for name in container.names if not is_hidden(name))
    if any(map(container.leads_nowhere, filter(_has_ending, names))):
        said += ", but links that lead nowhere"
    if archives := [name for name in names if name.lower().endswith(PACKED)]:
        said += f"; an archive inside is not opened ({line(', '.join(archives), 60)})"
    return said


def image_root(root: Path, depth: int = 0) -> Path:
    """The folder or archive that holds the images: CelebA's own, or a single archive, if any.

    Args:
        root: what the user calls the place.
        depth: of the folders below it in which CelebA's own may lie.
    """
    for folder in folders_within(root, depth):
        for inner in (folder / CELEBA, *(folder / f"{CELEBA}{end}" for end in (".zip", ".tar"))):
            if inner.exists():
                return inner
    if root.is_dir() and not has_images(root):
        archives = [path for path in root.iterdir() if is_archive(path)]
        return archives[0] if len(archives) == 1 else root
    return root


def find_arrays(root: Path) -> list[Path]:
    """NumPy's files at a place: one, or of a folder its only .npz, or else all its .npy."""
    if root.is_file():
        return [root] if root.suffix.lower() in ARRAYS else []
    files = sorted(path for path in root.glob("*") if path.suffix.lower() in ARRAYS)
    packed = [path for path in files if path.suffix.lower() == ".npz"]
    return packed if len(packed) == 1 else [path for path in files if path not in packed]


def find_cifar10(root: Path) -> Path | None:
    """The folder or archive of CIFAR-10's batches at or below a place."""
    for place in (root, *(root / name for name in CIFAR10)):
        batches = (place / "data_batch_1", place / "data_batch_1.bin")
        if (place.is_file() and place.name in CIFAR10) or any(map(Path.is_file, batches)):
            return place
    return None


def find_parquet(root: Path) -> list[Path]:
    """The .parquet at a place: a file, or all in a folder down to a depth, in order."""
    if root.is_file():
        return [root] if root.suffix.lower() == PARQUET else []
    folders = folders_within(root, PARQUET_DEPTH)
    return sorted(path for folder in folders for path in folder.glob(f"*{PARQUET}"))


def has_svhn(root: Path) -> bool:
    """True if SVHN's two files lie in a folder."""
    return all((root / file).is_file() for file in SVHN.values())


def has_set(root: Path) -> bool:
    """True if images of any kind lie at a place."""
    if find_cifar10(root) or has_svhn(root) or find_arrays(root) or find_parquet(root):
        return True
    return has_images(image_root(root))


def folders_within(root: Path, depth: int) -> Iterator[Path]:
    """A folder and those below it, down to a depth, the nearest first; none of an archive."""
    level = [root] if root.is_dir() else []
    for _ in range(depth + 1):
        yield from level
        below: list[Path] = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    below += sorted(Path(entry.path) for entry in entries if entry.is_dir())
            except OSError:  # one that may not be read, or a link to itself
                continue
        level = below


def is_hidden(name: str) -> bool:
    """True of what systems hide: `._photo.jpg`, and all in `__MACOSX/` and `.@__thumb/`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _may_be_image(name: str) -> bool:
    return _has_ending(name) or not PurePosixPath(name).suffix


def _has_ending(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def _unknown(name: str) -> str:
    """The ending of a file that is neither an image nor a document; empty of the others."""
    ending = PurePosixPath(name).suffix.lower()
    return "" if is_hidden(name) or ending in DOCUMENTS else line(ending, 12)


def _is_copy(name: str) -> bool:
    return any(map(_is_copies, name.split("/")[:-1]))


def _is_copies(folder: str) -> bool:
    return folder.lower() in COPIES


def _looks_like_image(container: Container, name: str) -> bool:
    """By its first bytes."""
    try:
        head = container.head(name, 16)
    except DAMAGED:
        return False
    boxed = head[8:12] == b"WEBP" or head[4:12] in (b"ftypavif", b"ftypavis")
    return boxed or head.startswith(HEADS)
