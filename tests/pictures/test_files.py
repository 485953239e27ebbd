"""Samples in files, by the ending of the path."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.errors import SettingError
from src.pictures.files import write_samples


def test_colours_are_kept(tmp_path: Path) -> None:
    x = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    write_samples(x, tmp_path / "x.npz", 2)
    write_samples(x, tmp_path / "x", 2)
    assert np.load(tmp_path / "x.npz")["arr_0"][1, 2, 3].tolist() == [255, 0, 128]
    assert Image.open(tmp_path / "x" / "000001.png").getpixel((0, 0)) == (255, 0, 128)


def test_points_that_are_pictures_are_drawn_so(tmp_path: Path) -> None:
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.5]])
    write_samples(x, tmp_path / "x.png", 2, (2, 2))
    write_samples(x, tmp_path / "x.npz", 2, (2, 2))
    shown = np.asarray(Image.open(tmp_path / "x.png"))
    squares = [shown[28:76:32, left : left + 48 : 32].tolist() for left in (28, 28 + 76)]
    assert squares == [[[0, 255], [255, 0]], [[255, 0], [0, 128]]]
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["arr_0"], x)
    with pytest.raises(SettingError, match="choose"):
        write_samples(x, tmp_path / "x", 2, (2, 2))
