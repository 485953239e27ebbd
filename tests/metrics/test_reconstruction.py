"""Reconstruction error against closed forms and PCA's known value."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from src.data.base import DataModule
from src.data.spec import Split, to_model, to_uint8
from src.metrics.base import Scores
from src.metrics.reconstruction import FeatureReconstructionScorer, ReconstructionScorer

from .conftest import InMemory, noise_images


def test_a_constant_error_has_a_closed_form() -> None:
    x = noise_images(30, 0).clamp(60, 200)
    data = InMemory("noise", {"train": Split(x), "test": Split(x[:20])})
    # An error of 0.2 in [-1, 1] is 0.1 in [0, 1].
    scores = ReconstructionScorer(data, lambda x: x + 0.2, batch_size=7).score()
    assert scores.values["mse20_test"] == pytest.approx(784 * 0.01, rel=1e-5)
    assert scores.values["psnr20_test"] == pytest.approx(20.0, rel=1e-5)
    assert scores.protocols["mse20_test"]["data_id"] == data.data_id


def test_a_perfect_reconstruction() -> None:
    x = noise_images(10, 0)
    lost = 0.3 * float((x / 255).square().sum()) / 10  # in expectation
    found = ReconstructionScorer(InMemory("noise", {"train": Split(x)}), lambda x: x)
    assert found.headline == {"mse": "mse10_train"}
    scores = found.score()
    assert scores.values == {
        "mse10_train": 0.0,
        "psnr10_train": math.inf,
        "ssim10_train": pytest.approx(1.0, rel=1e-6),
        "masked_mse10_train": pytest.approx(lost, rel=0.05),
    }


def test_similarity_of_even_images_has_a_closed_form() -> None:
    """Without variance, (2 a b + c) / (a^2 + b^2 + c) of the means is left, c = 0.01^2."""
    data = InMemory("even", {"train": Split(torch.full((3, 1, 12, 12), 51, dtype=torch.uint8))})
    found = ReconstructionScorer(data, lambda x: torch.full_like(x, 0.2)).score()
    a, b = 0.2, 0.6
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert found.values["ssim3_train"] == pytest.approx(expected, rel=5e-4)


def test_a_shifted_image_is_less_similar() -> None:
    data = InMemory("noise", {"train": Split(noise_images(10, 0))})
    shifts = [0, 1, 3]
    found = [
        ReconstructionScorer(data, lambda x, k=k: x.roll(k, 3)).score().values["ssim10_train"]
        for k in shifts
    ]
    assert 1 > found[1] > found[2] > 0


class Means(nn.Module):
    """Two features: the means of the upper and the lower half, in [-1, 1]."""

    name, protocol = "means", "halves"

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = to_model(to_uint8(x)) if x.is_floating_point() else to_model(x)  # as extractors do
        return x.unflatten(2, (2, -1)).mean((1, 3, 4)), None


def score_features(reconstruct: Callable, n: int = 200) -> Scores:
    data = InMemory("noise", {"train": Split(noise_images(n, 0))})
    return FeatureReconstructionScorer(data, Means(), reconstruct, batch_size=7).score()


def test_features_of_perfect_reconstructions_and_of_means() -> None:
    found = score_features(lambda x: x)
    assert found.values == {
        "feature_error200_means": 0.0, "rfid200_means": pytest.approx(0, abs=1e-8)
    }  # fmt: skip
    assert found.protocols["rfid200_means"]["extractor"] == "halves"
    mean = to_model(noise_images(200, 0)).mean(0, keepdim=True)
    lost = score_features(mean.expand_as)
    assert lost.values["feature_error200_means"] == pytest.approx(1, rel=1e-3)
    # All of the variance is gone: what is left of the distance is its trace.
    x = to_model(noise_images(200, 0)).double()
    trace = torch.cov(Means()(x)[0].T).trace()
    assert lost.values["rfid200_means"] == pytest.approx(float(trace), rel=1e-3)


def test_what_features_do_not_see_costs_nothing() -> None:
    """A shift sideways leaves the means of the halves; exchanged halves leave no image."""
    shifted = score_features(lambda x: x.roll(5, 3)).values
    assert shifted["feature_error200_means"] < 1e-6
    assert score_features(lambda x: x.roll(14, 2)).values["feature_error200_means"] > 0.5
    broken = score_features(lambda x: x * math.nan).values
    assert all(math.isnan(value) for value in broken.values())
    assert score_features(lambda x: x, n=1).values == {}


def test_images_are_embedded_once_and_no_more_than_asked_for() -> None:
    extractor = Means()
    seen: list[int] = []
    extractor.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    data = InMemory("noise", {"train": Split(noise_images(200, 0))})
    scorer = FeatureReconstructionScorer(data, extractor, lambda x: x / 2, 100, n=60)
    first = scorer.score()
    assert scorer.score().values == first.values
    assert list(first.values) == ["feature_error60_means", "rfid60_means"]
    assert seen == [60, 60, 60]


def test_a_conditional_model_is_told_the_labels() -> None:
    x, labels = noise_images(10, 0), torch.arange(10)
    data = InMemory("noise", {"train": Split(x), "test": Split(x, labels)})
    told = []

    def reconstruct(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        told.append(y)
        return x

    ReconstructionScorer(data, reconstruct, 3, conditional=True).score()
    assert [part.tolist() for part in told[::2]] == [part.tolist() for part in labels.split(3)]
    assert [part.tolist() for part in told[1::2]] == [part.tolist() for part in labels.split(3)]


def test_pca_of_mnist_has_its_published_error(real_mnist: DataModule) -> None:
    """Hinton & Salakhutdinov 2006: 13.87 with 30 components; 12.6 when clipped to [0, 1]."""
    train = to_model(real_mnist.splits["train"].x).flatten(1)
    mean = train.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov(train.T))
    basis = vectors[:, -30:]

    def project(x: torch.Tensor) -> torch.Tensor:
        z = (x.flatten(1) - mean) @ basis
        return (z @ basis.T + mean).view_as(x)

    scores = ReconstructionScorer(real_mnist, project, 1000).score()
    assert scores.values["mse10k_test"] == pytest.approx(12.6, abs=0.1)
