"""Files of voxels, which anybody may have written: .npy, .npz and .binvox to bool grids.

    .npy     NumPy's format: a cube of booleans, integers (occupied: not 0) or floats (above 1/2)
    .npz     a zip of them
    .binvox  Min's format: a header of text, then pairs of bytes (value, number of repetitions)

Sizes are read from the headers and compared with the bytes that are there before memory is taken
for them.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from src.data.array_files import parse_npy, read_npz
from src.data.containers import MOST_BYTES
from src.runs.stored import read_bytes

MOST_SIDE = 256  # of a grid
Axes = Literal["dhw", "xyz"]


def read_grids(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a file, one after the other, each with its name.

    Raises:
        OSError, ValueError: if it cannot be read, is damaged, or larger than it may be.
    """
    if path.suffix.lower() == ".npz":
        yield from read_npz(path)
    elif path.suffix.lower() == ".npy":
        yield path.stem, parse_npy(read_bytes(path, MOST_BYTES))
    else:
        yield path.stem, parse_binvox(read_bytes(path, MOST_BYTES))


def parse_binvox(content: bytes) -> np.ndarray:
    """A .binvox file as a bool grid (depth, height from the top, width).

    Its values run along y (upwards), then z, then x. The front looks to -z, as ShapeNet's does.

    Raises:
        ValueError: if it is none, or its runs do not make the grid that its header states.
    """
    head, found, data = content.partition(b"data\n")
    sides = re.search(rb"^dim (\d{1,4}) (\d{1,4}) (\d{1,4})\s*$", head, re.MULTILINE)
    if not head.startswith(b"#binvox 1") or not found or not sides or len(head) > 1000:
        raise ValueError("it is no binvox file of version 1")
    shape = tuple(map(int, sides.groups()))
    if not 0 < min(shape) <= max(shape) <= MOST_SIDE:
        raise ValueError(f"it has {shape} voxels, more than {MOST_SIDE} on a side, or none")
    if len(data) % 2:
        raise ValueError("it is cut short")
    values, runs = np.frombuffer(data, np.uint8).reshape(-1, 2).T
    if runs.sum(dtype=np.int64) != math.prod(shape):
        raise ValueError(f"its runs have {runs.sum(dtype=np.int64):,} voxels, not {shape}")
    grid = np.repeat(values > 0, runs).reshape(shape)  # x, z, y
    return grid.transpose(1, 2, 0)[:, ::-1, ::-1]


def unpacked(array: np.ndarray) -> np.ndarray:
    """Grids (m, r, r, r) of an array that holds several, as they are or as rows of packed bits.

    Raises:
        ValueError: if it holds neither.
    """
    if array.ndim == 4 and len(set(array.shape[1:])) == 1:
        return array
    side = round((8 * array.shape[-1]) ** (1 / 3)) if array.ndim == 2 else 0
    if array.dtype != np.uint8 or array.ndim != 2 or side**3 != 8 * array.shape[1]:
        raise ValueError(f"an array {array.shape} of {array.dtype} is no set of cubes")
    return array  # its rows are unpacked one by one


def as_cube(grid: np.ndarray, axes: Axes, resolution: int) -> np.ndarray:
    """One grid as bool (d, h, w) of a resolution.

    A finer one is reduced: occupied where any of its voxels is, so that thin parts stay.

    Args:
        grid: (r, r, r), (1, r, r, r), or a row of packed bits.
        axes: `dhw` (depth, height from the top, width) or `xyz` (x to the right, y away from the
            viewer, z upwards).
        resolution: side of the result, a multiple or a divisor of r.

    Raises:
        ValueError: if it is no such grid, or has numbers that are not finite.
    """
    if grid.ndim == 1 and grid.dtype == np.uint8:
        side = round((8 * grid.size) ** (1 / 3))
        grid = np.unpackbits(grid).reshape(side, side, side)
    if grid.ndim == 4 and grid.shape[0] == 1:
        grid = grid[0]
    if grid.ndim != 3 or len(set(grid.shape)) > 1:
        raise ValueError(f"it is no cube, but {' x '.join(map(str, grid.shape))}")
    side = grid.shape[0]
    if side > MOST_SIDE or not side or (side % resolution and resolution % side):
        raise ValueError(f"a grid of {side}^3 cannot be brought to {resolution}^3")
    if grid.dtype.kind == "f":
        if not np.isfinite(grid).all():
            raise ValueError("it has numbers that are not finite")
        solid = grid > 0.5
    else:
        solid = grid != 0
    if axes == "xyz":
        solid = solid.transpose(1, 2, 0)[:, ::-1]
    if side > resolution:
        k = side // resolution
        parts = solid.reshape(resolution, k, resolution, k, resolution, k)
        return parts.any(axis=(1, 3, 5))
    for axis in range(3):
        solid = solid.repeat(resolution // side, axis)
    return solid
