"""A user's own pictures, which are no data set: one file, or a folder or archive of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from src.data.containers import MOST_BYTES, is_archive, open_container
from src.data.image_sets import opened
from src.data.listing import list_images
from src.errors import SettingError
from src.runs.stored import read_bytes


def find(given: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """Names of the photos, and functions that read them.

    Raises:
        SettingError: if there are none.
    """
    if not given.exists():
        raise SettingError(f"in={given}: there is no such file or folder.")
    if given.is_file() and not is_archive(given):
        return [(given.name, partial(read_bytes, given, MOST_BYTES))]
    try:
        container = open_container(given)
        names = list_images(container).names
    except SettingError as error:
        reason = str(error).partition("\n")[0].replace("data.root=", "in=", 1)
        raise SettingError(reason) from error
    return [(name, partial(container.read, name)) for name in names]


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
