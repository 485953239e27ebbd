"""The losses against their definitions in probabilities, and against known values."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from src.losses.adversarial import NonSaturating

REAL = torch.tensor([-3.0, -0.5, 0.0, 0.25, 2.0, 6.0])
FAKE = torch.tensor([-5.0, -1.0, 0.0, 0.75, 1.5])


def log_d(logits: Tensor) -> Tensor:
    return logits.double().sigmoid().log()


def log_not_d(logits: Tensor) -> Tensor:
    return (1 - logits.double().sigmoid()).log()


@pytest.mark.parametrize("t", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_d(t: float, weight: float) -> None:
    real = -t * log_d(REAL) - (1 - t) * log_not_d(REAL)
    expected = weight * (real.mean() - log_not_d(FAKE).mean())
    loss = NonSaturating(real_label=t, d_weight=weight).d(REAL, FAKE)
    assert_close(loss.double(), expected)


@pytest.mark.parametrize("t", [1.0, 0.9])
def test_d_is_the_cross_entropy_of_the_recipes(t: float) -> None:
    expected = F.binary_cross_entropy_with_logits(
        REAL, torch.full_like(REAL, t)
    ) + F.binary_cross_entropy_with_logits(FAKE, torch.zeros_like(FAKE))
    assert_close(NonSaturating(real_label=t).d(REAL, FAKE), expected)


def test_g() -> None:
    assert_close(NonSaturating().g(FAKE).double(), -log_d(FAKE).mean())
    # Label smoothing is one-sided, and D's weight is D's.
    assert_close(NonSaturating(real_label=0.9, d_weight=0.5).g(FAKE), NonSaturating().g(FAKE))


def test_equilibrium() -> None:
    """Where D cannot tell, its loss is 2 ln 2 and G's is ln 2 (Goodfellow et al. 2014, thm. 1)."""
    zero = torch.zeros(7)
    assert_close(float(NonSaturating().d(zero, zero)), 2 * math.log(2), rtol=1e-6, atol=0)
    assert_close(float(NonSaturating(d_weight=0.5).d(zero, zero)), math.log(2), rtol=1e-6, atol=0)
    assert_close(float(NonSaturating().g(zero)), math.log(2), rtol=1e-6, atol=0)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = NonSaturating(real_label=0.9)
    for value in (loss.d(logits, logits), loss.g(logits)):
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_gradients_point_the_right_way() -> None:
    logits = torch.zeros(3, requires_grad=True)
    still = torch.zeros(3)
    loss = NonSaturating()
    gradients = [
        torch.autograd.grad(value, logits)[0]
        for value in (loss.d(logits, still), loss.d(still, logits), loss.g(logits))
    ]
    # d softplus(-x) / dx = -1/2 at 0, over a batch of 3.
    for gradient, sign in zip(gradients, (-1, 1, -1), strict=True):
        assert_close(gradient, torch.full((3,), sign / 6))
    assert NonSaturating.needs_real is False
