"""Street View House Numbers (Netzer et al. 2011): 99,289 colour images of 32 x 32 in ten classes.

`train_32x32.mat` and `test_32x32.mat` are files of MATLAB 5: `X` (32, 32, 3, n) and `y` (n, 1), in
which 10 stands for the digit 0. The format: a header of 128 bytes, then elements of a type, a size
and data; an element may be packed by zlib, and a matrix is an element of elements. Only matrices of
numbers are read, and no more bytes are unpacked than a set can have.
"""

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from src.data.array_sets import ArrayImages, Part
from src.data.listing import SVHN
from src.runs.stored import read_bytes

KINDS = tuple(map(str, range(10)))
HEADER = 128  # bytes
MATRIX, PACKED = 14, 15  # types of elements
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8",
           12: "i8", 13: "u8"}  # fmt: skip
MOST_PACKED, MOST_UNPACKED = 2**31, 2**32 - 1


class SvhnImages(ArrayImages):
    """The two files in a folder."""

    kinds = KINDS

    @property
    def files(self) -> list[Path]:
        return [self.root / file for file in SVHN.values()]

    def read(self) -> Iterable[Part]:
        for split, file in zip(SVHN, self.files, strict=True):
            matrices = dict(parse_mat(read_bytes(file, MOST_PACKED)))
            x, y = matrices.get("X"), matrices.get("y")
            if x is None or y is None or x.ndim != 4 or y.size != x.shape[3]:
                raise ValueError(f"{file.name} has no X (h, w, 3, n) and y (n, 1)")
            labels = y.reshape(-1).astype(np.int64) % 10
            yield Part(split, split, x.transpose(3, 0, 1, 2), labels)


def parse_mat(content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """The matrices of numbers in a file of MATLAB 5, each with its name.

    Raises:
        ValueError: if it is none, damaged or too large.
    """
    if len(content) < HEADER or content[124:HEADER] != b"\0\1IM":
        raise ValueError("it is no file of MATLAB 5")
    try:
        for kind, data in _elements(memoryview(content)[HEADER:]):
            inner = [(kind, data)] if kind != PACKED else _elements(_unpacked(data))
            for kind_inside, matrix in inner:
                if kind_inside == MATRIX and (named := _matrix(matrix)):
                    yield named
    except (struct.error, zlib.error) as error:
        raise ValueError("it is damaged") from error


def _unpacked(data: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(data, MOST_UNPACKED)
    if unpacker.unconsumed_tail:
        raise ValueError("it is too large")
    return memoryview(plain)


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element; after small ones and before the next lie bytes of no use."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<2I", data, place)
        if kind >> 16:  # four bytes at most, within the head itself
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place += 8
        else:
            start, place = place + 8, place + 8 + size
            place += -place % 8 if kind != PACKED else 0
        if start + size > len(data):
            raise ValueError("it is cut short")
        yield kind, data[start : start + size]


def _matrix(data: memoryview) -> tuple[str, np.ndarray] | None:
    """Name and values of a matrix; None of one that holds no numbers."""
    parts = list(islice(_elements(data), 4))  # flags, shape, name, real numbers
    if len(parts) < 4:
        return None
    (_, sizes), (_, name), (kind, values) = parts[1:]
    if kind not in NUMBERS:
        return None
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    dtype = np.dtype(f"<{NUMBERS[kind]}")
    if min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError("it is damaged: a matrix has another size than it states")
    return bytes(name).decode("latin1"), np.frombuffer(values, dtype).reshape(shape, order="F")
