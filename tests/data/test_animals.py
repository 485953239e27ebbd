"""Drawn animals: the same anywhere; stripes on the animal alone, blur on all but the animal."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from src.data.procedural.animals import FACTORS, TREES, _Animals, blur, render, sample_factors
from src.data.procedural.sdf import Window
from src.errors import SettingError

VARIANTS = [(False, False), (True, False), (False, True)]


def changed(one: Tensor, other: Tensor, least: int = 2) -> Tensor:
    """Pixels (n, r, r) that differ by at least so many levels."""
    return (one.int() - other).abs().amax(1) >= least


def animal(factors: dict[str, Tensor], resolution: int) -> Tensor:
    """Pixels (n, r, r) that show nothing but the animal: no change of the scene changes them."""
    plain, outside = render(factors, resolution, striped=False), None
    for value in (0.0, 0.3, 0.6, 0.9):
        scene = ["horizon", "sky", "grass", "hill_phase", "fence"]
        scene += [f"tree_{k}_there" for k in range(TREES)]
        moved = dict(factors, **{name: torch.full_like(factors[name], value) for name in scene})
        new = changed(render(moved, resolution, striped=False), plain, least=1)
        outside = new if outside is None else outside | new
    return ~outside


@pytest.mark.parametrize(("striped", "shallow"), VARIANTS)
def test_an_image_depends_on_seed_and_index_alone(striped: bool, shallow: bool) -> None:
    many = render(sample_factors(20, seed=3), 32, striped, shallow)
    few = render(sample_factors(6, seed=3), 32, striped, shallow, batch_size=4)
    assert many.shape == (20, 3, 32, 32)
    assert torch.equal(many[:6], few)
    other = render(sample_factors(20, seed=4), 32, striped, shallow)
    assert (many != other).flatten(1).any(1).all()


@pytest.mark.parametrize(("striped", "shallow"), VARIANTS)
def test_windows_hold_their_shapes(striped: bool, shallow: bool) -> None:
    factors = sample_factors(24, seed=1)

    def everything(scene: _Animals, *_: object) -> Window:
        return Window(scene.image, scene.x, scene.y, torch.ones(1), scene.pixel)

    with patch.object(_Animals, "window", everything):
        unbounded = render(factors, 32, striped, shallow)
    assert torch.equal(render(factors, 32, striped, shallow), unbounded)


@pytest.mark.parametrize(("striped", "shallow"), VARIANTS)
def test_each_factor_shows(striped: bool, shallow: bool) -> None:
    factors = sample_factors(40, seed=0)
    images = render(factors, 32, striped, shallow)
    for factor in FACTORS:
        moved = dict(factors, **{factor: (factors[factor] + 0.5) % 1})
        other = render(moved, 32, striped, shallow)
        assert changed(images, other, 6).flatten(1).any(1).double().mean() > 0.2, factor


def test_stripes_change_the_animal_alone() -> None:
    factors = sample_factors(40, seed=5)
    plain, striped = (render(factors, 64, striped) for striped in (False, True))
    difference = changed(plain, striped)
    inside = animal(factors, 64)
    # Pixels on the outline show both: they are less than two pixels from the inside.
    near = torch.nn.functional.max_pool2d(inside.float(), 5, 1, 2) > 0
    assert not (difference & ~near).any()
    share = (difference & inside).sum((1, 2)) / inside.sum((1, 2))
    assert share.min() > 0.3
    assert share.max() < 0.85  # the coat shows between the stripes
    assert 4 < (plain.float() - striped).abs().mean() < 25
    assert (striped.float() - plain).mean((1, 2, 3)).max() < 0  # stripes are dark


def test_shallow_focus_blurs_all_but_the_animal() -> None:
    factors = sample_factors(40, seed=5)
    sharp, shallow = (render(factors, 64, False, shallow) for shallow in (False, True))
    assert not (changed(sharp, shallow) & animal(factors, 64)).any()
    assert 3 < (sharp.float() - shallow).abs().mean() < 20
    scene = torch.nn.functional.max_pool2d(animal(factors, 64).float(), 5, 1, 2)[:, None] == 0
    scene[:, :, 24:] = False  # far away
    bends = [  # second differences
        ((x[..., 2:] + x[..., :-2] - x[..., 1:-1] * 2).abs() * scene[..., 1:-1]).mean()
        for x in (sharp.float(), shallow.float())
    ]
    assert bends[1] < bends[0] * 0.4
    assert (sharp.float().mean((2, 3)) - shallow.float().mean((2, 3))).abs().max() < 6


def test_blur_is_a_mean_over_a_box() -> None:
    x = torch.zeros(9, 9, 1)
    x[4, 4] = 1
    for width in (1.0, 2.0, 3.5):
        y = blur(x, width)
        assert y.sum().item() == pytest.approx(1, abs=1e-6)
        assert y[4, 4].item() == pytest.approx(1 / width**2, rel=1e-6)
        assert torch.allclose(y, y.flip(0))
        assert torch.allclose(y, y.transpose(0, 1))
    assert torch.allclose(blur(torch.ones(5, 5, 1), 3.0), torch.ones(5, 5, 1))


def test_impossible_resolution() -> None:
    with pytest.raises(SettingError, match=r"data\.resolution=129: the built-in animals"):
        render(sample_factors(1, seed=0), 129, striped=False)
