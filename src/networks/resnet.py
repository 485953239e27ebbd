"""SNGAN's residual networks (Miyato et al. 2018, appendix B.4; sizes as in kwotsin/mimicry).

    G block  x + ...:  norm, ReLU, double the size, conv 3x3, norm, ReLU, conv 3x3
    D block  x + ...:  norm, ReLU, conv 3x3, norm, ReLU, conv 3x3, halve the size

The shortcut is a 1x1 convolution wherever the shape changes. D sums its last layer over space and
has spectral norm everywhere, G has batch norm, conditioned on the class if there is one. To 32 px
all stages are equally wide; from 64 px the width doubles as the size halves. With `attention` both
are SAGAN's (Zhang et al. 2019). Weights are Xavier-uniform, biases 0.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.errors import SettingError
from src.networks.attention import SelfAttention
from src.networks.base import Critique, Discriminator, Generator
from src.networks.layers import (
    ConditionalSequential,
    Norm,
    norm_layer,
    refuse_classes,
    sizes,
    spectral,
)

PUBLISHED = {True: (256, 128), False: (64, 64)}  # widths of G and D: of small images, and others
MOST_FACTOR, MOST_HALVINGS = 16, 5


class Plan(NamedTuple):
    """Stages of the networks for one resolution.

    Of 28 and 32 px as Miyato et al. for CIFAR-10; the others grow by their plan for larger images:
    twice as wide with each halving. Of 48 px G has their widths for STL-10.

    Attributes:
        sizes: sides in px of G's stages, from the first on.
        g: widths of G's stages in units of `width`.
        d: widths of D's blocks, from the image down, in the same units.
        halvings: how many of D's blocks halve the size, the first ones.
        widths: the published `width` of G and of D.
    """

    sizes: list[int]
    g: tuple[int, ...]
    d: tuple[int, ...]
    halvings: int
    widths: tuple[int, int]


def plan(resolution: int) -> Plan:
    """The stages for images of a resolution; raises as `sizes`."""
    chain = sizes(resolution)
    if resolution in (28, 32):
        return Plan(chain, (1,) * 4, (1,) * 4, 2, PUBLISHED[True])
    growing = tuple(min(2**i, MOST_FACTOR) for i in range(len(chain)))
    halvings = min(len(chain), MOST_HALVINGS)
    return Plan(chain, growing[::-1], growing, halvings, PUBLISHED[False])


def _place(
    resolution: int, attention: int | Literal["half"] | None, sites: Sequence[int], player: str
) -> int | None:
    """Size in px where attention sits, if the network has such a stage."""
    attention = resolution // 2 if attention == "half" else attention
    if attention is not None and attention not in sites:
        raise SettingError(
            f"model.{player}.attention={attention} is no size of its layers at "
            f"data.resolution={resolution}.\nUse {', '.join(map(str, sorted(set(sites))))} or null."
        )
    return attention


def _xavier(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _conv3(fan_in: int, fan_out: int) -> nn.Module:
    return _xavier(nn.Conv2d(fan_in, fan_out, 3, 1, 1), 2**0.5)


class GeneratorBlock(nn.Module):
    """x (n, fan_in, h, w), and y (n,), to (n, fan_out, size, size)."""

    takes_class = True

    def __init__(self, fan_in: int, fan_out: int, size: int, norm: Norm, classes: int) -> None:
        super().__init__()
        self.residual = ConditionalSequential(
            norm_layer(norm, fan_in, classes),
            nn.ReLU(),  # not in place: without a norm this is the block's input
            nn.Upsample((size, size), mode="bilinear"),
            _conv3(fan_in, fan_out),
            norm_layer(norm, fan_out, classes),
            nn.ReLU(inplace=True),
            _conv3(fan_out, fan_out),
        )
        # A 1x1 convolution and interpolation commute: it is done at the smaller size.
        self.shortcut = nn.Sequential(
            _xavier(nn.Conv2d(fan_in, fan_out, 1)), nn.Upsample((size, size), mode="bilinear")
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.shortcut(x) + self.residual(x, y)


class DiscriminatorBlock(nn.Module):
    """x (n, fan_in, h, w) to (n, fan_out, h, w) or, if `halve`, (n, fan_out, h/2, w/2).

    The first block, on pixels, has no activation before its first convolution, and no norms.
    """

    def __init__(self, fan_in: int, fan_out: int, halve: bool, norm: Norm, first: bool) -> None:
        super().__init__()
        hidden = fan_out if first else fan_in
        layers = [
            *([] if first else [norm_layer(norm, fan_in), nn.ReLU()]),
            _conv3(fan_in, hidden),
            *([] if first else [norm_layer(norm, hidden)]),
            nn.ReLU(inplace=True),
            _conv3(hidden, fan_out),
        ]
        shortcut = [] if fan_in == fan_out and not halve else [nn.Conv2d(fan_in, fan_out, 1)]
        pool = [nn.AvgPool2d(2)] if halve else []
        self.residual = nn.Sequential(*layers, *pool)
        # A 1x1 convolution and the mean of pixels commute as well.
        self.shortcut = nn.Sequential(*pool, *map(_xavier, shortcut))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


class ResNetGenerator(Generator):
    """z (n, latent_dim), and y (n,) if conditional, to images (n, c, r, r) in [-1, 1].

    Args:
        latent_dim: length of z (the paper's 128).
        shape: (c, r, r) of one image.
        width: channels of the last stage; None is as published: 256 to 32 px, 64 above.
        norm: before each activation; `spectral` is spectral norm alone.
        spectral_norm: spectral norm beside another norm (SAGAN).
        attention: size in px of the stage after which a self-attention layer sits; `half` is half
            of the image's, as BigGAN's 64 at 128 px; None for none.
        classes: above 0, batch norm is conditioned on the class.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: PositiveInt | None = None,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        spectral_norm: bool = False,
        attention: int | Literal["half"] | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__()
        channels, resolution = shape[0], shape[-1]
        stages = plan(resolution)
        side, *targets = stages.sizes
        attention = _place(resolution, attention, targets, "generator")
        width = stages.widths[0] if width is None else width
        first, *widths = (width * factor for factor in stages.g)
        layers: list[nn.Module] = [
            _xavier(nn.Linear(latent_dim, side**2 * first)),
            nn.Unflatten(1, (first, side, side)),
        ]
        for size, fan_in, fan_out in zip(targets, [first, *widths], widths, strict=False):
            layers += [GeneratorBlock(fan_in, fan_out, size, norm, classes)]
            layers += [SelfAttention(fan_out)] if size == attention else []
        self.body = ConditionalSequential(
            *layers,
            norm_layer(norm, width, classes),
            nn.ReLU(inplace=True),
            _xavier(nn.Conv2d(width, channels, 3, 1, 1)),
            nn.Tanh(),
        )
        spectral(self, "spectral" if spectral_norm else norm)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(z, y)


class ResNetDiscriminator(Discriminator):
    """Images (n, c, r, r) in [-1, 1] to a `Critique`.

    Args:
        shape: (c, r, r) of one image.
        width: channels of the first block; None is as published: 128 to 32 px, 64 above.
        norm: `spectral` as published; the others stand before each activation.
        attention: size in px of the block after which a self-attention layer sits; `half` is half
            of the image's, as BigGAN's 64 at 128 px; None for none.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: the last block's, summed over space.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt | None = None,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "spectral",
        attention: int | Literal["half"] | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "Residual discriminators")
        fan_in, size = shape[0], shape[-1]
        stages = plan(size)
        sites = [size >> i for i in range(1, stages.halvings + 1)]
        attention = _place(size, attention, sites, "discriminator")
        width = stages.widths[1] if width is None else width
        layers: list[nn.Module] = []
        for i, factor in enumerate(stages.d):
            fan_out = width * factor
            layers += [DiscriminatorBlock(fan_in, fan_out, i < stages.halvings, norm, first=i == 0)]
            layers += [SelfAttention(fan_out)] if shape[-1] >> (i + 1) == attention else []
            fan_in = fan_out
        self.body = nn.Sequential(*layers, nn.ReLU())
        self.head = _xavier(nn.Linear(fan_out, 1))
        self.features = fan_out
        spectral(self, norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        features = self.body(x).sum((2, 3))
        return Critique(self.head(features).squeeze(1), features)
