"""A user's own pictures, which are no data set: one file, or a folder or zip of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from src.data.cache import MOST_BYTES, opened, read_member
from src.data.sources import image_names, open_zip
from src.errors import SettingError
from src.runs.stored import read_bytes


def find(given: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """Names of the photos, and functions that read them.

    Raises:
        SettingError: if there are none.
    """
    if not given.exists():
        raise SettingError(f"in={given}: there is no such file or folder.")
    if given.is_file() and given.suffix.lower() != ".zip":
        return [(given.name, partial(read_bytes, given, MOST_BYTES))]
    try:
        names = image_names(given)
    except SettingError as error:
        raise SettingError(f"in={given}: no images there.") from error
    if given.is_dir():
        return [(name, partial(read_bytes, given / name, MOST_BYTES)) for name in names]
    archive = open_zip(given)
    safe = [name for name in names if ".." not in PurePosixPath(name).parts]
    return [(name, partial(read_member, archive, name, MOST_BYTES)) for name in safe]


def read_framed(content: bytes, shape: tuple[int, ...]) -> Tensor:
    """A photo as an image of a shape (c, h, w), uint8: the largest part in the middle, resized.

    Args:
        content: of the file, whoever made it.
        shape: c is 1 (grey) or 3.

    Raises:
        ValueError: if it cannot be decoded; Pillow's readers raise other errors too.
    """
    c, h, w = shape
    with opened(content) as file:
        image = ImageOps.exif_transpose(file).convert("RGB" if c == 3 else "L")
    image = ImageOps.fit(image, (w, h), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).view(h, w, c).permute(2, 0, 1)
