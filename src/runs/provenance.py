"""Provenance of a run: versions of the libraries and the commit."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any


def provenance() -> dict[str, Any]:
    """Versions and the git commit of the code that is running."""
    packages = ("torch", "torchvision", "lightning", "hydra-core", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"versions": {"python": platform.python_version()} | versions, "git": git_commit()}


def git_commit() -> str | None:
    """The commit of the source tree, with `+changes` if files differ; None outside of git."""
    root = Path(__file__).parents[1]

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )

    try:
        # An installed copy may lie inside of somebody else's repository.
        if git("ls-files", "--error-unmatch", "runs/provenance.py").returncode:
            return None
        commit = git("rev-parse", "--short=12", "HEAD").stdout.strip()
        dirty = git("status", "--porcelain", "--", ".", "../conf").stdout.strip()
    except FileNotFoundError:  # git is not installed
        return None
    return f"{commit}+changes" if dirty else commit
