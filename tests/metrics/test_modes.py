"""Modes and KL against counts by hand, and what real digits get."""

import math
from pathlib import Path

import pytest
import torch

from src.data.base import DataModule
from src.data.stacked_mnist import StackedMNIST
from src.errors import SettingError
from src.metrics.modes import ModesScorer, mode_metrics
from src.networks.classifier import Classifier, save_classifier
from src.networks.features import ClassifierFeatures

from .conftest import sampler_of

DIGITS = ClassifierFeatures("digits")
LABELS = [str(i) for i in range(10)]


def stacked(size: int = 600, **settings: object) -> StackedMNIST:
    defaults = {"name": "mnist", "source": "builtin", "root": "", "resolution": 28}
    data = StackedMNIST(
        kind="images", channels=3, labels=LABELS, cache="", size=size, batch_size=8, seed=0,
        **defaults | settings,
    )  # fmt: skip
    data.setup()
    return data


def test_modes_and_kl_by_hand() -> None:
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125]).double()
    found = mode_metrics(torch.tensor([3.0, 1.0, 0.0, 0.0]).double(), shares)
    assert found["modes"] == 2
    assert found["kl"] == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(1.0))
    assert found["kl_uniform"] == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    exact = mode_metrics(8 * shares, shares)
    assert exact["modes"] == 4
    assert exact["kl"] == pytest.approx(0, abs=1e-12)
    # One mode has a KL of log 1000 against equal shares: the worst there is.
    one = torch.zeros(1000).double()
    one[5] = 26_000
    assert mode_metrics(one, torch.full((1000,), 0.001).double())["kl"] == pytest.approx(
        math.log(1000)
    )
    assert math.isnan(mode_metrics(torch.zeros(4).double(), shares)["kl"])


def test_real_triples_are_counted_right() -> None:
    data = stacked()
    found = ModesScorer(data, DIGITS, n=600, seed=3, batch_size=70)
    scores = found.score(sampler_of(data.splits["train"].x))
    truth = mode_metrics(data.splits["train"].y.bincount(minlength=1000).double(), data.shares)
    # The classifier knows the digits that it was trained on.
    assert scores.values["modes600_digits"] == pytest.approx(truth["modes"], abs=2)
    assert scores.values["kl600_digits"] == pytest.approx(truth["kl"], abs=0.02)
    assert found.headline == {"modes": "modes600_digits", "kl": "kl600_digits"}
    assert list(scores.values) == ["modes600_digits", "kl600_digits", "kl_uniform600_digits"]
    assert scores.values.keys() == scores.protocols.keys()
    record = scores.protocols["kl600_digits"]
    assert (record["n_fake"], record["n_held_out"], record["seed"]) == (600, 600, 3)
    assert record["data_id"] == data.data_id
    assert record["extractor"] == DIGITS.protocol
    assert record["compared_with"] == "exact shares"
    assert scores.protocols["kl_uniform600_digits"]["compared_with"] == "equal shares"
    # 600 samples of 1000 classes cover 1000 (1 - exp(-0.6)) = 451 of them, s.d. 12.
    assert scores.protocols["modes600_digits"]["real"] == pytest.approx(451, abs=48)


def test_the_channels_are_told_apart() -> None:
    data = stacked()
    counted = ModesScorer(data, DIGITS, n=600).count(data.splits["train"].x[:1])
    assert counted.argmax() == data.splits["train"].y[0]
    swapped = data.splits["train"].x[:1].flip(1)
    y = int(data.splits["train"].y[0])
    expected = y % 10 * 100 + y // 10 % 10 * 10 + y // 100
    assert ModesScorer(data, DIGITS, n=600).count(swapped).argmax() == expected


def test_the_batch_size_does_not_matter() -> None:
    data = stacked()
    values = [
        ModesScorer(data, DIGITS, n=600, batch_size=size)
        .score(sampler_of(data.splits["train"].x))
        .values
        for size in (7, 1000)
    ]
    assert values[0] == values[1]


def test_a_collapsed_model() -> None:
    data = stacked()
    one = data.splits["train"].x[:1].expand(600, -1, -1, -1)
    found = ModesScorer(data, DIGITS, n=600).score(sampler_of(one)).values
    assert found["modes600_digits"] == 1
    assert found["kl_uniform600_digits"] == pytest.approx(math.log(1000))
    share = float(data.shares[data.splits["train"].y[0]])
    assert found["kl600_digits"] == pytest.approx(-math.log(share))


def test_samples_that_are_not_finite_give_nan() -> None:
    data = stacked(50)
    x = torch.zeros(50, 3, 28, 28)
    x[30, 1, 4, 4] = math.inf
    found = ModesScorer(data, DIGITS, n=50).score(lambda n, _seed: x[:n])
    assert all(math.isnan(value) for value in found.values.values())


def test_published_number_of_samples() -> None:
    found = ModesScorer(stacked(5), DIGITS)
    assert found.name("kl") == "kl26k_digits"


def test_a_classifier_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="faces"):
        ModesScorer(stacked(5), ClassifierFeatures("faces"))
    path = tmp_path / "letters.safetensors"
    labels = list("abcdefghij")
    save_classifier(Classifier(1, 28, 10), path, name="letters", labels=labels, outputs="classes")
    with pytest.raises(SettingError, match="a, b, c"):
        ModesScorer(stacked(5), ClassifierFeatures(path))
    with pytest.raises(SettingError, match=r"metrics\.n=1"):
        ModesScorer(stacked(5), DIGITS, n=1)


@pytest.mark.slow
def test_real_mnist_has_all_modes(real_mnist: DataModule) -> None:
    data = stacked(26_000, source="real", root=str(real_mnist.root))
    found = ModesScorer(data, ClassifierFeatures("mnist"))
    assert found.protocol("modes")["real"] == 1000
    # (1000 - 1) / 2n = 0.0192, and a little for the classifier's errors and other digits.
    assert found.protocol("kl")["real"] == pytest.approx(0.0205, abs=0.002)
