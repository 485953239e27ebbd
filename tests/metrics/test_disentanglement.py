"""Codes that hold one factor each, and codes that mix them."""

import math

import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from src.data.spec import Split
from src.metrics.disentanglement import (
    DisentanglementScorer,
    binned,
    disentanglement,
    importances,
    mutual_information,
    mutual_information_gap,
)

from .conftest import Encodes, InMemory


def factors(n: int = 3000) -> Tensor:
    """Two continuous ones and one of 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(n, 3, generator=generator)
    v[:, 2] = (v[:, 2] > 0.4).float()
    return v


MIX = torch.tensor([[1.0, 1, 0], [1, -1, 0], [0, 0, 1]])


def test_the_gap_is_near_1_of_a_perfect_code_and_near_0_of_a_mixed_one() -> None:
    v = factors()
    # Order, sign, scale and units that say nothing do not matter.
    noise = torch.randn(len(v), 2, generator=torch.Generator().manual_seed(1))
    code = torch.cat([noise, -3 * v[:, [2, 0, 1]] + 1], 1)
    assert mutual_information_gap(code, v) == pytest.approx(1, abs=0.03)
    # A copy of each unit leaves no gap, and neither does a turn by 45 degrees.
    assert mutual_information_gap(torch.cat([v, v], 1), v) == 0
    mixed = v[:, :2] @ MIX[:2, :2]
    assert mutual_information_gap(mixed, v[:, :2]) == pytest.approx(0, abs=0.02)
    assert mutual_information_gap(noise, v) == pytest.approx(0, abs=0.02)


def test_a_half_known_factor_has_half_a_gap() -> None:
    """Of four equally likely values the unit tells two halves: ln 2 of ln 4."""
    v = torch.arange(4).repeat(100)[:, None]
    assert mutual_information_gap((v >= 2).float(), v) == pytest.approx(0.5)
    constant = torch.cat([v, torch.ones_like(v)], 1)  # a factor that never varies says nothing
    assert mutual_information_gap((v >= 2).float(), constant) == pytest.approx(0.5)


def test_bins_and_their_information() -> None:
    values = torch.tensor([0.0, 0.049, 0.051, 0.5, 0.999, 1.0])
    assert binned(values).tolist() == [0, 0, 1, 10, 19, 19]
    assert binned(torch.tensor([3, 4, 3])).tolist() == [0, 19, 0]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(20, (2, 500), generator=generator)
    expected = mutual_info_score(a.numpy(), b.numpy())
    assert mutual_information(a, b) == pytest.approx(expected, rel=1e-6)
    halves = torch.tensor([3, 3, 7, 7])
    assert mutual_information(halves, halves) == pytest.approx(math.log(2))


def test_disentanglement_has_closed_forms() -> None:
    eye, even = torch.eye(3), torch.full((4, 3), 0.25)
    assert disentanglement(eye) == pytest.approx(1)
    assert disentanglement(torch.cat([eye, torch.zeros(2, 3)])) == pytest.approx(1)
    assert disentanglement(even) == pytest.approx(0, abs=1e-6)
    # The units of weight 1 and 3: one of them shared by two of three factors.
    shared = torch.tensor([[1.0, 0, 0], [0, 1.5, 1.5]])
    expected = 0.25 * 1 + 0.75 * (1 - math.log(2) / math.log(3))
    assert disentanglement(shared) == pytest.approx(expected)


def test_forests_find_which_unit_tells_a_factor() -> None:
    v = factors(1500)
    perfect = importances(v[:, [1, 2, 0]], v, seed=0)
    torch.testing.assert_close(perfect, torch.eye(3)[[1, 2, 0]].double(), rtol=0, atol=0.02)
    assert disentanglement(perfect) == pytest.approx(1, abs=0.06)
    mixed = importances(v @ MIX, v, seed=0)
    assert disentanglement(mixed[:2, :2]) == pytest.approx(0, abs=0.1)
    assert torch.equal(mixed, importances(v @ MIX, v, seed=0))


class Corner(nn.Module):
    """The first pixels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3]


@pytest.mark.parametrize("kind", ["factors", "attributes"])
def test_a_model_that_sees_the_factors(kind: str) -> None:
    v = factors(800)
    x = torch.zeros(800, 1, 2, 2)
    x[:, 0].flatten(1)[:, :3] = 255 * v
    data = InMemory("drawn", {"train": Split(x.byte())})
    known = {"train": v}
    names = ("a", "b", "c")
    if kind == "factors":
        data.factors, data.factor_names = known, names
        data.attributes = {"train": torch.zeros(800, 1)}
    else:
        data.attributes, data.attribute_names = known, names
    scorer = DisentanglementScorer(data, Encodes(Corner(), (1, 2, 2)), n=600)
    assert scorer.headline == {"mig": f"mig600_{kind}"}
    scores = scorer.score()
    assert scores.values[f"mig600_{kind}"] == pytest.approx(1, abs=0.15)
    assert scores.values[f"dci600_{kind}"] == pytest.approx(1, abs=0.15)
    assert scores.protocols[f"dci600_{kind}"]["factors"] == list(names)
