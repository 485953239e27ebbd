"""Pages of one HTML file each that need no network and run no script but their own.

A template begins with its `<title>` and `<style>` and has `@DATA@` where its data go, as JSON. What
all pages have in common, colours and buttons and the content security policy, is `web_page.html`.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from src.runs.escape import script_data

HEAD = Path(__file__).with_name("web_page.html")


def web_page(template: str, data: Any) -> str:
    """The page as HTML; numbers that are not finite are shown as missing.

    Args:
        template: HTML of the project's own.
        data: what it shows.
    """
    page = pinned(HEAD.read_text(encoding="utf-8") + template)
    return page.replace("@DATA@", script_data(data), 1)


def pinned(page: str) -> str:
    """A page whose content security policy allows its own scripts and styles, and no others.

    Args:
        page: HTML without data yet. Its policy has @SCRIPTS@ and @STYLES@ in place of the hashes
            of all that is between `<script>` and `<style>` and their ends.
    """
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = (base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in inside)
        sources = " ".join(f"'sha256-{digest.decode()}'" for digest in hashes)
        page = page.replace(f"@{tag.upper()}S@", sources, 1)
    return page
