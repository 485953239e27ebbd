"""The average against its formula."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.models.parts.ema import EMA
from tests.models.conftest import TINY, built, steps


def constant(value: float) -> nn.Linear:
    network = nn.Linear(3, 2)
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


@pytest.mark.parametrize("n", [1, 10, 100])
def test_half_life(n: int) -> None:
    """After half_life samples half of the way is gone, whatever the batch size."""
    ema = EMA(constant(0.0), half_life=100, ramp=None)
    for i in range(100 // n):
        ema.update(constant(1.0), n, (i + 1) * n)
    for parameter in ema.parameters():
        assert_close(parameter, torch.full_like(parameter, 0.5))


def test_recursion() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    ema = EMA(network, half_life=50, ramp=None)
    expected = network.weight.detach().double().clone()
    beta = 0.5 ** (7 / 50)
    for i in range(20):
        nn.init.normal_(network.weight)
        ema.update(network, 7, 7 * (i + 1))
        expected = beta * expected + (1 - beta) * network.weight.detach().double()
    assert_close(ema.network.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_ramp() -> None:
    """Early on the half-life is a share of the samples seen."""
    ema = EMA(constant(0.0), half_life=1e9, ramp=0.05)
    ema.update(constant(1.0), 10, 200)  # half-life 10
    assert_close(ema.network.weight, torch.full((2, 3), 0.5))
    ema.update(constant(1.0), 10, 400)  # half-life 20
    assert_close(ema.network.weight, torch.full((2, 3), 1 - 0.5 * 0.5**0.5))
    late = EMA(constant(0.0), half_life=10, ramp=0.05)
    late.update(constant(1.0), 10, 10**6)  # past the ramp
    assert_close(late.network.weight, torch.full((2, 3), 0.5))


def test_the_start_is_forgotten_at_once() -> None:
    ema = EMA(constant(0.0), half_life=1e6, ramp=0.05)
    ema.update(constant(1.0), 64, 64)
    assert_close(ema.network.weight, torch.ones(2, 3), rtol=0, atol=1e-5)


def test_statistics_are_averaged_and_counters_copied() -> None:
    network = nn.BatchNorm1d(2)
    ema = EMA(network, half_life=10, ramp=None)
    network.running_mean.fill_(4.0)
    network.num_batches_tracked.fill_(7)
    ema.update(network, 10, 10)
    assert_close(ema.network.running_mean, torch.full((2,), 2.0))
    assert ema.network.num_batches_tracked == 7


def test_another_network_and_buffers_that_were_replaced_are_followed() -> None:
    ema = EMA(nn.BatchNorm1d(2), half_life=10, ramp=None)
    for value in (4.0, 8.0):
        network = nn.BatchNorm1d(2)
        nn.init.constant_(network.weight, value)
        network.running_mean.fill_(value)
        ema.update(network, 10, 10)
    assert_close(ema.network.weight, torch.full((2,), 0.25 * 1 + 0.25 * 4 + 0.5 * 8))
    assert_close(ema.network.running_mean, torch.full((2,), 0.25 * 4 + 0.5 * 8))
    network.double()  # as moves to a device do, it puts new tensors in the place of buffers
    ema.double()
    network.running_mean.fill_(0.0)
    ema.update(network, 10, 20)
    assert_close(ema.network.running_mean, torch.full((2,), 2.5, dtype=torch.double))


def test_it_is_a_copy_that_learns_nothing_and_stays_in_eval_mode() -> None:
    network = constant(1.0)
    ema = EMA(network, half_life=10)
    assert not any(parameter.requires_grad for parameter in ema.parameters())
    ema.train()
    assert not any(module.training for module in ema.modules())
    nn.init.zeros_(network.weight)
    assert_close(ema.network.weight, torch.ones(2, 3))
    assert network.training


@pytest.mark.parametrize("d_steps", [1, 3])
def test_in_a_gan(d_steps: int) -> None:
    """One update per iteration, of all reals in it."""
    model = built(*TINY, f"model.d_steps={d_steps}")
    key = next(iter(model.generator.state_dict()))
    expected, n = model.generator.state_dict()[key].double().clone(), 8 * d_steps
    for i in range(4):
        steps(model)
        half_life = min(model.ema.half_life, model.ema.ramp * n * (i + 1))
        step = 1 - 0.5 ** (n / half_life)
        expected += step * (model.generator.state_dict()[key].double() - expected)
    assert_close(model.ema.network.state_dict()[key].double(), expected, rtol=1e-5, atol=1e-6)
