"""Images, decoded once: a set becomes one uint8 array on disk that is mapped into memory.

    <cache>/images/<name>-<key>.npy    uint8 (n, c, h, w), NumPy's own format
                                       of voxels (n, 1, d, h, w), 0 or 1
    <cache>/images/<name>-<key>.json   what is in it; written last, so it stands for a whole entry

The key is a hash of what the sources are (names, sizes, times or checksums) and of the settings, so
that a changed file or setting makes a new entry. The entry holds the hash of its own content, which
a `data_id` carries: the same pictures from a folder and from a zip agree in it. A checksum of all
bytes is compared whenever an entry is opened (0.7 s per GB and core), so that no altered array is
trained on under the old identity; one that does not agree is made anew.
"""

import hashlib
import io
import json
import math
import os
import re
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image, ImageOps
from tqdm import tqdm

from src.data.image_sets import ImageSet
from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.stored import RECORD, expect, parse_json, read_bytes

CURE = "Free space there, or set data.cache (or SPARRING_CACHE) to another folder."
OURS = re.compile(r"[\w.-]+-[0-9a-f]{16}\.(npy|json)\.tmp")  # temporary files of ours
FORMAT = 2  # of the entries; a change makes all of them anew
DECODER = 1  # of the images; a change decodes all of them anew
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
CHUNK = 64  # images per task of the pool
AHEAD = 4 * (os.cpu_count() or 1)  # tasks that are begun or done, and not yet written
BLOCK = 2**26  # bytes whose checksum is taken at a time
Write = Callable[[np.ndarray], None]
R = TypeVar("R")


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
        shape = {"hash": str, "names?": [str], "broken?": {"*": str}, "twins?": [[int]]}
        shape["crc32"] = _are_checksums
        expect(info, shape, "its record")
        if not target.is_file():
            return None
        x = np.load(target, mmap_mode="c")  # torch warns of arrays that are read-only
    except (OSError, ValueError, EOFError):  # EOFError: of an empty file
        return None
    if not isinstance(x, np.ndarray) or list(x.shape) != info.get("shape") or x.dtype != np.uint8:
        return None
    # Entries that were made before blocks had checksums have one number, of all bytes.
    found = zlib.crc32(x) if isinstance(info["crc32"], int) else _checksums(x)
    return Entry(x, info) if found == info["crc32"] else None


def _are_checksums(value: Any) -> bool:
    return all(type(each) is int for each in (value if isinstance(value, list) else [value]))


def _checksums(x: np.ndarray) -> list[int]:
    """CRC-32 of each block of an array's bytes; several blocks are read at a time."""
    data = x.reshape(-1)
    blocks = [data[start : start + BLOCK] for start in range(0, data.size, BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(zlib.crc32, blocks))


class Blocks:
    """The same checksums of bytes that are given piece by piece.

    Attributes:
        crc32: that of each block; the last may not be whole yet.
    """

    def __init__(self) -> None:
        self.crc32: list[int] = []
        self.left = 0  # bytes that the last block lacks

    def add(self, x: np.ndarray) -> None:
        """Take in an array's bytes."""
        data = x.reshape(-1)
        while data.size:
            if not self.left:
                self.crc32.append(0)
                self.left = BLOCK
            part, data = data[: self.left], data[self.left :]
            self.crc32[-1] = zlib.crc32(part, self.crc32[-1])
            self.left -= part.size


def _produce(
    target: Path,
    shape: tuple[int, ...],
    produce: Callable[[Write], dict[str, Any]],
    cache: str | Path,
) -> None:
    temporary, note = target.with_suffix(".npy.tmp"), target.with_suffix(".json.tmp")
    digest, blocks, rows = hashlib.sha256(), Blocks(), 0
    try:
        # A plain file, not a mapped one: on a full disk, storing into a mapping kills the process.
        with temporary.open("wb") as file:
            _header(file, rows, shape)

            def write(images: np.ndarray) -> None:
                nonlocal rows
                data = np.ascontiguousarray(images, np.uint8)
                with _writing(cache):
                    file.write(data)
                digest.update(data)
                blocks.add(data)
                rows += len(data)

            info = produce(write)
            file.seek(0)
            _header(file, rows, shape)  # as long as the first: NumPy leaves room for the number
            file.flush()
            os.fsync(file.fileno())
        info |= {"shape": [rows, *shape], "hash": digest.hexdigest()[:16], "crc32": blocks.crc32}
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


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How an image of any size becomes a square of one size.

    Attributes:
        resolution: side of the result in pixels.
        channels: 3 (RGB) or 1 (grey).
        crop: side of a centred square that is cut out first, in pixels of the file; None cuts none.
        resize: `crop`: the largest centred square; `pad`: all of the image, with the background
            beside it; `stretch`: all of the image, its sides scaled apart.
        filter: one of `FILTERS`, which are antialiased.
        background: what is behind transparent pixels and beside padded images.
        half: half of each file that is the image, where two stand side by side.
    """

    resolution: int
    channels: int
    crop: int | None = None
    resize: Literal["crop", "pad", "stretch"] = "crop"
    filter: str = "lanczos"
    background: Literal["white", "grey", "black"] = "white"
    half: Literal["left", "right"] | None = None

    def __post_init__(self) -> None:
        for setting, value in (("resolution", self.resolution), ("crop", self.crop)):
            if value is not None and value <= 0:
                raise SettingError(f"data.{setting}={value} must be positive.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (c, r, r) of one result."""
        return self.channels, self.resolution, self.resolution

    @property
    def mode(self) -> str:
        """Pillow's name of the colours."""
        return "RGB" if self.channels == 3 else "L"

    def apply(self, image: Image.Image) -> Image.Image:
        """The result for one image.

        Raises:
            ValueError: if it is smaller than `crop`.
        """
        _turn_upright(image)
        image = self._opaque(image)
        width, height = image.size
        left = 0
        if self.half:
            width //= 2
            left = image.width - width if self.half == "right" else 0
        side = self.crop or min(width, height)
        if side > min(width, height):
            raise ValueError(f"has {width} x {height} pixels, fewer than data.crop={self.crop}")
        box = (left, 0, left + width, height)
        if self.crop or self.resize == "crop":
            left, top = left + (width - side) // 2, (height - side) // 2
            box = (left, top, left + side, top + side)
        image = image.convert(self.mode).crop(box)
        whole = (self.resolution, self.resolution)
        if self.resize != "pad" or image.width == image.height:
            return image.resize(whole, FILTERS[self.filter])
        scale = self.resolution / max(image.size)
        size = [max(1, round(scale * length)) for length in image.size]
        padded = Image.new(self.mode, whole, self.background)
        place = [(self.resolution - length) // 2 for length in size]
        padded.paste(image.resize(size, FILTERS[self.filter]), place)
        return padded

    def _opaque(self, image: Image.Image) -> Image.Image:
        """The image on the background: what is fully transparent may hide any colour."""
        if not image.has_transparency_data:
            return image
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, self.background)
        return Image.alpha_composite(behind, image).convert("RGB")


def decode(
    source: ImageSet,
    names: Sequence[str],
    framing: Framing,
    *,
    cache: str | Path,
    name: str,
    max_broken: float,
) -> Entry:
    """Images of a set, brought to one size.

    Args:
        source: the set.
        names: names of the images in it, in the order wanted.
        framing: size of the result, and how it is reached.
        cache: folder of the cache.
        name: for the file in the cache.
        max_broken: share of the files that may be unreadable and are left out.

    Returns:
        `x` uint8 (n, c, r, r); `info["names"]` of these n, `info["broken"]` from the names of the
        others to the reasons, and `info["twins"]`, pairs (i, j), j < i, of images that are equal
        to the last byte: j is the first of them.

    Raises:
        SettingError: if more are broken, or the cache cannot be written.
    """

    def decoded(files: Sequence[str]) -> list[np.ndarray | str]:
        return [_decoded(source, file, framing) for file in files]

    def produce(write: Write) -> dict[str, Any]:
        kept: list[str] = []
        broken: dict[str, str] = {}
        first: dict[bytes, int] = {}
        twins: list[list[int]] = []
        read = 0
        chunks = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
        Image.init()  # load all readers now, not in several threads at once
        pool = ThreadPoolExecutor(os.cpu_count())  # Pillow decodes and resizes without the GIL
        about = f"decoding {line(name, 40)}"
        bar = tqdm(total=len(names), desc=about, unit="img", delay=1.5, disable=None)
        try:
            for files, results in zip(chunks, _in_order(pool, decoded, chunks), strict=True):
                pairs = list(zip(files, results, strict=True))
                broken |= {file: result for file, result in pairs if isinstance(result, str)}
                read += len(files)
                if len(broken) > max_broken * len(names):
                    at_least = "" if read == len(names) else "at least "
                    of = f"{at_least}{len(broken):,} of {len(names):,} images"
                    raise _too_many(source.root, broken, of, max_broken)
                good = [(file, x) for file, x in pairs if not isinstance(x, str)]
                for i, (_, x) in enumerate(good, start=len(kept)):
                    j = first.setdefault(hashlib.blake2b(x, digest_size=16).digest(), i)
                    twins += [[i, j]] if j < i else []
                if good:
                    kept += [file for file, _ in good]
                    write(np.stack([x for _, x in good]))
                bar.update(len(files))
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        return {"names": kept, "broken": broken, "twins": twins}

    identities = [source.identity(each) for each in names]
    return entry(
        cache,
        f"{name}-{framing.resolution}px",
        [DECODER, identities, asdict(framing), max_broken],
        framing.shape,
        len(names),
        produce,
    )


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Any], R], items: Sequence[Any]
) -> Iterator[R]:
    """The function's results; a few are worked on, or wait, at a time.

    `pool.map` would begin all, and keep what the disk is too slow to take.
    """
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _turn_upright(image: Image.Image) -> None:
    """Turn an image as it is to be seen: cameras store turned ones with a note of that."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # of many kinds: the note is damaged, and the image is not
        return


def _decoded(source: ImageSet, name: str, framing: Framing) -> np.ndarray | str:
    """One image as uint8 (c, resolution, resolution), or what is wrong with it."""
    try:
        with source.open(name) as image:
            x = np.asarray(framing.apply(image))
    except MemoryError:
        raise
    # Pillow's readers raise errors of many kinds, IndexError and AssertionError among them.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error)
        return line(reason) or type(error).__name__
    return np.ascontiguousarray(x.transpose(2, 0, 1)) if x.ndim == 3 else x[None]


def _too_many(root: Path, broken: dict[str, str], of: str, max_broken: float) -> SettingError:
    file, reason = next(iter(broken.items()))
    others = list(broken)[1:3]
    also = f" Also: {', '.join(others)}" if others else ""
    return SettingError(
        f"data.root={root}: {of} {'is' if len(broken) == 1 else 'are'} broken, too many for "
        f"data.max_broken={max_broken:g}.\n"
        f"First: {file}: {reason}.{also}\n"
        f"Replace or remove them, or set data.max_broken higher to leave them out."
    )
