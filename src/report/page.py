"""A comparison as one HTML file that needs no network: tables, curves, pictures, provenance.

The template is `page.html`, its scripts `plots.js` (drawing) and `page.js` (the rest); what they
show is inside the page, as JSON. Its size is that of the pictures, which `frames` keeps small.
Names are text nodes, and the page's policy names its script by a hash: no other one runs.
"""

from pathlib import Path

from src.report.comparison import Comparison
from src.runs.web_page import web_page

HERE = Path(__file__).parent
PARTS = ("page.html", "plots.js", "page.js")


def render(comparison: Comparison) -> str:
    """The page as HTML; numbers that are not finite are shown as missing."""
    page, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in PARTS)
    return web_page(page.replace("@SCRIPT@", "\n".join(scripts).strip(), 1), comparison)
