"""Images, decoded once: a set becomes one uint8 array on disk that is mapped into memory.

    <cache>/images/<name>-<key>.npy    uint8 (n, c, h, w), NumPy's own format
                                       of voxels (n, 1, d, h, w), 0 or 1
    <cache>/images/<name>-<key>.json   what is in it; written last, so it stands for a whole entry

The key is a hash of what the sources are (names, sizes, times or checksums) and of the settings, so
that a changed file or setting makes a new entry. The entry holds the hash of its own content, which
a `data_id` carries: the same pictures from a folder and from a zip agree in it. A checksum of all
bytes is compared whenever an entry is opened (0.65 s per GB), so that no altered array is trained
on under the old identity; one that does not agree is made anew.
"""

import hashlib
import io
import json
import math
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from src.data.sources import open_zip
from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.stored import RECORD, expect, parse_json, read_bytes

CURE = "Free space there, or set data.cache (or SPARRING_CACHE) to another folder."
OURS = re.compile(r"[\w.-]+-[0-9a-f]{16}\.(npy|json)\.tmp")  # temporary files of ours
FORMAT = 2  # of the entries; a change makes all of them anew
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Not all that Pillow knows: for some it calls other programs (Ghostscript for EPS).
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
CHUNK = 64  # images per task of the pool
BLOCK = 2**26  # bytes whose checksum is taken at a time
MOST_BYTES = 256 * 2**20  # of one image file
MOST_PIXELS = 64_000_000  # of one image
Write = Callable[[np.ndarray], None]


class Entry(NamedTuple):
    """One array of the cache.

    Attributes:
        x: uint8 (n, *shape), mapped from disk; what is written to it stays in memory.
        info: `hash` of the content, and what the producer returned.
    """

    x: np.ndarray
    info: dict[str, Any]


def fingerprint(*parts: object) -> str:
    """16 hex digits of SHA-256 over arrays (type, shape and bytes) and JSON-like values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part))
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def keep(path: Path, content: bytes) -> None:
    """Write a small file of the cache.

    Raises:
        SettingError: if it cannot be written.
    """
    write_atomically(path, content, CURE)


def file_name(text: str) -> str:
    """A name, which may be a stranger's, as a part of a file's name that stays in its folder."""
    return re.sub(r"[^\w.-]+", "_", text).strip(".")[:60] or "_"


def entry(
    cache: str | Path,
    name: str,
    made_of: object,
    shape: tuple[int, ...],
    expected: int,
    produce: Callable[[Write], dict[str, Any]],
) -> Entry:
    """The entry made of `made_of`, produced if it is not there yet.

    Of several processes that want it at the same time one produces it and the others wait. A
    producer that fails or is killed leaves nothing that could be taken for an entry.

    Args:
        cache: folder of all entries.
        name: for people who look into that folder.
        made_of: all that decides the content, JSON-like; its hash is the key.
        shape: (c, h, w) of one image, (1, d, h, w) of voxels.
        expected: samples at most, to see beforehand whether they fit on the disk.
        produce: is given `write`, to be called with arrays (k, *shape); returns `info`.

    Raises:
        SettingError: if the cache cannot be written or the disk is full.
    """
    folder = Path(cache).expanduser() / "images"
    stem = f"{file_name(name)}-{fingerprint(FORMAT, made_of, shape)}"
    target = folder / f"{stem}.npy"
    if (found := _read(target)) is not None:
        return found
    with _writing(cache):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{stem}.lock"):
            if (found := _read(target)) is not None:  # another process was faster
                return found
            _sweep(folder, own=f"{stem}.lock")
            needed = expected * math.prod(shape)
            if (free := shutil.disk_usage(folder).free) < needed:
                raise SettingError(
                    f"data.cache={cache}: the decoded data need {needed / 1e6:,.0f} MB, "
                    f"{free / 1e6:,.0f} MB are free.\n"
                    f"Free the space or set data.cache (or SPARRING_CACHE) to a larger disk."
                )
            _produce(target, shape, produce, cache)
    if (made := _read(target)) is None:
        raise SettingError(f"data.cache={cache}: {target} cannot be read back. Set another cache.")
    return made


def _read(target: Path) -> Entry | None:
    """Read a whole entry; None if it is missing, cut short, altered or none of ours."""
    try:
        info = parse_json(read_bytes(target.with_suffix(".json"), RECORD.size), RECORD)
        shape = {"hash": str, "crc32": int, "names?": [str], "broken?": {"*": str}}
        expect(info, shape, "its record")
        if not target.is_file():
            return None
        x = np.load(target, mmap_mode="c")  # torch warns of arrays that are read-only
    except (OSError, ValueError, EOFError):  # EOFError: of an empty file
        return None
    if not isinstance(x, np.ndarray) or list(x.shape) != info.get("shape") or x.dtype != np.uint8:
        return None
    return Entry(x, info) if _checksum(x) == info["crc32"] else None


def _checksum(x: np.ndarray) -> int:
    """CRC-32 of an array's bytes, read in their order."""
    checksum, data = 0, x.reshape(-1)
    for start in range(0, data.size, BLOCK):
        checksum = zlib.crc32(data[start : start + BLOCK], checksum)
    return checksum


def _produce(
    target: Path,
    shape: tuple[int, ...],
    produce: Callable[[Write], dict[str, Any]],
    cache: str | Path,
) -> None:
    temporary, note = target.with_suffix(".npy.tmp"), target.with_suffix(".json.tmp")
    digest, checksum, rows = hashlib.sha256(), 0, 0
    try:
        # A plain file, not a mapped one: on a full disk, storing into a mapping kills the process.
        with temporary.open("wb") as file:
            _header(file, rows, shape)

            def write(images: np.ndarray) -> None:
                nonlocal rows, checksum
                data = np.ascontiguousarray(images, np.uint8)
                with _writing(cache):
                    file.write(data)
                digest.update(data)
                checksum = zlib.crc32(data, checksum)
                rows += len(data)

            info = produce(write)
            file.seek(0)
            _header(file, rows, shape)  # as long as the first: NumPy leaves room for the number
            file.flush()
            os.fsync(file.fileno())
        info |= {"shape": [rows, *shape], "hash": digest.hexdigest()[:16], "crc32": checksum}
        note.write_text(json.dumps(info))
        os.replace(temporary, target)
        os.replace(note, target.with_suffix(".json"))
    finally:
        temporary.unlink(missing_ok=True)
        note.unlink(missing_ok=True)


def _header(file: io.BufferedWriter, rows: int, shape: tuple[int, ...]) -> None:
    fields = {"descr": "|u1", "fortran_order": False, "shape": (rows, *shape)}
    np.lib.format.write_array_header_1_0(file, fields)


def _sweep(folder: Path, own: str) -> None:
    """Remove what killed producers have left behind: temporary files whose lock nobody holds."""
    for orphan in folder.glob("*.tmp"):
        if not OURS.fullmatch(orphan.name):
            continue
        stem = orphan.name.removesuffix(".tmp").rpartition(".")[0]
        lock = folder / f"{stem}.lock"
        if lock.name == own:
            orphan.unlink(missing_ok=True)
            continue
        try:
            with FileLock(lock, timeout=0):
                orphan.unlink(missing_ok=True)
        except Timeout:
            pass  # somebody is at work on it


@contextmanager
def _writing(cache: str | Path) -> Iterator[None]:
    """Tell of a full disk or a folder that cannot be written in terms of the setting."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"data.cache={cache} cannot be written: {error.strerror or error}.\n{CURE}"
        ) from error


def decode(
    root: Path,
    names: Sequence[str],
    *,
    cache: str | Path,
    name: str,
    resolution: int,
    channels: int,
    crop: int | None,
    resize: str,
    max_broken: float,
    half: Literal["left", "right"] | None = None,
) -> Entry:
    """Images of a folder or zip, cut to a centred square and resized.

    Args:
        root: the folder or zip.
        names: names of the images in it, in the order wanted.
        cache: folder of the cache.
        name: for the file in the cache.
        resolution: side of the result in pixels.
        channels: 3 (RGB) or 1 (grey).
        crop: side of the centred square that is cut out, in pixels of the source; None takes the
            largest.
        resize: a filter of `FILTERS`; Pillow's are antialiased.
        max_broken: share of the files that may be unreadable and are left out.
        half: half of each file that is the image, where two stand side by side.

    Returns:
        `x` uint8 (n, channels, resolution, resolution); `info["names"]` of these n, and
        `info["broken"]` from the names of the others to the reasons.

    Raises:
        SettingError: if more are broken, or the cache cannot be written.
    """
    archive = open_zip(root) if root.is_file() else None

    def read(file: str) -> bytes:
        if archive:
            return read_member(archive, file, MOST_BYTES)
        return read_bytes(root / file, MOST_BYTES)

    def decoded(files: Sequence[str]) -> list[np.ndarray | str]:
        return [
            read_square(partial(read, f), resolution, channels, crop, resize, half) for f in files
        ]

    def produce(write: Write) -> dict[str, Any]:
        kept: list[str] = []
        broken: dict[str, str] = {}
        chunks = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
        Image.init()  # load all readers now, not in several threads at once
        pool = ThreadPoolExecutor(os.cpu_count())  # Pillow decodes and resizes without the GIL
        about = f"decoding {line(name, 40)}"
        bar = tqdm(total=len(names), desc=about, unit="img", delay=1.5, disable=None)
        try:
            for files, results in zip(chunks, pool.map(decoded, chunks), strict=True):
                pairs = list(zip(files, results, strict=True))
                broken |= {file: result for file, result in pairs if isinstance(result, str)}
                if len(broken) > max_broken * len(names):
                    raise _too_many(root, broken, len(names), max_broken)
                good = [(file, x) for file, x in pairs if not isinstance(x, str)]
                if good:
                    kept += [file for file, _ in good]
                    write(np.stack([x for _, x in good]))
                bar.update(len(files))
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        return {"names": kept, "broken": broken}

    try:
        return entry(
            cache,
            f"{name}-{resolution}px",
            [_identities(root, archive, names), channels, crop, resize, max_broken]
            + ([half] if half else []),
            (channels, resolution, resolution),
            len(names),
            produce,
        )
    finally:
        if archive:
            archive.close()


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """An image file of a stranger, for the time of a `with` block; not decoded yet.

    Raises:
        ValueError: saying what is wrong with it; Pillow's readers raise errors of many other kinds.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"has more than 8 bits per channel ({image.mode})")
        if any(tile[0] in Image.DECODERS for tile in image.tile):
            # Pillow's decoders in Python take a minute for what others do at once: plain PPM, PPM
            # of other than 8 bits, BMP with run lengths.
            raise ValueError(f"is a {image.format} of a kind read too slowly; save it as PNG")
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"has {width} x {height} pixels, more than {MOST_PIXELS:,}")
        yield image


def read_square(
    read: Callable[[], bytes],
    resolution: int,
    channels: int,
    crop: int | None,
    resize: str,
    half: Literal["left", "right"] | None,
) -> np.ndarray | str:
    """One image as uint8 (c, resolution, resolution), or what is wrong with it."""
    try:
        with opened(read()) as image:
            width, height = image.size
            if half:
                width //= 2
            side = crop or min(width, height)
            if side > min(width, height):
                return f"has {width} x {height} pixels, fewer than data.crop={crop}"
            left, top = (width - side) // 2, (height - side) // 2
            if half == "right":
                left += image.width - width
            square = image.convert("RGB" if channels == 3 else "L").crop(
                (left, top, left + side, top + side)
            )
            x = np.asarray(square.resize((resolution, resolution), FILTERS[resize]))
    except MemoryError:
        raise
    # Pillow's readers raise errors of many kinds, IndexError and AssertionError among them.
    except Exception as error:
        return line(str(error)) or type(error).__name__
    return x.transpose(2, 0, 1) if x.ndim == 3 else x[None]


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The content of a member of an archive, whose stated size is looked at first.

    Raises:
        ValueError: if it has more than `most` bytes.
        zipfile.BadZipFile, zlib.error, RuntimeError: if it is damaged or encrypted.
    """
    if (size := archive.getinfo(name).file_size) > most:
        raise ValueError(f"it has {size / 2**20:,.0f} MB, more than {most // 2**20}")
    with archive.open(name) as file:
        return file.read(most)


def _identities(
    root: Path, archive: zipfile.ZipFile | None, names: Sequence[str]
) -> list[tuple[object, ...]]:
    """Name, size and time of each file, which differ between versions of it."""
    if archive:
        infos = map(archive.getinfo, names)
        return [(info.filename, info.file_size, info.CRC) for info in infos]
    identities = []
    for name in names:
        try:
            status = os.stat(os.path.join(root, name))
            identities.append((name, status.st_size, status.st_mtime_ns))
        except OSError:  # a link to nowhere, or to itself: decoding will count it as broken
            identities.append((name,))
    return identities


def _too_many(root: Path, broken: dict[str, str], total: int, max_broken: float) -> SettingError:
    file, reason = next(iter(broken.items()))
    others = list(broken)[1:3]
    also = f" Also: {', '.join(others)}" if others else ""
    return SettingError(
        f"data.root={root}: {len(broken)} of {total:,} images or more are broken, too many for "
        f"data.max_broken={max_broken:g}.\n"
        f"First: {file}: {reason}.{also}\n"
        f"Replace or remove them, or set data.max_broken higher to leave them out."
    )
