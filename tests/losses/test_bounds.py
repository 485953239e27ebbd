"""The VAE's objectives against known laws."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from src.errors import SettingError
from src.losses.bounds import ELBO, IWAE
from src.losses.divergences import log_prior_ratio


def drawn(k: int) -> tuple[torch.Tensor, ...]:
    """nll (k, 3), z (k, 3, 2), mean and log-variance (3, 2)."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 2, generator=generator)
    log_variance = torch.randn(3, 2, generator=generator)
    noise = torch.randn(k, 3, 2, generator=generator)
    nll = torch.rand(k, 3, generator=generator)
    return nll, mean + noise * (log_variance / 2).exp(), mean, log_variance


def test_elbo() -> None:
    nll, z, mean, log_variance = drawn(4)
    kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    assert_close(ELBO(samples=4)(nll, z, mean, log_variance), nll.mean(0) + kl)
    assert_close(ELBO(3.0, samples=4)(nll, z, mean, log_variance), nll.mean(0) + 3 * kl)
    assert_close(ELBO(0.0, samples=4)(nll, z, mean, log_variance), nll.mean(0))


def test_the_divergence_warms_up() -> None:
    terms = drawn(1)
    for progress, share in ((0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.7, 1.0)):
        warm = ELBO(3.0, warm_up=0.2)(*terms, progress)
        assert_close(warm, ELBO(3.0 * share)(*terms))
    assert ELBO(3.0)(*terms, 0.0).equal(ELBO(3.0)(*terms))


def test_log_prior_ratio() -> None:
    _, z, mean, log_variance = drawn(4)
    q = Normal(mean, (log_variance / 2).exp())
    expected = (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
    assert_close(log_prior_ratio(z, mean, log_variance), expected)


def test_iwae() -> None:
    nll, z, mean, log_variance = drawn(4)
    q = Normal(mean, (log_variance / 2).exp())
    weights = (-nll + (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)).exp()
    assert_close(IWAE(4)(nll, z, mean, log_variance), -weights.mean(0).log())


def test_the_bounds_on_a_linear_gaussian_model() -> None:
    """x = z + noise in one dimension, p(x) = N(0, 1 + v), a q that is too wide and beside the mark.

    The importance-weighted bound rises towards log p(x) with k; 0.01 nats of 20,000 repetitions.
    """
    v, x, repeat = 0.5, 1.2, 20_000
    likelihood = Normal(0.0, math.sqrt(1 + v)).log_prob(torch.tensor(x))
    mean, log_variance = torch.full((repeat, 1), 0.5), torch.full((repeat, 1), math.log(0.6))
    bounds = []
    for k in (1, 5, 50, 500):
        noise = torch.randn(k, repeat, 1, generator=torch.Generator().manual_seed(k))
        z = mean + noise * (log_variance / 2).exp()
        nll = -Normal(z[..., 0], math.sqrt(v)).log_prob(torch.tensor(x))
        bounds.append(-float(IWAE(k)(nll, z, mean, log_variance).mean()))
    q = Normal(0.5, math.sqrt(0.6))
    posterior = Normal(x / (1 + v), math.sqrt(v / (1 + v)))
    assert bounds == sorted(bounds)
    assert_close(bounds[0], float(likelihood - kl_divergence(q, posterior)), rtol=0, atol=0.02)
    assert_close(bounds[-1], float(likelihood), rtol=0, atol=0.01)
    assert float(likelihood) - bounds[0] > 0.1


@pytest.mark.parametrize(
    "make",
    [lambda: ELBO(beta=-1.0), lambda: ELBO(samples=0), lambda: ELBO(warm_up=2.0), lambda: IWAE(0)],
)
def test_refused(make: object) -> None:
    with pytest.raises(SettingError, match=r"model\.objective"):
        make()
