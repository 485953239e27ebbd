"""Pictures of voxels that show more than one side: rows from two sides, and turntables."""

import io
from pathlib import Path

import torch
from torch import Tensor

from src.pictures import grids
from src.runs.files import write_atomically
from src.transforms.degradations import resize
from src.transforms.views import render

SIDES = (45.0, 225.0)  # azimuths in degrees: from the front on the right, and from behind
SIDE = 96  # pixels
FRAMES, DURATION = 36, 70  # of a turn, and milliseconds of each


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
