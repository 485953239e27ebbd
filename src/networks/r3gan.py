"""R3GAN's networks: residual and grouped, without norms (Huang et al. 2024, "The GAN is dead; long
live the GAN!", sec. 4; code: brownvc/R3GAN, R3GAN/Networks.py).

    block   x + P(a(S(a(E x))))   E 1x1 to twice the width, S 3x3 in groups, P 1x1, 0 at first
    G       basis (w, 4, 4) * Lin(z), then per stage: [1x1, double the size,] blocks; 1x1
    D       1x1, then per stage: blocks [, halve the size, 1x1]; depthwise 4x4, Lin

a is a leaky ReLU of slope 0.2 with a bias before it; no other layer has one. Resampling is by the
binomial filter [1, 2, 1]. Weights are He-normal, in the blocks times L^(-1/4) where L is the number
of blocks: with the zero init of P, this is Fixup (Zhang et al. 2019), which stands in for norms.
The stages at 4 px, with the logit, are float32 under autocast too, as published.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import PositiveInt
from src.errors import SettingError
from src.networks.base import Critique, Discriminator, Generator
from src.networks.layers import refuse_classes, sizes
from src.networks.resample import Resample

SLOPE = 0.2


def _he(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> nn.Module:
    """Weights N(0, gain^2 / fan_in), bias 0."""
    nn.init.normal_(layer.weight, 0.0, gain / layer.weight[0].numel() ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


MOST_BLOCKS = 64  # per stage


def _widths(widths: Sequence[int] | None, stages: int, player: str) -> list[int]:
    """Widths of the stages from the image's resolution down to 4 px."""
    if widths is None:
        # 768 everywhere to 32 px (four stages); each doubling of the resolution halves the first.
        widths = [768 >> i for i in range(max(stages - 4, 0), -1, -1)]
    if not widths:
        raise SettingError(f"model.{player}.widths=[] must have a width, or be null.")
    return [*widths, *[widths[-1]] * stages][:stages]


def _check_blocks(blocks: int, player: str) -> None:
    if not 1 <= blocks <= MOST_BLOCKS:
        raise SettingError(f"model.{player}.blocks={blocks} must be from 1 to {MOST_BLOCKS}.")


class Block(nn.Module):
    """The inverted bottleneck, with a residual branch that is 0 at first."""

    def __init__(self, width: int, expansion: int, group_size: int, blocks: int) -> None:
        super().__init__()
        inner = expansion * width
        if inner % group_size:
            raise SettingError(
                f"group_size={group_size} does not divide {expansion} x {width} channels."
            )
        gain = math.sqrt(2 / (1 + SLOPE**2)) * blocks**-0.25
        # A convolution's bias is that of the activation after it.
        self.expand = _he(nn.Conv2d(width, inner, 1), gain)
        self.spatial = _he(nn.Conv2d(inner, inner, 3, 1, 1, groups=inner // group_size), gain)
        self.project = _he(nn.Conv2d(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.expand(x), SLOPE, inplace=True)
        h = F.leaky_relu(self.spatial(h), SLOPE, inplace=True)
        return x + self.project(h)


def _mix(fan_in: int, fan_out: int) -> list[nn.Module]:
    return [] if fan_in == fan_out else [_he(nn.Conv2d(fan_in, fan_out, 1, bias=False))]


class R3GANGenerator(Generator):
    """z (n, latent_dim) to images (n, c, r, r), in [-1, 1] after training: there is no tanh.

    Args:
        latent_dim: length of z (the paper's 64).
        shape: (c, r, r) of one image.
        widths: channels of the stages from the image down to 4 px, the last one repeated for those
            that are not named; None is as published: 768 to 32 px, 384 and 768 at 64 px.
        blocks: per stage.
        expansion: growth of the width inside of a block.
        group_size: channels per group of the 3x3 convolutions.
        classes: none; labels are brought in by concatenation.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        widths: Sequence[PositiveInt] | None = None,
        blocks: PositiveInt = 2,
        expansion: PositiveInt = 2,
        group_size: PositiveInt = 16,
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "R3GAN's generators")
        _check_blocks(blocks, "generator")
        chain = sizes(shape[-1])
        first, *widths = _widths(widths, len(chain), "generator")[::-1]
        block = (expansion, group_size, blocks * len(chain))
        self.linear = _he(nn.Linear(latent_dim, first, bias=False))
        self.basis = nn.Parameter(torch.randn(first, chain[0], chain[0]))
        self.first = nn.Sequential(*(Block(first, *block) for _ in range(blocks)))
        layers: list[nn.Module] = []
        for size, fan_in, width in zip(chain[1:], [first, *widths], widths, strict=False):
            layers += [*_mix(fan_in, width), Resample(width, size, up=True)]
            layers += [Block(width, *block) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, _he(nn.Conv2d(width, shape[0], 1, bias=False)))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            x = self.first(self.basis * self.linear(z.float())[:, :, None, None])
        return self.body(x)


class R3GANDiscriminator(Discriminator):
    """Images (n, c, r, r) to a `Critique`.

    Args:
        shape: (c, r, r) of one image.
        widths: see `R3GANGenerator`.
        blocks: per stage.
        expansion: growth of the width inside of a block.
        group_size: channels per group of the 3x3 convolutions.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: the last depthwise convolution's output.
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[PositiveInt] | None = None,
        blocks: PositiveInt = 2,
        expansion: PositiveInt = 2,
        group_size: PositiveInt = 16,
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "R3GAN's discriminators")
        _check_blocks(blocks, "discriminator")
        chain = sizes(shape[-1])
        widths = _widths(widths, len(chain), "discriminator")
        block = (expansion, group_size, blocks * len(chain))
        layers: list[nn.Module] = [_he(nn.Conv2d(shape[0], widths[0], 1, bias=False))]
        for size, width, fan_out in zip(chain[:0:-1], widths, widths[1:], strict=False):
            layers += [Block(width, *block) for _ in range(blocks)]
            layers += [Resample(width, size, up=False), *_mix(width, fan_out)]
        last = self.features = widths[-1]
        self.body = nn.Sequential(*layers)
        self.last = nn.Sequential(
            *(Block(last, *block) for _ in range(blocks)),
            _he(nn.Conv2d(last, last, chain[0], groups=last, bias=False)),
            nn.Flatten(),
        )
        self.head = _he(nn.Linear(last, 1, bias=False))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        x = self.body(x)
        with torch.autocast(x.device.type, enabled=False):
            features = self.last(x.float())
            return Critique(self.head(features).squeeze(1), features)
