"""The divergence against torch.distributions and against sampling."""

import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from src.losses.divergences import kl_to_standard_normal


def test_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(7, 5, generator=generator)
    log_variance = 2 * torch.randn(7, 5, generator=generator)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_known_values() -> None:
    assert_close(kl_to_standard_normal(torch.zeros(3, 2), torch.zeros(3, 2)), torch.zeros(3, 2))
    # A unit variance costs half the squared mean.
    assert_close(
        kl_to_standard_normal(torch.tensor([[3.0]]), torch.zeros(1, 1)), torch.tensor([[4.5]])
    )


def test_never_negative() -> None:
    mean, log_variance = torch.meshgrid(torch.linspace(-2, 2, 21), torch.linspace(-5, 5, 21))
    assert (kl_to_standard_normal(mean, log_variance) >= 0).all()
