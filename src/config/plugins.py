"""Packages of one's own, whose classes a configuration may name: `plugins=[mypkg]`.

Whoever types a command allows them, and again for each command on the run: a run folder records
which ones it needs, and can allow none. A name is that of a package or module that Python finds, in
the working folder at last, or of an entry point in the group `sparring.plugins`; one that is not
named is never loaded. As for our own classes, settings are checked by the source text; the package
is imported when all are right, before anything is built.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from src.errors import SettingError

GROUP = "sparring.plugins"  # of entry points, whose values are modules


def prefixes(names: Sequence[str]) -> tuple[str, ...]:
    """Beginnings of the dotted names of the classes of plug-ins, such as `mypkg.`.

    Raises:
        SettingError: if there is no plug-in of a name.
    """
    return tuple(f"{_module(name)}." for name in names)


def load(names: Sequence[str]) -> tuple[str, ...]:
    """Import plug-ins; returns their `prefixes`.

    Raises:
        SettingError: if there is none of a name, or its code fails.
    """
    for name in names:
        import_module(_module(name))
    return prefixes(names)


def import_module(name: str) -> ModuleType:
    """Import a module of a plug-in.

    Raises:
        SettingError: naming the line where its code fails.
    """
    try:
        return importlib.import_module(name)
    except SettingError:
        raise
    except Exception as error:
        # Not of Python's own importing, whose files are `<frozen ...>`.
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[0] != "<"]
        where = error if isinstance(error, SyntaxError) else frames[-1]
        told = (str(error) or "no reason").splitlines()[0]
        raise SettingError(
            f"plugins: {name} cannot be imported.\n{type(error).__name__}: {told}\n"
            f"{where.filename}, line {where.lineno}"
        ) from error


def source_hashes(names: Sequence[str]) -> dict[str, str]:
    """A hash of the source text of each plug-in, for records: no commit of ours says which."""
    hashes = {}
    for name in names:
        place = find_source(_module(name))
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(place.parent)}\n".encode() + file.read_bytes())
        hashes[name] = digest.hexdigest()[:16]
    return hashes


def is_name(name: object) -> bool:
    """True if a plug-in can have this name: that of a package, dots included."""
    plain = isinstance(name, str) and len(name) <= 100
    return plain and bool(re.fullmatch(r"(?!\d)\w+(\.\w+)*", name, re.ASCII))


def find_source(module: str) -> Path | None:
    """The folder of a package, or the file of a module, without importing it; None if there is no
    source text of it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # `__main__`
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin) if str(spec.origin).endswith(".py") and not rest else None
    path = Path(next(iter(spec.submodule_search_locations)), *rest)
    return next((place for place in (path, path.with_suffix(".py")) if place.exists()), None)


@cache
def _module(name: str) -> str:
    """The module that a plug-in's name stands for; nothing is imported."""
    if not is_name(name):
        raise SettingError(
            f"plugins={name}: this is no name of a package.\n"
            "Write plugins=[mypkg] as in `import mypkg`."
        )
    if find_source(name):
        return name
    for entry in importlib.metadata.entry_points(group=GROUP, name=name):
        return entry.module
    # `python -m` looks there anyway, a console script does not.
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
        if find_source(name):
            return name
    raise SettingError(
        f"plugins={name}: Python finds no package of this name, and no entry point.\n"
        "Install it, or set PYTHONPATH to the folder that it lies in."
    )
