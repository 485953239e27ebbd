"""A comparison as one HTML file that needs no network: tables, curves, pictures, provenance.

The template is `page.html`, its scripts `plots.js` (drawing) and `page.js` (the rest); what they
show is inside the page, as JSON. Its size is that of the pictures, which `frames` keeps small.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from src.report.comparison import Comparison

HERE = Path(__file__).parent
PARTS = ("page.html", "plots.js", "page.js")


def render(comparison: Comparison) -> str:
    """The page as HTML; numbers that are not finite are shown as missing."""
    data = json.dumps(_finite(asdict(comparison)), separators=(",", ":"), allow_nan=False)
    page, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in PARTS)
    page = page.replace("@SCRIPT@", "\n".join(scripts).strip())
    # "</script>" in a variant's name would end the data.
    return page.replace("@DATA@", data.replace("<", "\\u003c"))


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
