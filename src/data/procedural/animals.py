"""Horse-like animals drawn from random factors: plain or striped, before a sharp or blurred scene.

    factors = sample_factors(n, seed)                      uniform numbers (n,) by name
    images = render(factors, resolution, striped=True)     (n, 3, r, r) uint8

One animal is seen from the side in a meadow. Shapes are signed distances (`sdf.py`) in the frame of
its body: origin in the middle of the barrel, u towards the head, v downwards, hooves at 0.76.
Stripes are places in this frame, so they follow from the plain animal, and its coat shows between
them. Shallow focus blurs what is nearer or farther than the animal, the more the farther away.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from src.data.procedural.canvas import Canvas, check_resolution, draw_batches
from src.data.procedural.dice import lerp, uniform
from src.data.procedural.sdf import Window, box, cover, ellipse, hsv, rgb, segment, union, wave

TREES = 3
FACTORS = (
    "x", "y", "size", "side", "neck", "gait", "tail", "build", "coat_hue", "coat_saturation",
    "coat_value", "mane", "horizon", "sky", "grass", "hill_phase", "hill_height", "fence",
    "fence_place", "fence_height",
    *(f"tree_{k}_{what}" for k in range(TREES) for what in ("there", "x", "size", "hue")),
)  # fmt: skip
HOOVES = 0.76
STRIPES = 6.2  # per unit of the body's frame
BLUR = 0.13  # width of the blur's box far away, in units of the image
STRIPE = (34, 27, 27)


def sample_factors(n: int, seed: int) -> dict[str, Tensor]:
    """Draw the factors of n images: uniform numbers (n,) by name; image i depends on (seed, i)."""
    return dict(zip(FACTORS, uniform(n, len(FACTORS), seed), strict=True))


def render(
    factors: dict[str, Tensor],
    resolution: int,
    striped: bool,
    shallow: bool = False,
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Draw the animals that the factors describe.

    Args:
        factors: see `sample_factors`.
        resolution: side in pixels.
        striped: whether the coat has dark stripes.
        shallow: whether all but the animal is blurred by its depth.
        batch_size: images drawn at a time; no influence on them.
        progress: is told how many more are done.

    Returns:
        Uint8 (n, 3, resolution, resolution).

    Raises:
        SettingError: for a resolution out of range.
    """
    check_resolution(resolution, "animals")
    n = len(factors["x"])
    images = torch.empty((n, 3, resolution, resolution), dtype=torch.uint8)

    def draw(part: slice) -> None:
        some = {name: column[part] for name, column in factors.items()}
        images[part] = _Animals(some, resolution, striped, shallow).draw()

    draw_batches(draw, n, batch_size, progress)
    return images


def blur(planes: Tensor, width: float) -> Tensor:
    """Mean over a box of this width in pixels, (..., h, w, n); the border is repeated outwards."""
    reach = int(width / 2 + 0.5)
    for dim in (-3, -2):
        size = planes.shape[dim]
        ends = [planes.narrow(dim, at, 1) for at in (0, size - 1)]
        padded = torch.cat([*[ends[0]] * reach, planes, *[ends[1]] * reach], dim)
        total = torch.zeros_like(planes)
        for shift in range(-reach, reach + 1):
            weight = min(1.0, width / 2 + 0.5 - abs(shift)) / width
            total.add_(padded.narrow(dim, shift + reach, size) * weight)
        planes = total
    return planes


class _Animals(Canvas):
    """A batch of images in the making."""

    def __init__(
        self, factors: dict[str, Tensor], resolution: int, striped: bool, shallow: bool
    ) -> None:
        self.f = f = factors
        super().__init__(len(f["x"]), resolution)
        self.striped, self.shallow = striped, shallow
        self.size = lerp(f["size"], 0.74, 0.92)
        self.side = (f["side"] > 0.5).float() * 2 - 1
        self.ground = lerp(f["y"], 0.62, 0.8)
        self.centre = lerp(f["x"], -0.1, 0.1) - self.side * self.size * 0.17
        self.horizon = lerp(f["horizon"], -0.2, 0.05)
        self.coat = hsv(
            lerp(f["coat_hue"], 0.03, 0.11),
            lerp(f["coat_saturation"], 0.08, 0.68),
            lerp(f["coat_value"], 0.62, 0.98),
        )
        self.hair = self.coat * lerp(f["mane"], 0.3, 0.6)
        self.black = rgb(*STRIPE)

    def draw(self) -> Tensor:
        """Paint back to front; uint8 (n, 3, r, r)."""
        self.backdrop()
        self.trees()
        self.grass()
        if self.shallow:
            self.defocus()
        self.fence()
        self.shadow()
        self.legs(far=True)
        self.tail()
        self.neck()
        self.legs(far=False)
        self.barrel()
        self.head()
        return self.levels()

    # The scene

    def backdrop(self) -> None:
        """Sky and two rows of hills."""
        f = self.f
        t = ((self.y + 1) / (self.horizon + 1)).clamp_(0, 1)
        high = hsv(lerp(f["sky"], 0.54, 0.61), 0.55, 0.9)
        self.image.copy_((rgb(226, 238, 244) - high) * t + high)
        w = self.window(-1, 1, self.horizon - 0.45, 1.0)
        top = (
            self.horizon
            - 0.06
            - wave(self.x * 0.6 + f["hill_phase"]) * lerp(f["hill_height"], 0.15, 0.34)
        )
        w.fill((top - w.v) * 0.8, rgb(128, 158, 168))
        top = self.horizon - wave(self.x * 0.9 + f["hill_phase"] * 1.7) * 0.12
        w.fill((top - w.v) * 0.85, rgb(92, 142, 104))

    def trees(self) -> None:
        """Round trees where the meadow begins."""
        f = self.f
        for k in range(TREES):
            x, y = lerp(f[f"tree_{k}_x"], -0.95, 0.95), self.horizon + 0.03
            size = lerp(f[f"tree_{k}_size"], 0.5, 0.8)
            there = (f[f"tree_{k}_there"] < 0.8).float()
            w = self.window(x - size * 0.4, x + size * 0.4, y - size * 1.1, y + 0.05)
            u, v = (w.u - x) / size, (w.v - y) / size
            w = Window(w.image, u, v, w.lit, self.pixel / size)
            w.fill(box(u, v + 0.22, 0.05, 0.24, 0.0), rgb(96, 68, 48), there)
            side = u.abs() - 0.15
            crown = union(
                ellipse(side, v + 0.55, 0.19, 0.2), ellipse(u, v + 0.76, 0.25, 0.24), 0.06
            )
            leaf = hsv(lerp(f[f"tree_{k}_hue"], 0.2, 0.36), 0.62, 0.52)
            share = cover(crown, w.pixel).mul_(there)
            w.paint(share, leaf)
            spots = wave(u * 3.2 + v * 1.3).mul_(wave(v * 3.7 - u * 0.9))
            w.paint(share.mul_(spots.sub_(0.25).mul_(2).clamp_(0, 1)), leaf * 0.72)

    def grass(self) -> None:
        """A meadow with tufts, which are larger the nearer they are."""
        f = self.f
        w = self.window(-1, 1, self.horizon, 1.0)
        far = hsv(lerp(f["grass"], 0.2, 0.3), 0.5, 0.76)
        near = hsv(lerp(f["grass"], 0.22, 0.32), 0.62, 0.52)
        t = ((w.v - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        u, rows = w.u / (t * 0.8 + 0.5), (1 - t * 0.45) * t * 9
        rows = rows + wave(u * 1.3) * 0.3
        line = rows.floor()  # each row has a shift of its own
        tufts = wave(u * 3.4 + line * line * 0.37).mul_(wave(rows))
        tufts = tufts.sub_(0.6).mul_(5).clamp_(0, 1)
        colour = ((near - far) * t + far) * (1 - tufts * 0.3)
        w.fill(self.horizon - w.v, colour)

    def defocus(self) -> None:
        """Blur what is painted so far by its distance from the animal's depth."""
        some, far = self.blurred(self.image)
        z = ((self.y - self.ground).abs() / (self.ground - self.horizon)).clamp_(0, 1) * 2
        self.image.add_((some - self.image).mul_(z.clamp(max=1)))
        self.image.add_((far - some).mul_((z - 1).clamp_(min=0)))

    def blurred(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Planes (..., h, w, n) out of focus: at half the largest blur, and at the largest."""
        width = BLUR * len(self.y) / 4
        some = blur(blur(planes, width), width)
        return some, blur(some, width * 2)

    def fence(self) -> None:
        """Posts and two rails behind the animal, which are half out of focus."""
        f = self.f
        y = self.horizon + (self.ground - self.horizon) * 0.45
        high = lerp(f["fence_height"], 0.34, 0.46)
        w = self.window(-1, 1, y - high - 0.3, y + 0.3)
        u = w.u * 2.2 + f["fence_place"]
        u = (u - u.floor() - 0.5) * (1 / 2.2)
        d = box(u, w.v - y + high * 0.5, 0.035, high * 0.5, 0.01)
        for share in (0.35, 0.8):
            d = torch.minimum(d, (w.v - y + high * share).abs() - 0.026)
        share = cover(d, w.pixel)
        if self.shallow:
            share, _ = self.blurred(share)
        w.paint(share.mul_((f["fence"] < 0.7).float()), rgb(232, 224, 208))

    def shadow(self) -> None:
        """On the ground between the hooves."""
        x, y, size = self.centre, self.ground, self.size
        w = self.window(x - 0.75, x + 0.75, y - 0.1, y + 0.1)
        w.fill(ellipse(w.u - x, w.v - y, size * 0.66, 0.055), rgb(44, 72, 36), 0.55)

    # The animal

    def body(self, left: float, right: float, top: float, bottom: float) -> Window:
        """A window in the frame of the body, on a box of it."""
        size, ground = self.size, self.ground - self.size * HOOVES
        ends = [self.centre + self.side * size * end for end in (left, right)]
        least, most = torch.minimum(*ends), torch.maximum(*ends)
        w = self.window(least, most, ground + size * top, ground + size * bottom)
        u, v = (w.u - self.centre) * self.side / size, (w.v - ground) / size
        return Window(w.image, u, v, (0.95 - v * 0.9).clamp(0.35, 1), self.pixel / size)

    def hide(self, w: Window, d: Tensor, phase: Tensor, dark: float = 1.0) -> None:
        """Paint a part of the animal; its stripes are where the phase is half a whole number."""
        share = cover(d, w.pixel)
        w.paint(share, self.coat * (w.lit * 0.35 + 0.65) * dark)
        if self.striped:
            sharp = 1 / (w.pixel * (STRIPES * 3))
            stripes = wave(phase).sub_(0.64).mul_(sharp).add_(0.5).clamp_(0, 1)
            w.paint(share.mul_(stripes), self.black)

    def legs(self, far: bool) -> None:
        """A fore and a hind leg with knee and hoof; the far ones are in the shade."""
        gait = lerp(self.f["gait"], -1.0, 1.0) * (-1 if far else 1)
        for place, hind in ((0.37, -1), (-0.42, 1)):
            hip = place + (0.03 if far else -0.02)
            w = self.body(hip - 0.3, hip + 0.3, 0.0, 0.82)
            swing = gait * -hind
            hoof = hip + swing * 0.15
            knee = hip + swing * 0.07 - 0.035 * hind
            thick = 0.12 if hind > 0 else 0.1
            upper = segment(w.u, w.v, (hip, 0.1), (knee, 0.42), (thick, 0.062), w.pixel)
            lower = segment(w.u, w.v, (knee, 0.42), (hoof, HOOVES - 0.05), (0.056, 0.045), w.pixel)
            dark = 0.7 if far else 1.0
            self.hide(w, union(upper, lower, 0.04), w.v * (STRIPES * 1.15), dark)
            shoe = box(w.u - hoof - 0.015, w.v - HOOVES + 0.03, 0.062, 0.038, 0.015)
            w.fill(shoe, rgb(52, 42, 38) * dark)

    def tail(self) -> None:
        w = self.body(-1.0, -0.5, -0.25, 0.6)
        end = lerp(self.f["tail"], -0.82, -0.66)
        a, b = (-0.58, -0.12), (end + 0.02, 0.12)
        d = segment(w.u, w.v, a, b, (0.04, 0.065), w.pixel)
        d = union(d, segment(w.u, w.v, b, (end, 0.4), (0.065, 0.03), w.pixel), 0.05)
        w.fill(d, self.hair)

    def barrel(self) -> None:
        """Barrel, quarters and shoulder."""
        w, deep = self.body(-0.75, 0.75, -0.4, 0.4), lerp(self.f["build"], 0.22, 0.26)
        u, v = w.u, w.v
        d = union(ellipse(u, v - 0.01, 0.48, deep), ellipse(u + 0.4, v + 0.02, 0.23, 0.26), 0.1)
        d = union(d, ellipse(u - 0.38, v, 0.22, 0.26), 0.1)
        # Upright, and leaning back more and more towards the quarters.
        lean = (-0.1 - u).clamp_(0, 0.4).mul_(1.6)
        self.hide(w, d, (u + v * lean) * STRIPES)

    def poll(self) -> tuple[Tensor, Tensor]:
        """The end of the neck, by its pose."""
        return lerp(self.f["neck"], 0.62, 0.8), lerp(self.f["neck"], -0.68, -0.46)

    def neck(self) -> None:
        """The neck with the mane on it."""
        w, (x, y) = self.body(0.1, 1.0, -0.95, 0.15), self.poll()
        start = (0.42, -0.1)
        d = segment(w.u, w.v, start, (x, y), (0.2, 0.11), w.pixel)
        dx, dy = x - start[0], y - start[1]
        length = (dx * dx + dy * dy).sqrt()
        along = ((w.u - start[0]) * dx + (w.v - start[1]) * dy) / length
        self.hide(w, d, along * STRIPES)
        mane = segment(w.u, w.v, (0.3, -0.27), (x - 0.1, y - 0.06), (0.05, 0.055), w.pixel)
        w.fill(mane, self.hair)

    def head(self) -> None:
        """Ears, head, muzzle, nostril, eye, forelock."""
        w, (x, y) = self.body(0.45, 1.2, -0.95, 0.1), self.poll()
        u, v = w.u - x, w.v - y
        for place, dark in ((0.045, 0.75), (-0.03, 1.0)):
            ends = (place, -0.06), (place + 0.015, -0.2)
            w.fill(segment(u, v, *ends, (0.04, 0.012), w.pixel), self.coat * dark)
        d = segment(u, v, (0.0, 0.0), (0.26, 0.19), (0.12, 0.07), w.pixel)
        self.hide(w, d, (u * 0.81 + v * 0.59) * STRIPES + 0.2)
        nose = torch.maximum(d, 0.26 - (u * 0.81 + v * 0.59))
        w.fill(nose, self.coat * 0.45)
        w.fill(ellipse(u - 0.275, v - 0.19, 0.02, 0.02), rgb(30, 22, 22))
        w.fill(segment(u, v, (-0.05, -0.1), (0.07, -0.05), (0.05, 0.03), w.pixel), self.hair)
        w.fill(ellipse(u - 0.07, v, 0.032, 0.032), rgb(18, 14, 14))
