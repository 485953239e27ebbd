"""Norms: which layer, what it computes; and that spectral norm survives training's handling."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from src.errors import SettingError
from src.networks.layers import (
    ConditionalBatchNorm,
    ConditionalSequential,
    biased,
    norm_layer,
    refuse_classes,
    spectral,
)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        ("none", nn.Identity),
        ("spectral", nn.Identity),
        ("batch", nn.BatchNorm2d),
        ("layer", nn.GroupNorm),
        ("instance", nn.InstanceNorm2d),
    ],
)
def test_norm_layers(norm: str, kind: type) -> None:
    """Who is normalised: batch a channel, layer a sample, instance a channel of a sample."""
    layer = norm_layer(norm, 3)
    assert type(layer) is kind
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}.get(norm)
    x = 5 + 3 * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    out = layer(x)
    if axes is None:
        assert_close(out, x)
    else:
        assert_close(out.mean(axes), torch.zeros_like(out.mean(axes)), atol=1e-5, rtol=0)
        assert_close(
            out.var(axes, correction=0), torch.ones_like(out.mean(axes)), rtol=1e-3, atol=0
        )
        # With a gain and a bias per channel: the convolution before it needs none.
        assert [parameter.shape for parameter in layer.parameters()] == [(3,), (3,)]
    assert biased(norm) == (axes is None)


def test_conditional_batch_norm() -> None:
    """gain[y] * normalised + bias[y], with the statistics of the whole batch."""
    torch.manual_seed(0)
    x, y = torch.randn(6, 2, 3, 3), torch.tensor([0, 2, 1, 0, 2, 2])
    layer, plain = norm_layer("batch", 2, classes=3), nn.BatchNorm2d(2, affine=False)
    assert isinstance(layer, ConditionalBatchNorm)
    assert_close(layer(x, y), plain(x))  # gains of 1, biases of 0
    with torch.no_grad():
        layer.gain.normal_()
        layer.bias.normal_()
    expected = plain(x)
    for i, label in enumerate(y):
        for channel in range(2):
            expected[i, channel] *= layer.gain[label, channel].item()
            expected[i, channel] += layer.bias[label, channel].item()
    assert_close(layer(x, y), expected)
    assert_close(layer.norm.running_mean, plain.running_mean)


def test_conditional_batch_norm_trains_the_classes_of_the_batch() -> None:
    layer = ConditionalBatchNorm(2, 3)
    layer(torch.randn(4, 2, 3, 3), torch.tensor([0, 2, 0, 2])).square().sum().backward()
    for table in (layer.gain, layer.bias):
        assert [bool(row.any()) for row in table.grad.abs() > 1e-9] == [True, False, True]


@pytest.mark.parametrize("norm", ["none", "layer", "instance", "spectral"])
def test_only_batch_norm_is_conditioned(norm: str) -> None:
    with pytest.raises(SettingError, match=f"model.generator.norm={norm}.*\nUse model.generator"):
        norm_layer(norm, 3, classes=2)


def test_networks_without_a_place_for_classes() -> None:
    refuse_classes(0, "These")
    with pytest.raises(SettingError, match=r"These have no batch norm.*\n.*=concatenate"):
        refuse_classes(2, "These")


def test_a_stack_hands_the_class_to_those_that_take_it() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(2, 3)
    nn.init.normal_(norm.bias)
    stack = ConditionalSequential(nn.ReLU(), ConditionalSequential(norm, nn.ReLU()))
    x, y = torch.randn(3, 2, 4, 4), torch.tensor([0, 1, 2])
    assert_close(stack(x, y), norm(x.relu(), y).relu())


# Spectral norm


def layers() -> list[tuple[nn.Module, Tensor]]:
    """One of each kind, with an input."""
    torch.manual_seed(0)
    return [
        (nn.Linear(6, 4), torch.randn(3, 6)),
        (nn.Linear(6, 1), torch.randn(3, 6)),
        (nn.Embedding(5, 4), torch.tensor([0, 3, 4])),
        (nn.Conv2d(3, 5, 3), torch.randn(2, 3, 6, 6)),
        (nn.ConvTranspose2d(3, 5, 4, 2, 1), torch.randn(2, 3, 6, 6)),
    ]


def largest(weight: Tensor, layer: nn.Module) -> Tensor:
    """Singular value of the weight as a matrix of outputs x the rest."""
    outputs_first = weight.mT if isinstance(layer, nn.Embedding) else weight
    if isinstance(layer, nn.ConvTranspose2d):
        outputs_first = weight.transpose(0, 1)
    return torch.linalg.svdvals(outputs_first.flatten(1))[0]


@pytest.mark.parametrize("index", range(len(layers())))
def test_the_largest_singular_value_is_one(index: int) -> None:
    layer, x = layers()[index]
    before = layer.weight.detach().clone()
    assert spectral(layer) is layer
    for _ in range(50):
        layer(x)
    weight = layer.weight.detach()
    assert_close(largest(weight, layer), torch.tensor(1.0), rtol=1e-4, atol=0)
    assert_close(weight, before / largest(before, layer), rtol=1e-3, atol=1e-6)


def test_all_layers_of_a_network_and_only_if_asked() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1)))
    assert spectral(network, "batch") is network
    assert "0.weight" in dict(network.named_parameters())
    spectral(network)
    assert {name for name, _ in network.named_parameters()} == {
        f"{layer}.{end}"
        for layer in ("0", "2.0")
        for end in ("bias", "parametrizations.weight.original")
    }


def critic() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    return spectral(nn.Sequential(*layers))


def test_one_power_iteration_per_pass_in_training_and_none_in_evaluation() -> None:
    network, x = critic(), torch.randn(2, 1, 6, 6)
    with torch.no_grad():
        network[3].parametrizations.weight.original[0, :32] += 1  # u and v are stale now
    buffers = [buffer.clone() for buffer in network.buffers()]
    network.eval()(x)
    assert all(a.equal(b) for a, b in zip(buffers, network.buffers(), strict=True))
    weight = network[3].parametrizations.weight.original.detach()
    u = network[3].parametrizations.weight[0]._u.clone()
    network.train()(x)
    v = network[3].parametrizations.weight[0]._v
    assert_close(v, nn.functional.normalize(weight.mT @ u.sign(), dim=0).squeeze())
    assert not v.equal(buffers[-1])


def test_copies_and_state_dicts() -> None:
    """A copy is on its own, as an EMA or a checkpoint needs, and continues as the original does."""
    network, x = critic(), torch.randn(2, 1, 6, 6)
    twin, loaded = copy.deepcopy(network), critic()
    loaded.load_state_dict(network.state_dict())
    expected = [network(x).clone() for _ in range(3)]
    for other in (twin, loaded):
        assert all(
            a is not b for a, b in zip(network.parameters(), other.parameters(), strict=True)
        )
        for out in expected:
            assert_close(other(x), out, rtol=0, atol=0)


def test_two_passes_and_a_gradient_penalty_in_one_step() -> None:
    """u and v change in place between the passes, which must not spoil the first one's graph."""
    network = critic()
    real, fake = torch.randn(2, 3, 1, 6, 6).requires_grad_()
    loss = network(fake).sum() - network(real).sum()
    (gradient,) = torch.autograd.grad(network(real).sum(), real, create_graph=True)
    (loss + gradient.square().sum()).backward()
    for name, parameter in network.named_parameters():
        if name != "3.bias":  # D's constant: real - fake has none of it
            assert parameter.grad.abs().sum() > 0
        assert parameter.grad.isfinite().all()


def test_the_gradient_penaltys_gradient() -> None:
    """Against finite differences, through the division by the singular value."""
    network = critic().double().eval()  # eval: u and v stand still
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    weight = network[0].parametrizations.weight.original

    def penalty() -> Tensor:
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(point).sum(), point, create_graph=True)
        return gradient.square().sum()

    (found,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight += step * direction
        ends.append(penalty().item())
        with torch.no_grad():
            weight -= step * direction
    expected = (ends[0] - ends[1]) / 2e-5
    assert_close((found * direction).sum().item(), expected, rtol=1e-5, atol=1e-9)
