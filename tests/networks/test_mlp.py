"""Multilayer perceptrons: layers, shapes, initialisation."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.networks.mlp import (
    ACTIVATIONS,
    MLP,
    MLPDecoder,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
)


def linears(network: nn.Module) -> list[tuple[int, int]]:
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers(activation: str) -> None:
    kinds = [type(layer) for layer in MLP([4, 3, 2, 1], activation)]
    between = type(ACTIVATIONS[activation]())
    assert kinds == [nn.Linear, between, nn.Linear, between, nn.Linear]


def test_silu() -> None:
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(ACTIVATIONS["silu"]()(x), x * torch.sigmoid(x))


def test_two_sizes_make_a_linear_map() -> None:
    network = MLP([3, 2])
    x = torch.randn(5, 3)
    assert_close(network(x), x @ network[0].weight.T + network[0].bias)


def test_the_autoencoder_of_the_notes() -> None:
    encoder = MLPEncoder((1, 28, 28), 3, [128, 64, 12])
    decoder = MLPDecoder(3, (1, 28, 28), [12, 64, 128])
    assert linears(encoder) == [(784, 128), (128, 64), (64, 12), (12, 3)]
    assert linears(decoder) == [(3, 12), (12, 64), (64, 128), (128, 784)]
    assert decoder(encoder(torch.randn(2, 1, 28, 28))).shape == (2, 1, 28, 28)


def test_an_encoder_that_sees_pixels_between_0_and_1() -> None:
    plain = MLPEncoder((1, 4, 4), 3, [], output="sigmoid")
    unit = MLPEncoder((1, 4, 4), 3, [], output="sigmoid", unit=True)
    unit.load_state_dict(plain.state_dict())
    x = torch.rand(5, 1, 4, 4) * 2 - 1
    assert_close(unit(x), plain((x + 1) / 2))
    # Its Jacobian is not that of the layer alone: no closed form.
    assert plain.sigmoid_layer is plain.body[0]
    assert unit.sigmoid_layer is None


@pytest.mark.parametrize("shape", [(2,), (1, 5, 5), (3, 4, 4)])
def test_shapes(shape: tuple[int, ...]) -> None:
    fake = MLPGenerator(7, shape, [6])(10 * torch.randn(9, 7))
    assert fake.shape == (9, *shape)
    critique = MLPDiscriminator(shape, [6, 4])(fake)
    assert critique.logits.shape == (9,)
    assert critique.features.shape == (9, 4)
    assert MLPEncoder(shape, 3)(fake).shape == (9, 3)
    assert MLPDecoder(3, shape)(torch.randn(9, 3)).shape == (9, *shape)


def test_images_are_bounded_and_points_are_not() -> None:
    z = 100 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    assert MLPGenerator(7, (1, 3, 3))(z).abs().max() <= 1
    assert MLPGenerator(7, (2,))(z).abs().max() > 1


def test_a_generator_without_hidden_layers_is_affine() -> None:
    generator = MLPGenerator(2, (2,), [])
    a, b = torch.randn(4, 2), torch.randn(4, 2)
    assert_close(generator((a + b) / 2), (generator(a) + generator(b)) / 2)
    assert linears(generator) == [(2, 2)]


def test_glorot() -> None:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), zero biases."""
    torch.manual_seed(0)
    for layer in MLP([300, 200, 100], init="glorot"):
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert 0.99 * bound < float(layer.weight.abs().max()) <= bound
            assert_close(float(layer.weight.std()), bound / 3**0.5, rtol=0.02, atol=0)
            assert_close(layer.bias, torch.zeros_like(layer.bias))


def test_normal_all() -> None:
    torch.manual_seed(0)
    network = MLP([300, 200], init="normal_all")
    for parameter in network.parameters():
        assert 0.8 * 0.02 < float(parameter.std()) < 1.2 * 0.02


def test_default_init_is_torchs() -> None:
    torch.manual_seed(0)
    expected = nn.Linear(3, 2)
    torch.manual_seed(0)
    network = MLP([3, 2])
    assert_close(network[0].weight, expected.weight)
    assert_close(network[0].bias, expected.bias)


def test_unit_normal() -> None:
    """All parameters N(0, 1), biases too: the one-neuron GAN."""
    torch.manual_seed(0)
    for parameter in MLP([300, 200], init="unit").parameters():
        assert 0.8 < float(parameter.detach().std()) < 1.2


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm), ("none", None)]
)
def test_norms_stand_before_each_activation(norm: str, kind: type | None) -> None:
    kinds = [type(layer) for layer in MLP([4, 3, 2, 1], norm=norm)]
    hidden = [nn.Linear, *([kind] if kind else []), nn.ReLU]
    assert kinds == [*hidden, *hidden, nn.Linear]


def test_norms_of_both_players() -> None:
    generator = MLPGenerator(7, (2,), [6, 5], norm="batch")
    discriminator = MLPDiscriminator((2,), [6, 5], norm="layer")
    for network, kind in ((generator, nn.BatchNorm1d), (discriminator, nn.LayerNorm)):
        widths = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kind)]
        assert widths == [(6,), (5,)]
    assert discriminator(generator(torch.randn(4, 7))).features.shape == (4, 5)


def test_spectral_norm_of_every_layer() -> None:
    """The slope of D is bounded by 1: spectral norms are 1, the activation's slope is at most 1."""
    torch.manual_seed(0)
    network = MLPDiscriminator((2,), [16, 16], init="unit", norm="spectral")
    x = 3 * torch.randn(500, 2)
    for _ in range(50):
        network(x)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            largest = torch.linalg.svdvals(module.weight.detach())[0]
            assert_close(largest, torch.tensor(1.0), rtol=1e-3, atol=0)
    logits = network.eval()(x).logits.detach()
    slopes = (logits[:250] - logits[250:]).abs() / (x[:250] - x[250:]).norm(dim=1)
    assert 0.01 < slopes.max() <= 1.001


def test_a_discriminator_without_hidden_layers_is_one_neuron() -> None:
    network = MLPDiscriminator((4,), [])
    assert linears(network) == [(4, 1)]
    assert network.features == 4
    x = torch.randn(3, 4)
    critique = network(x)
    assert_close(critique.features, x)
    assert_close(critique.logits, x @ network.head.weight[0] + network.head.bias)


@pytest.mark.parametrize("shape", [(2,), (1, 3, 3)])
@pytest.mark.parametrize("output", ["auto", "tanh", "sigmoid", "identity"])
def test_outputs(output: str, shape: tuple[int, ...]) -> None:
    network = MLPGenerator(7, shape, [6], output=output)
    if output == "auto":
        output = "identity" if len(shape) == 1 else "tanh"
    function = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "identity": lambda x: x}[output]
    z = 10 * torch.randn(9, 7)
    assert_close(network(z), function(network.body(z)).view(9, *shape))
