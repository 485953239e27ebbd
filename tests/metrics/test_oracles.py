"""All numbers of a model that returns held-out real data, and of models that are wrong in one way.

The first gets the value that is recorded for real data, within sampling noise, on each kind of
data; the others move the numbers that should see it. A new metric gets a row in `NOISE` and one in
`SEEN`.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.data.base import DataModule
from src.data.spec import Split
from src.metrics.base import LABELS, Scores, natural_labels, score_all
from src.metrics.quality import METRICS
from src.metrics.scorers import make_scorers

from .conftest import InMemory
from .oracles import Oracle, add_noise, blur, double_a_mode, shift, widen
from .test_modes import stacked
from .test_toy import slanted_land, toy

DIGITS = tuple("0123456789")


def take_every(split: Split, k: int) -> Split:
    """The classes 0 and 1 whole, of the others every k-th image."""
    keep = [(split.y == c).nonzero().flatten()[:: 1 if c < 2 else k] for c in range(10)]
    chosen = torch.cat(keep).sort().values
    return Split(split.x[chosen], split.y[chosen])


@pytest.fixture
def make_data(digit_splits: dict[str, Split]) -> Callable[[str], DataModule]:
    def make(kind: str) -> DataModule:
        few = {name: take_every(split, 8) for name, split in digit_splits.items()}
        return {
            "digits": lambda: InMemory("digits", digit_splits, DIGITS),
            "unlabelled": lambda: InMemory(
                "digits", {name: Split(split.x) for name, split in digit_splits.items()}
            ),
            "unbalanced": lambda: InMemory("digits", few, DIGITS),
            "stacked": lambda: stacked(2000),
            "ring": lambda: toy("ring", "wgan_gp"),
            "grid": lambda: toy("grid", "wgan_gp"),
            "gaussian": lambda: toy("gaussian", "d2l"),
            "slanted": slanted_land,
        }[kind]()

    return make


# Kind of data, whether the model is conditional, and samples: as many as there are held-out ones.
KINDS = [
    ("digits", False, 299), ("digits", True, 299), ("unlabelled", False, 299),
    ("unbalanced", False, 102), ("unbalanced", True, 102), ("stacked", False, 1000),
    ("ring", False, 2000), ("grid", False, 2000), ("gaussian", False, 2000),
    ("slanted", False, 2000),
]  # fmt: skip
# Largest difference to the value of real data: a share of it, and a number. Distances to an exact
# distribution are noise alone, so that only their size can be compared.
NOISE = {
    "fid": (0.5, 0), "kid": (0, 0.02), "is": (0.1, 0), "precision": (0, 0.06), "recall": (0, 0.06),
    "density": (0, 0.1), "coverage": (0, 0.1), "sharpness": (0.03, 0), "label": (0, 0.02),
    "modes": (0.03, 0), "kl": (0.05, 0), "kl_uniform": (0.05, 0), "mean_error": (3, 0.02),
    "cov_error": (3, 0.02), "frechet": (3, 0.003), "log_prob": (0, 0.08),
    "high_quality": (0, 0.01), "reverse_kl": (3, 0), "sliced_wasserstein": (2, 0),
    "diagonal": (0, 0), "nearest_error": (0, 0),
}  # fmt: skip


def scores_of(data: DataModule, model: Oracle, n: int, cache: Path) -> Scores:
    settings = {
        "extractor": "auto", "weights": None, "metrics": list(METRICS), "n": n, "seed": 0,
        "importance_samples": [5], "importance_images": 5, "batch_size": 100, "cache": str(cache),
    }  # fmt: skip
    return score_all(make_scorers(settings, data, model), model)


@pytest.mark.parametrize(("kind", "conditional", "n"), KINDS)
def test_real_data_get_their_own_value(
    kind: str, conditional: bool, n: int, make_data: Callable, cache: Path
) -> None:
    data = make_data(kind)
    values, protocols = scores_of(data, Oracle(data, conditional), n, cache)
    for name, record in protocols.items():
        share, most = NOISE[record["metric"]]
        far = abs(values[name] - record["real"])
        assert far <= share * abs(record["real"]) + most, (name, values[name], record["real"])
        if conditional:
            assert record["labels"] == LABELS


# What is wrong, on which data, and the numbers that see it with the factor or distance by which
# they must move: more is worse for those above 0.
SEEN = [
    ("digits", {"keep": 9}, {"fid": 2.0, "kid": 0.01, "coverage": -0.05, "recall": -0.02}),
    ("digits", {"keep": 4}, {"is": -3.0}),
    ("digits", {"wrong": blur}, {"fid": 5.0, "kid": 0.1, "sharpness": -0.5, "precision": -0.1,
                                 "density": -0.2}),
    ("digits", {"conditional": True, "permuted": True}, {"label": -0.9}),
    ("digits", {"conditional": True, "keep": 9}, {"label": -0.05, "fid": 2.0}),
    ("unbalanced", {"conditional": True, "keep": 1}, {"fid": 2.0, "label": -0.2}),
    ("stacked", {"keep": 500}, {"modes": -100.0, "kl": 0.3, "kl_uniform": 0.3}),
    ("ring", {"wrong": double_a_mode}, {"modes": -2.0, "reverse_kl": 0.3, "frechet": 0.3,
                                        "sliced_wasserstein": 0.3}),
    ("gaussian", {"wrong": shift}, {"mean_error": 0.5, "log_prob": -1.0, "frechet": 0.3}),
    ("gaussian", {"wrong": widen}, {"cov_error": 0.5}),
    ("ring", {"wrong": add_noise}, {"high_quality": -0.5}),
    ("slanted", {"wrong": add_noise}, {"diagonal": -0.3, "nearest_error": 0.05}),
]  # fmt: skip
RATIOS = ("fid",)


@pytest.mark.parametrize(("kind", "wrong", "seen"), SEEN)
def test_what_is_wrong_is_seen(
    kind: str, wrong: dict, seen: dict[str, float], make_data: Callable, cache: Path
) -> None:
    data = make_data(kind)
    n = next(n for name, _, n in KINDS if name == kind)
    values, protocols = scores_of(data, Oracle(data, **wrong), n, cache)
    found = {r["metric"]: (values[name], r["real"]) for name, r in protocols.items()}
    for metric, least in seen.items():
        value, real = found[metric]
        if metric in RATIOS:
            assert value > least * real, (metric, value, real)
        else:
            moved = (value - real) * math.copysign(1, least)
            assert moved > abs(least), (metric, value, real)


def test_every_number_is_seen_by_something() -> None:
    assert {metric for _, _, seen in SEEN for metric in seen} == set(NOISE)


def test_labels_have_the_shares_of_the_training_data(make_data: Callable) -> None:
    data = make_data("unbalanced")
    shares = data.splits["train"].y.bincount(minlength=10) / len(data.splits["train"].y)
    drawn = natural_labels(data, 500, seed=3)
    assert (drawn.bincount(minlength=10) - 500 * shares).abs().max() <= 1
    assert drawn.equal(natural_labels(data, 500, seed=3))
    assert not drawn.equal(natural_labels(data, 500, seed=4))
    assert not drawn.equal(drawn.sort().values)
    mean = torch.stack([natural_labels(data, 7, s).bincount(minlength=10) for s in range(2000)])
    # A class of share p has 7 p on average; the standard error is below 0.012.
    assert (mean.float().mean(0) - 7 * shares).abs().max() < 0.05
