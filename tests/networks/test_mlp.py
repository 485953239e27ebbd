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
