"""Sharpness of images whose Laplacian is known, and of blurred ones."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.data.spec import Split, to_model
from src.metrics.sharpness import SharpnessScorer, laplacian_variance

from .conftest import InMemory, noise_images, sampler_of


def test_the_variance_has_closed_forms() -> None:
    ramp = torch.linspace(-1, 1, 20, dtype=torch.float64).expand(1, 1, 20, 20)
    assert float(laplacian_variance(ramp)) < 1e-4  # but for 255 levels it would be 0
    # Of independent pixels it is their variance times 4^2 + 4 x 1^2.
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (4, 1, 200, 200), generator=generator, dtype=torch.uint8)
    expected = torch.full((4,), 20 * (256**2 - 1) / 12 / 255**2, dtype=torch.float64)
    torch.testing.assert_close(laplacian_variance(noise), expected, rtol=0.02, atol=0)
    torch.testing.assert_close(laplacian_variance(to_model(noise)), laplacian_variance(noise))


def test_colour_counts_by_its_luminance() -> None:
    grey = to_model(noise_images(3, 0))
    colour = torch.full((3, 3, 28, 28), -1.0)
    colour[:, 1:2] = grey  # green alone
    # The luminance is 0.587 of that of grey: but for 255 levels exactly.
    expected = 0.587**2 * laplacian_variance(grey)
    torch.testing.assert_close(laplacian_variance(colour), expected)
    torch.testing.assert_close(
        laplacian_variance(grey.expand(-1, 3, -1, -1)), laplacian_variance(grey)
    )


def fine(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 16, 16), generator=generator, dtype=torch.uint8)


def test_blur_is_less_and_noise_is_more() -> None:
    train = noise_images(200, 0)
    data = InMemory("noise", {"train": Split(train), "test": Split(noise_images(100, 1))})
    scorer = SharpnessScorer(data, 200)

    def score(x: Tensor) -> float:
        (value,) = scorer.score(sampler_of(x)).values.values()
        return value

    assert score(train) == pytest.approx(1, rel=1e-6)
    blurred = F.avg_pool2d(F.pad(train.float(), (1, 1, 1, 1), "replicate"), 3, 1).byte()
    assert 0 < score(blurred) < 0.9
    noisy = (train + 0.05 * 255 * torch.randn(train.shape)).clamp(0, 255).byte()
    assert score(noisy) > 1.5
    assert scorer.name("sharpness") == "sharpness200_train"
    protocol = scorer.protocol("sharpness")
    assert protocol["real"] == pytest.approx(1, abs=0.1)
    assert (protocol["n_fake"], protocol["n_real"]) == (200, 200)


def test_an_average_of_noise_has_a_closed_form() -> None:
    """Two images averaged have half the variance."""
    data = InMemory("noise", {"train": Split(fine(400, 0))})
    averaged = ((fine(400, 1).float() + fine(400, 2).float()) / 2).byte()
    scores = SharpnessScorer(data, 400).score(sampler_of(averaged))
    assert scores.values["sharpness400_train"] == pytest.approx(0.5, rel=0.02)
    assert scores.protocols["sharpness400_train"]["real"] is None


def test_samples_that_are_not_finite() -> None:
    data = InMemory("noise", {"train": Split(fine(20, 0))})
    scores = SharpnessScorer(data, 10).score(lambda n, _: torch.full((n, 1, 16, 16), torch.nan))
    assert math.isnan(scores.values["sharpness10_train"])


def test_no_more_samples_than_needed() -> None:
    data = InMemory("noise", {"train": Split(fine(20, 0))})
    assert SharpnessScorer(data, 10_000).name("sharpness") == "sharpness2k_train"


def test_images_of_one_colour_have_no_sharpness() -> None:
    flat = torch.full((6, 1, 28, 28), 40, dtype=torch.uint8)
    data = InMemory("flat", {"train": Split(flat), "test": Split(flat)})
    found = SharpnessScorer(data, 6).score(sampler_of(noise_images(6, 0)))
    assert math.isnan(found.values["sharpness6_train"])
