"""What tests of pages share."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def run_page(driver: str, page: Path, *words: str) -> Any:
    """Run a page's script, by Node, on a stand-in for a browser's document.

    Args:
        driver: name of the script in this folder that plays the browser and its user.
        page: the HTML file.
        words: passed to the driver.

    Returns:
        What the driver prints, which is JSON.
    """
    if not shutil.which("node"):
        pytest.skip("needs node")
    command = ["node", str(Path(__file__).with_name(driver)), str(page), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
