"""Arrays of numbers or texts in files that anybody may have written: NumPy's .npy and .npz.

The size that a header states is compared with the bytes that are there before memory is taken.
Nothing is unpickled: arrays of objects are refused.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.data.containers import MOST_BYTES, open_zip, read_member

NUMBERS = "biuf"  # kinds of types: bool, whole numbers, floats
MOST_TOTAL, MOST_MEMBERS = 2**30, 1000  # of an archive: bytes, unpacked, and arrays


def read_npz(
    path: Path, most: int = MOST_BYTES, total: int | None = None, kinds: str = NUMBERS
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a .npz, one after the other, each with its name.

    Args:
        path: the file.
        most: bytes of one array.
        total: bytes of all, unpacked; None is `MOST_TOTAL`.
        kinds: of their types, NumPy's letters; U is text.

    Raises:
        OSError, ValueError: if it cannot be read, is damaged, or larger than it may be.
    """
    total = MOST_TOTAL if total is None else total
    try:
        with open_zip(path) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_MEMBERS:
                raise ValueError(f"it has {len(infos):,} arrays, more than {MOST_MEMBERS:,}")
            if (there := sum(info.file_size for info in infos)) > total:
                raise ValueError(f"it has {there / 2**20:,.0f} MB, more than {total // 2**20}")
            for info in infos:
                name = info.filename.removesuffix(".npy")
                content = read_member(archive, info, most)
                try:
                    array = parse_npy(content, kinds)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
                yield name, array
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"it is no readable .npz ({error})") from error


def parse_npy(content: bytes, kinds: str = NUMBERS) -> np.ndarray:
    """An array in NumPy's format.

    Raises:
        ValueError: if it is none, has another length than its header states, or is of another kind.
    """
    file = io.BytesIO(content)
    shape, order, dtype = _header(file, len(content), kinds)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order=order)


def map_npy(path: Path, kinds: str = NUMBERS) -> np.ndarray:
    """The array of a .npy, mapped and not read; raises as `parse_npy`, and OSError."""
    with path.open("rb") as file:
        shape, order, dtype = _header(file, path.stat().st_size, kinds)
        if not math.prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def _header(file: BinaryIO, size: int, kinds: str) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order and type of an array in a file of this size; the file is then at its data."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(file)](file)
    except MemoryError:
        raise
    # Of a damaged header, NumPy's readers raise TypeError, SyntaxError, TokenError and others.
    except Exception as error:
        raise ValueError("it is no array in NumPy's format of version 1 or 2") from error
    if dtype.hasobject or dtype.kind not in kinds:
        raise ValueError(f"it holds {dtype} and not numbers")
    stated, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if stated != there or min(shape, default=0) < 0:
        raise ValueError(f"its header states {stated:,} bytes, and there are {there:,}")
    return shape, "F" if fortran else "C", dtype
