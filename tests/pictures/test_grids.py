import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.errors import SettingError
from src.pictures import grids as pictures


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_grid_pixel_by_pixel() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 1)
    shown = array(pictures.grid(images, columns=2, padding=1, scale=2))
    expected = np.full((11, 7), 255)
    expected[1:5, 1:3] = 0
    expected[1:5, 4:6] = 128
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(("size", "side"), [(8, 64), (28, 56), (32, 64), (64, 64), (128, 128)])
def test_grid_brings_small_images_to_64(size: int, side: int) -> None:
    shown = pictures.grid(torch.zeros(5, 3, size, size))
    assert shown.mode == "RGB"
    assert shown.size == (2 + 3 * (side + 2), 2 + 2 * (side + 2))


def test_grid_keeps_colours_and_their_order() -> None:
    image = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
    assert pictures.grid(image, scale=1, padding=1).getpixel((1, 1)) == (255, 0, 128)


def test_pairs_stand_above_each_other() -> None:
    above = torch.linspace(-1, 1, 3).view(3, 1, 1, 1)
    shown = array(pictures.pairs(above, -above, columns=2))[32::66, 32::66]
    np.testing.assert_array_equal(shown, [[0, 128], [255, 128], [255, 255], [0, 255]])


def test_points_that_are_pictures() -> None:
    # Row by row, 1 is dark.
    x = torch.tensor([[1.0, 0.0, 0.5, 0.0, 1.0, 1.0]]).repeat(2, 1)
    shown = array(pictures.grid_of_points(x, (2, 3), columns=2, padding=9))
    assert shown.shape == (9 + 42 + 9, 9 + 63 + 9 + 63 + 9)
    for left in (9, 9 + 63 + 9):
        middles = shown[19:51:21, left + 10 : left + 63 : 21]
        assert middles.tolist() == [[0, 255, 128], [255, 0, 0]]


def points(n: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_scatter_of_any_dimension(dim: int) -> None:
    real, fake = points(200, dim, 0), points(100, dim, 1)
    shown = pictures.scatter(fake, real, lambda x: x.sum(1))
    assert shown.mode == "RGB"
    assert min(shown.size) >= 300
    again = pictures.scatter(fake, real, lambda x: x.sum(1))
    assert shown.tobytes() == again.tobytes()


def test_the_surface_is_the_critics() -> None:
    real = torch.tensor([[-1.0, -2.0], [1.0, 2.0]])
    nothing = real[:0]
    shown = array(pictures.scatter(nothing, real, lambda x: 50 * x[:, 1])).astype(int)
    # Left of the centre, above and below the x axis: blue where D says real, orange elsewhere.
    blue = shown[..., 2] - shown[..., 0]
    upper, lower = blue[80:180, 80:180], blue[280:380, 80:180]
    assert (upper > 40).mean() > 0.9
    assert (lower < -40).mean() > 0.9


def test_the_axes_are_set_by_the_reals_alone() -> None:
    real = points(50, 2, 0)
    near, far = pictures.scatter(real[:0], real), pictures.scatter(real[:1] + 1e6, real)
    differing = (array(near) != array(far)).any(2)
    assert differing.mean() < 0.02  # no more than the legend's new entry


def frames(n: int) -> list[tuple[str, Image.Image]]:
    return [(f"{k:,} samples", Image.new("L", (500, 300), 20 * k)) for k in range(n)]


def test_film_repeats_and_rests_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "animation.gif"
    pictures.animate(frames(5), path, width=200)
    animation = Image.open(path)
    assert animation.n_frames == 5
    assert animation.info["loop"] == 0
    assert animation.size == (200, 120 + 22)
    times, levels = [], []
    for k in range(5):
        animation.seek(k)
        times.append(animation.info["duration"])
        levels.append(animation.convert("L").getpixel((100, 60)))
        assert array(animation.convert("L"))[122:].min() < 100  # the label
    assert times == [500, 500, 500, 500, 2500]
    np.testing.assert_allclose(levels, [0, 20, 40, 60, 80], atol=8)


def test_strip() -> None:
    assert pictures.strip(frames(4), width=100).size == (4 * 100 + 3 * 6, 60 + 22)


def test_beside() -> None:
    parts = [Image.new("L", size, level) for size, level in [((3, 2), 1), ((1, 4), 2), ((2, 2), 3)]]
    shown = array(pictures.beside(parts, columns=2, gap=1))
    expected = np.full((7, 5), 255)
    expected[:2, :3], expected[:4, 4], expected[5:, :2] = 1, 2, 3
    np.testing.assert_array_equal(shown, expected)
    assert pictures.beside(parts).size == (3 + 6 + 1 + 6 + 2, 4)


def test_curves_have_a_panel_per_kind() -> None:
    rows = [{"samples_seen": k, "seconds": k, "loss/d": 1.0, "loss/g": k} for k in range(10)]
    one = pictures.curves(rows)
    for k in (4, 9):
        rows[k] |= {"fid": 3.0, "fid10k_mnist": 3.0, "is10k_mnist": 2.0}
    assert pictures.curves(rows).width == 3 * one.width
    assert pictures.curves([]).size == one.size


def test_a_headline_is_drawn_once() -> None:
    row = {"samples_seen": 10, "fid10k_mnist": 3.0}
    assert pictures.curves([row | {"fid": 3.0}]).tobytes() == pictures.curves([row]).tobytes()
    assert pictures.curves([row | {"kid": 3.0}]).width > pictures.curves([row]).width


def test_one_value_is_no_curve_beside_others() -> None:
    rows = [{"samples_seen": 10, "fid": 3.0}, {"samples_seen": 20, "fid": 2.0}]
    more = [rows[0], rows[1] | {"kid": 1.0}]
    assert pictures.curves(more).tobytes() == pictures.curves(rows).tobytes()


def test_curves_survive_numbers_that_are_not_finite() -> None:
    rows = [{"samples_seen": k, "loss/d": float("nan")} for k in range(3)]
    assert pictures.curves(rows).width > 100


def test_save_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    pictures.save(path, Image.new("L", (3, 2), 7))
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]
    assert Image.open(path).getpixel((2, 1)) == 7
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Cannot write"):
        pictures.save(tmp_path / "file" / "picture.png", Image.new("L", (3, 2)))


def test_names_are_drawn_as_they_stand() -> None:
    """No formula, which may be wrong, and nothing that fonts lack."""
    rows = [{"samples_seen": i, r"loss/$\frac$": i, "loss/\x1b[31m": i, "_x$": i} for i in (1, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.curves(rows)


def test_a_name_of_many_digits_takes_no_time() -> None:
    begin = time.process_time()
    pictures.curves([{"samples_seen": 1, "1" * 100_000: 1.0}])
    assert time.process_time() - begin < 5
