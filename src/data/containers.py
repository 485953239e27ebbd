"""Files of one place by name, whatever holds them: a folder, a zip, a tar, a tar.gz.

Archives are read member by member and never extracted; one archive inside of another is not opened.
Sizes are looked at before memory is taken. Standard library only: commands look here before torch
is imported.
"""

import gzip
import io
import os
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from src.errors import SettingError
from src.runs.folders import walk
from src.runs.stored import read_bytes

MOST_BYTES = 256 * 2**20  # of one image file
MOST_DIRECTORY = 128 * 2**20  # bytes of a zip's: some million images
MOST_MEMBERS = 10_000_000  # of a tar
MOST_UNPACKED = 2**40  # bytes of a tar.gz
MOST_HEADER = 2**20  # bytes of a name or a comment in a tar
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
PACKED = (*ARCHIVES, ".bz2", ".xz", ".zst", ".7z", ".rar")  # the last are not read at all
NEEDED = "images, in folders, a zip, a tar or a tar.gz"
# What a damaged or encrypted archive raises when a member is read.
DAMAGED = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Container(ABC):
    """Files by name; names are relative, with forward slashes.

    Args:
        path: the folder or archive.

    Raises:
        SettingError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files, in no order."""

    @abstractmethod
    def identity(self, name: str) -> tuple[object, ...]:
        """Values that differ between versions of a file: name, size, and time or checksum."""

    @abstractmethod
    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        """The content of a file, whose size is looked at first.

        Raises:
            ValueError: if it has more than `most` bytes.
            OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error: if it cannot be read.
        """

    @abstractmethod
    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a file, at most `size`; raises as `read`."""

    def leads_nowhere(self, name: str) -> bool:
        """True if a file is a link to nothing, or to itself."""
        return False

    def close(self) -> None:  # noqa: B027
        """Close the archive."""

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FolderFiles(Container):
    """All files below a folder; links are followed, and no folder is visited twice."""

    @cached_property
    def names(self) -> list[str]:
        return list(self.walked())

    def walked(self) -> Iterator[str]:
        """The names, one by one as they are found."""
        for folder, _, files in walk(self.path):
            inside = folder.relative_to(self.path).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            yield from (f"{prefix}{file}" for file in files)

    def identity(self, name: str) -> tuple[object, ...]:
        try:
            status = os.stat(os.path.join(self.path, name))
        except OSError:  # it is gone: decoding will count it as broken
            return (name,)
        return name, status.st_size, status.st_mtime_ns

    def leads_nowhere(self, name: str) -> bool:
        path = os.path.join(self.path, name)
        return os.path.islink(path) and not os.path.exists(path)

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        return read_bytes(self.path / name, most)

    def head(self, name: str, size: int) -> bytes:
        handle = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(handle, size)
        finally:
            os.close(handle)


class ZipFiles(Container):
    """Members of a zip."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._archive = open_zip(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise _no_archive(path, error) from error
        infos = [info for info in self._archive.infolist() if not info.is_dir()]
        self._members = {_tidy(info.filename, path): info for info in infos}

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def identity(self, name: str) -> tuple[object, ...]:
        info = self._members[name]
        return info.filename, info.file_size, info.CRC

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        return read_member(self._archive, self._members[name], most)

    def head(self, name: str, size: int) -> bytes:
        with self._archive.open(self._members[name]) as file:
            return file.read(size)

    def close(self) -> None:
        self._archive.close()


class _Member(NamedTuple):
    """A file inside of a tar: where its bytes are."""

    start: int
    size: int
    time: float


class TarFiles(Container):
    """Members of a tar, packed by gzip or not; links inside of it are overlooked.

    A packed one has no way to a single member. So it is unpacked as one stream into a nameless
    temporary file when the first member is read, and that file is read like a plain tar.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            status = path.stat()
            self._members = _members(path, status.st_size, status.st_mtime_ns)
        except (OSError, ValueError, EOFError, tarfile.TarError, zlib.error) as error:
            raise _no_archive(path, error) from error

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def identity(self, name: str) -> tuple[object, ...]:
        member = self._members[name]
        return name, member.size, member.time

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        if (size := self._members[name].size) > most:
            raise ValueError(_too_large(size, most))
        return self.head(name, size)

    def head(self, name: str, size: int) -> bytes:
        member = self._members[name]
        # Without a place that threads would share.
        return os.pread(self._plain.fileno(), min(size, member.size), member.start)

    @cached_property
    def _plain(self) -> IO[bytes]:
        """The tar without its packing."""
        if not _is_packed(self.path):
            return self.path.open("rb")
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        with gzip.open(self.path) as packed:
            end = max((member.start + member.size for member in self._members.values()), default=0)
            while file.tell() < end and (part := packed.read(2**20)):
                file.write(part)
        file.flush()
        return file

    def close(self) -> None:
        if "_plain" in self.__dict__:
            self._plain.close()


def open_container(path: Path) -> Container:
    """The files of a folder or an archive, which is known by its content and not by its name.

    Raises:
        SettingError: if it is neither, or cannot be read.
    """
    if path.is_dir():
        return FolderFiles(path)
    if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
        raise SettingError(f"{path}: this is neither a folder nor a file.")
    kind = TarFiles if _is_packed(path) or _is_tar(path) else ZipFiles
    return kind(path)


def is_archive(path: Path) -> bool:
    """True if the name of a file is that of an archive."""
    return path.name.lower().endswith(ARCHIVES) and path.is_file()


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip, whose directory is looked at before it is read: one entry is one object.

    Raises:
        zipfile.BadZipFile: if it is none, or has too many entries.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2**16 - 22))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    directory = int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0
    if directory > MOST_DIRECTORY and not (directory == 2**32 - 1 and size < MOST_DIRECTORY):
        raise zipfile.BadZipFile("it has too many entries")
    return zipfile.ZipFile(path)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The content of a member of a zip, whose stated size is looked at first.

    Raises:
        ValueError: if it has more than `most` bytes.
        zipfile.BadZipFile, zlib.error, RuntimeError: if it is damaged or encrypted.
    """
    if info.file_size > most:
        raise ValueError(_too_large(info.file_size, most))
    with archive.open(info) as file:
        return file.read(most)


def _too_large(size: int, most: int) -> str:
    return f"it has {size / 2**20:,.0f} MB, more than {most // 2**20}"


def _tidy(name: str, path: Path) -> str:
    """A member's name with forward slashes and without `./`, whichever system packed it.

    Raises:
        SettingError: if it is not relative.
    """
    name = name.replace("\\", "/")
    if name.startswith("/"):
        raise SettingError(
            f"data.root={path}: its member {name[:100]} is not named relative to the archive.\n"
            "Pack it anew from inside of the folder of the images."
        )
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Bounded(io.RawIOBase):
    """A stream of a stranger's tar for its list of members: no long reads, and an end."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise ValueError("it has a name or a comment that is too long")
        return self.file.read(size)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        if place > MOST_UNPACKED:
            raise ValueError(_too_large(place, MOST_UNPACKED))
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


@lru_cache(maxsize=4)  # a packed one is read from end to end for it
def _members(path: Path, *_version: int) -> dict[str, _Member]:
    """The files inside of a tar; another size or time of it is another version."""
    opened = gzip.open if _is_packed(path) else open
    members: dict[str, _Member] = {}
    with opened(path, "rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:
        for count, info in enumerate(archive):
            if count >= MOST_MEMBERS:
                raise ValueError("it has too many members")
            archive.members.clear()  # which it would keep all
            if info.isfile() and not info.issparse():
                members[_tidy(info.name, path)] = _Member(info.offset_data, info.size, info.mtime)
    return members


def _is_packed(path: Path) -> bool:
    return _starts_with(path, 0, b"\x1f\x8b")


def _is_tar(path: Path) -> bool:
    return _starts_with(path, 257, b"ustar")


def _is_zip(path: Path) -> bool:
    return _starts_with(path, 0, b"PK")


def _starts_with(path: Path, place: int, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(len(mark)) == mark
    except OSError:
        return False


def _no_archive(path: Path, error: Exception) -> SettingError:
    why = f" ({error})" if _is_packed(path) or _is_tar(path) or _is_zip(path) else ""
    return SettingError(
        f"data.root={path} is neither a folder nor a readable zip, tar or tar.gz{why}.\n"
        f"Set data.root to {NEEDED}."
    )
