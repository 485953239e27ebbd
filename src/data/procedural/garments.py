"""Garments drawn from random factors: the built-in stand-in for photographs of clothes.

    factors, kinds = sample_factors(n, seed)      kinds (n,) are indices of `KINDS`
    images = render(factors, kinds, resolution)   (n, 3, r, r) uint8

One garment lies flat on a light ground: a cut with seams and details, a cloth with or without a
pattern, and folds. Shapes are signed distances (`sdf.py`): the origin is the middle of the image,
v points downwards, and the border is at -1 and 1. What the outline tells (the kind, the cut) and
what it does not (the colour) are independent, but that more than half of the trousers are blue.
The cloth is smooth or woven: threads with a fixed width in the image, counted from the garment's
middle and top, so that a smooth garment tells where they are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from src.data.procedural.dice import choose, lerp, uniform
from src.data.procedural.sdf import Number, Window, cover, ellipse, hsv, union, wave

KINDS = ("shirt", "sweater", "trousers", "skirt", "dress")
PATTERNS = (0.4, 0.2, 0.12, 0.12, 0.16)  # plain, horizontal and vertical stripes, checks, dots
THREAD = 0.1  # width of a woven thread in the image, whose border is at -1 and 1
FACTORS = (
    "kind", "x", "y", "scale", "width", "length", "flare", "sleeve", "neck_width", "neck_depth",
    "opening", "pattern", "frequency", "hue", "saturation", "value", "denim", "second_hue",
    "second_saturation", "fold", "fold_phase", "backdrop", "light",
)  # fmt: skip


def sample_factors(n: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Draw the factors of n garments; garment i depends on (seed, i) only.

    Returns:
        Uniform numbers (n,) by name, and kinds int64 (n,), indices of `KINDS`.
    """
    factors = dict(zip(FACTORS, uniform(n, len(FACTORS), seed), strict=True))
    return factors, choose(factors["kind"], (1 / len(KINDS),) * len(KINDS))


def render(
    factors: dict[str, Tensor],
    kinds: Tensor,
    resolution: int,
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
    woven: bool = False,
) -> Tensor:
    """Draw the garments that the factors describe.

    Args:
        factors: see `sample_factors`.
        kinds: (n,).
        resolution: side in pixels.
        batch_size: garments drawn at a time; no influence on the images.
        progress: is told how many more are done.
        woven: whether the cloth's threads are seen.

    Returns:
        Uint8 (n, 3, resolution, resolution).
    """
    images = torch.empty((len(kinds), 3, resolution, resolution), dtype=torch.uint8)
    for kind, name in enumerate(KINDS):
        for index in (kinds == kind).nonzero()[:, 0].split(batch_size):
            garment = _Garment({key: x[index] for key, x in factors.items()}, resolution, woven)
            getattr(garment, name)()
            images[index] = garment.image.mul(255).round_().byte().permute(3, 0, 1, 2)
            if progress:
                progress(len(index))
    return images


def _panel(u: Tensor, v: Tensor, top: Number, bottom: Number, a: Number, b: Number) -> Tensor:
    """Distance to the cloth between the heights top and bottom, of half widths a and b there."""
    slope = (b - a) / (bottom - top)
    side = u.abs() - ((v - top) * slope + a)
    length = (slope * slope + 1) ** 0.5
    return torch.maximum(side / length, (v - (top + bottom) * 0.5).abs() - (bottom - top) * 0.5)


class _Garment:
    """A batch of garments of one kind in the making."""

    def __init__(self, f: dict[str, Tensor], resolution: int, woven: bool) -> None:
        self.f, self.woven = f, woven
        self.scale = scale = lerp(f["scale"], 0.88, 1.02)
        axis = (torch.arange(resolution) * 2 + 1) * (1 / resolution) - 1
        self.u = (axis[None, :, None] - lerp(f["x"], -0.05, 0.05)) / scale
        self.v = (axis[:, None, None] - lerp(f["y"], -0.05, 0.05)) / scale
        self.u, self.v = torch.broadcast_tensors(self.u, self.v)
        self.pixel = 2 / (scale * resolution)
        self.image = torch.empty((3, resolution, resolution, len(f["x"])))
        self.image[:] = lerp(f["backdrop"], 0.9, 1.0)
        lit = (self.u * (f["light"] * 2 - 1) - self.v * 0.3) * 0.5 + 0.5
        self.window = Window(self.image, self.u, self.v, lit.clamp(0, 1), self.pixel)
        value = lerp(f["value"], 0.25, 0.95)
        self.first = hsv(f["hue"], lerp(f["saturation"], 0.1, 0.85), value)
        # A pattern must be seen: its second colour is light on dark cloth and dark on light.
        other = torch.where(value > 0.6, value - 0.4, value + 0.35)
        self.second = hsv(f["second_hue"], lerp(f["second_saturation"], 0.0, 0.7), other)

    # Kinds

    def shirt(self) -> None:
        width, bottom = self._width(), lerp(self.f["length"], 0.5, 0.75)
        self._top(width, bottom, lerp(self.f["sleeve"], 0.26, 0.42), 0.33)
        buttoned = (self.f["opening"] < 0.4).float()
        self._seam(self.u, _between(self.v, -0.5, bottom), buttoned)
        for k in range(5):
            d = ellipse(self.u - 0.04, self.v - (k * 0.2 - 0.3), 0.025, 0.025)
            self.window.fill(d, self._dark(), buttoned)

    def sweater(self) -> None:
        bottom = lerp(self.f["length"], 0.5, 0.7)
        d = self._top(self._width() + 0.03, bottom, lerp(self.f["sleeve"], 0.85, 1.05), 0.13)
        band = _between(self.v, bottom - 0.1, bottom)
        ribs = wave(self.u * 9).mul_(0.6)
        inside = cover(torch.maximum(d, band), self.pixel)
        self.window.paint(inside * ribs, self._dark())
        self._seam(self.v - (bottom - 0.1), d, 1.0)

    def trousers(self) -> None:
        denim = (self.f["denim"] < 0.6)[None, None, None]
        blue = hsv(lerp(self.f["hue"], 0.57, 0.65), lerp(self.f["saturation"], 0.35, 0.75),
                   lerp(self.f["value"], 0.3, 0.75))  # fmt: skip
        self.first = torch.where(denim, blue, self.first)
        bottom, hem = lerp(self.f["length"], 0.45, 0.9), lerp(self.f["flare"], 0.1, 0.2)
        hips = lerp(self.f["width"], 0.28, 0.38)
        # The outer seam falls straight from the hips; the inner one opens below the crotch.
        shift = (self.v + 0.8) * 0.05
        leg = _panel(self.u.abs() - hips * 0.5 - shift, self.v, -0.8, bottom, hips * 0.5, hem)
        d = torch.maximum(leg, -self.u.abs() + (self.v + 0.25).clamp(min=0) * 0.06)
        self._cloth(d, -0.8, self.f["pattern"] > 0.75)
        self._seam(self.v + 0.68, d, 1.0)
        self._seam(self.u, _between(self.v, -0.68, -0.25), 1.0)
        pocket = ellipse(self.u.abs() - hips, self.v + 0.66, 0.14, 0.24)
        self._seam(pocket, d, 1.0)
        self._seam(self.v - (bottom - 0.06), d, (self.f["opening"] < 0.5).float())

    def skirt(self) -> None:
        waist, bottom = lerp(self.f["width"], 0.22, 0.32), lerp(self.f["length"], 0.1, 0.75)
        hem = waist + lerp(self.f["flare"], 0.05, 0.42)
        d = _panel(self.u, self.v, -0.6, bottom, waist, hem)
        self._cloth(d, -0.6)
        below = torch.maximum(d, -0.48 - self.v)
        self._pleats(below, -0.6, bottom, waist, hem)
        self._seam(self.v + 0.48, d, 1.0)

    def dress(self) -> None:
        waist, bottom = lerp(self.f["width"], 0.2, 0.27), lerp(self.f["length"], 0.4, 0.9)
        hem = waist + lerp(self.f["flare"], 0.08, 0.42)
        bodice = _panel(self.u, self.v, -0.8, -0.15, waist + 0.1, waist)
        skirt = _panel(self.u, self.v, -0.16, bottom, waist, hem)
        d = union(torch.maximum(bodice, -self._neck(-0.8)), skirt, 0.04)
        sleeve = self._sleeve(waist + 0.1, -0.8, lerp(self.f["sleeve"], 0.15, 0.45), 0.28)
        d = torch.where(self.f["opening"] < 0.5, torch.minimum(d, sleeve), d)
        self._cloth(d, -0.8)
        self._pleats(torch.maximum(d, -0.1 - self.v), -0.16, bottom, waist, hem)
        self._seam(self.v + 0.13, _between(self.u, -waist, waist), 1.0)

    # Parts

    def _width(self) -> Tensor:
        return lerp(self.f["width"], 0.34, 0.45)

    def _top(self, width: Tensor, bottom: Tensor, sleeve: Tensor, turn: float) -> Tensor:
        """Body with neck and sleeves: their distance."""
        body = _panel(self.u, self.v, -0.68, bottom, width, width - 0.06 + self.f["flare"] * 0.1)
        sleeves = self._sleeve(width, -0.68, sleeve, turn)
        d = torch.maximum(torch.minimum(body, sleeves), -self._neck(-0.68))
        self._cloth(d, -0.68)
        self._seam(self._neck(-0.68) - 0.05, d, 1.0)
        self._seam(body, sleeves, 1.0)
        return d

    def _neck(self, top: float) -> Tensor:
        depth = lerp(self.f["neck_depth"], 0.06, 0.26)
        return ellipse(self.u, self.v - top, lerp(self.f["neck_width"], 0.12, 0.2), depth)

    def _sleeve(self, shoulder: Tensor, top: float, length: Tensor, turn: float) -> Tensor:
        """Both sleeves, by symmetry: turned outwards by the angle 2 atan(turn)."""
        x, y = self.u.abs() - (shoulder - 0.07), self.v - top
        norm = 1 / (turn * turn + 1)
        cos, sin = (1 - turn * turn) * norm, 2 * turn * norm
        across, along = x * cos - y * sin, x * sin + y * cos
        return _panel(across + 0.05, along, 0.03, length, 0.13, 0.1)

    def _pleats(self, d: Tensor, top: float, bottom: Tensor, a: Tensor, b: Tensor) -> None:
        half = (self.v - top) * ((b - a) / (bottom - top)) + a
        folds = wave(self.u / half.clamp(min=0.05) * 3 + self.f["fold_phase"])
        pleated = (self.f["fold"] > 0.5).float()
        self.window.paint(cover(d, self.pixel) * (1 - folds).pow(3) * pleated, self._dark())

    def _cloth(self, d: Tensor, top: float, patterned: Tensor | bool = True) -> None:
        """Fill a shape with cloth: its colours, pattern, folds, threads below top, and edge."""
        f, colour = self.f, self.first
        period = lerp(f["frequency"], 2.5, 5.0)
        # At least two pixels to a stripe.
        period = torch.minimum(period, 0.25 / self.pixel)
        rows, columns = wave(self.v * period), wave(self.u * period)
        sharp = 1 / (period * self.pixel * 4)
        lines, uprights = (((x - 0.5) * sharp + 0.5).clamp(0, 1) for x in (rows, columns))
        dots = ((rows * columns - 0.55) * sharp + 0.5).clamp(0, 1)
        nothing = torch.zeros_like(dots)
        shares = (nothing, lines, uprights, torch.maximum(lines, uprights) * 0.6, dots)
        which = choose(f["pattern"], PATTERNS)
        share = torch.stack(torch.broadcast_tensors(*shares)).gather(
            0, which.expand(1, *dots.shape)
        )[0]
        share = share * patterned
        colour = colour + (self.second - colour) * share
        fold = wave(self.u * 1.7 + self.v * lerp(f["fold"], -0.5, 0.5) + f["fold_phase"])
        shade = self.window.lit * 0.25 + 0.8 - fold * 0.16
        if self.woven:
            shade = shade * self._weave(top)
        self.window.fill(d, (colour * shade).clamp(0, 1))
        self.window.fill(d.abs() - self.pixel * 0.3, self._dark(), 0.7)

    def _weave(self, top: float) -> Tensor:
        """Brightness of a basket weave: cells of two threads down and of two across, in turn."""
        thread = max(THREAD, 4 / len(self.v))  # at least two pixels
        # The same when it is mirrored, as garments are.
        u, v = self.u.abs() * (self.scale / thread), (self.v - top) * (self.scale / thread)
        across = ((u * 0.5).floor() + (v * 0.5).floor()) * 0.5
        across = (across - across.floor()) * 2  # 0 or 1
        return (wave(u) * (1 - across) + wave(v) * across) * 0.55 + 0.55

    def _dark(self) -> Tensor:
        return self.first * 0.55

    def _seam(self, line: Tensor, inside: Tensor, alpha: Number) -> None:
        """A dark line where a distance is 0, within a shape."""
        self.window.fill(torch.maximum(line.abs() - self.pixel * 0.3, inside), self._dark(), alpha)


def _between(x: Tensor, low: Number, high: Number) -> Tensor:
    return (x - (low + high) * 0.5).abs() - (high - low) * 0.5
