"""Drawn landscapes: the same anywhere, and one scene behind its looks."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from src.data.procedural.landscapes import FACTORS, Look, _Landscapes, render, sample_factors
from src.data.procedural.sdf import Window
from src.errors import SettingError

LOOKS: tuple[Look, ...] = ("summer", "winter", "dusk")


def edges(images: Tensor) -> Tensor:
    """Strength of the edges of grey images, (n, r - 1, r - 1)."""
    grey = images.float().mean(1)
    right, down = grey[:, :-1, 1:] - grey[:, :-1, :-1], grey[:, 1:, :-1] - grey[:, :-1, :-1]
    return right.abs() + down.abs()


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    factors = sample_factors(20, seed=3)
    few = sample_factors(6, seed=3)
    for look in LOOKS:
        many = render(factors, 32, look)
        assert many.shape == (20, 3, 32, 32)
        assert many.dtype == torch.uint8
        assert torch.equal(many[:6], render(few, 32, look, batch_size=4))
        other = render(sample_factors(20, seed=4), 32, look)
        assert (many != other).flatten(1).any(1).all()


def test_windows_hold_their_shapes() -> None:
    factors = sample_factors(24, seed=1)

    def everything(scene: _Landscapes, *_: object) -> Window:
        return Window(scene.image, scene.x, scene.y, torch.ones(1), scene.pixel)

    for look in LOOKS:
        with patch.object(_Landscapes, "window", everything):
            unbounded = render(factors, 32, look)
        assert torch.equal(render(factors, 32, look), unbounded)


@pytest.mark.parametrize("look", LOOKS)
def test_what_the_truth_needs_shows_in_every_look(look: Look) -> None:
    factors = sample_factors(40, seed=0)
    images = render(factors, 32, look)
    for factor in FACTORS:
        moved = dict(factors, **{factor: (factors[factor] + 0.5) % 1})
        changed = (render(moved, 32, look).int() - images).abs().flatten(1).amax(1) > 8
        assert changed.double().mean() > 0.2, factor


def test_looks_differ_as_they_should() -> None:
    factors = sample_factors(60, seed=2)
    summer, winter, dusk = (render(factors, 32, look).float() for look in LOOKS)
    for one, other in ((summer, winter), (summer, dusk), (winter, dusk)):
        assert 50 < (one - other).abs().mean() < 140
    ground = (slice(None), slice(None), slice(22, 32))
    red, green, blue = summer[ground].mean((0, 2, 3))
    assert green > max(red, blue) + 40  # grass
    assert winter[ground].mean((0, 2, 3)).min() > 190  # snow
    assert (dusk.mean((1, 2, 3)) < summer.mean((1, 2, 3)) - 40).all()
    warmth = (dusk[:, 0] - dusk[:, 2]).mean((0, 2))
    assert warmth[9:12].mean() > warmth[:3].mean() + 40  # the horizon is redder than the zenith


def test_edges_stay_where_they_are() -> None:
    factors = sample_factors(40, seed=5)
    summer, winter, dusk = (edges(render(factors, 64, look)).flatten(1) for look in LOOKS)
    shifted = summer.roll(1, 0)  # another scene
    for other in (winter, dusk):
        pairs = [torch.stack(rows) for rows in zip(summer, other, strict=True)]
        strangers = [torch.stack(rows) for rows in zip(shifted, other, strict=True)]
        same = torch.stack([torch.corrcoef(x)[0, 1] for x in pairs]).mean()
        different = torch.stack([torch.corrcoef(x)[0, 1] for x in strangers]).mean()
        assert same > 0.4
        assert different < 0.2


def test_impossible_resolution() -> None:
    with pytest.raises(SettingError, match=r"data\.resolution=16: the built-in landscapes"):
        render(sample_factors(1, seed=0), 16, "summer")
