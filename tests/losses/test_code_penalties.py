"""Code penalties against their definitions, and the contractive one against autograd."""

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, kl_divergence
from torch.testing import assert_close

from src.errors import SettingError
from src.losses.code_penalties import (
    L1,
    Contractive,
    KLSparsity,
    NoCodePenalty,
    _products,
    jacobian_by_autograd,
    jacobian_of_sigmoid_layer,
)
from src.networks.mlp import MLPEncoder


def case(output: str = "sigmoid", hidden: tuple = ()) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return MLPEncoder((1, 5, 5), 7, hidden, output=output), torch.rand(6, 1, 5, 5) * 2 - 1


def test_none_and_l1() -> None:
    encoder, x = case("identity")
    z = encoder(x)
    assert NoCodePenalty()(encoder, x, z) is None
    assert_close(L1(0.5)(encoder, x, z), 0.5 * z.abs().sum() / 6)


def test_kl() -> None:
    encoder, x = case()
    z = encoder(x)
    expected = kl_divergence(Bernoulli(torch.tensor(0.1)), Bernoulli(z.mean(0))).sum()
    assert_close(KLSparsity(2.0, 0.1)(encoder, x, z), 2 * expected)


def test_kl_leads_to_the_target() -> None:
    encoder, x = case()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    penalty = KLSparsity(1.0, 0.2)
    for _ in range(300):
        optimizer.zero_grad()
        penalty(encoder, x, encoder(x)).backward()
        optimizer.step()
    assert_close(encoder(x).mean(0), torch.full((7,), 0.2), rtol=0.01, atol=0)


def test_kl_needs_probabilities() -> None:
    encoder, x = case("relu")
    with pytest.raises(SettingError, match="must be in"):
        KLSparsity(1.0)(encoder, x, encoder(x))
    with pytest.raises(SettingError, match="between 0 and 1"):
        KLSparsity(1.0, 1.0)


def test_the_closed_form_equals_autograd() -> None:
    encoder, x = case()
    closed = jacobian_of_sigmoid_layer(encoder.sigmoid_layer.weight, encoder(x))
    assert_close(closed, jacobian_by_autograd(encoder, x), rtol=1e-5, atol=0)
    gradients = [
        torch.autograd.grad(value.mean(), list(encoder.parameters()))
        for value in (closed, jacobian_by_autograd(encoder, x))
    ]
    assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (9,)])
def test_contractive_against_the_whole_jacobian(hidden: tuple) -> None:
    """On the [0, 1] scale; the deep encoder goes by autograd."""
    encoder, x = case(hidden=hidden)
    assert (encoder.sigmoid_layer is None) == bool(hidden)
    scaled = (x + 1) / 2
    jacobians = [
        torch.autograd.functional.jacobian(lambda u: encoder(2 * u - 1), u[None]) for u in scaled
    ]
    expected = sum(j.square().sum() for j in jacobians) / len(x)
    assert_close(Contractive(0.3)(encoder, x, encoder(x)), 0.3 * expected, rtol=1e-4, atol=1e-6)


def test_probes_estimate_it() -> None:
    """4,000 directions for each of 6 images; 5 %."""
    encoder, x = case(hidden=(9,))
    exact = jacobian_by_autograd(encoder, x).mean()
    estimate = jacobian_by_autograd(encoder, x, probes=4000).mean()
    assert_close(estimate, exact, rtol=0.05, atol=0)


def test_points_have_their_own_scale() -> None:
    torch.manual_seed(0)
    encoder, x = MLPEncoder((3,), 2, (), output="sigmoid"), torch.randn(4, 3)
    expected = jacobian_by_autograd(encoder, x).mean()
    assert_close(Contractive(1.0)(encoder, x, encoder(x)), expected, rtol=1e-5, atol=0)


def test_products_one_by_one_are_those_at_once() -> None:
    """With the gradients behind them: on a GPU they are made one by one."""
    encoder, x = case(hidden=(4,))
    x.requires_grad_()
    z = encoder(x)
    directions = torch.randn(3, *z.shape)
    weights = list(encoder.parameters())[:1]
    found = []
    for batched in (True, False):
        rows = _products(z, x, directions, batched)
        (slope,) = torch.autograd.grad(rows.square().sum(), weights, retain_graph=True)
        found.append((rows, slope))
    assert_close(*found)
