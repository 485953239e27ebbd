"""Bounds of a linear Gaussian model, whose likelihood is known."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from src.data.spec import DataSpec, Split, to_model
from src.errors import SettingError
from src.losses.divergences import kl_to_standard_normal
from src.metrics import likelihood
from src.metrics.likelihood import LikelihoodScorer
from src.models.base import LatentVariableModel

from .conftest import InMemory

NOISE = 0.5
WIDER = 3.0  # variance of q over that of the true posterior


class FactorAnalysis(LatentVariableModel):
    """x = W z + noise with orthogonal columns, of which the last is zero; q is too wide.

    Attributes:
        seen: the images of each call.
        most: draws times images of the largest call.
        told: the labels of each call.
    """

    iterate = latents = decode = None

    def __init__(self) -> None:
        super().__init__(DataSpec("images", (1, 2, 2)), seed=0)
        self.w = torch.tensor([[0.5, 0.3, 0], [0.5, -0.3, 0], [0.5, 0.3, 0], [0.5, -0.3, 0]])
        self.variance = 1 / (1 + self.w.square().sum(0) / NOISE**2)
        self.seen, self.told, self.most = [], [], 0

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.seen.append(x)
        self.told.append(labels)
        mean = x.flatten(1) @ self.w * self.variance / NOISE**2
        return mean, (WIDER * self.variance).log().expand_as(mean)

    def binarize(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x

    def draw(self, x: Tensor, k: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Normal]:
        mean, log_variance = self.posterior(x)
        q = Normal(mean, (0.5 * log_variance).exp())
        z = mean + q.stddev * torch.randn(k, *mean.shape, generator=generator)
        return Normal(z @ self.w.T, NOISE).log_prob(x.flatten(1)).sum(2), z, q

    def elbo_terms(
        self, x: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        log_p, _, q = self.draw(x, 1, generator)
        return -log_p[0], kl_to_standard_normal(q.mean, 2 * q.stddev.log())

    def log_weights(
        self,
        x: Tensor,
        k: int,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        self.most = max(self.most, k * len(x))
        self.told.append(labels)
        log_p, z, q = self.draw(x, k, generator)
        return log_p + (Normal(0, 1).log_prob(z) - q.log_prob(z)).sum(2)

    def log_likelihood(self, x: Tensor) -> float:
        covariance = self.w @ self.w.T + NOISE**2 * torch.eye(4)
        return float(MultivariateNormal(torch.zeros(4), covariance).log_prob(x.flatten(1)).mean())


def images(n: int = 400) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 1, 2, 2), generator=generator, dtype=torch.uint8)


@pytest.fixture
def data() -> InMemory:
    x = images()
    return InMemory("noise", {"train": Split(x[:1]), "test": Split(x)})


def test_the_bounds_have_closed_forms(data: InMemory) -> None:
    model = FactorAnalysis()
    scorer = LikelihoodScorer(data, model, importance_samples=[1, 10, 5000])
    scores = scorer.score()
    assert scorer.headline == {"elbo": "elbo400_test"}
    x = to_model(data.splits["test"].x)
    truth = model.log_likelihood(x)
    gap = 3 * 0.5 * (WIDER - 1 - math.log(WIDER))  # KL(q || true posterior), 1.35
    mean, log_variance = model.posterior(x)
    kl = float(kl_to_standard_normal(mean, log_variance).sum(1).mean())
    names = ("elbo400_test", "nll_reconstruction400_test", "kl400_test")
    elbo, nll, divergence = (scores.values[name] for name in names)
    assert divergence == pytest.approx(kl, rel=1e-5)
    assert elbo == pytest.approx(truth - gap, abs=0.15)
    assert nll == pytest.approx(gap - truth - kl, abs=0.15)
    assert elbo == pytest.approx(-(nll + divergence), rel=1e-6)
    bounds = [scores.values[f"iw{k}_400_test"] for k in (1, 10, 5000)]
    assert bounds[0] == pytest.approx(truth - gap, abs=0.15)
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[2] == pytest.approx(truth, abs=0.01)
    assert scores.protocols["iw5000_400_test"]["draws"] == 5000
    assert scores.protocols["elbo400_test"]["pixels"] == "grey"
    assert set(scores.protocols) == set(scores.values)


def test_units_that_ignore_the_image_are_not_active(data: InMemory) -> None:
    model = FactorAnalysis()
    assert LikelihoodScorer(data, model).score().values["active_units400_test"] == 2
    model.w = model.w * torch.tensor([1, 1e-3, 0])
    assert LikelihoodScorer(data, model).score().values["active_units400_test"] == 1


def test_portions_bound_the_memory(data: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LikelihoodScorer(data, FactorAnalysis(), 40, importance_samples=[7, 600]).score().values
    monkeypatch.setattr(likelihood, "PIXELS", 4 * 100)
    model = FactorAnalysis()
    parts = LikelihoodScorer(data, model, 40, importance_samples=[7, 600]).score().values
    assert model.most == 100  # in 6 portions of 600 draws; 14 images of 7 draws are 98
    assert parts["iw600_40_test"] == pytest.approx(whole["iw600_40_test"], abs=0.05)
    assert parts["iw7_40_test"] == pytest.approx(whole["iw7_40_test"], abs=0.3)


def test_the_seed_is_all_the_chance(data: InMemory) -> None:
    first, again, other = (
        LikelihoodScorer(data, FactorAnalysis(), 50, seed).score().values for seed in (0, 0, 1)
    )
    assert first == again
    assert first["iw50_50_test"] != other["iw50_50_test"]


def test_binary_images_are_drawn_once(data: InMemory) -> None:
    class Binary(FactorAnalysis):
        def binarize(self, x: Tensor, generator: torch.Generator) -> Tensor:
            return torch.bernoulli((x + 1) / 2, generator=generator) * 2 - 1

    model = Binary()
    scores = LikelihoodScorer(data, model, importance_samples=[2, 2]).score()
    assert scores.protocols["iw2_400_test"]["pixels"].startswith("binary")
    first = model.seen[0]
    assert first.unique().tolist() == [-1, 1]
    for seen in model.seen:
        torch.testing.assert_close(seen, first)
    # In the mean they are the grey ones: four standard deviations of 400 pixels.
    torch.testing.assert_close(
        first.mean(0), to_model(data.splits["test"].x).mean(0), rtol=0, atol=0.2
    )


def test_a_conditional_model_is_told_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "PIXELS", 4 * 6)
    labels = torch.arange(20)
    data = InMemory("noise", {"train": Split(images(20), labels)})
    model = FactorAnalysis()
    model.conditional = True
    LikelihoodScorer(data, model, importance_samples=[2]).score()
    told = [y for y in model.told if y is not None]
    assert torch.cat(told).tolist() == [*labels, *labels]  # `posterior` and `log_weights`
    assert LikelihoodScorer(data, model).name("kl") == "kl20_train"


def test_some_of_the_images_are_enough_for_many_draws(data: InMemory) -> None:
    scorer = LikelihoodScorer(data, FactorAnalysis(), importance_images=100)
    scores = scorer.score()
    assert set(scores.values) == {
        f"{metric}400_test" for metric in ("elbo", "nll_reconstruction", "kl", "active_units")
    } | {"iw50_100_test"}
    assert scores.protocols["iw50_100_test"]["n_real"] == 100
    some = FactorAnalysis().log_likelihood(to_model(data.splits["test"].x[::4]))
    assert scores.values["iw50_100_test"] == pytest.approx(some, abs=0.08)


def test_draws_and_images_are_positive(data: InMemory) -> None:
    with pytest.raises(SettingError, match=r"metrics\.importance_samples=\[50, 0\]"):
        LikelihoodScorer(data, FactorAnalysis(), importance_samples=[50, 0])
    with pytest.raises(SettingError, match=r"metrics\.importance_images=0"):
        LikelihoodScorer(data, FactorAnalysis(), importance_images=0)
