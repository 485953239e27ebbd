"""Degradations against their definitions; adding one is a class, a preset and a row of MADE."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.testing import assert_close

from src.config.composition import CONF, compose, plain
from src.data.loader import degrade
from src.data.spec import to_model, to_uint8
from src.distributed.noise import BatchDraws, SampleDraws
from src.errors import SettingError
from src.training.instantiate import build
from src.transforms.degradations import (
    JPEG,
    PAINT,
    Blur,
    Composition,
    Degradation,
    DepthOfField,
    Downsample,
    GaussianNoise,
    Grey,
    LineDrawing,
    Mask,
    Mosaic,
    Palette,
    View,
    as_target,
    blur,
    resize,
)
from src.transforms.views import render

PRESETS = sorted(path.stem for path in (CONF / "data" / "degradation").glob("*.yaml"))
PRESETS.remove("none")
# What a preset makes of three channels of 32 x 32, or of voxels.
MADE = {
    "blur": (3, 32, 32),
    "camera": (3, 16, 16),
    "depth_of_field": (3, 32, 32),
    "downsample": (3, 8, 8),
    "grey": (1, 32, 32),
    "jpeg": (3, 32, 32),
    "line_drawing": (1, 32, 32),
    "palette": (3, 32, 32),
    "mask_box": (4, 32, 32),
    "mask_centre": (4, 32, 32),
    "mask_free_form": (4, 32, 32),
    "mosaic": (3, 32, 32),
    "noise": (3, 32, 32),
    "view": (1, 64, 64),
    "view_any": (1, 64, 64),
}
CERTAIN = {"blur", "downsample", "grey", "jpeg", "line_drawing", "mask_centre", "mosaic", "palette"}


def preset(name: str) -> Degradation:
    data = "solids" if name.startswith("view") else "celeba"
    words = [f"data={data}", "data.source=builtin", f"data/degradation={name}"]
    node = plain(compose("train", words))["data"]["degradation"]
    return build(node, Degradation, "data.degradation")


def images(n: int = 4, channels: int = 3, size: int = 32) -> Tensor:
    """In [-1, 1], of 8 bits, smooth but for an edge down the middle."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(n, channels, 6, 6, generator=generator) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    x[..., size // 2 :] *= -0.7
    return to_model(to_uint8(x))


def targets(name: str) -> Tensor:
    """What a preset is made for: images, or four boxes as voxels."""
    if not name.startswith("view"):
        return images()
    x = torch.zeros(4, 1, 16, 16, 16)
    for i in range(4):
        x[i, :, 4 : 10 + i, 3:9, 2 : 8 + 2 * i] = 1
    return x


def draws(n: int = 4) -> SampleDraws:
    return SampleDraws(range(n))


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    """Shapes as said, values in range, and the same for a sample in whatever batch it comes."""
    degradation, x = preset(name), targets(name)
    before = x.clone()
    source = degrade(degradation, x, draws())
    assert source.shape[1:] == degradation.shape(x.shape[1:]) == MADE[name]
    assert source.abs().max() <= 1
    assert x.equal(before)
    alone = [degrade(degradation, x[i : i + 1], SampleDraws([i])) for i in range(4)]
    assert torch.cat(alone).equal(source)
    others = degrade(degradation, x, SampleDraws(range(10, 14)))
    assert others.equal(source) == (name in CERTAIN)
    assert degradation.masked == name.startswith("mask")
    assert not any(name.startswith("_") for name in degradation.identity)


@pytest.mark.parametrize("name", PRESETS)
def test_slices_have_the_noise_of_the_whole_batch(name: str) -> None:
    degradation, x = preset(name), targets(name)
    whole = degrade(degradation, x, BatchDraws(4, seed=5))
    slices = [
        degrade(degradation, x[2 * k : 2 * k + 2], BatchDraws(4, 5, part=(k, 2))) for k in (0, 1)
    ]
    assert torch.cat(slices).equal(whole)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_downsampling_is_pillows(scale: int) -> None:
    x = images()
    pixels = to_uint8(degrade(Downsample(scale), x, draws()))
    for one, small in zip(to_uint8(x), pixels, strict=True):
        picture = Image.fromarray(one.permute(1, 2, 0).numpy())
        size = (32 // scale, 32 // scale)
        expected = np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(small.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_enlarging_is_pillows() -> None:
    x = images(1, size=8)
    large = to_uint8(resize(x, (32, 32)))[0].permute(1, 2, 0).numpy().astype(int)
    picture = Image.fromarray(to_uint8(x)[0].permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(large - expected).max() <= 1


def test_mosaic() -> None:
    x = images()
    seen = Mosaic(8)(x, draws())
    squares = seen.unflatten(3, (4, 8)).unflatten(2, (4, 8))
    assert (squares == squares[:, :, :, :1, :, :1]).all()
    expected = x.unflatten(3, (4, 8)).unflatten(2, (4, 8)).mean((3, 5))
    assert_close(squares[:, :, :, 0, :, 0], expected)


@pytest.mark.parametrize(("form", "share"), [("centre", 0.25), ("box", 0.25), ("free_form", None)])
def test_masks(form: str, share: float | None) -> None:
    x = images(64)
    source = Mask(form)(x, draws(64))
    lost = source[:, -1:] == 1
    assert ((source[:, -1:] == -1) | lost).all()
    known = lost.logical_not().expand_as(x)
    assert source[:, :-1][known].equal(x[known])
    assert (source[:, :-1][~known] == 0).all()
    area = lost.float().flatten(1).mean(1)
    if share is not None:
        assert (area == share).all()
    else:
        assert 0.1 < area.mean() < 0.3  # "about a fifth"
    if form == "centre":
        assert lost[:, :, 8:24, 8:24].all()


def test_boxes_are_anywhere() -> None:
    lost = Mask("box")(images(200), draws(200))[:, -1] == 1
    assert lost.any(2).any(0).all()  # each row in at least one of 200
    assert lost.any(1).any(0).all()
    assert not lost[:, 0, 0].all()


def test_blur_is_gaussian() -> None:
    x = images(1)
    expected = gaussian_filter(x[0].double().numpy(), (0, 2, 2), mode="mirror", truncate=3.0)
    assert_close(Blur(2.0)(x, draws(1))[0].double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_depth_of_field() -> None:
    """Sharp in the disk, blurred at the full strength from half a side on."""
    x = images(1, size=64)
    place = SampleDraws([3]).uniform(2)[0] * 64
    seen, blurred = DepthOfField(3.0, 0.15)(x, SampleDraws([3])), Blur(3.0)(x, draws(1))
    y, across = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    distance = ((y - place[0]).square() + (across - place[1]).square()).sqrt() / 64
    near, far = distance < 0.15, distance > 0.5
    assert near.any()
    assert far.any()
    assert_close(seen[0][:, near], x[0][:, near])
    assert_close(seen[0][:, far], blurred[0][:, far])


def test_grey() -> None:
    x = images()
    r, g, b = x.unbind(1)
    assert_close(Grey()(x, draws())[:, 0], 0.299 * r + 0.587 * g + 0.114 * b)


def test_lines_are_where_edges_are() -> None:
    flat = torch.full((1, 3, 32, 32), 0.3)
    assert (LineDrawing(0.8)(flat, draws(1)) == 1).all()
    step = flat.clone()
    step[..., 16:] = -0.6
    lines = LineDrawing(0.8)(step, draws(1))[0, 0]
    assert lines[:, 14:18].min(1).values.max() < 0.5  # dark, in every row
    assert (lines[:, :10] == 1).all()
    assert (lines[:, 22:] == 1).all()


def test_a_palette_takes_the_nearest_colour() -> None:
    """Also of a patch of one colour, and of no other than its own."""
    paint = torch.tensor(PAINT) / 127.5 - 1
    x = images(n=2)
    painted = Palette(1.0)(x, draws(2)).movedim(1, -1).flatten(0, 2)
    smooth = blur(x, 1.0).movedim(1, -1).flatten(0, 2)
    assert_close(painted, paint[torch.cdist(smooth, paint).argmin(1)])
    assert len(painted.unique(dim=0)) > 3
    patches = paint[:, :, None, None].expand(-1, -1, 8, 8)
    assert_close(Palette(1.0)(patches, draws(len(PAINT))), patches)


def test_noise_is_on_the_unit_scale() -> None:
    x = torch.zeros(100, 1, 20, 20)  # 40,000 numbers: a standard deviation is known to 0.4 %
    noise = GaussianNoise(0.1)(x, draws(100)) / 2
    assert_close(noise.std(), torch.tensor(0.1), rtol=0.02, atol=0)
    assert abs(float(noise.mean())) < 0.0025


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_a_file_in_between(channels: int) -> None:
    x = images(channels=channels)
    seen = to_uint8(JPEG(15)(x, draws()))
    for one, got in zip(to_uint8(x), seen, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(one.permute(1, 2, 0).squeeze(2).numpy()).save(buffer, "JPEG", quality=15)
        expected = np.atleast_3d(np.asarray(Image.open(buffer))).astype(int)
        # Two versions of libjpeg round differently, and enlarge the colours differently.
        assert np.abs(got.permute(1, 2, 0).numpy().astype(int) - expected).mean() < 3
    errors = [(JPEG(quality)(x, draws()) - x).abs().mean() for quality in (5, 50, 95)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_compositions_keep_their_order() -> None:
    x = images()
    parts = [Blur(1.0), Downsample(2), Mask("centre")]
    seen = Composition(parts)(x, draws())
    assert seen.equal(parts[2](parts[1](parts[0](x, draws()), draws()), draws()))
    composition = Composition(parts)
    assert composition.masked
    assert composition.shape((3, 32, 32)) == (4, 16, 16)
    assert [part["name"] for part in composition.identity["parts"]] == [
        "Blur",
        "Downsample",
        "Mask",
    ]


def test_sources_as_targets() -> None:
    x = images()
    assert as_target(x, (3, 32, 32)).equal(x)
    assert as_target(Mask("centre")(x, draws()), (3, 32, 32)).shape == x.shape
    grey = as_target(x[:, :1], (3, 32, 32))
    assert grey.equal(x[:, :1].expand(-1, 3, -1, -1))
    assert as_target(x[:, :2], (3, 32, 32)) is None
    assert as_target(Downsample(4)(x, draws()), (3, 32, 32)).shape == x.shape


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Downsample(4), (3, 30, 30), "scale=4 does not divide"),
        (lambda: Mosaic(8), (3, 28, 28), "size=8 does not divide"),
        (Grey, (1, 28, 28), "needs colours"),
        (lambda: Mask("centre", 0.01), (3, 28, 28), "nothing is lost"),
        (lambda: Mask("box", 0.0), (3, 28, 28), "nothing is lost"),
        (lambda: Composition([]), (1, 28, 28), "at least one"),
        (lambda: Composition([Mask("box"), Grey()]), (3, 28, 28), "only as the last"),
    ],
)
def test_refused(make: object, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make().shape(shape)


def test_free_form_strokes_have_the_length_that_is_asked_for() -> None:
    areas = [
        float((Mask("free_form", side)(images(64), draws(64))[:, -1] == 1).float().mean())
        for side in (0.1, 0.5, 1.0)
    ]
    assert areas[0] < areas[1] < areas[2]
    assert math.isclose(areas[1], 0.2, abs_tol=0.08)


def test_a_view_is_taken_at_the_drawn_angles() -> None:
    """And each angle is uniform within its ends."""
    ends = {"azimuth": [30, 60], "elevation": [0, 40], "light_azimuth": [-90, 0]}
    view = View(**ends, light_elevation=[45, 45], side=24)
    x, u = targets("view"), draws().uniform(4)
    source = view(x, draws())
    azimuth, elevation, beside = (
        low + (high - low) * u[:, i] for i, (low, high) in enumerate(ends.values())
    )
    assert source.equal(render(x, azimuth, elevation, (beside, 45.0), 24))
    assert not source.equal(render(x, azimuth, elevation, (beside.flip(0), 45.0), 24))


@pytest.mark.parametrize("ends", [[30], [60, 30], [-91, 0], [0, math.nan]])
def test_angles_that_are_none(ends: list[float]) -> None:
    with pytest.raises(SettingError, match=r"degradation\.elevation"):
        View([0, 360], ends, [0, 0], [0, 0])


def test_a_composition_can_begin_with_a_view() -> None:
    parts = [View([0, 0], [0, 0], [0, 0], [0, 0], 32), Downsample(2)]
    both = Composition(parts)
    assert both.takes == "voxels"
    assert both(targets("view"), draws()).shape[1:] == both.shape((1, 16, 16, 16)) == (1, 16, 16)
    with pytest.raises(SettingError, match="only the first"):
        Composition(parts[::-1])
