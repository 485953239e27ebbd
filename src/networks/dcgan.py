"""DCGAN's networks: strided convolutions all the way (Radford, Metz & Chintala 2016).

A generator of 64 px runs 1 -> 4 -> 8 -> 16 -> 32 -> 64 with widths 8w, 4w, 2w, w: the number of
stages, and so the width of the first, follows from the resolution. 28 px runs 4 -> 7 -> 14 -> 28:
an even size is reached by a kernel of 4, an odd one by a kernel of 3. 96 px run 6 -> 12 ... -> 96.
Batch norm everywhere but at G's output and D's input and output; ReLU in G, leaky ReLU in D; no
biases; weights N(0, 0.02^2). Another norm can stand in its place; where none brings a bias, the
hidden convolutions have their own.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.networks.base import Critique, Discriminator, Generator
from src.networks.layers import (
    CONVOLUTION,
    TRANSPOSED,
    ConditionalSequential,
    Norm,
    biased,
    init_normal_,
    norm_layer,
    refuse_classes,
    sizes,
    spectral,
)


def _kernel(size: int) -> int:
    """Kernel size of the convolution from `size` to its half: stride 2, padding 1."""
    return 3 if size % 2 else 4


def upward(
    latent_dim: int,
    shape: Sequence[int],
    width: int,
    norm: Norm,
    classes: int = 0,
    last_bias: bool = False,
) -> list[nn.Module]:
    """Layers from z (n, latent_dim) to raw outputs (n, *shape), of images or voxels.

    Args:
        latent_dim: length of z.
        shape: (c, r, r) of an image, (c, r, r, r) of voxels.
        width: channels of the last hidden stage.
        norm: after each hidden stage.
        classes: above 0, batch norm is conditioned on the class.
        last_bias: whether the output has a bias.
    """
    channels, dims, resolution = shape[0], len(shape) - 1, shape[-1]
    first, *targets = sizes(resolution)
    widths = [width << i for i in reversed(range(len(targets)))]
    transposed, bias = TRANSPOSED[dims], biased(norm)
    layers: list[nn.Module] = [
        nn.Unflatten(1, (latent_dim, *[1] * dims)),
        transposed(latent_dim, widths[0], first, 1, 0, bias=bias),
    ]
    outputs = [*widths[1:], channels]
    for size, fan_in, fan_out in zip(targets, widths, outputs, strict=True):
        own_bias = bias if size != resolution else last_bias
        layers += [
            norm_layer(norm, fan_in, classes, dims),
            nn.ReLU(inplace=True),
            transposed(fan_in, fan_out, _kernel(size), 2, 1, bias=own_bias),
        ]
    return layers


def downward(shape: Sequence[int], width: int, norm: Norm) -> tuple[list[nn.Module], int]:
    """Layers from images or voxels (n, *shape) to the first of `sizes`, and the channels there.

    Args:
        shape: see `upward`.
        width: channels of the first stage.
        norm: between the stages.
    """
    channels, dims, resolution = shape[0], len(shape) - 1, shape[-1]
    sources = sizes(resolution)[:0:-1]
    widths = [width << i for i in range(len(sources))]
    inputs = [channels, *widths[:-1]]
    layers: list[nn.Module] = []
    for size, fan_in, fan_out in zip(sources, inputs, widths, strict=True):
        layers += [CONVOLUTION[dims](fan_in, fan_out, _kernel(size), 2, 1, bias=biased(norm))]
        layers += [norm_layer(norm, fan_out, dims=dims)] if size != resolution else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return layers, widths[-1]


class DCGANGenerator(Generator):
    """z (n, latent_dim), and y (n,) if conditional, to images (n, c, r, r) in [-1, 1].

    Args:
        latent_dim: length of z.
        shape: (c, r, r) of one image.
        width: channels of the last hidden stage (the paper's 64).
        norm: after each hidden stage.
        classes: above 0, batch norm is conditioned on the class.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: PositiveInt = 64,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        classes: int = 0,
    ) -> None:
        super().__init__()
        layers = upward(latent_dim, shape, width, norm, classes)
        self.body = ConditionalSequential(*layers, nn.Tanh())
        self.apply(init_normal_)
        spectral(self, norm)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(z, y)


class DCGANDiscriminator(Discriminator):
    """Images (n, c, r, r) in [-1, 1] to a `Critique`.

    Args:
        shape: (c, r, r) of one image.
        width: channels of the first stage.
        norm: between the stages. A gradient penalty wants another than batch norm, with which one
            sample's gradient depends on the others.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: the last stage's, 4 x 4 positions at 64 px.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 64,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "DCGAN's discriminators")
        layers, last = downward(shape, width, norm)
        self.body = nn.Sequential(*layers)
        side = sizes(shape[-1])[0]
        self.head = nn.Conv2d(last, 1, side, 1, 0, bias=False)
        self.features = side**2 * last
        self.apply(init_normal_)
        spectral(self, norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        features = self.body(x)
        return Critique(self.head(features).flatten(), features.flatten(1))
