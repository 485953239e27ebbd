"""Small image sets on disk."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(i: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A smooth picture that differs from i to i, so that JPEG keeps it apart from the others."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([x, y, np.full_like(x, (i * 37 % 256) / 255)], -1)
    return Image.fromarray((rgb * 255).astype(np.uint8))


@pytest.fixture
def write_images() -> Callable[..., Path]:
    """`write_images(folder, names, size)`: write a picture under each name."""

    def write(folder: Path, names: Sequence[str], size: tuple[int, int] = (40, 30)) -> Path:
        for i, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture(i, size).save(folder / name)
        return folder

    return write


@pytest.fixture
def zipped() -> Callable[[Path, Path], Path]:
    """`zipped(folder, path)`: all files of a folder, below the folder's own name."""

    def pack(folder: Path, path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
        return path

    return pack
