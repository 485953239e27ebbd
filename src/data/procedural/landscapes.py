"""Landscapes drawn from random factors, each in summer, in winter and at dusk.

    factors = sample_factors(n, seed)               uniform numbers (n,) by name
    images = render(factors, resolution, "winter")  (n, 3, r, r) uint8

A look changes colours, snow, leaves and the light, and no place or shape, so the true answer of a
translation between two looks is the same scene in the other. What it needs is visible in either:
a bare tree has branches as wide as its crown, a roof under snow has the hue of the door, the moon
stands where the sun does. Shapes are signed distances (`sdf.py`).
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from src.data.procedural.canvas import Canvas, check_resolution, draw_batches
from src.data.procedural.dice import lerp, uniform
from src.data.procedural.sdf import Window, box, cover, ellipse, hsv, rgb, segment, union, wave

Look = Literal["summer", "winter", "dusk"]
SLOTS = ("fir_0", "fir_1", "leafy_0", "fir_2", "leafy_1", "front")  # trees, from far to near
FACTORS = (
    "horizon", "sun_x", "sun_y", "sun_size", "cloud_x", "cloud_y", "cloud_size", "tone",
    "mountain_phase", "mountain_height", "mountain_width",
    "hill_phase", "hill_height", "hill_width", "wood_phase", "wood_height",
    "lake", "lake_x", "lake_y", "lake_size", "house", "house_x",
    "house_y", "house_size", "house_length", "house_side", "wall", "roof_hue", "windows", "path",
    *(f"{slot}_{what}" for slot in SLOTS for what in ("there", "x", "size", "shape")),
)  # fmt: skip
COLOURS = {  # summer, winter, dusk
    "sky": ((72, 140, 220), (142, 166, 198), (44, 44, 100)),
    "sky_low": ((200, 228, 246), (216, 222, 232), (255, 156, 84)),
    "cloud": ((255, 255, 255), (250, 250, 252), (226, 112, 112)),
    "sun": ((255, 236, 120), (255, 250, 226), (246, 244, 224)),
    "mountain": ((122, 144, 172), (236, 240, 247), (96, 72, 112)),
    "mountain_dark": ((92, 114, 150), (166, 182, 208), (70, 54, 96)),
    "hill": ((98, 152, 96), (216, 225, 237), (62, 60, 80)),
    "wood": ((44, 98, 66), (92, 118, 120), (28, 38, 50)),
    "meadow": ((158, 196, 84), (244, 247, 252), (84, 82, 62)),
    "meadow_near": ((84, 150, 52), (214, 224, 238), (40, 54, 40)),
    "shadow": ((58, 112, 44), (160, 178, 208), (26, 34, 32)),
    "water": ((64, 130, 198), (164, 196, 218), (196, 112, 92)),
    "water_near": ((40, 98, 168), (190, 214, 230), (84, 62, 108)),
    "shore": ((196, 184, 124), (228, 234, 242), (66, 58, 52)),
    "path": ((220, 196, 140), (226, 222, 216), (112, 92, 76)),
    "trunk": ((104, 72, 46), (82, 64, 56), (40, 28, 30)),
    "leaf": ((92, 166, 56), (0, 0, 0), (44, 66, 38)),
    "leaf_dark": ((50, 118, 44), (0, 0, 0), (26, 44, 34)),
    "fir": ((38, 104, 70), (54, 100, 86), (22, 46, 46)),
    "fir_dark": ((24, 76, 56), (40, 76, 70), (14, 32, 36)),
    "snow": ((0, 0, 0), (250, 252, 255), (0, 0, 0)),
    "pane": ((78, 104, 132), (84, 100, 122), (255, 226, 110)),
    "light": ((255, 255, 255), (244, 246, 255), (128, 112, 134)),  # on walls and roofs
}  # fmt: skip


def sample_factors(n: int, seed: int) -> dict[str, Tensor]:
    """Draw the factors of n scenes: uniform numbers (n,) by name; scene i depends on (seed, i)."""
    return dict(zip(FACTORS, uniform(n, len(FACTORS), seed), strict=True))


def render(
    factors: dict[str, Tensor],
    resolution: int,
    look: Look,
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Draw the scenes that the factors describe.

    Args:
        factors: see `sample_factors`.
        resolution: side in pixels.
        look: season or time of day.
        batch_size: scenes drawn at a time; no influence on the images.
        progress: is told how many more are done.

    Returns:
        Uint8 (n, 3, resolution, resolution).

    Raises:
        SettingError: for a resolution out of range.
    """
    check_resolution(resolution, "landscapes")
    n = len(factors["horizon"])
    images = torch.empty((n, 3, resolution, resolution), dtype=torch.uint8)

    def draw(part: slice) -> None:
        some = {name: column[part] for name, column in factors.items()}
        images[part] = _Landscapes(some, resolution, look).draw()

    draw_batches(draw, n, batch_size, progress)
    return images


class _Landscapes(Canvas):
    """A batch of scenes in the making: one method per thing in them."""

    def __init__(self, factors: dict[str, Tensor], resolution: int, look: Look) -> None:
        self.f = factors
        super().__init__(len(factors["horizon"]), resolution)
        place = get_args(Look).index(look)
        self.colour = {name: rgb(*levels[place]) for name, levels in COLOURS.items()}
        self.snow, self.dark = look == "winter", look == "dusk"
        self.horizon = lerp(factors["horizon"], -0.06, 0.14)
        # Each look has the scene's tone in it: warmer or cooler.
        self.tone = (factors["tone"] - 0.5) * torch.tensor([0.09, 0.0, -0.09])[:, None, None, None]

    def draw(self) -> Tensor:
        """Paint back to front; uint8 (n, 3, r, r)."""
        self.sky()
        self.mountains()
        self.hills()
        self.meadow()
        self.tree("fir_0", 0.06, 0.30)
        self.tree("fir_1", 0.11, 0.34)
        self.tree("leafy_0", 0.15, 0.36)
        self.house()
        self.tree("fir_2", 0.26, 0.46)
        self.tree("leafy_1", 0.30, 0.46)
        self.lake()
        self.tree("front", 0.66, 1.0)
        return self.levels()

    def sky(self) -> None:
        """From the zenith's colour to the horizon's, with sun or moon, and two clouds."""
        f, c = self.f, self.colour
        t = ((self.y + 1) / (self.horizon + 1)).clamp_(0, 1)
        sky = (c["sky_low"] - c["sky"]) * t + c["sky"]
        self.image.copy_(sky.add_(self.tone))
        x, y = lerp(f["sun_x"], -0.85, 0.85), lerp(f["sun_y"], -0.84, -0.62)
        size = lerp(f["sun_size"], 0.09, 0.14)
        w = self.window(x - 0.5, x + 0.5, y - 0.5, y + 0.5)
        u, v = w.u - x, w.v - y
        glow = (u * u + v * v).mul_(-4).add_(1).clamp_(min=0)
        w.paint(glow.mul_(glow).mul_(0.5 if self.snow else 0.3), c["sun"])
        w.fill(ellipse(u, v, size, size), c["sun"])
        for k in range(2):
            x = lerp(f["cloud_x"], -0.9, 0.1) + k * 0.8
            y = lerp(f["cloud_y"], -0.72, -0.5) + (f["cloud_size"] - 0.5) * (0.3 - 0.6 * k)
            size = lerp(f["cloud_size"], 0.75, 1.2) * (1 - 0.3 * k)
            w = self.window(x - 0.5, x + 0.5, y - 0.25, y + 0.25)
            u, v = (w.u - x) / size, (w.v - y) / size
            d = union(
                ellipse(u + 0.13, v, 0.15, 0.09), ellipse(u - 0.03, v + 0.05, 0.14, 0.11), 0.05
            )
            d = union(d, ellipse(u - 0.19, v + 0.005, 0.14, 0.075), 0.05)
            w.fill(torch.maximum(d, v - 0.06) * size, c["cloud"], 0.9)

    def mountains(self) -> None:
        """Peaks with a lit and a dark face, and snow on them in winter."""
        f, c = self.f, self.colour
        period = lerp(f["mountain_width"], 0.7, 1.0)
        turn = self.x * period + f["mountain_phase"]
        turn = turn - turn.floor()
        small = self.x * period * 1.7 + f["mountain_phase"] * 3.3
        small = small - small.floor()
        height = 1 - (turn * 2 - 1).abs()
        other = (1 - (small * 2 - 1).abs()) * 0.75
        peak = torch.maximum(height, other) * lerp(f["mountain_height"], 0.34, 0.5)
        w = self.window(-1, 1, self.horizon - 0.62, 1.0)
        share = cover((self.horizon - 0.1 - peak - w.v).mul_(0.75), self.pixel)
        w.paint(share, c["mountain"])
        # The dark face is on the right of a jagged ridge.
        face = torch.where(height > other, turn, small) - wave(w.v * 6 + self.x * 3) * 0.07
        face = face.sub_(0.46).mul_(16).clamp_(0, 1)
        w.paint(share.mul_(face), c["mountain_dark"])

    def hills(self) -> None:
        """Two rows of round hills; the nearer one is wooded."""
        f, c = self.f, self.colour
        x = self.x * lerp(f["hill_width"], 0.5, 0.75) + f["hill_phase"]
        top = self.horizon - 0.06 - wave(x) * lerp(f["hill_height"], 0.12, 0.22)
        w = self.window(-1, 1, self.horizon - 0.3, 1.0)
        w.fill((top - w.v) * 0.85, c["hill"] + self.tone)
        x = self.x * 0.55 + f["wood_phase"]
        top = self.horizon - 0.02 - wave(x) * lerp(f["wood_height"], 0.02, 0.14)
        top = top - wave(self.x * 9) * 0.025 - wave(self.x * 5 + 0.3) * 0.02
        w.fill((top - w.v) * 0.8, c["wood"])
        if self.snow:
            w.fill((top - w.v).add_(0.012).abs_().sub_(0.014), c["snow"], 0.7)

    def meadow(self) -> None:
        """Grass, darker towards the viewer, with a path to the house in it."""
        f, c = self.f, self.colour
        w = self.window(-1, 1, self.horizon - 0.1, 1.0)
        t = ((w.v - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        waves = wave(w.v * 2.6 + w.u * 0.35 + f["hill_phase"]).mul_(0.22)
        colour = (c["meadow_near"] - c["meadow"]) * (t * 0.85 + waves).clamp_(0, 1) + c["meadow"]
        top = self.horizon - wave(self.x * 0.31 + f["hill_phase"]) * 0.05
        w.fill(top - w.v, colour.add_(self.tone))
        x, y, _ = self.house_place()
        w = self.window(-1, 1, y, 1.0)
        t = ((w.v - y) / (1 - y)).clamp(0, 1)
        middle = x + (t * t - t * 0.3) * lerp(f["path"], -0.8, 0.8)
        d = (w.u - middle).abs_() - (t * 0.16 + 0.03)
        w.fill(torch.maximum(d, y - w.v), c["path"], self.at_home())

    def at_home(self) -> Tensor:
        """1 where there is a house, 0 elsewhere, (n,)."""
        return (self.f["house"] < 0.8).float()

    def house_place(self) -> tuple[Tensor, Tensor, Tensor]:
        """The house's middle, ground line and size."""
        f = self.f
        x, depth = lerp(f["house_x"], -0.5, 0.5), lerp(f["house_y"], 0.2, 0.3)
        return x, self.horizon + depth, lerp(f["house_size"], 0.85, 1.15)

    def house(self) -> None:
        """A gable with the door, a long wall with windows, roof and chimney."""
        f, c, there = self.f, self.colour, self.at_home()
        x, y, size = self.house_place()
        side = (f["house_side"] > 0.5).float() * 2 - 1
        w = self.window(x - 0.62, x + 0.62, y - 0.78, y + 0.1)
        u, v = (w.u - x) * side / size, (w.v - y) / size
        w = Window(w.image, u, v, w.lit, self.pixel / size)
        wall = hsv(f["wall"], 0.1 + 0.28 * f["house_size"], 0.93) * c["light"]
        roof = hsv(f["roof_hue"] * 0.14 - 0.04, 0.7, 0.66) * c["light"]
        # The gable is around u = -0.17; the long wall goes from there to u = length.
        half, ridge, eave, length = 0.17, 0.5, 0.27, lerp(f["house_length"], 0.38, 0.5)
        middle = u - length * 0.5
        w.fill(ellipse(u - 0.1, v - 0.01, 0.46, 0.05), c["shadow"], there * 0.7)
        w.fill(box(u - length * 0.6, v + 0.5, 0.035, 0.12, 0.0), roof * 0.8, there)
        if self.snow:
            w.fill(box(u - length * 0.6, v + 0.62, 0.045, 0.02, 0.01), c["snow"], there)
        w.fill(box(middle, v + eave * 0.5, length * 0.5, eave * 0.5, 0.0), wall * 0.82, there)
        u = u + half
        rise = (ridge - eave) / half
        across = 1 / (rise * rise + 1) ** 0.5
        under_roof = (u.abs() * rise - v - ridge) * across
        gable = torch.maximum(torch.maximum(u.abs() - half, v), under_roof)
        w.fill(gable, wall, there)
        # The roof lies between two lines that rise to the ridge, from over the eave to the ridge.
        lean = (u - (v + ridge) / rise) * (across * rise)
        flank = torch.maximum(-0.02 - lean, lean - (length + 0.03) * (across * rise))
        slab = torch.maximum(flank, (v + 0.365).abs() - 0.145)
        w.fill(slab, roof, there)
        if self.snow:
            w.fill(torch.maximum(slab + 0.01, v + eave + 0.025), c["snow"], there)
        edge = torch.maximum(under_roof.abs() - 0.025, v + eave - 0.03)
        w.fill(edge, roof * 0.75, there)
        if self.snow:
            w.fill(torch.maximum(edge, under_roof), c["snow"], there)
        w.fill(box(u, v + 0.085, 0.05, 0.085, 0.01), roof * 0.9, there)
        self.pane(w, box(u, v + 0.29, 0.042, 0.042, 0.0), there)
        two = (f["windows"] > 0.5).float() * length * 0.24
        self.pane(w, box(middle.abs() - two, v + 0.15, 0.055, 0.055, 0.0), there)

    def pane(self, w: Window, d: Tensor, there: Tensor) -> None:
        """A window with its frame; at dusk it is lit and shines on what is near."""
        if self.dark:
            w.paint((1 - d * 9).clamp_(0, 1).mul_(0.3).mul_(there), self.colour["pane"])
        w.fill(d - 0.016, self.colour["light"] * 0.97, there)
        w.fill(d, self.colour["pane"], there)

    def lake(self) -> None:
        """Water with a shore: it mirrors the sky, and is ice in winter."""
        f, c = self.f, self.colour
        there = (f["lake"] < 0.7).float()
        x, y = lerp(f["lake_x"], -0.6, 0.6), lerp(f["lake_y"], 0.6, 0.72)
        a = lerp(f["lake_size"], 0.36, 0.62)
        b = a * 0.3
        w = self.window(x - a - 0.05, x + a + 0.05, y - b - 0.05, y + b + 0.05)
        u, v = w.u - x, w.v - y
        d = union(
            ellipse(u + a * 0.25, v, a * 0.7, b),
            ellipse(u - a * 0.4, v - b * 0.2, a * 0.55, b * 0.7),
            0.05,
        )
        w.fill(d - 0.03, c["shore"] + self.tone, there)
        t = (v / b).mul_(0.5).add_(0.5).clamp_(0, 1)
        colour = (c["water_near"] - c["water"]) * t + c["water"]
        w.fill(d, colour, there)
        for k in range(2):
            x, y = u + a * (0.35 - 0.6 * k), v + b * (0.3 - 0.7 * k)
            ends = (a * -0.22, 0.0), (a * 0.22, 0.0)
            glint = segment(x, y, *ends, (0.008, 0.008), self.pixel)
            w.fill(glint, c["sky_low"], there * 0.7)

    def tree(self, slot: str, depth: float, size: float) -> None:
        """A conifer or a leafy tree, which is bare in winter, on the meadow."""
        f = self.f
        there, shape = f[f"{slot}_there"], f[f"{slot}_shape"]
        x = lerp(f[f"{slot}_x"], -0.92, 0.92)
        # Beside the house, not before it.
        if slot == "front":
            x = lerp(f["front_x"], 0.5, 0.95)
            x = torch.where(f["house_x"] < 0.5, x, -x)
        elif depth > 0.25:
            x = self.house_place()[0] + lerp(f[f"{slot}_x"], 0.55, 1.65)
            x = torch.where(x > 1.1, x - 2.2, x)
        y = self.horizon + depth
        size = lerp(f[f"{slot}_size"], 0.8, 1.15) * size
        w = self.window(x - size * 0.6, x + size * 0.6, y - size * 1.1, y + size * 0.15)
        u, v = (w.u - x) / size, (w.v - y) / size
        w = Window(w.image, u, v, w.lit, self.pixel / size)
        if slot == "front":  # one of the two, or none
            self.fir(w, shape, (there < 0.4).float())
            self.leafy(w, shape, ((there >= 0.4) & (there < 0.75)).float())
        else:
            draw = self.fir if slot.startswith("fir") else self.leafy
            draw(w, shape, (there < 0.75).float())

    def fir(self, w: Window, shape: Tensor, there: Tensor) -> None:
        """Four tiers of branches, which snow lies on."""
        c, u, v = self.colour, w.u, w.v
        half = lerp(shape, 0.24, 0.34)
        w.fill(ellipse(u, v, half, 0.04), self.colour["shadow"], there * 0.6)
        w.fill(box(u, v + 0.06, 0.035, 0.07, 0.0), c["trunk"], there)
        t = (v + 1) * (1 / 0.9)  # 0 at the top, 1 at the lowest branches
        tier = t.clamp(min=0) * 4
        tier = tier - tier.floor()
        wide = (t * 0.62 + tier * 0.3 + 0.08) * half
        d = torch.maximum((u.abs() - wide) * 0.8, (t - 0.5).abs().sub_(0.5).mul_(0.9))
        share = cover(d, w.pixel).mul_(there)
        w.paint(share, c["fir"])
        w.paint(share * (u * 6 + 0.4).clamp_(0, 1), c["fir_dark"])
        if self.snow:
            lies = (0.55 - tier + u.abs() * 0.5).mul_(5).clamp_(0, 1)
            w.paint(share * lies, c["snow"])

    def leafy(self, w: Window, shape: Tensor, there: Tensor) -> None:
        """A crown of leaves, or the branches that bear it, with snow on them."""
        c, u, v = self.colour, w.u, w.v
        wide, pixel = lerp(shape, 0.85, 1.15), w.pixel
        w.fill(ellipse(u, v, wide * 0.34, 0.045), c["shadow"], there * 0.6)
        trunk = segment(u, v, (0.0, 0.0), (0.0, -0.5), (0.06, 0.035), pixel)
        if not self.snow:
            w.fill(trunk, c["trunk"], there)
            side = u.abs() - wide * 0.2
            crown = union(
                ellipse(side, v + 0.52, wide * 0.22, 0.2),
                ellipse(u, v + 0.74, wide * 0.28, 0.24),
                0.06,
            )
            crown = crown - wave(u * 4 + v * 3) * wave(v * 4 - u * 2) * 0.03
            share = cover(crown, pixel).mul_(there)
            w.paint(share, c["leaf"] + self.tone)
            x, y = u + 0.1, v + 0.76
            dark = (x * x + y * y).mul_(4.5).sub_(0.25).clamp_(0, 1)
            w.paint(share.mul_(dark), c["leaf_dark"] + self.tone)
            return
        twigs = trunk
        for start, end, r in (
            ((0.0, -0.30), (0.34, -0.62), 0.028),
            ((0.0, -0.46), (0.20, -0.88), 0.025),
            ((0.0, -0.48), (0.0, -0.97), 0.028),
            ((0.18, -0.47), (0.40, -0.50), 0.018),
            ((0.12, -0.70), (0.32, -0.78), 0.018),
        ):
            ends = (start[0] * wide, start[1]), (end[0] * wide, end[1])
            twigs = torch.minimum(twigs, segment(u.abs(), v, *ends, (r, r * 0.6), pixel))
        w.fill(twigs, c["trunk"], there)
        lies = segment(u.abs(), v, (0.02, -0.36), (wide * 0.34, -0.655), (0.014, 0.014), pixel)
        for start, end in (((0.19, -0.505), (0.40, -0.53)), ((0.13, -0.735), (0.32, -0.81))):
            ends = (start[0] * wide, start[1]), (end[0] * wide, end[1])
            lies = torch.minimum(lies, segment(u.abs(), v, *ends, (0.014, 0.014), pixel))
        w.fill(lies, c["snow"], there)
