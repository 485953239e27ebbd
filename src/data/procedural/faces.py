"""Faces drawn from known factors: the built-in stand-in for CelebA.

A face is a point in factor space, and drawing it is a function without randomness:

    factors = sample_factors(n, seed)        (n, len(FACTORS)), for measures of disentanglement
    images = render(factors, resolution)     (n, 3, r, r) uint8
    labels = attributes(factors)             (n, len(ATTRIBUTES)) of 0 and 1, in CelebA's manner

Shapes are signed distances (`sdf.py`) in the frame of the head: origin between eyes and mouth, v
downwards, the skull's top at -1 and the chin near +1. They are painted back to front,
image += cover * (colour - image). Light is Lambert's law on an ellipsoid around the head, so that
skin, hair and hat agree where it comes from. A turned head moves each part by its depth z:
x cos(yaw) + z sin(yaw). The dice are a hash of (seed, index of the face, factor).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from src.data.procedural.canvas import check_resolution, draw_batches
from src.data.procedural.dice import choose, lerp, uniform
from src.data.procedural.sdf import Number, Window, box, cover, ellipse, lens, union, wave


class Factor(NamedTuple):
    """One number that makes a face.

    Attributes:
        name: name of the factor; that of the attribute if it is one.
        odds: probabilities of the values 0, 1, 2 ...; empty for one uniform in [0, 1).
    """

    name: str
    odds: tuple[float, ...] = ()


STYLES = ("bald", "short", "curly", "medium", "long", "bun")
COLOURS = ("black", "brown", "blond", "red", "gray")
CONTINUOUS = """
    x y scale tilt yaw pitch face_width jaw chin ear_size neck_width skin_tone skin_warmth
    hair_shade hair_volume hair_length hair_wave hair_part hairline eye_size eye_open
    eye_spacing eye_height eye_colour gaze brow_height brow_slope nose_length nose_width
    mouth_width mouth_height mouth_curve mouth_opening lips beard_length light light_height
    backdrop_hue backdrop_tone backdrop_angle backdrop_phase cloth_hue cloth_tone cloth_stripes
    neckline frame_shape frame_hue hat_hue hat_brim
"""
FACTORS = (
    Factor("Eyeglasses", (0.7, 0.3)),
    Factor("Smiling", (0.5, 0.5)),
    Factor("Mouth_Open", (0.65, 0.35)),
    Factor("Beard", (0.8, 0.2)),
    Factor("Mustache", (0.8, 0.2)),
    Factor("Wearing_Hat", (0.85, 0.15)),
    Factor("Bangs", (0.7, 0.3)),
    Factor("Bushy_Eyebrows", (0.7, 0.3)),
    Factor("Wearing_Earrings", (0.75, 0.25)),
    Factor("Wearing_Lipstick", (0.7, 0.3)),
    Factor("Dark_Skin", (0.65, 0.35)),
    Factor("Looking_Left", (0.6, 0.4)),
    Factor("Light_From_Left", (0.5, 0.5)),
    Factor("Bright_Background", (0.5, 0.5)),
    Factor("hair_style", (0.12, 0.24, 0.16, 0.16, 0.2, 0.12)),
    Factor("hair_colour", (0.28, 0.26, 0.2, 0.12, 0.14)),
    Factor("backdrop", (0.4, 0.3, 0.3)),  # plain, stripes, dots
    *map(Factor, CONTINUOUS.split()),
)
INDEX = {factor.name: i for i, factor in enumerate(FACTORS)}
_BINARY = tuple(factor.name for factor in FACTORS if len(factor.odds) == 2)
ATTRIBUTES = (*_BINARY, "Bald", "Long_Hair", *(f"{name.title()}_Hair" for name in COLOURS))

PIVOT = 1.3  # v of the neck's root, about which heads tilt
HAIR = ((30, 26, 30), (80, 46, 28), (232, 194, 112), (186, 78, 36), (188, 188, 194))
IRIS = ((70, 44, 28), (66, 110, 168), (74, 124, 78), (118, 92, 52))


def sample_factors(n: int, seed: int) -> Tensor:
    """Draw the factors of n faces; row i depends on (seed, i) only.

    They are independent but for two exclusions: the bald wear no hat, and bangs need hair and no
    hat on it.

    Args:
        n: number of faces.
        seed: seed of the hash that stands for the dice.

    Returns:
        Float32 (n, len(FACTORS)) on the CPU, columns as in `FACTORS`.
    """
    columns = uniform(n, len(FACTORS), seed)
    for column, (_, odds) in zip(columns, FACTORS, strict=True):
        if odds:
            column.copy_(choose(column, odds))
    bald = columns[INDEX["hair_style"]] == STYLES.index("bald")
    columns[INDEX["Wearing_Hat"], bald] = 0
    columns[INDEX["Bangs"], bald | (columns[INDEX["Wearing_Hat"]] == 1)] = 0
    return columns.T.contiguous()


def glasses_factors(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Factors of the same n faces without and with glasses, as `sample_factors` draws them.

    All glasses have one shape and one hue, so that a face tells what it looks like with them.
    """
    without = sample_factors(n, seed)
    without[:, INDEX["Eyeglasses"]] = 0
    without[:, INDEX["frame_shape"]] = 0.5
    without[:, INDEX["frame_hue"]] = 0.65
    worn = without.clone()
    worn[:, INDEX["Eyeglasses"]] = 1
    return without, worn


def attributes(factors: Tensor) -> Tensor:
    """The labels of faces: int64 (n, len(ATTRIBUTES)) of 0 and 1, columns as in `ATTRIBUTES`.

    Hair has a colour only where there is hair: all five colours are 0 for the bald.
    """
    style, colour = factors[:, INDEX["hair_style"]], factors[:, INDEX["hair_colour"]]
    bald = style == STYLES.index("bald")
    columns = [factors[:, INDEX[name]] for name in _BINARY]
    columns += [bald, style == STYLES.index("long")]
    columns += [(colour == i) & ~bald for i in range(len(COLOURS))]
    return torch.stack([column.long() for column in columns], 1)


def render_faces(
    n: int, resolution: int, seed: int, device: str | torch.device = "cpu", batch_size: int = 32
) -> tuple[Tensor, Tensor]:
    """Draw n faces and tell their attributes.

    Args:
        n: number of faces; face i depends on (seed, i) only.
        resolution: side in pixels, 32 to 128.
        seed: another seed, other faces.
        device: device to draw on.
        batch_size: faces drawn at a time; no influence on the images.

    Returns:
        Uint8 images (n, 3, resolution, resolution) and int64 attributes (n, len(ATTRIBUTES)), both
        on the device.

    Raises:
        SettingError: for a resolution out of range.
    """
    factors = sample_factors(n, seed).to(device)
    return render(factors, resolution, batch_size), attributes(factors)


def render(
    factors: Tensor, resolution: int, batch_size: int = 32, painter: type["Faces"] | None = None
) -> Tensor:
    """Draw the faces that the factors (n, len(FACTORS)) describe, on the factors' device.

    Args:
        factors: see `sample_factors`.
        resolution: side in pixels, 32 to 128.
        batch_size: faces drawn at a time; no influence on the images.
        painter: draws a batch; the default is `Faces`, see also `ageing.py`.

    Returns:
        Uint8 (n, 3, resolution, resolution).

    Raises:
        SettingError: for a resolution out of range.
    """
    check_resolution(resolution, "faces")
    images = factors.new_empty((len(factors), 3, resolution, resolution), dtype=torch.uint8)

    def draw(part: slice) -> None:
        images[part] = (painter or Faces)(factors[part], resolution).draw()

    draw_batches(draw, len(factors), batch_size, on_cpu=factors.device.type == "cpu")
    return images


def _rational(t: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angle 2 atan(t), from operations that IEEE 754 fixes to the bit."""
    norm = 1 / (t * t + 1)
    return (1 - t * t) * norm, t * 2 * norm


class Faces:
    """A batch of faces in the making: what layers share, and one method per layer."""

    def __init__(self, factors: Tensor, resolution: int) -> None:
        self.f = f = {factor.name: factors[:, i].contiguous() for i, factor in enumerate(FACTORS)}
        self.size, self.device = resolution, factors.device
        self.image = factors.new_empty((3, resolution, resolution, len(factors)))
        self.style = {name: (f["hair_style"] == i).float() for i, name in enumerate(STYLES)}

        # Image frame [-1, 1] -> body frame, shifted and scaled -> head frame, tilted on the neck.
        self.scale = lerp(f["scale"], 0.58, 0.70)
        self.pixel = 2 / (self.scale * resolution)
        self.cx, self.cy = lerp(f["x"], -0.1, 0.1), lerp(f["y"], -0.05, 0.07)
        self.axis = (torch.arange(resolution, device=self.device) * 2 + 1) * (1 / resolution) - 1
        self.x = (self.axis[None, :, None] - self.cx) * (1 / self.scale)
        self.y = (self.axis[:, None, None] - self.cy) * (1 / self.scale)
        self.cos, self.sin = _rational(lerp(f["tilt"], -0.085, 0.085))
        y = self.y - PIVOT
        self.u, self.v = self.x * self.cos + y * self.sin, y * self.cos - self.x * self.sin + PIVOT

        # The gap in the turn, -0.11 to -0.02, keeps its attribute unambiguous.
        left = f["Looking_Left"]
        self.yaw_cos, self.yaw = _rational(lerp(f["yaw"], -0.02 - 0.18 * left, 0.19 - 0.30 * left))
        self.pitch = lerp(f["pitch"], -0.06, 0.06)

        self.light = lerp(f["light"], 0.5, 0.8) * (1 - 2 * f["Light_From_Left"])
        nx, ny = self.u * 0.95, self.v * 0.75
        nz = (nx * nx).add_(ny * ny).neg_().add_(1.15).clamp_(min=0).sqrt_()
        self.lit = nz.mul_(0.55).add_(nx.mul_(self.light))
        self.lit.add_(ny.mul_(lerp(f["light_height"], -0.5, -0.1)))
        self.lit.mul_(0.85).add_(0.25).clamp_(0, 1)

        self.width = lerp(f["face_width"], 0.70, 0.80)
        self.eye_mid = self.yaw * 0.55
        self.eye_half = lerp(f["eye_spacing"], 0.30, 0.36) * self.yaw_cos
        self.eye_v = lerp(f["eye_height"], -0.10, -0.03) + self.pitch
        self.mouth_mid = self.yaw * 0.62
        self.mouth_v = lerp(f["mouth_height"], 0.50, 0.57) + self.pitch
        self.haired = 1 - self.style["bald"]
        self.volume = lerp(f["hair_volume"], 0.06, 0.16) + self.style["curly"] * 0.12
        self.volume *= 1 - 0.75 * f["Wearing_Hat"]

        light_skin = lerp(f["skin_tone"], self.rgb(255, 226, 202), self.rgb(232, 180, 140))
        dark_skin = lerp(f["skin_tone"], self.rgb(164, 110, 76), self.rgb(112, 72, 50))
        self.skin = lerp(f["Dark_Skin"], light_skin, dark_skin)
        self.skin = self.skin - self.rgb(0, 4, 13) * f["skin_warmth"]
        self.hair = self.pick(HAIR, f["hair_colour"]) * lerp(f["hair_shade"], 0.86, 1.1)
        self.skin_dark, self.hair_dark = self.rgb(168, 140, 138), self.rgb(128, 118, 128)
        self.cloth_dark, self.white = self.rgb(158, 153, 168), self.rgb(255, 255, 255)

    def rgb(self, *levels: int) -> Tensor:
        """One colour for all, (3, 1, 1, 1)."""
        return torch.tensor(levels, device=self.device)[:, None, None, None] * (1 / 255)

    def pick(self, palette: tuple[tuple[int, int, int], ...], index: Tensor) -> Tensor:
        """A colour per image, (3, 1, 1, n), by its index (n,)."""
        table = torch.tensor(palette, device=self.device).T * (1 / 255)
        return table[:, index.long()][:, None, None]

    def hsv(self, h: Tensor, s: Number, v: Number) -> Tensor:
        """A colour per image, (3, 1, 1, n), by hue, saturation and value in [0, 1]."""
        k = h * 6 + torch.tensor([[5.0], [3.0], [1.0]], device=self.device)
        k = k - (k * (1 / 6)).floor() * 6
        return (v - torch.minimum(k, 4 - k).clamp_(0, 1) * s * v)[:, None, None]

    def window(self, x: Number, y: Number, half: float, up: float, down: float) -> Window:
        """The smallest rectangle that holds a box of the head's frame in every image.

        The box reaches from (x - half, y - up) to (x + half, y + down).
        """
        us, vs = [], []
        for a in (x - half, x + half):
            for b in (y - up - PIVOT, y + down - PIVOT):
                us.append((self.cos * a - self.sin * b) * self.scale + self.cx)
                vs.append((self.sin * a + self.cos * b + PIVOT) * self.scale + self.cy)
        us, vs = torch.stack(us), torch.stack(vs)
        ends = torch.stack([vs.amin(), us.amin(), vs.amax(), us.amax()])
        ends = ((ends + 1) * (self.size / 2)).clamp(-2, self.size + 2).int().tolist()
        rows, columns = (slice(max(ends[i] - 1, 0), max(ends[i + 2] + 2, 0)) for i in (0, 1))
        planes = (plane[rows, columns] for plane in (self.u, self.v, self.lit))
        return Window(self.image[:, rows, columns], *planes, self.pixel)

    def draw(self) -> Tensor:
        """Paint back to front; uint8 (n, 3, r, r)."""
        self.backdrop()
        torso = self.torso()
        self.back_hair()
        self.neck(torso)
        self.ears()
        self.head()
        self.nose()
        self.mouth()
        self.eyes()
        self.front_hair()
        self.brows()
        self.glasses()
        self.hat()
        self.earrings()
        levels = self.image.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
        return levels.permute(3, 0, 1, 2)

    def backdrop(self) -> None:
        """A gradient of two near hues: plain, striped or dotted."""
        f, x, y = self.f, self.axis[None, :, None], self.axis[:, None, None]
        bright, hue = f["Bright_Background"], f["backdrop_hue"]
        value = lerp(f["backdrop_tone"], 0.2, 0.42) + bright * 0.54
        one = self.hsv(hue, 0.5 - 0.25 * bright, value)
        two = self.hsv(hue + 0.12, 0.42 - 0.2 * bright, value - 0.14)
        cos, sin = _rational(lerp(f["backdrop_angle"], -1, 1))
        along, across = x * cos + y * sin, y * cos - x * sin
        pattern = wave(along * 2.2 + f["backdrop_phase"])
        dots = wave(across * 2.2).mul_(pattern).sub_(0.5).mul_((f["backdrop"] == 2) * 7.0)
        pattern.sub_(0.5).mul_((f["backdrop"] == 1) * 7.0).clamp_(0, 1).add_(dots.clamp_(0, 1))
        t = along.mul_(0.35).add_(0.5).clamp_(0, 1).mul_(0.65).add_(pattern.mul_(0.35))
        self.image.copy_(one).add_((two - one) * t)

    def bust(self, contrast: float) -> Window:
        """The lower part of the image in the body's frame, which does not tilt."""
        rows = slice(int(self.size * 0.6), self.size)
        lit = (self.x * (self.light * contrast)).add_(0.58).clamp_(0, 1)
        return Window(self.image[:, rows], self.x, self.y[rows], lit, self.pixel)

    def torso(self) -> Tensor:
        """Shoulders in cloth, half of it striped; returns the distance to it."""
        f, w = self.f, self.bust(0.4)
        chest = ellipse(w.u, w.v - 2.1, 1.35, 0.92)
        d = union(chest, box(w.u, w.v - 1.35, 0.45, 0.2, 0.15), 0.25)
        stripes = wave(w.v * lerp(f["cloth_stripes"], 1, 6)).sub_(0.5).mul_(6).clamp_(0, 1)
        stripes.mul_((f["cloth_stripes"] > 0.5) * -0.25).add_(1)
        tone = f["cloth_tone"]
        colour = self.hsv(f["cloth_hue"], lerp(tone, 0.65, 0.35), lerp(tone, 0.35, 0.9))
        w.fill(d, w.shade(colour * stripes, self.cloth_dark))
        return d

    def curls(self, u: Tensor, v: Tensor) -> Tensor:
        """Bulge of the hair's outline, by the direction from the centre of the skull."""
        around = u / (u.abs() + (v + 0.22).abs_()).add_(0.01)
        size = self.style["curly"] * 0.09 + self.style["short"] * 0.04 * self.f["hair_wave"]
        return wave(around.mul_(3)).mul_(size)

    def back_hair(self) -> None:
        """Hair behind neck and ears, down to the shoulders where it is long; and the bun."""
        f, style = self.f, self.style
        w = self.window(0.0, 0.0, 1.35, 1.6, 2.2)
        u, v = w.u + self.yaw * 0.15, w.v
        long = style["medium"] + style["long"]
        length = lerp(f["hair_length"], 0.0, 0.15) + style["curly"] * 0.4 + style["medium"] * 0.72
        length = length + style["long"] * lerp(f["hair_length"], 1.5, 1.85)
        half = self.width + self.volume + style["curly"] * 0.1
        d = ellipse(u, v + 0.22, half, self.volume * 1.1 + 0.8)
        waves = wave(v * 1.8 + f["hair_part"]).mul_(long * f["hair_wave"] * 0.12)
        fall = box(u.abs().sub_(waves), v - length * 0.5, half * 0.97, length * 0.5, 0.2)
        d = torch.maximum(union(d, fall, 0.1), v - length).sub_(self.curls(u, v))
        w.fill(d, w.shade(self.hair * 0.8, self.hair_dark), self.haired)
        w = self.window(self.yaw * -0.15, -1.12, 0.4, 0.5, 0.4)
        d = ellipse(w.u + self.yaw * 0.15, w.v + self.volume + 1.12, 0.30, 0.27)
        w.fill(d, w.shade(self.hair, self.hair_dark), style["bun"] * (1 - f["Wearing_Hat"]))

    def neck(self, torso: Tensor) -> None:
        """Neck with the chin's shadow, neckline, and a collar around it."""
        f, w = self.f, self.bust(0.8)
        half, lean = lerp(f["neck_width"], 0.27, 0.37), self.sin * 0.35
        stem = box(w.u - lean, w.v - 0.8, half, 0.45, 0.1)
        d = union(stem, ellipse(w.u, w.v - 1.18, half + 0.1, lerp(f["neckline"], 0.14, 0.3)), 0.12)
        collar = self.hsv(f["cloth_hue"] + f["neckline"] * 0.5, 0.35, 0.75)
        w.fill(torch.maximum(d - 0.06, torso), collar)
        w.fill(d, w.shade(self.skin * 0.95, self.skin_dark))
        shadow = ellipse(w.u - lean * 1.3, w.v - 0.93, half + 0.1, 0.24)
        w.fill(torch.maximum(stem, shadow), self.skin * 0.6, 0.55)

    def ears(self) -> None:
        """Half behind the head; the far one disappears as the head turns."""
        f, w = self.f, self.window(self.yaw * -0.15, 0.0, 1.0, 0.35, 0.35)
        a, b = lerp(f["ear_size"], 0.10, 0.15), lerp(f["ear_size"], 0.18, 0.24)
        x, y = (w.u + self.yaw * 0.15).abs_().sub_(self.width + 0.02), w.v - self.pitch * 0.5
        w.fill(ellipse(x, y, a, b), w.shade(self.skin, self.skin_dark))
        w.fill(ellipse(x - 0.02, y, a * 0.5, b * 0.6), self.skin * 0.7, 0.6)

    def head(self) -> None:
        """Skull and jaw, blushing cheeks, the shine of a bald scalp, the beard."""
        f, w = self.f, self.window(0.0, 0.0, 1.0, 1.05, 1.2)
        u, v = w.u, w.v
        skull = ellipse(u + self.yaw * 0.05, v + 0.25, self.width, 0.75)
        jaw = ellipse(
            u - self.yaw * 0.22,
            v - lerp(f["chin"], 0.34, 0.42),
            self.width * lerp(f["jaw"], 0.72, 0.88),
            0.58,
        )
        face = union(skull, jaw, 0.25)
        w.fill(face, w.shade(self.skin, self.skin_dark))
        x, y = (u - self.yaw * 0.5).abs_().sub_(0.42), v - self.pitch - 0.25
        blush = (x * x + y * y).mul_(-12).add_(0.5).clamp_(0, 1)
        w.paint(blush.mul_(0.28 - 0.14 * f["Dark_Skin"]), self.rgb(230, 90, 77))
        x, y = u - self.light * 0.35, v + 0.72
        shine = (x * x * 6 + y * y * 20).neg_().add_(0.8).clamp_(0, 1)
        w.paint(shine.mul_(self.style["bald"] * 0.45).mul_(cover(face, w.pixel)), self.white)
        bare = ellipse(u - self.yaw * 0.45, v - self.pitch - 0.16, self.width * 0.80, 0.50)
        lips = ellipse(u - self.mouth_mid, v - self.mouth_v - 0.03, 0.36, 0.15)
        long = lerp(f["beard_length"], 0.02, 0.12) * (v * 1.5).clamp_(0, 1)
        beard = torch.maximum(torch.maximum(face - long, -union(bare, lips, 0.1)), -0.05 - v)
        w.fill(beard, w.shade(self.hair * 0.92, self.hair_dark), f["Beard"])

    def nose(self) -> None:
        """A shadow beside the bridge, the tip and the light on it, the base."""
        f, w = self.f, self.window(self.yaw * 0.7, self.pitch, 0.45, 0.35, 0.5)
        half = lerp(f["nose_width"], 0.09, 0.14)
        x, y = w.u - self.yaw * 0.8, w.v - lerp(f["nose_length"], 0.20, 0.30) - self.pitch * 1.3
        beside = w.u - self.yaw * 0.7 + self.light * 0.1
        w.fill(lens(y + 0.20, beside, 0.26, -0.06, 0.06, self.pixel), self.skin * 0.66, 0.3)
        w.fill(ellipse(x, y, half, 0.075), w.shade(self.skin * 1.02, self.skin_dark))
        base = lens(x, y - 0.035, half * 1.1, 0.02, 0.08, self.pixel)
        w.fill(base, self.skin * 0.5, 0.75)
        x, y = x - self.light * 0.04, y + 0.02
        glow = (x * x + y * y).mul_(-160).add_(1).clamp_(0, 1)
        w.paint(glow.mul_(0.35), self.white)

    def mouth(self) -> None:
        """Lips, the line between them or what an open mouth shows, the mustache above."""
        f, w = self.f, self.window(self.mouth_mid, self.mouth_v, 0.5, 0.4, 0.45)
        x, y = (w.u - self.mouth_mid) / self.yaw_cos, w.v - self.mouth_v
        half = lerp(f["mouth_width"], 0.18, 0.23) + 0.15 * f["Smiling"]
        curve = lerp(f["mouth_curve"], -0.04, 0.0) + 0.25 * f["Smiling"]
        y = y + curve * 0.55
        lip = lerp(f["lips"], 0.045, 0.075)
        gape = f["Mouth_Open"] * lerp(f["mouth_opening"], 0.13, 0.20)
        bare = self.skin * self.rgb(204, 148, 143)
        colour = lerp(f["Wearing_Lipstick"], bare, self.rgb(209, 26, 56))
        w.fill(lens(x, y, half + 0.02, curve - lip, curve + gape + lip * 1.25, self.pixel), colour)
        inside = lens(x, y, half, curve - 0.024, curve + gape + 0.024, self.pixel)
        w.fill(inside, self.rgb(52, 10, 16))
        teeth = torch.maximum(inside + 0.024, y - curve - gape * 0.4)
        w.fill(teeth, self.rgb(244, 240, 236), f["Mouth_Open"])
        x, y = x.abs_(), y + lip - curve + 0.11
        lobes = lens(x - 0.17, y - x * 0.25, 0.2, -0.085, 0.04, self.pixel)
        w.fill(lobes, w.shade(self.hair * 0.9, self.hair_dark), f["Mustache"])

    def eye_frame(self, w: Window) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates around the nearer eye, x outwards; and its side, -1 left or 1 right."""
        x = w.u - self.eye_mid
        side = (x * 1e6).clamp_(-1, 1)
        x = x.abs_().sub_(self.eye_half).div_(self.yaw_cos - side * (self.yaw * 0.45))
        return x, w.v - self.eye_v, side

    def eyes(self) -> None:
        """Crease, lid with lashes, white, iris, pupil, highlight."""
        f, w = self.f, self.window(self.eye_mid, self.eye_v, 0.65, 0.3, 0.25)
        x, y, side = self.eye_frame(w)
        half = lerp(f["eye_size"], 0.165, 0.20)
        tall = half * lerp(f["eye_open"], 0.52, 0.8)
        y = y + x * 0.06
        crease = lens(x, y + tall + 0.02, half, -0.06, -0.02, self.pixel)
        w.fill(crease, self.skin * 0.6, 0.6)
        w.fill(
            lens(x, y, half + 0.03, -tall - 0.045, tall * 0.75, self.pixel), self.rgb(40, 26, 26)
        )
        white = cover(lens(x, y, half, -tall, tall * 0.75, self.pixel), self.pixel)
        w.paint(white, self.rgb(246, 244, 242))
        gaze = lerp(f["gaze"], -0.04, 0.04) + self.yaw * 0.08
        x_iris, size = x - side * gaze, half * 0.58
        ring = ellipse(x_iris, y + 0.015, size, size)
        iris = self.pick(IRIS, f["eye_colour"] * len(IRIS))
        w.paint(cover(ring, self.pixel).mul_(white), iris)
        w.paint(cover(ring + size * 0.5, self.pixel).mul_(white), self.rgb(20, 13, 13))
        w.fill(ellipse(x_iris - side * self.light * 0.06, y + 0.06, 0.032, 0.032), self.white)

    def brows(self) -> None:
        """Crescents, over the bangs so that they always show, darker than any skin."""
        f, w = self.f, self.window(self.eye_mid, self.eye_v, 0.65, 0.5, 0.0)
        x, y, _ = self.eye_frame(w)
        y = y + lerp(f["brow_height"], 0.24, 0.28) + x * lerp(f["brow_slope"], -0.15, 0.2)
        thick = 0.03 + 0.11 * f["Bushy_Eyebrows"]
        top, bottom = -0.05 - thick * 0.6, thick * 0.4 - 0.04
        w.fill(lens(x, y, thick * 0.3 + 0.2, top, bottom, self.pixel), self.hair * 0.38)

    def front_hair(self) -> None:
        """A cap with the face cut out of it: parting, bangs, locks beside the face."""
        f, style = self.f, self.style
        w = self.window(0.0, 0.0, 1.3, 1.5, 0.95)
        u, v = w.u + self.yaw * 0.08, w.v
        long = style["medium"] + style["long"]
        half = self.width + self.volume * 0.7 + style["curly"] * 0.05
        low = 0.05 + style["medium"] * 0.6 + style["long"] * 0.75
        cap = ellipse(u, v + 0.22, half, self.volume + 0.78)
        fall = box(u, v - low * 0.5 + 0.1, half, low * 0.5 + 0.1, 0.15)
        cap = torch.maximum(union(cap, fall, 0.1), v - low).sub_(self.curls(u, v))
        part = lerp(f["hair_part"], -0.38, 0.38) * (1 - style["curly"])
        above = (v - 0.1).clamp_(max=0)
        x = w.u - self.yaw * 0.3 + above * part
        arch = ellipse(x, above, self.width * (0.95 - 0.1 * long), lerp(f["hairline"], 0.74, 0.84))
        fringe = wave(w.u * 3.5 + part).mul_(0.05).sub_(v + 0.47 - self.pitch)
        arch = torch.maximum(arch, fringe.sub_((1 - f["Bangs"]) * 5))
        strands = wave((u - part) / (v + 1.7) * 4.5).mul_(0.22).mul_(w.lit).add_(0.88)
        colour = w.shade(self.hair, self.hair_dark).mul_(strands)
        w.fill(torch.maximum(cap, -arch), colour, self.haired)

    def glasses(self) -> None:
        """Rims from square to round around a veil of glass, bridge and temples."""
        f, w = self.f, self.window(self.eye_mid, self.eye_v, 0.95, 0.35, 0.35)
        x, y, _ = self.eye_frame(w)
        tall = lerp(f["frame_shape"], 0.16, 0.21)
        lens_d = box(x, y - 0.03, 0.26, tall, tall * lerp(f["frame_shape"], 0.4, 0.98))
        w.fill(lens_d, self.white, f["Eyeglasses"] * 0.22)
        bar = torch.maximum((y + 0.03).abs_().sub_(0.03), w.u.abs() - self.width)
        frame = torch.minimum(lens_d.abs().sub_(0.032), torch.maximum(bar, -lens_d))
        w.fill(frame, self.hsv(f["frame_hue"], 0.6, 0.28), f["Eyeglasses"])

    def hat(self) -> None:
        """A crown over a band, which is a brim for half of the hats."""
        f, w = self.f, self.window(0.0, 0.0, 1.45, 1.5, -0.3)
        u, v, brim = w.u + self.yaw * 0.04, w.v, (f["hat_brim"] > 0.5).float()
        colour, half = self.hsv(f["hat_hue"], 0.6, 0.75), self.width + 0.12
        crown = ellipse(u, v + 0.5, half, lerp(f["hat_brim"], 0.78, 0.70))
        crown = torch.maximum(crown, v + 0.5)
        w.fill(crown, w.shade(colour, self.cloth_dark), f["Wearing_Hat"])
        bent = v + (u * u).mul_(0.08).add_(0.54)
        band = box(u, bent, half + 0.04 + brim * 0.34, 0.12 - brim * 0.05, 0.06)
        w.fill(band, w.shade(colour * 0.75, self.cloth_dark), f["Wearing_Hat"])

    def earrings(self) -> None:
        """Gold under both ears, over the hair so that they always show."""
        f, w = self.f, self.window(self.yaw * -0.12, 0.33, 1.0, 0.2, 0.2)
        x, y = (w.u + self.yaw * 0.12).abs_().sub_(self.width + 0.05), w.v - self.pitch * 0.5 - 0.33
        w.fill(ellipse(x, y, 0.085, 0.10), self.rgb(255, 210, 64), f["Wearing_Earrings"])
