"""Shapes as signed distances, batched: negative inside, positive outside, zero on the outline.

A pixel of width p whose centre lies at distance d from an outline is covered by about
clamp(1/2 - d / p, 0, 1): antialiasing for the price of a clamp (`cover`). Distances to ellipses and
parabolas are exact to first order at the outline, f / |grad f|, which is where they matter.
Primitives after Inigo Quilez, "2D distance functions" (https://iquilezles.org/articles/).

Only +, -, *, /, sqrt, floor, abs, min and max touch a pixel, one operation per kernel: IEEE 754
fixes their results to the bit, so every machine, thread count and batch size draws the same image.
Coordinates are (h, w, n) with the batch last, so that per-shape numbers (n,) broadcast and windows
of an image stay contiguous in the batch.
"""

import torch
from torch import Tensor

Number = float | Tensor


def ellipse(x: Tensor, y: Tensor, a: Number, b: Number) -> Tensor:
    """Distance to the ellipse of half axes a and b around the origin, to first order."""
    x, y = x * x, y * y
    a, b = 1 / (a * a), 1 / (b * b)
    gradient = (x * (a * a) + y * (b * b)).add_(1e-9).sqrt_().mul_(2)
    return (x * a + y * b).sub_(1).div_(gradient)


def lens(x: Tensor, y: Tensor, w: Number, top: Number, bottom: Number, pixel: Tensor) -> Tensor:
    """Distance to the region between two parabolas that meet in the corners (-w, 0) and (w, 0).

    Eyes have their vertices on both sides of the corners, brows, lips and smiles on one.

    Args:
        x: horizontal coordinates.
        y: vertical coordinates, downwards.
        w: half width.
        top: y of the upper parabola's vertex.
        bottom: y of the lower parabola's vertex.
        pixel: (n,), width of a pixel: where the lens is thinner, it covers no more than its height.
    """
    middle, half = (top + bottom) * 0.5, (bottom - top) * 0.5
    x = x * (1 / w)
    m = (x * x).neg_().add_(1)
    slope = x.mul_((abs(middle) + half) * 2 * (1 / w))
    norm = slope.square_().add_(1).sqrt_()
    d = (y - m * middle).abs_().sub_(m.mul_(half)).div_(norm)
    return torch.maximum(d, pixel * 0.5 - m.mul_(2).div_(norm))


def box(x: Tensor, y: Tensor, w: Number, h: Number, r: Number) -> Tensor:
    """Distance to the box of half sizes w and h with corners rounded by r."""
    x, y = x.abs().sub_(w - r), y.abs().sub_(h - r)
    inside = torch.maximum(x, y).clamp_(max=0)
    return (x.clamp_(min=0).square_() + y.clamp_(min=0).square_()).sqrt_().add_(inside).sub_(r)


def segment(
    x: Tensor,
    y: Tensor,
    start: tuple[Number, Number],
    end: tuple[Number, Number],
    radii: tuple[Number, Number],
    pixel: Tensor,
) -> Tensor:
    """Distance to a stroke with round ends, which may taper: limbs, branches, wrinkles.

    Args:
        x: horizontal coordinates.
        y: vertical coordinates, downwards.
        start: one end.
        end: the other end.
        radii: half widths at both ends.
        pixel: (n,), width of a pixel: where the stroke is thinner, it covers its width at most.
    """
    (ax, ay), (bx, by) = start, end
    dx, dy = bx - ax, by - ay
    scale = 1 / (dx * dx + dy * dy)
    x, y = x - ax, y - ay
    t = (x * (dx * scale) + y * (dy * scale)).clamp_(0, 1)
    radius = (t * (radii[1] - radii[0])).add_(radii[0])
    x, y = x - t * dx, y - t * dy
    d = x.square_().add_(y.square_()).sqrt_()
    return torch.maximum(d - radius, pixel * 0.5 - radius * 2)


def union(a: Tensor, b: Tensor, k: float) -> Tensor:
    """The smooth minimum of two distances: shapes melted together over a length k."""
    h = (b - a).mul_(0.5 / k).add_(0.5).clamp_(0, 1)
    return b + (a - b).mul_(h).sub_(h.mul(k).mul_(1 - h))


def wave(t: Tensor) -> Tensor:
    """Arches of height 1 and period 1: what a sine would do, without one."""
    t = t - t.floor()
    return (t * 4).mul_(1 - t)


def rgb(*levels: int) -> Tensor:
    """One colour for all images, (3, 1, 1, 1), from levels in 0 to 255."""
    return torch.tensor(levels)[:, None, None, None] * (1 / 255)


def hsv(hue: Tensor, saturation: Number, value: Number) -> Tensor:
    """HSV, each (n,) or one for all, in [0, 1], to RGB (3, 1, 1, n)."""
    shift = torch.tensor([0.0, 2 / 3, 1 / 3])[:, None]
    turn = hue + shift
    ramp = ((turn - turn.floor()) * 6 - 3).abs().sub_(1).clamp_(0, 1)
    return (((ramp - 1) * saturation + 1) * value)[:, None, None]


def cover(distance: Tensor, pixel: Tensor) -> Tensor:
    """Share of each pixel that a shape covers, in [0, 1]; pixel is its width, (n,)."""
    return (distance * (-1 / pixel)).add_(0.5).clamp_(0, 1)


class Window:
    """A rectangle of every image of a batch; painting on it changes the images.

    Attributes:
        image: (3, h, w, n) in [0, 1].
        u: horizontal coordinates, (h, w, n) or broadcast to it.
        v: vertical ones.
        lit: how much light falls on a pixel, likewise, in [0, 1].
        pixel: (n,), width of a pixel in these coordinates.
    """

    def __init__(self, image: Tensor, u: Tensor, v: Tensor, lit: Tensor, pixel: Tensor) -> None:
        self.image, self.u, self.v, self.lit, self.pixel = image, u, v, lit, pixel

    def paint(self, share: Tensor, colour: Tensor) -> None:
        """Lay a colour, broadcast to the image, over it where share (h, w, n) is not 0."""
        self.image.add_((colour - self.image).mul_(share))

    def fill(self, d: Tensor, colour: Tensor, alpha: Number = 1.0) -> None:
        """Paint a shape given by its distance d (h, w, n); alpha, a number or (n,), in [0, 1]."""
        self.paint(cover(d, self.pixel).mul_(alpha), colour)

    def shade(self, colour: Tensor, dark: Tensor) -> Tensor:
        """A colour under the light: from colour * dark on the far side to colour on the near."""
        shadow = colour * dark
        return (colour - shadow) * self.lit + shadow
