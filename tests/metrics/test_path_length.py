"""Paths whose length is known, and images that move at a known pace."""

import math

import pytest
import torch
from torch import Tensor, nn

from src.data.spec import DataSpec, Split
from src.metrics.path_length import EPSILON, PathLengthScorer, arc, distances, trimmed
from src.metrics.scorers import make_scorers
from src.models.base import LatentVariableModel

from .conftest import InMemory, noise_images


def test_great_arcs() -> None:
    """A quarter of a circle at an even pace, between lengths of 1 and 3."""
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    t = torch.linspace(0, 1, 7)[:, None]
    points = arc(a.expand(7, -1), b.expand(7, -1), t)
    angle, length = t[:, 0] * math.pi / 2, 1 + 2 * t[:, 0]
    expected = torch.stack([angle.cos() * length, angle.sin() * length], 1)
    torch.testing.assert_close(points, expected)
    torch.testing.assert_close(arc(a, 2 * a, torch.full((1, 1), 0.5)), 1.5 * a)  # one direction
    assert arc(a, 0 * a, torch.full((1, 1), 0.5)).isfinite().all()


def test_distances_are_of_directions() -> None:
    """Features that turn by an angle of e at half of the places; a gain makes no difference."""
    angle = torch.zeros(1, 2, 4)
    angle[:, 1] = EPSILON
    a = torch.stack([torch.ones(1, 2, 4), torch.zeros(1, 2, 4)], 1)
    b = 5 * torch.stack([angle.double().cos(), angle.double().sin()], 1).float()
    values = distances(nn.Identity(), torch.cat([a, b]))
    assert float(values) == pytest.approx(0.5, rel=1e-3)
    b[0, 0, 0, 0] = torch.nan
    assert distances(nn.Identity(), torch.cat([a, b])).isnan().all()


def test_the_ends_are_trimmed() -> None:
    values = torch.cat([torch.full((98,), 2.0), torch.tensor([1e9, -1e9])])
    assert trimmed(values[torch.randperm(100)]) == 2
    assert trimmed(torch.tensor([1.0, 3.0])) == 2
    assert math.isnan(trimmed(torch.tensor([1.0, math.nan])))


class Fading(LatentVariableModel):
    """Fades from black to white `speed` times as z turns once around."""

    iterate = None

    def __init__(self, speed: float) -> None:
        super().__init__(DataSpec("images", (1, 28, 28)), seed=0)
        self.speed = speed
        self.texture = noise_images(1, 0)[0] / 127.5 - 1

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        angle = torch.atan2(z[:, 1], z[:, 0])[:, None, None, None]
        return (self.speed * angle).sin() * self.texture


def test_twice_the_pace_is_four_times_the_length() -> None:
    data = InMemory("noise", {"train": Split(noise_images(40, 0))})
    scores = [PathLengthScorer(data, Fading(s), 300).score() for s in (1, 2)]
    slow, fast = (score.values["ppl_z300_mnist"] for score in scores)
    assert fast == pytest.approx(4 * slow, rel=0.15)
    assert list(scores[0].values) == ["ppl_z300_mnist"]  # there are no styles
    assert scores[0].protocols["ppl_z300_mnist"]["features"]["name"] == "mnist"
    assert PathLengthScorer(data, Fading(0), 20).score().values == {"ppl_z20_mnist": 0}


def test_it_is_measured_where_it_is_asked_for(capsys: pytest.CaptureFixture) -> None:
    data = InMemory("noise", {"train": Split(noise_images(40, 0))})
    settings = {
        "extractor": "auto", "weights": None, "metrics": ["ppl"], "n": 20, "seed": 0,
        "importance_samples": [5], "importance_images": 5, "batch_size": 10, "cache": "unused",
    }  # fmt: skip
    names = [type(s).__name__ for s in make_scorers(settings, data, Fading(1))]
    assert names == ["SharpnessScorer", "PathLengthScorer"]
    assert "ppl" not in capsys.readouterr().out
    settings["metrics"] = ["fid"]
    assert "PathLengthScorer" not in str(make_scorers(settings, data, Fading(1)))
    settings["metrics"] = ["ppl"]
    make_scorers(settings, data, None)
    assert "Left out: ppl" in capsys.readouterr().out
