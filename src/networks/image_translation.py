"""Translators that see the whole image, and the discriminators of patches beside them.

    U-Net       halves to a few pixels and back, with a skip at each size    Isola et al. 2017
    ResNet      halves twice, residual blocks, doubles twice                 Johnson et al. 2016
    PatchGAN    one logit for each patch                                     Isola et al. 2017
    SRGAN's D   one logit for an image, of any size                          Ledig et al. 2017

Norms have no running averages, so that a translator does the same in training and afterwards; the
published code of pix2pix has batch norm, and stays in training mode to that end.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import Decay, NotNegativeInt, PositiveInt
from src.data.spec import to_uint8
from src.distributed import noise
from src.errors import SettingError
from src.networks.base import Critique, Discriminator, ImageTranslator
from src.networks.layers import (
    append_classes,
    biased,
    drop,
    init_normal_,
    norm_layer,
    spectral,
)
from src.transforms.degradations import resize

MOST = 8  # times `width`: channels grow no further
DROPPED = 3  # stages of the U-Net's way up that have dropout


class SameSize(ImageTranslator):
    """A translator between images of one size: a smaller source is enlarged first.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        residual: add the result to the source, in place of a tanh.
        classes: above 0, the class is a further input.
    """

    def fitting(self, sides: int) -> int:
        """Number that divides the source's sides, so that `sides` divides the target's."""
        return sides // math.gcd(sides, self.scale)

    def finish(self, out: Tensor, source: Tensor) -> Tensor:
        """Raw outputs to targets."""
        return self.add_source(out, source) if self.residual else out.tanh()

    def begin(self, source: Tensor, y: Tensor | None) -> Tensor:
        """The source at the target's size, and its class."""
        size = [self.scale * side for side in source.shape[2:]]
        return append_classes(resize(source, tuple(size)), y, self.classes)


class UNet(SameSize):
    """Strided convolutions down to a few pixels and back, each stage joined to its counterpart.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        width: channels of the first stage; twice as many in each further one, to 8 times.
        depth: times that the sides are halved; None: as long as they are even and above 2.
        norm: after all but the first and the innermost stage.
        dropout: probability in the three innermost stages of the way up, see `Noise`.
        upsampling: `transposed` convolutions as published, or `resize`: repeated pixels before a
            convolution, which leave no checkerboard.
        residual: see `SameSize`.
        classes: the same.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        width: PositiveInt = 64,
        depth: PositiveInt | None = None,
        norm: Literal["none", "instance", "layer"] = "instance",
        dropout: Decay = 0.5,
        upsampling: Literal["transposed", "resize"] = "transposed",
        residual: bool = False,
        classes: int = 0,
    ) -> None:
        super().__init__(source, shape, residual, classes)
        self.depth = depth or max(1, _halvings(shape[1:]))
        self.multiple = self.fitting(2**self.depth)
        if any(side % 2**self.depth for side in shape[1:]) or min(shape[1:]) < 2**self.depth:
            raise SettingError(
                f"model.translator.depth={self.depth} halves sides of {list(shape[1:])} too "
                "often.\nChoose another, or a data.resolution that is a multiple of a power of 2."
            )
        widths = [width * min(2**i, MOST) for i in range(self.depth)]
        bias = biased(norm)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, (fan_in, fan_out) in enumerate(
            zip([source[0] + classes, *widths], widths, strict=False)
        ):
            inner = 0 < i < self.depth - 1
            layers = [nn.LeakyReLU(0.2)] if i else []
            layers += [nn.Conv2d(fan_in, fan_out, 4, 2, 1, bias=bias or not inner)]
            self.down.append(
                nn.Sequential(*layers, *([norm_layer(norm, fan_out)] if inner else []))
            )
        for i in reversed(range(self.depth)):
            fan_in = widths[i] * (1 if i == self.depth - 1 else 2)
            fan_out = widths[i - 1] if i else shape[0]
            layers = [nn.ReLU(), *_double(fan_in, fan_out, upsampling, bias or not i)]
            if i:
                layers.append(norm_layer(norm, fan_out))
                if dropout and self.depth - 1 - i < DROPPED:
                    layers.append(Noise(dropout, number=i))
            self.up.append(nn.Sequential(*layers))
        self.apply(init_normal_)

    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.begin(source, y)
        noises = [part for stage in self.up for part in stage if isinstance(part, Noise)]
        if noises and not self.training:
            seeds = seeds_of(source)
            for part in noises:
                part.seeds = seeds
        passed = []
        for stage in self.down:
            x = stage(x)
            passed.append(x)
        x = self.up[0](passed.pop())
        for stage in self.up[1:]:
            x = stage(torch.cat([x, passed.pop()], 1))
        return self.finish(x, source)


class Noise(nn.Module):
    """Dropout that stays after the training: the noise of pix2pix (Isola et al. 2017, section 3.2).

    Without it a translation is an average over what it drops, and less sharp. After the training
    the masks follow from the sources, so that each has one translation, in any batch and on any
    device.

    Args:
        p: probability.
        number: of this layer, so that layers differ.

    Attributes:
        seeds: one for each source of the batch, see `seeds_of`; not used in training.
    """

    def __init__(self, p: Decay, number: int) -> None:
        super().__init__()
        self.p, self.number = p, number
        self.seeds: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            draws = noise.uniform(*x.shape, device=x.device)
        else:
            own = [torch.Generator().manual_seed(seed + self.number) for seed in self.seeds]
            draws = torch.stack([torch.rand(x.shape[1:], generator=one) for one in own])
        return drop(x, draws, self.p)


def seeds_of(source: Tensor) -> list[int]:
    """A seed for each image (n, c, h, w) in [-1, 1], from its pixels of 8 bits."""
    pixels = to_uint8(source).flatten(1).long()
    places = torch.arange(pixels.shape[1], device=pixels.device)
    return ((places * 31 % 8191 + 1) * pixels).sum(1).tolist()


def _halvings(sides: Sequence[int]) -> int:
    count = 0
    while all(side % 2 == 0 and side > 2 for side in sides):
        sides, count = [side // 2 for side in sides], count + 1
    return count


def _double(
    fan_in: int, fan_out: int, upsampling: Literal["transposed", "resize"], bias: bool
) -> list[nn.Module]:
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(fan_in, fan_out, 4, 2, 1, bias=bias)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(fan_in, fan_out, 3, 1, 1, bias=bias)]


class ResNetTranslator(SameSize):
    """Two halvings, residual blocks at a quarter of the size, two doublings.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        width: channels at full size.
        blocks: residual blocks; 6 at 128 px and 9 at 256 as published.
        norm: after each convolution but the last.
        upsampling: as of `UNet`.
        residual: see `SameSize`.
        classes: the same.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        width: PositiveInt = 64,
        blocks: NotNegativeInt = 6,
        norm: Literal["none", "instance", "layer"] = "instance",
        upsampling: Literal["transposed", "resize"] = "transposed",
        residual: bool = False,
        classes: int = 0,
    ) -> None:
        super().__init__(source, shape, residual, classes)
        self.multiple = self.fitting(4)
        self.smallest = self.multiple + 1  # a single pixel in the middle has no mirror image
        if any(side % 4 or side < 8 for side in shape[1:]):
            raise SettingError(
                f"model.translator: images of {' x '.join(map(str, shape[1:]))} pixels cannot be "
                "halved twice.\nSet data.resolution to a multiple of 4, at least 8."
            )
        bias = biased(norm)

        def ends(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, norm_layer(norm, channels), nn.ReLU(inplace=True)]

        first = nn.Conv2d(source[0] + classes, width, 7, bias=bias)
        layers = [nn.ReflectionPad2d(3), *ends(first, width)]
        for n in (width, 2 * width):
            layers += ends(nn.Conv2d(n, 2 * n, 3, 2, 1, bias=bias), 2 * n)
        layers += [_Block(4 * width, norm) for _ in range(blocks)]
        for n in (4 * width, 2 * width):
            up = _double(n, n // 2, upsampling, bias)
            layers += [*up[:-1], *ends(up[-1], n // 2)]
        self.body = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, shape[0], 7))
        # In pixels of the target: 3 at either end, 1 + 2 down, 8 a block, 2 + 4 up.
        self.margin = None if norm != "none" else -(-(15 + 8 * blocks) // self.scale)
        self.apply(init_normal_)

    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        return self.finish(self.body(self.begin(source, y)), source)


class _Block(nn.Module):
    """x + two convolutions; borders are mirrored, as zeros would show."""

    def __init__(self, width: int, norm: Literal["none", "instance", "layer"]) -> None:
        super().__init__()
        bias = biased(norm)
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm_layer(norm, width),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm_layer(norm, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class PatchGAN(Discriminator):
    """A logit for each patch of the image: of 16, 34, 70 px with depth 1, 2, 3.

    Args:
        shape: (c, h, w), the source's channels included.
        width: channels of the first layer; twice as many in each further one, to 8 times.
        depth: strided layers; 0 judges pixels, by convolutions of 1.
        norm: after all but the first and the last layer.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 64,
        depth: NotNegativeInt = 3,
        norm: Literal["none", "instance", "layer", "batch", "spectral"] = "instance",
    ) -> None:
        super().__init__()
        if min(shape[1:]) < 2 ** (depth + 2) and depth:
            raise SettingError(
                f"model.discriminator.depth={depth} needs at least {2 ** (depth + 2)} pixels; the "
                f"images have {min(shape[1:])}."
            )
        widths = [width * min(2**i, MOST) for i in range(depth + 1 if depth else 2)]
        kernel, padding = (4, 1) if depth else (1, 0)
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(zip([shape[0], *widths], widths, strict=False)):
            stride = 2 if i < depth else 1
            bias = biased(norm) or i == 0
            layers.append(nn.Conv2d(fan_in, fan_out, kernel, stride, padding, bias=bias))
            layers += [norm_layer(norm, fan_out)] if i else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.body, self.features = nn.Sequential(*layers), widths[-1]
        self.head = nn.Conv2d(widths[-1], 1, kernel, 1, padding)
        self.apply(init_normal_)
        spectral(self, norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        hidden = self.body(x)
        return Critique(self.head(hidden).squeeze(1), hidden.mean((2, 3)))


class SRGANDiscriminator(Discriminator):
    """Eight convolutions, every other one strided, and two dense layers.

    Args:
        shape: (c, h, w).
        width: channels of the first two layers; twice as many in each further pair.
        pairs: of a layer of stride 1 and one of stride 2; 4 as published.
        norm: after all convolutions but the first; batch norm as published.
        hidden: width of the first dense layer; 1024 as published.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 64,
        pairs: PositiveInt = 4,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        hidden: PositiveInt = 1024,
    ) -> None:
        super().__init__()
        if min(shape[1:]) < 2**pairs:
            raise SettingError(f"model.discriminator.pairs={pairs} is too many for {shape[1]} px.")
        layers: list[nn.Module] = []
        fan_in = shape[0]
        for i in range(2 * pairs):
            fan_out = width * min(2 ** (i // 2), MOST)
            bias = biased(norm) or i == 0
            layers.append(nn.Conv2d(fan_in, fan_out, 3, 1 + i % 2, 1, bias=bias))
            layers += [norm_layer(norm, fan_out)] if i else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            fan_in = fan_out
        side = -(-min(shape[1:]) // 2**pairs)
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(min(side, 6)), nn.Flatten())
        flat = fan_in * min(side, 6) ** 2
        self.dense = nn.Sequential(nn.Linear(flat, hidden), nn.LeakyReLU(0.2, inplace=True))
        self.head, self.features = nn.Linear(hidden, 1), hidden
        spectral(self, norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        hidden = self.dense(self.body(x))
        return Critique(self.head(hidden).squeeze(1), hidden)


class NoDiscriminator(Discriminator):
    """There is no adversary."""

    features = 0

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        raise NotImplementedError
