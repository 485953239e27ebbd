"""Layers one upon the other, and the deep networks that they are unrolled into.

up      images -> pixels in [0, 1] -> layer 1 -> ... -> layer L -> code
down    code -> layer L -> ... -> layer 1 -> raw outputs
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from src.networks.shallow import Shallow


class Pixels(nn.Module):
    """Images (n, *shape) in [-1, 1] as units (n, d) in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) + 1) / 2


class Stack(nn.Module):
    """Each layer's visible units are the hidden units of the one below.

    Args:
        layers: from the pixels to the code.
        shape: shape of one image.
        gain: from the logits of pixels to what the reconstruction loss takes for raw outputs.
    """

    def __init__(self, layers: Sequence[Shallow], shape: Sequence[int], gain: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.pixels = Pixels()
        self.shape, self.gain = tuple(shape), gain

    def up(self, x: Tensor, n: int | None = None) -> Tensor:
        """Images to hidden units of the n-th layer; None is the last, 0 the pixels themselves."""
        v = self.pixels(x)
        for layer in self.layers[:n]:
            v = layer.hidden(v)
        return v

    def down(self, z: Tensor) -> Tensor:
        """Codes to raw outputs (n, *shape)."""
        bottom, *others = self.layers
        for layer in reversed(others):
            z = layer.visible(z)
        return (self.gain * bottom.logits(z)).unflatten(1, self.shape)

    def encoder(self) -> nn.Sequential:
        """A copy of the way up, from images to codes."""
        network = nn.Sequential(Pixels())
        for layer in self.layers:
            network.append(_affine(layer.weight, layer.hidden_bias))
            if not layer.linear:
                network.append(nn.Sigmoid())
        return network

    def decoder(self) -> nn.Sequential:
        """A copy of the way down, from codes to raw outputs."""
        network = nn.Sequential()
        bottom, *others = self.layers
        for layer in reversed(others):
            network.extend([_affine(layer.back, layer.visible_bias), nn.Sigmoid()])
        network.append(_affine(self.gain * bottom.back, self.gain * bottom.visible_bias))
        return network.append(nn.Unflatten(1, self.shape))


def _affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    """The map x -> weight x + bias, with a copy of both; no random number is drawn."""
    layer = skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
