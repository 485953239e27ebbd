"""Affine deformations: each image on its own, within what is said."""

import torch
from torch.testing import assert_close

from src.transforms.deform import deform


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_image_is_deformed_on_its_own() -> None:
    x = torch.full((8, 1, 32, 32), -1.0)
    x[:, :, 10:22, 14:18] = 1  # an upright bar
    out = deform(x, drawn(0))
    assert out.shape == x.shape
    assert -1 <= out.min() <= out.max() <= 1
    assert all(not out[i].allclose(out[0]) for i in range(1, 8))
    assert_close(out, deform(x, drawn(0)))
    assert not out.allclose(deform(x, drawn(1)))


def test_how_far_it_goes() -> None:
    """A disc in the middle moves by at most 6 % of a side, and grows or shrinks within bounds.

    Its area is divided by the matrix's determinant: scales of 0.64 to 1.73, and the shear's part.
    """
    side = 64
    at = torch.arange(side) - (side - 1) / 2
    disc = ((at[:, None] ** 2 + at**2) < 12**2).float() * 2 - 1
    out = (deform(disc.expand(400, 1, side, side), drawn(0)) + 1) / 2
    mass = out.sum((1, 2, 3))
    ratio = mass / ((disc + 1) / 2).sum()
    assert 0.4 < ratio.min() < 0.75
    assert 1.35 < ratio.max() < 2.4
    centre = (out[:, 0].sum(1) * at).sum(1) / mass
    assert 0.04 * side < centre.abs().max() < 0.12 * side
    assert abs(float(centre.mean())) < 0.01 * side  # standard error 0.002


def test_borders_are_continued() -> None:
    assert_close(deform(torch.full((4, 3, 16, 16), 0.3), drawn(0)), torch.full((4, 3, 16, 16), 0.3))
