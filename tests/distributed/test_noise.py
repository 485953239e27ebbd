"""Noise of a slice is the slice of the whole batch's noise."""

import re
from collections.abc import Callable

import pytest
import torch

from src.config.composition import ROOT
from src.distributed import noise, ranks

N = 6
DRAWS = {
    "normal": lambda n: noise.normal(n, 3),
    "uniform": lambda n: noise.uniform(n, 1, 2),
    "integers": lambda n: noise.integers(-2, 5, n, 1),
    "of the second dimension": lambda n: noise.normal(4, n, 3, dim=1).transpose(0, 1),
}


AsRank = Callable[[int, int], None]


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> AsRank:
    """`as_rank(k, r)`: be the k-th of r."""

    def be(rank: int, count: int) -> None:
        monkeypatch.setattr(ranks, "rank", lambda: rank)
        monkeypatch.setattr(ranks, "count", lambda: count)
        torch.manual_seed(0)

    return be


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_slices_make_the_whole(kind: str, count: int, as_rank: AsRank) -> None:
    as_rank(0, 1)
    whole = DRAWS[kind](N)
    slices = []
    for rank in range(count):
        as_rank(rank, count)
        slices.append(DRAWS[kind](N // count))
    assert torch.equal(torch.cat(slices), whole)
    assert whole.unique().numel() > 3


def test_bits(as_rank: AsRank) -> None:
    p = torch.rand(N, 50)
    as_rank(0, 1)
    whole = noise.bits(p)
    slices = []
    for rank in range(2):
        as_rank(rank, 2)
        slices.append(noise.bits(p.chunk(2)[rank]))
    assert torch.equal(torch.cat(slices), whole)


def test_a_generator_that_is_given_is_one_ranks_own(as_rank: AsRank) -> None:
    draws = []
    for rank, count in ((0, 1), (1, 2)):
        as_rank(rank, count)
        draws.append(noise.normal(N, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(*draws)


def test_all_noise_in_training_comes_from_there() -> None:
    """By itself torch gives every rank the same numbers, and nobody would notice."""
    drawn = re.compile(
        r"(torch\.(rand|bernoulli|normal)\w*|rand\w*_like|\.bernoulli_?|nn\.\w*Dropout\w*|\.dropout)\("
    )
    allowed = {
        "code_priors.py": 1,  # sampling, by a generator of its own
        "vae.py": 1,  # the same
        "image_translation.py": 1,  # after the training, the same
        "pool.py": 2,  # each rank has the whole pool, and draws the same for it
        "finetuning.py": 1,  # the choice of labelled images, the same
        "r3gan.py": 1,  # a weight's start
        "stylegan2.py": 6,  # the same of five, and fixed noise
        "projection.py": 1,  # after the training, by a generator of its own
        "classifier.py": 1,  # the order of images, by a generator of its own
    }
    found = {
        path.name: len(drawn.findall(path.read_text()))
        for folder in ("models", "losses", "networks")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: n for name, n in found.items() if n} == allowed
