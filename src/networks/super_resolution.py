"""Translators that keep all pixels: a trunk at the source's resolution, enlarged at its end.

    SRResNet   residual blocks with one skip around them all    Ledig et al. 2017, arXiv:1609.04802
    RRDB       residual blocks of residual dense blocks         Wang et al. 2018, arXiv:1809.00219

Both learn what the enlarged source lacks (`residual`): an untrained network is then about as good
as bicubic enlargement. Without norms, as later work found better (Lim et al. 2017); batch norm with
its running averages is known for coloured spots. With a scale of 1 they restore.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.networks.base import ImageTranslator
from src.networks.layers import append_classes, norm_layer

Upsampling = Literal["shuffle", "shuffle_once", "resize"]


class SuperResolution(ImageTranslator):
    """First layer, trunk and its skip, enlargement; a subclass writes the trunk.

    Args:
        source: (c', h', w').
        shape: (c, h, w), whose sides are `scale` times the source's.
        trunk: (n, width, h', w') to the same shape.
        width: channels of the trunk.
        upsampling: how its end is enlarged: `shuffle` by 2 again and again, each with a
            convolution (Shi et al. 2016); `shuffle_once` in one step, which is cheapest; `resize`
            by repeated pixels before a convolution, which leaves no checkerboard (Odena et al.
            2016).
        residual: add the result to the enlarged source.
        reach: pixels by which a trunk's output depends on its input; None is all.
        classes: above 0, the class is a further input.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        trunk: nn.Module,
        width: PositiveInt,
        upsampling: Literal["shuffle", "shuffle_once", "resize"],
        residual: bool,
        reach: int | None,
        classes: int,
    ) -> None:
        super().__init__(source, shape, residual, classes)
        self.first = nn.Conv2d(source[0] + classes, width, 3, padding=1)
        self.trunk = trunk
        self.last = enlarge(width, shape[0], self.scale, upsampling)
        # Three convolutions before, after and in the enlargement, and the bicubic filter's reach.
        self.margin = None if reach is None else reach + 6

    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        first = self.first(append_classes(source, y, self.classes))
        out = self.last(first + self.trunk(first))
        return self.add_source(out, source) if self.residual else out


class SRResNet(SuperResolution):
    """Residual blocks of two convolutions.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        width: channels; 64 as published.
        blocks: their number; 16 as published.
        norm: after each convolution of the blocks.
        upsampling: see `SuperResolution`.
        residual: the same.
        classes: the same.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        width: PositiveInt = 64,
        blocks: PositiveInt = 16,
        norm: Literal["none", "batch", "instance"] = "none",
        upsampling: Literal["shuffle", "shuffle_once", "resize"] = "shuffle",
        residual: bool = True,
        classes: int = 0,
    ) -> None:
        layers = [Residual(width, norm) for _ in range(blocks)]
        trunk = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1))
        reach = None if norm == "instance" else 2 * blocks + 1
        super().__init__(source, shape, trunk, width, upsampling, residual, reach, classes)


class Residual(nn.Module):
    """x + convolution(relu(convolution(x)))."""

    def __init__(self, width: int, norm: Literal["none", "batch", "instance"]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), norm_layer(norm, width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), norm_layer(norm, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class RRDB(SuperResolution):
    """Residual in residual dense blocks, the generator of ESRGAN.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        width: channels; 64 as published.
        blocks: their number; 23 as published. Each has 15 convolutions.
        growth: channels that each convolution of a dense block adds; 32 as published.
        upsampling: see `SuperResolution`; `resize` as published.
        residual: the same.
        classes: the same.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        width: PositiveInt = 64,
        blocks: PositiveInt = 23,
        growth: PositiveInt = 32,
        upsampling: Literal["shuffle", "shuffle_once", "resize"] = "resize",
        residual: bool = True,
        classes: int = 0,
    ) -> None:
        layers = [Scaled(*(Dense(width, growth) for _ in range(3))) for _ in range(blocks)]
        trunk = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1))
        super().__init__(
            source, shape, trunk, width, upsampling, residual, 15 * blocks + 1, classes
        )


SHARE = 0.2  # of a block's output that is added to its input


class Scaled(nn.Sequential):
    """x + 0.2 layers(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + SHARE * super().forward(x)


class Dense(nn.Module):
    """Five convolutions, each of all that came before; x + 0.2 the last."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outputs = [growth] * 4 + [width]
        self.layers = nn.ModuleList(
            nn.Conv2d(width + i * growth, n, 3, padding=1) for i, n in enumerate(outputs)
        )
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        for layer in self.layers:  # Wang et al. 2018, sec. 3.1: small weights
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data *= 0.1
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.layers[:-1]:
            parts.append(self.activation(layer(torch.cat(parts, 1))))
        return x + SHARE * self.layers[-1](torch.cat(parts, 1))


def enlarge(width: int, channels: int, scale: int, upsampling: Upsampling) -> nn.Sequential:
    """Layers from (n, width, h, w) to (n, channels, scale h, scale w)."""
    if upsampling == "shuffle_once":
        last = nn.Conv2d(width, channels * scale**2, 3, padding=1)
        return nn.Sequential(last, nn.PixelShuffle(scale))
    layers: list[nn.Module] = []
    factors = [2] * (scale.bit_length() - 1) if scale & (scale - 1) == 0 else [scale]
    for factor in factors:
        if upsampling == "shuffle":
            grown = nn.Conv2d(width, width * factor**2, 3, padding=1)
            layers += [grown, nn.PixelShuffle(factor), nn.LeakyReLU(0.2, inplace=True)]
        else:
            layers += [nn.Upsample(scale_factor=factor, mode="nearest")]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    if upsampling == "resize":  # one more at full size, as ESRGAN's code has it
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))
