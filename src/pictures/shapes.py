"""Voxels from more than one side: turntables, pages to turn, meshes, rows of views."""

import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.data.spec import to_bool
from src.errors import SettingError
from src.pictures import grids, meshes
from src.pictures.shape_page import page
from src.runs.files import write_atomically
from src.transforms.degradations import resize
from src.transforms.views import render

SIDES = (45.0, 225.0)  # azimuths in degrees: from the front on the right, and from behind
SIDE = 96  # pixels
FRAMES, DURATION = 36, 70  # of a turn, and milliseconds of each
ENDINGS = (".png", ".npz", ".gif", ".html", *meshes.ENDINGS)


def rows_of_shapes(pictures: Tensor, *shapes: Tensor) -> Tensor:
    """Pictures, and beside each its shapes from two sides, (n, 1 + 2 k, c, side, side).

    Args:
        pictures: (n, c, h, w) in [-1, 1].
        shapes: k times occupancies (n, 1, d, h, w).
    """
    parts = [resize(pictures, (SIDE, SIDE))]
    parts += [render(x, azimuth, resolution=SIDE) for x in shapes for azimuth in SIDES]
    return torch.stack([part.expand(-1, pictures.shape[1], -1, -1) for part in parts], 1)


def turntable(x: Tensor, path: Path, columns: int | None = None) -> None:
    """Write a GIF in which shapes turn once around, for ever.

    Args:
        x: occupancies (n, 1, d, h, w).
        path: path of the file.
        columns: shapes per row; None makes a square.
    """
    frames = [
        grids.grid(render(x, 360.0 * i / FRAMES, resolution=SIDE), columns, padding=0)
        for i in range(FRAMES)
    ]
    first, *others = [frame.convert("L").quantize(64) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=DURATION, loop=0)
    write_atomically(path, buffer.getvalue())


def write_shapes(
    x: Tensor, path: Path, columns: int | None = None, pictures: Tensor | None = None
) -> None:
    """Write shapes in the form that the ending of the path says.

    .npz has bool voxels (n, d, h, w); .png shaded views; .gif a turntable; .html a page on which
    the shapes can be turned; .obj, .stl and .glb one mesh, the shapes side by side.

    Args:
        x: occupancies (n, 1, d, h, w) in [0, 1].
        path: path of the file.
        columns: shapes per row; None makes a square.
        pictures: (n, c, h, w) in [-1, 1], shown beside the shapes that were made of them.

    Raises:
        SettingError: for another ending, or a mesh of nothing.
    """
    ending = check_ending(path)
    columns = columns or math.ceil(math.sqrt(len(x)))
    if ending == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, to_bool(x).flatten(0, 1).numpy())
        write_atomically(path, buffer.getvalue())
    elif ending == ".gif":
        turntable(x, path, columns)
    elif ending == ".html":
        write_atomically(path, shapes_to_turn(x, columns, pictures))
    elif ending == ".png" and pictures is not None:
        grids.save(path, grids.grid(rows_of_shapes(pictures, x).flatten(0, 1), 3, padding=0))
    elif ending == ".png":
        grids.save(path, grids.grid_of_voxels(x, columns))
    else:
        meshes.write_mesh(x, path, columns)


def check_ending(path: Path) -> str:
    """The ending of a file of shapes; raises SettingError for one that says no form of them."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise SettingError(f"out={path}: shapes can be {', '.join(ENDINGS)}.")
    return ending


def shapes_to_turn(x: Tensor, columns: int, pictures: Tensor | None = None) -> str:
    """A page of shapes (n, 1, d, h, w), each after the picture that it was made of, if any."""
    tiles = [("shape" if len(x) == 1 else f"{i + 1}", shape) for i, shape in enumerate(x)]
    if pictures is not None:
        both = zip(pictures, tiles, strict=True)
        tiles = [tile for picture, shape in both for tile in (("picture", picture), shape)]
        columns *= 2
    return page(f"{len(x):,} shapes" if len(x) > 1 else "A shape", tiles, columns)
