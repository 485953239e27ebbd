"""R1 against a critic whose gradient is known, against finite differences, and as a loss."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from src.losses.penalties import R1, NoPenalty, squared_gradient_norm


def quadratic(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """D(x) = x A x / 2 + b x, with gradient A x + b for a symmetric A."""
    flat = x.flatten(1)
    return (flat @ a * flat).sum(1) / 2 + flat @ b


def symmetric(d: int) -> Tensor:
    a = torch.randn(d, d, generator=torch.Generator().manual_seed(0))
    return a + a.T


def test_a_quadratic_critic() -> None:
    a, b = symmetric(12), torch.linspace(-1, 1, 12)
    x = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    expected = (x.flatten(1) @ a + b).square().sum(1)
    assert_close(squared_gradient_norm(partial(quadratic, a=a, b=b), x), expected)


def test_finite_differences() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0)).double()
    x, h = torch.randn(6, 4).double(), 1e-5

    def values(points: Tensor) -> Tensor:
        return critic(points.detach())

    slopes = [(values(x + h * e) - values(x - h * e)) / (2 * h) for e in torch.eye(4).double()]
    expected = torch.stack(slopes).square().sum(0)
    got = squared_gradient_norm(lambda points: critic(points.double()), x)
    assert_close(got.double(), expected, rtol=1e-5, atol=1e-8)  # the points are made float32


@pytest.mark.parametrize(("gamma", "every"), [(0.1, 1), (10.0, 1), (2.0, 16)])
def test_r1(gamma: float, every: int) -> None:
    """(gamma / 2) E |grad|^2, times `every` since it is applied that rarely."""
    slope = torch.tensor([3.0, -4.0])
    penalty = R1(gamma, every).d(lambda x: x @ slope, torch.randn(9, 2), torch.randn(9, 2))
    assert_close(penalty.item(), every * gamma / 2 * 25, rtol=1e-6, atol=0)


def test_r1_looks_at_reals_only() -> None:
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x)
        return x.square().sum(1)

    real, fake = torch.ones(4, 2), torch.full((4, 2), 7.0)
    assert_close(R1(1.0).d(critic, real, fake).item(), 0.5 * 8, rtol=1e-6, atol=0)
    assert len(seen) == 1
    assert_close(seen[0].detach(), real)


def test_the_critics_weights_get_the_penaltys_gradient() -> None:
    """d/dw (gamma / 2) w^2 = gamma w for D(x) = w x."""
    w = torch.tensor([[3.0]], requires_grad=True)
    R1(0.2).d(lambda x: (x @ w).flatten(), torch.randn(8, 1), torch.randn(8, 1)).backward()
    assert_close(w.grad, torch.tensor([[0.6]]))


def test_reals_are_left_alone() -> None:
    real = torch.randn(3, 2)
    R1(1.0).d(lambda x: x.sum(1), real, real)
    assert not real.requires_grad


def test_float32_within_autocast() -> None:
    kinds = []

    def critic(x: Tensor) -> Tensor:
        y = x @ torch.ones(2, 1)
        kinds.append((x.dtype, y.dtype))
        return y.flatten()

    with torch.autocast("cpu", torch.bfloat16):
        penalty = R1(1.0).d(critic, torch.randn(4, 2).bfloat16(), torch.randn(4, 2))
    assert kinds == [(torch.float32, torch.float32)]
    assert penalty.dtype == torch.float32


def test_no_penalty() -> None:
    assert float(NoPenalty().d(lambda x: x, torch.randn(3, 2), torch.randn(3, 2))) == 0
    assert NoPenalty.every == 0
