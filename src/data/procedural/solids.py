"""Solids drawn from random factors as voxels: furniture, lamps, mugs, bottles, planes and cars.

    factors = sample_factors(n, seed)              uniform numbers (n,) by name
    voxels = render(factors, names, resolution)    (n, 1, r, r, r) bool

A voxel is occupied if its centre lies inside of a part. Parts are inequalities f(x, y, z) <= 0:
boxes, surfaces of revolution, plates and rods that lean. Most depend on two of the coordinates or
on one, and are computed there and broadcast: 20,000 solids of 32^3 take seconds.

The cube is [-1, 1]^3: x to the right, y downwards, z away from the viewer; the front of a chair,
and of all that has one, is towards the viewer. A part that is thinner than a voxel is drawn as
thick as one, so that no leg is lost at 16^3, and each solid is in one piece.

Only +, -, *, /, abs, minima, maxima and comparisons are used, so that every machine draws the same.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from src.data.procedural.dice import choose, lerp, uniform
from src.errors import SettingError

KINDS = ("chair", "table", "sofa", "lamp", "mug", "bottle", "plane", "car")
# What each means depends on the class: `arm` is an armrest, a shelf, a handle or an engine.
FACTORS = (
    "kind", "width", "depth", "height", "thickness", "leg", "back", "arm", "style", "slant",
)  # fmt: skip
RESOLUTIONS = (16, 32, 64)
Number = float | Tensor


def sample_factors(n: int, seed: int) -> dict[str, Tensor]:
    """Draw the factors of n solids: uniform numbers (n,) by name; solid i depends on (seed, i)."""
    return dict(zip(FACTORS, uniform(n, len(FACTORS), seed), strict=True))


def find_kinds(factors: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    """Classes (n,) of solids, equally likely: indices of `names`."""
    return choose(factors["kind"], (1 / len(names),) * len(names))


def check_solids(resolution: int, names: Sequence[str]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        SettingError: for another resolution, no class, or one that is not known or named twice.
    """
    if resolution not in RESOLUTIONS:
        raise SettingError(
            f"data.resolution={resolution}: solids have {', '.join(map(str, RESOLUTIONS))} voxels "
            "on a side."
        )
    if not names or len(set(names)) < len(names) or not {*names} <= {*KINDS}:
        raise SettingError(
            f"data.labels={list(names)} must name classes of solids, each once.\n"
            f"Classes: {', '.join(KINDS)}"
        )


def render(
    factors: dict[str, Tensor],
    names: Sequence[str],
    resolution: int,
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Draw the solids that the factors describe.

    Args:
        factors: see `sample_factors`.
        names: the classes that occur, of `KINDS`.
        resolution: voxels on a side.
        batch_size: solids drawn at a time; no influence on them.
        progress: is told how many more are done.

    Returns:
        Bool (n, 1, d, h, w): depth, height from the top, width.

    Raises:
        SettingError: see `check_solids`.
    """
    check_solids(resolution, names)
    kinds = find_kinds(factors, names)
    voxels = torch.empty((len(kinds), 1, *[resolution] * 3), dtype=torch.bool)
    for kind, name in enumerate(names):
        for index in (kinds == kind).nonzero()[:, 0].split(batch_size):
            solid = _Solid({key: x[index] for key, x in factors.items()}, resolution)
            getattr(solid, name)()
            voxels[index, 0] = solid.inside.permute(3, 0, 1, 2)
            if progress:
                progress(len(index))
    return voxels


class _Solid:
    """A batch of solids of one class in the making, (d, h, w, n)."""

    def __init__(self, factors: dict[str, Tensor], resolution: int) -> None:
        self.f = factors
        axis = (torch.arange(resolution) * 2 + 1) * (1 / resolution) - 1
        self.x, self.y, self.z = (
            axis.view([resolution if i == place else 1 for i in range(4)]) for place in (2, 1, 0)
        )
        self.thin = 1.02 / resolution  # half width that holds the centre of a voxel anywhere
        self.inside = torch.zeros(*[resolution] * 3, len(factors["kind"]), dtype=torch.bool)

    # Parts

    def get(self, factor: str, low: Number, high: Number) -> Tensor:
        """A factor, brought to a range."""
        return lerp(self.f[factor], low, high)

    def half(self, factor: str, low: float, high: float) -> Tensor:
        """A half thickness, which holds a voxel at least."""
        return self.get(factor, low, high).clamp(min=self.thin)

    def add(self, *masks: Tensor, where: Tensor | bool = True) -> None:
        """Occupy the places in all masks, which broadcast to (d, h, w, n), of some solids (n,)."""
        # As bytes: torch's operations on bool take 50 times as long.
        part = (masks[0] & where).view(torch.uint8)
        for mask in masks[1:]:
            part = part * mask.view(torch.uint8)
        self.inside.view(torch.uint8).bitwise_or_(part)

    def upright(self, top: Number, bottom: Number) -> Tensor:
        """The heights from top to bottom: a voxel at least."""
        return around(self.y, (top + bottom) * 0.5, ((bottom - top) * 0.5).clamp(min=self.thin))

    def disc(
        self, radius: Tensor, top: Number, bottom: Number, where: Tensor | bool = True
    ) -> None:
        """An upright cylinder around the axis."""
        radius = radius.clamp(min=2 * self.thin)  # four voxels around the axis
        plane = self.x * self.x + self.z * self.z <= radius * radius
        self.add(plane, self.upright(top, bottom), where=where)

    def feet(
        self, x: Number, z: Number, half: Tensor, top: Tensor, bottom: Tensor,
        lean: Number = 0.0, where: Tensor | bool = True,
    ) -> None:  # fmt: skip
        """Four legs at (+-x, +-z) that move outwards by `lean` from top to bottom."""
        out = (self.y - top) * (lean / (bottom - top))
        half = torch.where(torch.as_tensor(lean) > 0, half.clamp(min=1.5 * self.thin), half)
        sides = around(self.x.abs(), out + x, half)
        ends = around(self.z.abs(), out + z, half)
        self.add(sides & self.upright(top, bottom), ends, where=where)

    # Classes

    def chair(self) -> None:
        f = self.f
        w, d, t = (
            self.get("width", 0.38, 0.62),
            self.get("depth", 0.36, 0.58),
            self.half("thickness", 0.03, 0.09),
        )
        tall = self.get("height", 0.72, 0.96)
        seat = self.get("leg", 0.0, 0.32)
        self.add(around(self.x, 0, w), around(self.z, 0, d), around(self.y, seat, t))
        rod = self.half("thickness", 0.035, 0.075)
        pedestal = f["style"] > 0.8
        lean = torch.where(f["style"] > 0.5, 0.14, 0.0)
        self.feet(
            w - rod - lean.clamp(max=0.06),
            d - rod - lean.clamp(max=0.06),
            rod,
            seat,
            tall,
            lean,
            ~pedestal,
        )
        self.disc(rod, seat, tall, pedestal)
        self.disc(w * 0.8, tall - 2 * t, tall, pedestal)
        # The back leans: its middle plane is z = d - rod + (seat - y) slope.
        top = seat - (seat + tall) * self.get("back", 0.55, 1.0)
        plate = around(
            self.z, (seat - self.y) * self.get("slant", 0.0, 0.3) + (d - rod), rod * 1.25
        )
        plate = plate & self.upright(top, seat + 2 * self.thin)
        kind = f["back"] * 7  # another factor would not be seen as well
        kind = kind - kind.floor()
        slats, ladder = (kind > 0.45) & (kind < 0.75), kind >= 0.75
        self.add(plate, around(self.x, 0, w), where=kind <= 0.45)
        self.add(plate, around(self.x.abs(), w - rod, rod), where=slats | ladder)
        self.add(plate, around(self.x.abs(), w * 0.32, rod), where=slats)
        for place in (0.0, 0.45):
            rail = top + rod * 1.5 + (seat - top) * place
            bars = around(self.y, rail, rod * 1.5)
            self.add(plate & bars, around(self.x, 0, w), where=ladder | (slats & (place == 0.0)))
        arms = f["arm"] > 0.55
        rest = seat - self.get("arm", 0.1, 0.42)
        side = around(self.x.abs(), w - rod, rod)
        back = d - rod + (seat - rest) * self.get("slant", 0.0, 0.3)
        self.add(side, around(self.y, rest, rod), between(self.z, -d, back), where=arms)
        self.add(side, self.upright(rest, seat), around(self.z, rod - d, rod), where=arms)

    def table(self) -> None:
        f = self.f
        w, d, t = (
            self.get("width", 0.5, 0.95),
            self.get("depth", 0.4, 0.85),
            self.half("thickness", 0.03, 0.1),
        )
        tall = self.get("height", 0.35, 0.85)
        top = t - tall
        round_ = f["style"] > 0.65
        sheet = around(self.y, top, t)
        self.add(around(self.x, 0, w) & around(self.z, 0, d), sheet, where=~round_)
        x, z = self.x / w, self.z / d
        self.add(x * x + z * z <= 1, sheet, where=round_)
        rod = self.half("leg", 0.035, 0.1)
        inset = torch.where(round_, 0.35, 0.0) + self.get("slant", 0.0, 0.12)
        pedestal, panels = f["back"] > 0.75, (f["back"] > 0.5) & (f["back"] <= 0.75)
        lean = torch.where(f["slant"] > 0.6, 0.1, 0.0)
        x, z = w * (1 - inset) - rod - lean, d * (1 - inset) - rod - lean
        self.feet(x, z, rod, top, tall, lean, ~(pedestal | panels))
        self.add(
            around(self.x.abs(), x, rod),
            around(self.z, 0, z),
            self.upright(top, tall),
            where=panels,
        )
        self.disc(rod * 1.4, top, tall, pedestal)
        self.disc(torch.minimum(w, d) * 0.7, tall - 2 * rod, tall, pedestal)
        shelf = top + (tall - top) * self.get("arm", 0.3, 0.95)
        self.add(
            around(self.x, 0, x + self.thin) & around(self.y, shelf, self.thin),
            around(self.z, 0, z + self.thin),
            where=(f["arm"] > 0.6) & (lean == 0) & ~pedestal & ~round_,
        )

    def sofa(self) -> None:
        f = self.f
        w, d = self.get("width", 0.62, 0.96), self.get("depth", 0.32, 0.5)
        tall = self.get("height", 0.36, 0.6)
        seat = tall * self.get("thickness", -0.1, 0.35)
        foot = tall - self.get("leg", 0.02, 0.16)
        self.add(around(self.x, 0, w), around(self.z, 0, d), self.upright(seat, foot))
        self.feet(w - 0.09, d - 0.09, self.half("leg", 0.05, 0.09), seat, tall)
        lean = (foot - self.y) * self.get("slant", 0.0, 0.25)
        plate = between(self.z, d - 0.22 + lean, d + lean)
        self.add(
            plate & self.upright(-tall * self.get("back", 0.6, 1.0), foot), around(self.x, 0, w)
        )
        arm = self.get("arm", 0.08, 0.2)
        rest = seat - self.get("back", 0.1, 0.34)
        ends = around(self.x.abs(), w - arm, arm)
        self.add(ends, around(self.z, 0, d), self.upright(rest, foot), where=f["style"] > 0.2)
        # One end reaches forward.
        side = torch.where(f["style"] > 0.85, 1.0, -1.0)
        place = between(self.x * side, w - self.get("width", 0.5, 0.7), w)
        self.add(
            place, between(self.z, -d - 0.4, d), self.upright(seat, foot), where=f["style"] > 0.7
        )

    def lamp(self) -> None:
        f = self.f
        tall = self.get("height", 0.7, 0.97)
        rod = self.half("thickness", 0.03, 0.07).clamp(min=1.5 * self.thin)
        foot = self.get("leg", 0.22, 0.45)
        bent = f["style"] > 0.6
        off = torch.where(bent, self.get("slant", 0.2, 0.4), 0.0)  # of the pole, to the left
        shade = -tall + self.get("back", 0.4, 0.75)  # lower edge
        wide = self.get("width", 0.3, 0.56)
        narrow = wide * self.get("depth", 0.3, 1.0)
        x, z = self.x - off, self.z
        cone = profile(self.y, [(-tall, narrow), (shade, wide)])
        self.add(x * x + z * z <= cone.square() * cone.sign())
        x = self.x + off
        around_pole = x * x + z * z
        radius = rod.clamp(min=2 * self.thin)
        crossing = torch.where(bent, shade - 0.1 - rod, -tall)
        self.add(around_pole <= radius * radius, self.upright(crossing, tall))
        self.add(
            around(self.x, 0, off),
            around(self.y, shade - 0.1, rod),
            around(self.z, 0, rod),
            where=bent,
        )
        height = self.half("arm", 0.03, 0.12)
        square = f["arm"] > 0.5
        self.add(around_pole <= foot * foot, self.upright(tall - 2 * height, tall), where=~square)
        self.add(
            around(x, 0, foot) & around(z, 0, foot),
            self.upright(tall - 2 * height, tall),
            where=square,
        )

    def mug(self) -> None:
        tall = self.get("height", 0.42, 0.8)
        wide = self.get("width", 0.36, 0.56)
        foot = wide * self.get("slant", 0.65, 1.1)
        wall = self.half("thickness", 0.06, 0.11).clamp(min=3 * self.thin)
        side = torch.where(self.f["style"] > 0.5, 1.0, -1.0)
        x, z = self.x + side * 0.16, self.z / self.get("depth", 0.85, 1.15)
        rho = x * x + z * z
        outside = profile(self.y, [(-tall, wide), (tall, foot)])
        inner = outside - wall
        solid = rho <= outside.square() * outside.sign()
        hollow = (rho <= inner.square()) & (self.y < tall - wall * 2)
        rod = self.half("arm", 0.05, 0.1).clamp(min=1.9 * self.thin)
        a, b = self.get("leg", 0.3, 0.46), tall * self.get("back", 0.45, 0.75)
        u, v = (self.x + side * 0.16) * side - (wide + foot) * 0.5 + wall, self.y / b
        outer, within = u / a, u / (a - rod * 1.6)
        w = self.y / (b - rod * 1.6)
        ring = (outer * outer + v * v <= 1) & (within * within + w * w >= 1)
        self.add(ring, around(self.z, 0, rod))
        self.inside &= ~solid  # nothing of it in the mug
        self.add(solid & ~hollow)

    def bottle(self) -> None:
        f = self.f
        tall = self.get("height", 0.7, 0.97)
        wide, neck = (
            self.get("width", 0.24, 0.5),
            self.get("thickness", 0.09, 0.2).clamp(min=2.5 * self.thin),
        )
        shoulder = -tall + tall * self.get("back", 0.5, 1.1)
        rise = self.get("slant", 0.08, 0.5)
        rim = torch.where(f["arm"] > 0.5, neck * 1.4 + 0.03, neck)
        waist = wide * torch.where(f["leg"] > 0.5, 1.0, self.get("leg", 0.55, 1.0))
        throat = (shoulder - rise).clamp(min=0.16 - tall)
        radius = profile(self.y, [
            (-tall, rim), (0.1 - tall, rim), (0.1 - tall, neck), (throat, neck), (shoulder, wide),
            ((shoulder + tall) * 0.5, waist), (tall, wide),
        ])  # fmt: skip
        x, z = self.x.abs(), self.z.abs() / self.get("depth", 0.7, 1.3).clamp(max=1.0)
        self.add((x * x + z * z <= radius.square() * radius.sign()), where=f["style"] <= 0.65)
        self.add(torch.maximum(x, z) <= radius, where=f["style"] > 0.65)

    def plane(self) -> None:
        f = self.f
        long, fat = (
            self.get("height", 0.75, 0.97),
            self.get("thickness", 0.1, 0.18).clamp(min=2 * self.thin),
        )
        nose, end = (share.clamp(min=1.5 * self.thin) for share in (fat * 0.35, fat * 0.4))
        body = profile(
            self.z, [(-long, nose), (2 * fat - long, fat), (long * 0.45, fat), (long, end)]
        )
        self.add(self.x * self.x + self.y * self.y <= body.square() * body.sign())
        flat = self.thin
        span, chord = self.get("width", 0.55, 0.97), self.get("depth", 0.16, 0.34)
        sweep, taper = self.get("slant", -0.05, 0.65), self.get("leg", 0.35, 0.9)
        at = self.get("back", -0.35, 0.05)
        level = torch.where(f["style"] > 0.7, -fat * 0.8, fat * 0.35)

        def wing(reach: Tensor, place: Tensor, chord: Tensor) -> Tensor:
            out = self.x.abs()
            middle = place + out * sweep
            half = (chord * (1 - (1 - taper) * out / reach)).clamp(min=1.7 * flat)
            return around(self.z, middle, half) & (out <= reach)

        self.add(wing(span, at, chord), around(self.y, level, flat))
        tail = long - chord * 0.7
        high = f["style"] > 0.85  # a T-tail
        fin = fat + self.get("arm", 0.22, 0.42)
        self.add(
            wing(span * 0.4, tail - sweep * 0.1, chord * 0.6),
            around(self.y, torch.where(high, flat - fin, 0.0), flat),
        )
        up = -self.y
        middle = tail + (up * sweep).clamp(min=0) * 0.5
        self.add(
            around(self.z, middle, chord * 0.6) & between(up, torch.zeros(1), fin),
            around(self.x, 0, flat),
        )
        engine = self.get("thickness", 0.06, 0.09).clamp(min=2 * self.thin)
        x, y = self.x.abs() - span * 0.45, self.y - level - engine
        middle = at + span * 0.45 * sweep - chord * 0.6
        self.add(
            x * x + y * y <= engine * engine,
            around(self.z, middle, chord * 0.9),
            where=f["arm"] > 0.45,
        )

    def car(self) -> None:
        f = self.f
        long, w = self.get("depth", 0.75, 0.97), self.get("width", 0.32, 0.46)
        wheel = self.get("leg", 0.13, 0.21).clamp(min=3 * self.thin)
        floor = torch.as_tensor(0.45)
        low = floor - wheel * 0.8
        hood = low - self.get("thickness", 0.16, 0.32)
        self.add(around(self.x, 0, w), around(self.z, 0, long), self.upright(hood, low))
        roof = hood - self.get("height", 0.2, 0.42)
        # The cabin: its front and back lean; a van's reaches to the end, a truck's is short.
        style = f["style"]
        start = long * self.get("back", -0.55, -0.2)
        end = torch.where(style > 0.7, long, torch.where(style > 0.45, long * 0.1, long * 0.65))
        rise = (hood - self.y) * self.get("slant", 0.15, 1.0)
        cabin = between(self.z, start + rise, end - rise * torch.where(style > 0.7, 0.1, 0.6))
        self.add(cabin & self.upright(roof, hood), around(self.x, 0, w * 0.92))
        y = self.y - (floor - wheel)
        z = self.z.abs() - long * 0.6
        self.add(
            y * y + z * z <= wheel * wheel,
            around(self.x.abs(), w - 0.06, torch.as_tensor(0.09).clamp(min=self.thin)),
        )
        spoiler = (f["arm"] > 0.6) & (style <= 0.45)
        wing = around(self.z, long - 0.1, torch.as_tensor(0.1))
        high = hood - self.get("arm", 0.05, 0.2)
        self.add(
            wing & self.upright(high - 2 * self.thin, high), around(self.x, 0, w), where=spoiler
        )
        self.add(
            wing & self.upright(high, hood),
            around(self.x.abs(), w * 0.6, torch.as_tensor(2 * self.thin)),
            where=spoiler,
        )


def around(x: Tensor, middle: Number, half: Number) -> Tensor:
    """True where x is at most `half` away from the middle."""
    return (x - middle).abs() <= half


def between(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """True where x is from low to high."""
    return (x >= low) & (x <= high)


def profile(t: Tensor, points: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A radius along an axis, linear between points (place, radius) in their order; else -1."""
    radius = torch.full_like(t * points[0][0], -1.0)
    for (start, a), (end, b) in pairwise(points):
        share = (t - start) / (end - start).clamp(min=1e-6)
        inside = (t >= start) & (t <= end)
        radius = torch.where(inside, (b - a) * share + a, radius)
    return radius
