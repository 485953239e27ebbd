"""A Boltzmann machine of 3 visible and 2 hidden units: all that it says can be summed by hand."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.networks.rbm import RBM
from src.transforms.corruptions import NoCorruption

WEIGHT = [[0.5, -1.0, 0.3], [-0.2, 0.8, 1.5]]
HIDDEN_BIAS, VISIBLE_BIAS = [0.1, -0.4], [-0.3, 0.2, 0.6]
STATES = torch.tensor(list(product([0.0, 1.0], repeat=3)))


def machine(linear: bool = False, weight_cost: float = 0.0) -> RBM:
    rbm = RBM(3, 2, linear, weight_cost=weight_cost)
    with torch.no_grad():
        rbm.weight.copy_(torch.tensor(WEIGHT))
        rbm.hidden_bias.copy_(torch.tensor(HIDDEN_BIAS))
        rbm.visible_bias.copy_(torch.tensor(VISIBLE_BIAS))
    return rbm


def energy(v: list[float], h: list[float]) -> float:
    """Of binary units, term by term."""
    pairs = sum(h[j] * WEIGHT[j][i] * v[i] for i in range(3) for j in range(2))
    visible = sum(VISIBLE_BIAS[i] * v[i] for i in range(3))
    return -pairs - visible - sum(HIDDEN_BIAS[j] * h[j] for j in range(2))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def up(v: list[float]) -> list[float]:
    return [sigmoid(HIDDEN_BIAS[j] + sum(WEIGHT[j][i] * v[i] for i in range(3))) for j in range(2)]


def down(h: list[float]) -> list[float]:
    return [sigmoid(VISIBLE_BIAS[i] + sum(WEIGHT[j][i] * h[j] for j in range(2))) for i in range(3)]


def normaliser(rbm: RBM) -> Tensor:
    """log Z, over all visible states."""
    return torch.logsumexp(-rbm.free_energy(STATES), 0)


def test_free_energy_is_the_sum_over_hidden_states() -> None:
    hidden = list(product([0.0, 1.0], repeat=2))
    expected = [-math.log(sum(math.exp(-energy(v, h)) for h in hidden)) for v in STATES.tolist()]
    assert_close(machine().free_energy(STATES), torch.tensor(expected))
    total = sum(math.exp(-energy(v, h)) for v in STATES.tolist() for h in hidden)
    assert_close(normaliser(machine()).item(), math.log(total), rtol=1e-5, atol=0)


def test_free_energy_of_linear_units_is_the_integral_over_them() -> None:
    rbm = machine(linear=True)
    axis = torch.linspace(-12, 12, 601, dtype=torch.double)
    h = torch.cartesian_prod(axis, axis)
    step = float(axis[1] - axis[0])
    for v, free_energy in zip(STATES, rbm.free_energy(STATES), strict=True):
        drive = rbm.drive(v[None]).double()
        bias = (v @ rbm.visible_bias).double()
        total = (h @ drive[0] - h.square().sum(1) / 2).exp().sum() * step**2
        assert_close(-bias - total.log(), free_energy.double(), rtol=1e-5, atol=1e-5)


def test_the_conditional_laws() -> None:
    rbm = machine()
    v, h = [1.0, 0.0, 1.0], [0.0, 1.0]
    assert_close(rbm.hidden(torch.tensor([v])), torch.tensor([up(v)]))
    assert_close(rbm.visible(torch.tensor([h])), torch.tensor([down(h)]))
    assert_close(rbm.logits(torch.tensor([h])).sigmoid(), torch.tensor([down(h)]))
    linear = machine(linear=True)
    assert_close(linear.hidden(torch.tensor([v])), linear.drive(torch.tensor([v])))


def test_hidden_units_are_drawn_from_their_law() -> None:
    """Within 5 standard errors."""
    drive, n = torch.tensor([[-1.0, 2.0]]), 40_000
    torch.manual_seed(0)
    drawn = machine().draw_hidden(drive.expand(n, 2))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert_close(drawn.mean(0), drive[0].sigmoid(), rtol=0, atol=2.5 / math.sqrt(n))
    linear = machine(linear=True).draw_hidden(drive.expand(n, 2))
    assert_close(linear.mean(0), drive[0], rtol=0, atol=5 / math.sqrt(n))
    assert_close(linear.var(0), torch.ones(2), rtol=0, atol=5 * math.sqrt(2 / n))


@pytest.mark.parametrize("linear", [False, True])
def test_the_gradient_is_the_cd_1_update(linear: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All units by hand; only what is drawn is given."""
    rbm = machine(linear, weight_cost=0.1)
    data, drawn = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.25]], [[1.0, 0.0], [0.0, 1.0]]
    monkeypatch.setattr(rbm, "draw_hidden", lambda _: torch.tensor(drawn))
    if linear:

        def mean(v: list[float]) -> list[float]:
            return [math.log(p / (1 - p)) for p in up(v)]

    else:
        mean = up
    weight = [[0.1 * WEIGHT[j][i] for i in range(3)] for j in range(2)]
    hidden_bias, visible_bias, error = [0.0] * 2, [0.0] * 3, 0.0
    for v, h in zip(data, drawn, strict=True):
        again = down(h)
        first, second = mean(v), mean(again)
        for j in range(2):
            for i in range(3):
                weight[j][i] -= (first[j] * v[i] - second[j] * again[i]) / 2
            hidden_bias[j] -= (first[j] - second[j]) / 2
        for i in range(3):
            visible_bias[i] -= (v[i] - again[i]) / 2
            error += (v[i] - again[i]) ** 2 / 2
    loss, shown = rbm.learn(torch.tensor(data), NoCorruption())
    loss.backward()
    assert_close(rbm.weight.grad, torch.tensor(weight))
    assert_close(rbm.hidden_bias.grad, torch.tensor(hidden_bias))
    assert_close(rbm.visible_bias.grad, torch.tensor(visible_bias))
    assert_close(shown.item(), error)


def test_data_become_likely() -> None:
    """Two units agree in 4 of 5 cases: the best law has that law's entropy, 1.887 nats."""
    torch.manual_seed(0)
    rbm = RBM(3, 2, std=0.1)
    data = STATES.repeat_interleave(torch.tensor([16 if v[0] == v[1] else 4 for v in STATES]), 0)
    entropy = 2 * math.log(2) - 0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1, momentum=0.9)

    @torch.no_grad()
    def nats() -> float:
        return float(rbm.free_energy(data).mean() + normaliser(rbm))

    assert nats() > entropy + 0.15
    for _ in range(1000):
        optimizer.zero_grad()
        rbm.contrast(data)[0].backward()
        optimizer.step()
    assert entropy < nats() < entropy + 0.03


def test_the_start() -> None:
    torch.manual_seed(0)
    rbm = RBM(200, 300, std=0.01)
    assert_close(rbm.weight.std().item(), 0.01, rtol=0.02, atol=0)
    assert abs(float(rbm.weight.detach().mean())) < 5 * 0.01 / math.sqrt(60_000)
    assert not rbm.hidden_bias.any()
    assert not rbm.visible_bias.any()
