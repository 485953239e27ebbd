"""Latents of images that a generator has made are found again."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.models.parts.content import ClassifierContent
from src.models.projection import FRAMES, project
from tests.models.conftest import TINY, built, state
from tests.models.parts.test_generator_penalties import STYLE

STYLED = (*STYLE, "model.ema=null", "model/condition=projection", "data.resolution=16")


@pytest.mark.parametrize(("words", "label"), [(STYLED, 3), (TINY, None)])
def test_a_sample_is_found_again(words: tuple[str, ...], label: int | None) -> None:
    """Ten times nearer than the nearest of 500 other samples."""
    model = built(*words)
    for layer in model.generator.modules():  # for images of one another's size, within [-1, 1]
        if type(layer).__name__ == "ToImage":
            nn.init.normal_(layer.weight, std=0.3)
    y = None if label is None else torch.full((501,), label)
    with model.scoring():
        x, *others = model.decode(model.latents(501, seed=7), y)
    before = state(model)
    learned = [weight.requires_grad for weight in model.parameters()]
    found = project(model, x, ClassifierContent(1.0, weights="mnist"), label, steps=100)
    assert all(value.equal(before[name]) for name, value in state(model).items())
    assert [weight.requires_grad for weight in model.parameters()] == learned
    nearest = min(float((other - x).square().mean()) for other in others)
    error = float((found.image - x).square().mean())
    assert error < nearest / 10
    assert found.features < 0.1
    assert found.psnr == pytest.approx(-10 * math.log10(max(error, 1e-12) / 4), abs=0.1)
    assert len(found.frames) == 1 + FRAMES
    assert [found.frames[i][0] for i in (0, -1)] == [0, 100]
    assert_close(found.frames[-1][1].clamp(-1, 1), found.image)
