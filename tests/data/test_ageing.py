"""Faces grown old: greyer, paler, wrinkled, and still the same people."""

from unittest.mock import patch

import torch

from src.data.procedural import ageing
from src.data.procedural.ageing import _OldFaces
from src.data.procedural.faces import FACTORS, INDEX, STYLES, render, sample_factors
from src.data.procedural.sdf import Window


def test_an_old_face_depends_on_its_factors_alone() -> None:
    factors = sample_factors(20, seed=3)
    old = ageing.render(factors, 32)
    assert old.shape == (20, 3, 32, 32)
    assert torch.equal(old[:6], ageing.render(factors[:6], 32, batch_size=4))


def test_windows_hold_their_wrinkles() -> None:
    factors = sample_factors(64, seed=11)

    def everything(faces: _OldFaces, *_: object) -> Window:
        return Window(faces.image, faces.u, faces.v, faces.lit, faces.pixel)

    with patch.object(_OldFaces, "window", everything):
        unbounded = ageing.render(factors, 32)
    assert torch.equal(ageing.render(factors, 32), unbounded)


def test_age_is_seen_on_the_head_alone() -> None:
    factors = sample_factors(64, seed=2)
    young, old = render(factors, 64).int(), ageing.render(factors, 64).int()
    change = (old - young).abs()
    assert 4 < change.double().mean() < 30
    assert change[:, :, :, :3].max() == 0  # the backdrop at the border
    haired = factors[:, INDEX["hair_style"]]
    shoulders = change[haired < STYLES.index("medium")][:, :, 60:, 10:18]
    assert shoulders.max() == 0


def test_hair_turns_grey_and_skin_pale_with_a_trace_of_their_colours() -> None:
    factors = sample_factors(5, seed=5).repeat_interleave(5, 0)
    for name in ("Wearing_Hat", "Bangs", "Dark_Skin"):
        factors[:, INDEX[name]] = 0
    factors[:, INDEX["hair_style"]] = STYLES.index("short")
    for name in ("x", "y", "scale", "tilt", "pitch"):
        factors[:, INDEX[name]] = 0.5
    factors[:, INDEX["hair_colour"]] = torch.arange(5).repeat(5)
    young, old = render(factors, 64).float(), ageing.render(factors, 64).float()

    def spread(images: torch.Tensor) -> torch.Tensor:  # of the channels, in the hair
        hair = images[:, :, 11:16, 28:36].mean((2, 3))
        return hair.amax(1) - hair.amin(1)

    assert (spread(old) <= spread(young) * 0.5 + 4).all()
    colours = old[:, :, 11:16, 28:36].mean((2, 3)).view(5, 5, 3)
    assert min(torch.pdist(row).min().item() for row in colours) > 5
    cheeks = [x[:, :, 39:42, 26:30].mean((2, 3)) for x in (young, old)]
    saturation = [1 - x.amin(1) / x.amax(1) for x in cheeks]
    assert (saturation[1] < saturation[0] * 0.95).all()


def test_wrinkles_are_lines_in_the_face() -> None:
    factors = sample_factors(40, seed=6)
    with patch.object(_OldFaces, "crease", lambda *_: None):
        smooth = ageing.render(factors, 64).int()
    change = (ageing.render(factors, 64).int() - smooth).abs().amax(1)
    counts = (change > 6).sum((1, 2))
    assert counts.min() >= 20
    assert counts.max() < 64 * 64 * 0.06


def test_each_factor_shows_in_old_faces() -> None:
    factors = sample_factors(60, seed=0)
    images = ageing.render(factors, 32)
    for i, factor in enumerate(FACTORS):
        moved = factors.clone()
        values = len(factor.odds) or 1
        moved[:, i] = (factors[:, i] + (1 if factor.odds else 0.5)) % values
        changed = (ageing.render(moved, 32) != images).flatten(1).any(1)
        assert changed.double().mean() > 0.1, factor.name
