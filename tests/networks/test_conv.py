"""Strided convolutions down, transposed convolutions up."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.networks.conv import ConvDecoder, ConvEncoder


@pytest.mark.parametrize("size", [28, 32, 64])
def test_the_decoder_goes_through_the_encoders_sizes_in_reverse(size):
    encoder, decoder = ConvEncoder((1, size, size), 8, 4), ConvDecoder(8, (1, size, size), 4)
    down, up = [], []
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, output: down.append(output.shape[-1]))
    for layer in decoder.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, inputs, __: up.append(inputs[0].shape[-1]))
    x = torch.randn(3, 1, size, size)
    assert decoder(encoder(x)).shape == x.shape
    assert down == [s for s in reversed(up) if s > 1]  # the code itself is 1 x 1


@pytest.mark.parametrize("size", [28, 64])
def test_a_transposed_convolution_restores_the_shape_and_not_the_values(size):
    """It is the adjoint, <C x, y> = <x, C' y>, which is the inverse of orthogonal maps only."""
    torch.manual_seed(0)
    x = torch.randn(2, 1, size, size, dtype=torch.float64)
    network = ConvEncoder((1, size, size), 8, 4).double()
    for layer in (layer for layer in network.modules() if isinstance(layer, nn.Conv2d)):
        y = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
        # Which of the sizes that the convolution maps to this one it was cannot be known from it.
        fitting = {"stride": layer.stride, "padding": layer.padding}
        smallest = F.conv_transpose2d(y, layer.weight, **fitting)
        missing = x.shape[-1] - smallest.shape[-1]
        back = F.conv_transpose2d(y, layer.weight, output_padding=missing, **fitting)
        assert back.shape == x.shape
        assert (back - x).norm() > 0.5 * x.norm()
        other = torch.randn_like(y)
        adjoint = F.conv_transpose2d(other, layer.weight, output_padding=missing, **fitting)
        assert_close((y * other).sum(), (x * adjoint).sum())
        x = F.leaky_relu(y)
    assert x.shape[-1] < size / 4
