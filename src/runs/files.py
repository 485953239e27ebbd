"""Atomic writing of files: the whole file or the old one, whatever happens."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from src.errors import SettingError

CURE = (
    "Nothing that was saved before is lost. Free some space, or choose another folder with "
    "hydra.run.dir=..., and repeat the command."
)


def write_atomically(path: Path, content: str | bytes, cure: str = CURE) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Args:
        path: path of the file; its folder is made if need be.
        content: all of it.
        cure: last line of the error.

    Raises:
        SettingError: if the disk is full or the folder cannot be written.
    """
    with replacing(path, cure) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, cure: str = CURE) -> Iterator[IO[bytes]]:
    """A file to write in a `with` block, whose end puts it in the place of `path`.

    Raises:
        SettingError: as `write_atomically`.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise unwritable(path, error, cure) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def appending(path: Path) -> IO[str]:
    """A text file to add lines to: a file itself, never what a link leads to, and no pipe.

    Raises:
        SettingError: if it is something else, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise SettingError(f"{path} is no regular file.\nRemove it.")
        handle = os.open(path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise SettingError(f"{path} is no regular file.\nRemove it.")
    except OSError as error:
        raise unwritable(path, error) from error
    return os.fdopen(handle, "a", buffering=1)


def unwritable(path: Path, error: OSError, cure: str = CURE) -> SettingError:
    """The error for a file that cannot be written; what was there before is untouched."""
    return SettingError(f"Cannot write {path}: {error.strerror or error}.\n{cure}")
