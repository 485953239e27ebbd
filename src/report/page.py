"""A comparison as one HTML file that needs no network: tables, curves, pictures, provenance.

The template is `page.html`, its scripts `plots.js` (drawing) and `page.js` (the rest); what they
show is inside the page, as JSON.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from src.report.comparison import Comparison

HERE = Path(__file__).parent
PARTS = ("page.html", "plots.js", "page.js")
PICTURES = 8_000_000  # bytes of frames in a page; above it, every second frame is left out
POINTS = 250  # of a run's curve; a plot is a thousand pixels wide


def render(comparison: Comparison) -> str:
    """The page as HTML, below 10 MB for 30 runs.

    Long curves are thinned to every k-th point, films that together exceed `PICTURES` to every
    k-th frame; first and last stay. Numbers that are not finite are shown as missing.
    """
    data = _finite(asdict(comparison))
    for run in data["runs"]:
        run["curve"] = {name: _thinned(points, POINTS) for name, points in run["curve"].items()}
    while _bytes(data["runs"]) > PICTURES and max(len(run["pictures"]) for run in data["runs"]) > 2:
        for run in data["runs"]:
            run["pictures"] = _thinned(run["pictures"], max(2, (len(run["pictures"]) + 1) // 2))
    # "</script>" in a variant's name would end the data.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in PARTS)
    return page.replace("@SCRIPT@", "\n".join(scripts).strip()).replace("@DATA@", text)


def _bytes(runs: list[dict]) -> int:
    return sum(len(picture["image"]) for run in runs for picture in run["pictures"])


def _thinned(points: list, most: int) -> list:
    """At most `most` of them, evenly spaced, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
