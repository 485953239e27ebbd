"""Degradations: how the input of a translation is made of its target; a slot of the data.

    downsample        bicubic, antialiased (PIL's kernel, a = -1/2), by 2, 4, 8 ...
    mosaic            the mean colour of each square
    mask              a region is grey; the last channel of the source says where: 1 is lost
    blur              Gaussian
    depth of field    sharp at one place, and the more blurred the further from there
    grey              luminance (ITU-R BT.601)
    line drawing      dark lines on white, where the luminance has edges
    palette           smooth areas of a few colours, as painted with poster paint
    noise             N(0, std^2), clipped
    JPEG              compressed and decompressed
    view              of voxels: a shaded picture from one side, `views.py`

What is random (a place, a mask, noise) comes from the draws of the batch: in training it is new
whenever a sample is seen, for test images it is the same each time.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from src.config.ranges import NotNegativeFloat, Percent, PositiveFloat, PositiveInt, Share
from src.distributed.noise import Draws
from src.errors import SettingError
from src.transforms.views import render

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
PAINT = (
    (24, 28, 48), (248, 240, 220), (226, 84, 48), (246, 178, 60), (34, 92, 140), (120, 180, 206),
    (40, 110, 72), (150, 184, 92), (110, 54, 40), (204, 140, 104), (244, 200, 170), (128, 116, 130),
)  # fmt: skip
LINES = 1.6  # ratio of the two blurs whose difference finds edges (Marr & Hildreth 1980)


class Degradation(ABC):
    """Base: which source is made of a target, and how.

    A subclass writes `__call__`, and `shape` if the source has another one.

    Attributes:
        masked: True if the source's last channel says where the image is lost.
        takes: kind of the targets, `images` or `voxels`; the source is an image.
    """

    masked = False
    takes = "images"

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the source of a target (c, h, w).

        Raises:
            SettingError: if it cannot be made of such a target.
        """
        return target

    @abstractmethod
    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        """Targets (n, c, h, w) in [-1, 1] to their sources.

        Args:
            x: targets.
            draws: random numbers for each of them.
        """

    @property
    def identity(self) -> dict[str, Any]:
        """Name and settings, for the identity of the data."""
        settings = {name: value for name, value in vars(self).items() if name != "masked"}
        return {"name": type(self).__name__, **settings}


class NoDegradation(Degradation):
    """There is no source: the data are for models that translate nothing."""

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        return x


class Downsample(Degradation):
    """Fewer pixels, by an antialiased bicubic filter as PIL's.

    Args:
        scale: factor by which each side becomes shorter.
    """

    def __init__(self, scale: PositiveInt) -> None:
        self.scale = scale

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        c, *sides = target
        return (c, *_divide(sides, self.scale, "scale"))

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        return resize(x, tuple(side // self.scale for side in x.shape[2:]))


class Mosaic(Degradation):
    """Squares of one colour each, their mean.

    Args:
        size: side of a square in pixels.
    """

    def __init__(self, size: PositiveInt) -> None:
        self.size = size

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        _divide(target[1:], self.size, "size")
        return target

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        # A photo's last squares may be cut off by its edge.
        means = F.avg_pool2d(x, self.size, ceil_mode=True, count_include_pad=False)
        large = means.repeat_interleave(self.size, 2).repeat_interleave(self.size, 3)
        return large[:, :, : x.shape[2], : x.shape[3]]


class Mask(Degradation):
    """A region is lost: grey (0 in [-1, 1]), and 1 in an additional last channel, elsewhere -1.

    Args:
        form: `centre`, a square in the middle; `box`, such a square anywhere; `free_form`, strokes
            of a thick brush.
        side: side of the square as a share of the image's; also the length of all strokes together,
            in sides of the image, which cover about a fifth of it with 0.5.
    """

    masked = True

    def __init__(self, form: Literal["centre", "box", "free_form"], side: Share = 0.5) -> None:
        self.form, self.side = form, side

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        if self.form != "free_form" and not min(round(self.side * side) for side in target[1:]):
            raise SettingError(
                f"data.degradation.side={self.side} of {target[1]} pixels is none: nothing is lost."
            )
        return (target[0] + 1, *target[1:])

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        lost = self.region(x.shape[2], x.shape[3], draws).to(x.device)
        lost = lost.expand(len(x), 1, *lost.shape[2:])
        return cover(x, lost)

    def region(self, h: int, w: int, draws: Draws) -> Tensor:
        """Lost pixels as True, (n, 1, h, w); n is 1 if they are the same for all."""
        if self.form == "free_form":
            return self._strokes(h, w, draws)
        high, wide = round(self.side * h), round(self.side * w)
        if self.form == "box":
            u = draws.uniform(2, 1)
            top, left = (u[:, 0] * (h - high + 1)).long(), (u[:, 1] * (w - wide + 1)).long()
        else:
            top = torch.tensor([[(h - high) // 2]], device=draws.device)
            left = torch.tensor([[(w - wide) // 2]], device=draws.device)
        y, x = torch.arange(h, device=draws.device), torch.arange(w, device=draws.device)
        rows, columns = (y >= top) & (y < top + high), (x >= left) & (x < left + wide)
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def _strokes(self, h: int, w: int, draws: Draws) -> Tensor:
        """Four strokes, each straight, from a random place in a random direction."""
        y, x = (torch.arange(side, device=draws.device) for side in (h, w))
        u = draws.uniform(4, 4)
        angle, length = 2 * math.pi * u[..., 2], self.side * (0.5 + u[..., 3]) / 2 * max(h, w)
        start = torch.stack([u[..., 0] * w, u[..., 1] * h], -1)
        step = torch.stack([angle.cos(), angle.sin()], -1)
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + 0.5  # (h, w, 2)
        away = pixels - start[:, :, None, None]  # (n, 4, h, w, 2)
        along = (
            (away * step[:, :, None, None]).sum(-1).clamp(min=0).minimum(length[..., None, None])
        )
        distance = (away - along[..., None] * step[:, :, None, None]).norm(dim=-1)
        return (distance < max(h, w) / 16).any(1, keepdim=True)


def cover(x: Tensor, lost: Tensor) -> Tensor:
    """Images (n, c, h, w) with a region made grey, and the region as a last channel.

    Args:
        x: in [-1, 1].
        lost: True where the image is lost, (n, 1, h, w).
    """
    return torch.cat([x.masked_fill(lost, 0.0), lost.to(x) * 2 - 1], 1)


class Blur(Degradation):
    """A Gaussian filter; the image goes on beyond its edge as in a mirror.

    Args:
        sigma: standard deviation of the filter in pixels.
    """

    def __init__(self, sigma: PositiveFloat) -> None:
        self.sigma = sigma

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        return blur(x, self.sigma)


class DepthOfField(Degradation):
    """Sharp around a random place; the blur grows with the distance from it.

    Args:
        sigma: standard deviation in pixels of the filter at a distance of half the image's side and
            beyond.
        sharp: radius of the sharp disk, as a share of the image's side.
    """

    def __init__(self, sigma: PositiveFloat, sharp: Share = 0.15) -> None:
        self.sigma, self.sharp = sigma, sharp

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        h, w = x.shape[2:]
        place = draws.uniform(2) * torch.tensor([h, w], device=draws.device)
        rows = torch.arange(h, device=x.device)[:, None] - place[:, 0, None, None].to(x.device)
        columns = torch.arange(w, device=x.device) - place[:, 1, None, None].to(x.device)
        distance = (rows.square() + columns.square()).sqrt() / max(h, w)
        # From 0 in the disk to 3 at half a side: between four levels of blur.
        level = ((distance - self.sharp) / max(0.5 - self.sharp, 1e-3)).clamp(0, 1)[:, None] * 3
        levels = [x, *(blur(x, self.sigma * share) for share in (1 / 3, 2 / 3, 1))]
        weights = [(1 - (level - i).abs()).clamp(min=0) for i in range(4)]
        return sum(weight * blurred for weight, blurred in zip(weights, levels, strict=True))


class Grey(Degradation):
    """Luminance alone: one channel."""

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        if target[0] != 3:
            raise SettingError("data/degradation=grey needs colours; the images are grey already.")
        return (1, *target[1:])

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        return luminance(x)


class LineDrawing(Degradation):
    """Dark lines on white: the difference of two blurs of the luminance, beyond a threshold.

    Args:
        sigma: standard deviation in pixels of the narrower blur: lines are about this thick.
        strength: how dark a line becomes for a given edge.
    """

    def __init__(self, sigma: PositiveFloat, strength: PositiveFloat = 12.0) -> None:
        self.sigma, self.strength = sigma, strength

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *target[1:])

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        grey = luminance(x)
        edges = blur(grey, LINES * self.sigma) - blur(grey, self.sigma)  # positive beside an edge
        return 1 - (self.strength * edges - 0.2).clamp(0, 2)


class Palette(Degradation):
    """Flat paint: after a blur, each pixel gets the nearest of twelve colours (distance in RGB).

    Args:
        sigma: standard deviation in pixels of the blur: smaller details disappear.
    """

    def __init__(self, sigma: PositiveFloat) -> None:
        self.sigma = sigma

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        if target[0] != 3:
            raise SettingError("data/degradation=palette needs colours; the images are grey.")
        return target

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        paint = torch.tensor(PAINT, dtype=x.dtype, device=x.device) / 127.5 - 1
        smooth = blur(x, self.sigma).permute(0, 2, 3, 1)
        # |p - c|^2 less the part that all colours c have in common.
        nearest = (paint.square().sum(1) - 2 * smooth @ paint.T).argmin(-1)
        return paint[nearest].permute(0, 3, 1, 2).contiguous()


class GaussianNoise(Degradation):
    """Independent noise in each number.

    Args:
        std: standard deviation for pixels in [0, 1]; 0.1 is "sigma 25".
    """

    def __init__(self, std: NotNegativeFloat) -> None:
        self.std = std

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        return x + 2 * self.std * draws.normal(*x.shape[1:]).to(x.device)


class JPEG(Degradation):
    """Compression by libjpeg, on the CPU.

    Args:
        quality: of libjpeg, from 1 to 100.
    """

    def __init__(self, quality: Percent) -> None:
        self.quality = quality

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        from torchvision.io import decode_jpeg, encode_jpeg  # 1.5 s to import

        pixels = ((x + 1) * 127.5).round().clamp(0, 255).byte().cpu()
        files = [encode_jpeg(picture, self.quality) for picture in pixels]
        return torch.stack([decode_jpeg(file) for file in files]).to(x) / 127.5 - 1


class View(Degradation):
    """A shaded picture of voxels, white where there is nothing; see `views.py`.

    Each angle is uniform between two numbers of degrees.

    Args:
        azimuth: of the viewer, who walks to the right around the shape.
        elevation: of the viewer, who looks down; from -90 to 90.
        light_azimuth: of the light, from the viewer's.
        light_elevation: likewise.
        side: side of the picture in pixels.
    """

    takes = "voxels"

    def __init__(
        self,
        azimuth: Sequence[float],
        elevation: Sequence[float],
        light_azimuth: Sequence[float],
        light_elevation: Sequence[float],
        side: PositiveInt = 64,
    ) -> None:
        self.azimuth, self.elevation = azimuth, elevation
        self.light_azimuth, self.light_elevation = light_azimuth, light_elevation
        self.side = side
        for name, most in (
            *(("azimuth", 360), ("elevation", 90)),
            *(("light_azimuth", 360), ("light_elevation", 180)),
        ):
            ends = getattr(self, name)
            if len(ends) != 2 or not -most <= ends[0] <= ends[1] <= most:
                raise SettingError(
                    f"data.degradation.{name}={list(ends)} must be two angles in degrees, the "
                    f"smaller first, from -{most} to {most}."
                )

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        return (1, self.side, self.side)

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        ends = (self.azimuth, self.elevation, self.light_azimuth, self.light_elevation)
        azimuth, elevation, *light = (
            low + (high - low) * u
            for u, (low, high) in zip(draws.uniform(4).to(x.device).unbind(1), ends, strict=True)
        )
        return render(x, azimuth, elevation, tuple(light), self.side)


class Composition(Degradation):
    """Several degradations, one after the other.

    Args:
        parts: in their order; a mask can only be the last one.
    """

    def __init__(self, parts: Sequence[Degradation]) -> None:
        if not parts or any(part.masked for part in parts[:-1]):
            raise SettingError("data.degradation.parts: at least one, and a mask only as the last.")
        if any(part.takes != "images" for part in parts[1:]):
            raise SettingError("data.degradation.parts: only the first can be a view of voxels.")
        self.parts = parts
        self.masked, self.takes = parts[-1].masked, parts[0].takes

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        for part in self.parts:
            target = part.shape(target)
        return target

    def __call__(self, x: Tensor, draws: Draws) -> Tensor:
        for part in self.parts:
            x = part(x, draws)
        return x

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": "Composition", "parts": [part.identity for part in self.parts]}


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images (n, c, h, w) at another size (h', w'), bicubic and antialiased, by PIL's kernel."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    # With antialiasing torch has PIL's a = -1/2, in both directions; without, -3/4.
    return F.interpolate(x, size, mode="bicubic", antialias=True).clamp(-1, 1)


def as_target(source: Tensor, shape: Sequence[int]) -> Tensor | None:
    """A source as the best target that it is without a model; None if its channels are others.

    Args:
        source: (n, c', h', w') in [-1, 1]: fewer pixels are enlarged by the bicubic filter, grey
            gets three equal channels, a mask is left out.
        shape: (c, h, w) of the target.
    """
    channels, *size = shape
    if source.shape[1] == channels + 1:
        source = source[:, :channels]
    if source.shape[1] not in (1, channels):
        return None
    return resize(source, tuple(size)).expand(-1, channels, -1, -1)


def luminance(x: Tensor) -> Tensor:
    """Luminance (n, 1, h, w) of images with one or three channels."""
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(LUMINANCE, dtype=x.dtype, device=x.device)
    return (x * weights[:, None, None]).sum(1, keepdim=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian filter of images (n, c, h, w), cut off at three standard deviations."""
    radius = min(math.ceil(3 * sigma), min(x.shape[2:]) - 1)  # as far as a mirror reaches
    distance = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-0.5 * (distance / sigma).square()).exp()
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1, 1, 1)
    x = F.pad(x, (radius,) * 4, mode="reflect")
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.mT, groups=x.shape[1])


def _divide(sides: Sequence[int], by: int, setting: str) -> tuple[int, ...]:
    if any(side % by for side in sides):
        raise SettingError(
            f"data.degradation.{setting}={by} does not divide images of "
            f"{' x '.join(map(str, sides))} pixels.\n"
            "Choose another, or data.resolution=... that is a multiple of it."
        )
    return tuple(side // by for side in sides)
