"""Procedural faces: the same to the byte, truly labelled, antialiased, local in what changes."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from src.data.procedural.faces import (
    ATTRIBUTES,
    COLOURS,
    FACTORS,
    INDEX,
    STYLES,
    Faces,
    attributes,
    glasses_factors,
    render,
    render_faces,
    sample_factors,
)
from src.data.procedural.sdf import Window, box, cover, ellipse, lens
from src.errors import SettingError


def posed(n: int, seed: int = 5) -> Tensor:
    """Factors of bare faces in the middle of the image, upright, facing the viewer."""
    factors = sample_factors(n, seed)
    for name in ("x", "y", "scale", "tilt", "pitch"):
        factors[:, INDEX[name]] = 0.5
    for name in ("yaw", "Looking_Left", "Wearing_Hat", "Bangs", "Eyeglasses", "Beard", "Mustache"):
        factors[:, INDEX[name]] = 0.0
    factors[:, INDEX["hair_style"]] = STYLES.index("short")
    return factors


def switched(factors: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Images at 64 pixels without and with a binary factor, all else equal, as int32."""
    off, on = factors.clone(), factors.clone()
    off[:, INDEX[name]], on[:, INDEX[name]] = 0, 1
    return render(off, 64).int(), render(on, 64).int()


def test_shapes_types_and_ranges():
    images, labels = render_faces(5, 48, seed=0)
    assert images.shape == (5, 3, 48, 48)
    assert images.dtype == torch.uint8
    assert labels.shape == (5, len(ATTRIBUTES))
    assert labels.dtype == torch.int64
    assert set(labels.unique().tolist()) == {0, 1}
    assert len(ATTRIBUTES) == len(set(ATTRIBUTES)) >= 12
    assert images.float().std(0).mean() > 20  # faces differ
    factors = sample_factors(5, seed=0)
    assert factors.shape == (5, len(FACTORS)) == (5, len(INDEX))
    assert torch.equal(attributes(factors), labels)
    assert torch.equal(render(factors, 48), images)


def test_a_face_depends_on_seed_and_index_only():
    images, labels = render_faces(40, 32, seed=3)
    again, same_labels = render_faces(40, 32, seed=3, batch_size=7)
    assert torch.equal(images, again)
    assert torch.equal(labels, same_labels)
    first, first_labels = render_faces(11, 32, seed=3)
    assert torch.equal(images[:11], first)
    assert torch.equal(labels[:11], first_labels)
    other, _ = render_faces(40, 32, seed=4)
    assert (images != other).flatten(1).any(1).all()


def test_threads_change_nothing_and_are_left_as_they_were():
    before = torch.get_num_threads()
    images = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            images.append(render_faces(24, 32, seed=1, batch_size=8)[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*images)


def test_the_same_bytes_on_every_machine():
    # Drawn from IEEE-exact operations only. If this fails because a face was redrawn on purpose:
    # the data are new ones, and so are the classifier trained on them and every number measured.
    images, labels = render_faces(16, 32, seed=0)
    place = torch.arange(1, images.numel() + 1)
    assert (images.flatten().long() * place).sum().item() == 130863985046
    assert (labels.flatten() * torch.arange(1, labels.numel() + 1)).sum().item() == 14823


def test_attributes_have_the_stated_frequencies():
    n = 20_000
    rates = dict(zip(ATTRIBUTES, attributes(sample_factors(n, 0)).double().mean(0), strict=True))
    odds = {f.name: f.odds for f in FACTORS}
    expected = {f.name: f.odds[1] for f in FACTORS if len(f.odds) == 2}
    haired = 1 - odds["hair_style"][0]
    expected["Wearing_Hat"] *= haired
    expected["Bangs"] *= haired * (1 - odds["Wearing_Hat"][1])
    expected |= {"Bald": 1 - haired, "Long_Hair": odds["hair_style"][STYLES.index("long")]}
    for name, p in zip(COLOURS, odds["hair_colour"], strict=True):
        expected[f"{name.title()}_Hair"] = p * haired
    assert expected.keys() == rates.keys()
    for name, p in expected.items():
        sigma = (p * (1 - p) / n) ** 0.5
        assert abs(rates[name] - p) < 4.5 * sigma, name  # all 21: false alarm 1 in 7000


def test_continuous_factors_are_uniform_and_independent():
    n = 20_000
    factors = sample_factors(n, 0).double()
    uniform = factors[:, [i for i, f in enumerate(FACTORS) if not f.odds]]
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert (uniform.mean(0) - 0.5).abs().max() < 5 * (1 / 12 / n) ** 0.5
    assert (uniform.var(0) - 1 / 12).abs().max() < 5 * (1 / 180 / n) ** 0.5
    free = [i for i, f in enumerate(FACTORS) if f.name not in ("Wearing_Hat", "Bangs")]
    correlation = torch.corrcoef(factors[:, free].T) - torch.eye(len(free))
    assert correlation.abs().max() < 5 / n**0.5  # 2000 pairs: false alarm 1 in 800


def test_exclusions():
    labels = dict(zip(ATTRIBUTES, attributes(sample_factors(5000, 2)).T, strict=True))
    colours = sum(labels[f"{name.title()}_Hair"] for name in COLOURS)
    assert torch.equal(colours, 1 - labels["Bald"])
    assert not (labels["Bald"] & labels["Wearing_Hat"]).any()
    assert not (labels["Bangs"] & (labels["Bald"] | labels["Wearing_Hat"])).any()


@pytest.mark.parametrize(("resolution", "bound"), [(64, 1.0), (32, 2.2)])
def test_resolutions_agree_since_edges_are_antialiased(resolution, bound):
    # Taking every k-th pixel instead of the mean, as aliased drawing would, gives 3.1 and 7.8.
    factors = sample_factors(48, 7)
    fine = render(factors, 128).float()
    coarse = render(factors, resolution).float()
    k = 128 // resolution
    error = (avg_pool2d(fine, k) - coarse).abs().mean()
    aliased = (fine[..., ::k, ::k] - coarse).abs().mean()
    assert 0.1 < error < bound
    assert error < aliased / 3


def test_windows_hold_their_shapes():
    factors = sample_factors(96, 11)

    def everything(faces: Faces, *_: object) -> Window:
        return Window(faces.image, faces.u, faces.v, faces.lit, faces.pixel)

    with patch.object(Faces, "window", everything):
        unbounded = render(factors, 32)
    assert torch.equal(render(factors, 32), unbounded)


@pytest.mark.parametrize(
    ("name", "half", "top", "bottom", "pixels"),
    [
        ("Eyeglasses", 0.95, -0.45, 0.35, 60),
        ("Smiling", 0.65, 0.20, 1.05, 15),
        ("Mouth_Open", 0.65, 0.20, 1.05, 15),
        ("Wearing_Lipstick", 0.65, 0.20, 1.05, 8),
        ("Mustache", 0.65, 0.15, 0.80, 12),
        ("Beard", 0.95, -0.15, 1.25, 60),
        ("Bangs", 1.00, -1.10, -0.30, 10),
        ("Bushy_Eyebrows", 0.75, -0.60, -0.10, 10),
        ("Wearing_Earrings", 1.00, 0.15, 0.55, 12),
    ],
)
def test_an_attribute_changes_its_region_visibly_and_nothing_else(name, half, top, bottom, pixels):
    factors = posed(64)
    off, on = switched(factors, name)
    change = (on - off).abs().amax(1)  # (n, 64, 64)
    centre, scale = 0.01, 0.64  # of the posed heads, image units
    axis = (torch.arange(64) * 2 + 1) / 64 - 1
    margin = 2 / 64
    inside = (axis.abs() < half * scale + margin)[None, :] & (
        (axis > top * scale + centre - margin) & (axis < bottom * scale + centre + margin)
    )[:, None]
    assert change[:, ~inside].max() == 0
    assert (change[:, inside] > 16).sum(1).min() >= pixels  # in the face where it shows least


def test_glasses_are_put_on_the_same_people_and_all_alike():
    without, worn = glasses_factors(200, seed=3)
    assert torch.equal(without, glasses_factors(300, seed=3)[0][:200])
    drawn = sample_factors(200, seed=3)
    glasses = [INDEX[name] for name in ("Eyeglasses", "frame_shape", "frame_hue")]
    others = [i for i in range(len(FACTORS)) if i not in glasses]
    assert torch.equal(without[:, others], drawn[:, others])
    assert torch.equal(worn[:, others], drawn[:, others])
    assert (without[:, glasses[0]] == 0).all()
    assert (worn[:, glasses[0]] == 1).all()
    assert (worn[:, glasses[1:]] == without[0, glasses[1:]]).all()
    change = (render(worn[:40], 64).int() - render(without[:40], 64)).abs().amax(1) > 16
    assert change.sum((1, 2)).min() >= 60
    assert change[:, :12].sum() == change[:, 46:].sum() == 0  # around the eyes


def test_background_and_light_do_what_they_say():
    factors = posed(32)
    off, on = switched(factors, "Bright_Background")
    corner = (slice(None), slice(None), slice(0, 6), slice(0, 6))
    assert (on[corner].float().mean((1, 2, 3)) > off[corner].float().mean((1, 2, 3)) + 60).all()
    assert torch.equal(on[:, :, 30:36, 28:36], off[:, :, 30:36, 28:36])  # the nose
    right, left = switched(factors, "Light_From_Left")
    cheeks = [(slice(None), slice(None), slice(36, 42), slice(a, a + 5)) for a in (20, 39)]
    for images, sign in ((left, 1), (right, -1)):
        a, b = (images[cheek].float().mean((1, 2, 3)) for cheek in cheeks)
        assert ((a - b) * sign > 4).all()
    assert torch.equal(left[corner], right[corner])


def test_skin_and_hair_colours_are_apart():
    light, dark = switched(posed(64), "Dark_Skin")
    forehead = (slice(None), slice(None), slice(21, 23), slice(31, 33))
    assert light[forehead].float().mean((1, 2, 3)).min() > 130
    assert dark[forehead].float().mean((1, 2, 3)).max() < 125
    factors, means = posed(64), []
    for i in range(len(COLOURS)):
        factors[:, INDEX["hair_colour"]] = i
        top = render(factors, 64)[:, :, 11:16, 28:36].float()
        means.append(top.mean((0, 2, 3)))
    assert torch.pdist(torch.stack(means)).min() > 25


@pytest.mark.parametrize("resolution", [16, 31, 129, 256, 64.0])
def test_impossible_resolution(resolution):
    with pytest.raises(SettingError, match=f"data.resolution={resolution}") as error:
        render_faces(1, resolution, seed=0)
    message = str(error.value)
    assert "32 to 128" in message
    assert message.count("\n") < 3


def test_distances():
    axis = torch.linspace(-2, 2, 401)
    x, y = axis[None, :, None], axis[:, None, None]
    pixel = torch.tensor([0.01])

    def area(d: Tensor) -> float:
        return cover(d, pixel).sum().item() * 0.01**2

    assert area(ellipse(x, y, 1.5, 0.5)) == pytest.approx(torch.pi * 0.75, rel=1e-3)
    assert area(box(x, y, 1.0, 0.5, 0.2)) == pytest.approx(2 - 0.16 + torch.pi * 0.04, rel=1e-3)
    assert area(lens(x, y, 1.0, -0.5, 0.25, pixel)) == pytest.approx(4 / 3 * 0.75, rel=1e-3)
    # Thinner than a pixel: the share is the thickness, and not one half.
    assert area(lens(x, y, 1.0, 0.1, 0.103, pixel)) == pytest.approx(4 / 3 * 0.003, rel=0.1)
