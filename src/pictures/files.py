"""Samples of any kind in the form that a path's ending says: a picture, an array, a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from src.data.spec import to_uint8
from src.errors import SettingError
from src.pictures import grids
from src.pictures.shapes import write_shapes
from src.runs.files import unwritable


def write_samples(
    x: Tensor,
    out: Path,
    columns: int,
    picture_shape: tuple[int, int] | None = None,
    heads: Sequence[str] = (),
    arrays: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write samples as a grid, an array, or images as PNGs; voxels by `write_shapes`.

    In a .png, points are a scatter plot, or images where they are pictures of `picture_shape`. An
    array (.npz) has images as uint8 (n, h, w, c), points as float32 (n, d); it is called `arr_0`,
    as other tools expect, and further `arrays` are beside it.

    Args:
        x: samples (n, *shape), on the CPU.
        out: path of the file or folder.
        columns: samples per row of a grid.
        picture_shape: height and width of points that are pictures.
        heads: stand over the columns of a grid.
        arrays: further ones, by name.

    Raises:
        SettingError: if samples are not finite, or for an ending that does not fit them.
    """
    if not x.isfinite().all():
        raise SettingError("The model makes samples that are not finite: nothing is written.")
    if x.ndim == 5:
        write_shapes(x, out, columns)
        return
    images = x.ndim == 4
    array = (to_uint8(x).permute(0, 2, 3, 1) if images else x).numpy()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            np.savez(out, **({"arr_0": array} | arrays))  # which is the first, as some tools expect
        elif out.suffix == ".png":
            scattered = not (images or picture_shape)
            shown = grids.scatter(x, x[:0]) if scattered else grids.sheet(x, columns, picture_shape)
            grids.save(out, grids.headed(shown, heads) if heads and not scattered else shown)
        elif out.suffix or not images:
            raise SettingError(f"out={out}: choose .png, .npz, or (for images) a folder.")
        else:
            out.mkdir(exist_ok=True)
            for i, pixels in enumerate(array):
                Image.fromarray(pixels.squeeze()).save(out / f"{i:06d}.png")
    except OSError as error:
        raise unwritable(out, error) from error
