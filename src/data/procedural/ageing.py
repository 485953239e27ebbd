"""The faces of `faces.py` grown old: grey hair, paler skin, wrinkles.

    old = render(factors, resolution)

A trace of the hair's colour stays, and the skin keeps its order from light to dark, so that the old
face tells what the young one looked like.
"""

import torch
from torch import Tensor

from src.data.procedural import faces
from src.data.procedural.dice import lerp
from src.data.procedural.sdf import Window, ellipse, segment

TRACE = 0.28  # share of the hair's colour that stays


def render(factors: Tensor, resolution: int, batch_size: int = 32) -> Tensor:
    """Draw the faces that the factors describe as old people; see `faces.render`."""
    return faces.render(factors, resolution, batch_size, _OldFaces)


class _OldFaces(faces.Faces):
    """A batch of old faces in the making."""

    def __init__(self, factors: Tensor, resolution: int) -> None:
        super().__init__(factors, resolution)
        grey = lerp(self.grey(self.hair), 0.6, 0.95)
        self.hair = self.hair * TRACE + grey * (1 - TRACE)
        skin = lerp(self.grey(self.skin), 0.06, 1.0)
        self.skin = self.skin * 0.65 + skin * 0.35

    @staticmethod
    def grey(colour: Tensor) -> Tensor:
        """The brightness (1, 1, 1, n) of a colour (3, 1, 1, n)."""
        return colour[:1] * 0.3 + colour[1:2] * 0.59 + colour[2:] * 0.11

    def nose(self) -> None:
        """Wrinkles first: what is painted later covers them, bangs and glasses too."""
        self.forehead()
        self.beside_eyes()
        self.beside_mouth()
        super().nose()

    def crease(self, w: Window, d: Tensor, alpha: float = 0.75) -> None:
        """Darken the skin along a line."""
        w.fill(d, self.skin * self.rgb(168, 150, 150), alpha)

    def forehead(self) -> None:
        """Two lines across, bent upwards in their middle."""
        x = self.yaw * 0.45
        w = self.window(x, self.pitch - 0.5, 0.5, 0.25, 0.25)
        u = w.u - x
        for v, half in ((-0.58, 0.28), (-0.46, 0.33)):
            y = w.v - self.pitch - v - u * u * 0.35
            self.crease(w, segment(u, y, (-half, 0.0), (half, 0.0), (0.02, 0.02), self.pixel))

    def beside_eyes(self) -> None:
        """Three lines from the outer corner of each eye, and a bag beneath it."""
        w = self.window(self.eye_mid, self.eye_v, 0.8, 0.3, 0.4)
        x, y, _ = self.eye_frame(w)
        edge = (w.u + self.yaw * 0.05).abs() - (self.width - 0.05)
        for rise in (-0.12, 0.01, 0.13):
            ends = (0.22, rise * 0.35), (0.34, rise)
            line = segment(x, y, *ends, (0.022, 0.016), self.pixel)
            self.crease(w, torch.maximum(line, edge))
        y = y + x * x * 1.6
        self.crease(w, segment(x, y, (-0.13, 0.22), (0.13, 0.22), (0.02, 0.02), self.pixel))

    def beside_mouth(self) -> None:
        """A fold from each side of the nose past the corner of the mouth, not over the jaw."""
        f, middle = self.f, self.yaw * 0.62
        w = self.window(middle, self.pitch + 0.4, 0.65, 0.3, 0.4)
        x, y = (w.u - middle).abs() / self.yaw_cos, w.v - self.pitch
        bent = x + (y - 0.42) * (y - 0.42) * 0.8
        ends = (0.20, 0.25), (0.36 + 0.10 * f["Smiling"], 0.60 - 0.08 * f["Smiling"])
        d = segment(bent, y, *ends, (0.018, 0.026), self.pixel)
        jaw = self.width * lerp(f["jaw"], 0.72, 0.88) - 0.05
        self.crease(w, torch.maximum(d, ellipse(w.u - self.yaw * 0.22, w.v - 0.38, jaw, 0.55)), 0.8)
