"""A page on which one turns shapes: one file, no network, a few kilobytes for each shape.

They are drawn by a script of its own (`shape_page.html`), as `src/transforms/views.py` draws them;
everything it shows is inside the page.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from src.data.spec import to_bool
from src.pictures import grids
from src.runs import escape
from src.runs.web_page import web_page

TEMPLATE = Path(__file__).with_name("shape_page.html")
ENLARGED = 192  # pixels to which pictures are enlarged by repetition, at least


def page(title: str, tiles: Sequence[tuple[str, Tensor]], columns: int) -> str:
    """The page as HTML.

    Args:
        title: heading.
        tiles: captions, each with a shape (1, r, r, r) in [0, 1] or a picture (1 or 3, h, w) in
            [-1, 1]; row by row.
        columns: tiles per row.
    """
    data = {
        "title": escape.line(title),
        "columns": columns,
        "tiles": [
            {"name": escape.line(name), **(_shape(x) if x.ndim == 4 else _picture(x))}
            for name, x in tiles
        ],
    }
    return web_page(TEMPLATE.read_text(encoding="utf-8"), data)


def _shape(x: Tensor) -> dict[str, str | int]:
    bits = np.packbits(to_bool(x).flatten().cpu().numpy())
    return {"side": x.shape[-1], "bits": base64.b64encode(bits.tobytes()).decode()}


def _picture(x: Tensor) -> dict[str, str]:
    buffer = io.BytesIO()
    scale = max(1, -(-ENLARGED // max(x.shape[1:])))
    grids.grid(x[None], 1, padding=0, scale=scale).save(buffer, "PNG", optimize=True)
    return {"image": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}
