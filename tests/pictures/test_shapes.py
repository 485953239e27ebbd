"""Files of shapes: what is in each form of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from src.data.procedural.solids import KINDS, render, sample_factors
from src.errors import SettingError
from src.pictures.shapes import (
    ENDINGS,
    FRAMES,
    SIDE,
    SIDES,
    rows_of_shapes,
    turntable,
    write_shapes,
)
from src.transforms import views

X = render(sample_factors(3, 0), KINDS, 16).float()


def test_rows_show_the_picture_and_both_sides() -> None:
    pictures = views.render(X, 50.0, 30.0, resolution=SIDE)
    rows = rows_of_shapes(pictures.expand(-1, 3, -1, -1), X, X.flip(-1))
    assert rows.shape == (3, 5, 3, SIDE, SIDE)
    assert_close(rows[:, 0, :1], pictures)
    assert_close(rows[:, 2, :1], views.render(X, SIDES[1], resolution=SIDE))
    assert not rows[:, 1].equal(rows[:, 3])


def test_a_turntable_turns_once(tmp_path: Path) -> None:
    turntable(X, tmp_path / "turn.gif", columns=3)
    with Image.open(tmp_path / "turn.gif") as file:
        assert file.n_frames == FRAMES
        assert file.info["loop"] == 0
        assert file.size == (3 * SIDE, SIDE)
        frames = []
        for i in range(FRAMES):
            file.seek(i)
            frames.append(np.asarray(file.convert("L"), dtype=float))
    expected = [views.render(X[1:2], 360 * i / FRAMES, resolution=SIDE)[0, 0] for i in (0, 9)]
    for i, picture in zip((0, 9), expected, strict=True):
        middle = frames[i][:, SIDE : 2 * SIDE]
        assert np.abs(middle - (picture.numpy() + 1) * 127.5).mean() < 2
    steps = [np.abs(a - b).mean() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]
    assert 0 < max(steps) < 3 * np.median(steps)  # the last step is none greater


def test_every_ending(tmp_path: Path) -> None:
    for ending in ENDINGS:
        path = tmp_path / "new" / f"shapes{ending}"
        write_shapes(X, path)
        assert path.stat().st_size > 500
    with np.load(tmp_path / "new" / "shapes.npz", allow_pickle=False) as file:
        assert np.array_equal(file["arr_0"], X[:, 0].numpy() > 0.5)
    write_shapes(X[:1], tmp_path / "one.PNG", pictures=torch.zeros(1, 1, 64, 64))
    with Image.open(tmp_path / "one.PNG") as picture:
        assert picture.size == (3 * SIDE, SIDE)
    with pytest.raises(SettingError, match=r"\.png, \.npz, \.gif, \.html, \.obj"):
        write_shapes(X, tmp_path / "shapes.ply")
