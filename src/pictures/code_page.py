"""A page on which one turns codes of two or three numbers: one file, no network, under 1 MB.

Points are drawn by a script of its own (`code_page.html`); everything it shows is inside the page.
"""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from src.data.spec import to_model
from src.pictures import grids
from src.pictures.codes import class_colours
from src.runs import escape
from src.runs.web_page import web_page

TEMPLATE = Path(__file__).with_name("code_page.html")
THUMBNAILS = 2000  # images that are carried along, at most
SPRITE = 600_000  # bytes of them; a third more in base64
SIDE = 32  # pixels


def page(codes: Tensor, labels: Tensor | None, classes: Sequence[str], images: Tensor) -> str:
    """The page as HTML.

    Args:
        codes: (n, 2 or 3), on the CPU.
        labels: (n,), indices of classes; None draws all in one colour.
        classes: names of the classes.
        images: images of the codes, (n, 1 or 3, h, w), uint8. The first ones are carried along.
    """
    classes = [] if labels is None else [escape.line(name) for name in classes]
    data = {
        "classes": classes,
        "colours": class_colours(max(1, len(classes))),
        "codes": [[float(f"{value:.4g}") for value in code] for code in codes.tolist()],
        "labels": [0] * len(codes) if labels is None else labels.tolist(),
        "sprite": sprite(images),
    }
    return web_page(TEMPLATE.read_text(encoding="utf-8"), data)


def sprite(images: Tensor) -> dict[str, str | int]:
    """Draw as many of the first images as fit into `SPRITE` bytes, side by side in one PNG.

    Args:
        images: (n, 1 or 3, h, w), uint8; brought to at most 32 pixels.

    Returns:
        `image` (a data URI), `count`, `columns` of images, `width` and `height` of each.
    """
    count = min(len(images), THUMBNAILS)
    small = to_model(images[:count])
    if (largest := max(small.shape[2:])) > SIDE:
        size = [max(1, side * SIDE // largest) for side in small.shape[2:]]
        small = F.interpolate(small, size, mode="area")
    while len(content := _png(small[:count])) > SPRITE:
        count = int(0.95 * count * SPRITE / len(content))
    return {
        "image": "data:image/png;base64," + base64.b64encode(content).decode(),
        "count": count,
        "columns": _columns(count),
        "width": small.shape[3],
        "height": small.shape[2],
    }


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _png(images: Tensor) -> bytes:
    buffer = io.BytesIO()
    sheet = grids.grid(images, _columns(len(images)), padding=0, scale=1)
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
