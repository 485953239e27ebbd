"""Augmentation against formulas, counts and finite differences; ADA's controller step by step."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor
from torch.testing import assert_close

from src.config.composition import CONF
from src.errors import SettingError
from src.training.instantiate import build
from src.transforms.augment import (
    ADA,
    TRANSFORMATIONS,
    Augment,
    DiffAugment,
    InputNoise,
    NoAugment,
    brightness,
    contrast,
    cutout,
    saturation,
    translation,
)

ALL = ("color", "translation", "cutout")


def images(n: int = 6, channels: int = 3, h: int = 16, w: int = 16, seed: int = 1) -> Tensor:
    """Without zeros, so that what an augmentation sets to 0 is known."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, h, w, generator=generator) * 0.9 + 0.05


def uniform(n: int) -> Tensor:
    """The numbers that the first draw of an augmentation takes after seed 0."""
    torch.manual_seed(0)
    numbers = torch.rand(n, 1, 1, 1)
    torch.manual_seed(0)
    return numbers


def with_p(p: float) -> list[torch.nn.Module]:
    ada = ADA(ALL)
    ada.p.fill_(p)
    return [DiffAugment(ALL, p), ada]


# The transformations


def test_no_augment_is_the_identity() -> None:
    x = images()
    augment = NoAugment()
    assert augment(x) is x
    augment.observe(torch.ones(3))
    assert augment.state_dict() == {}


@pytest.mark.parametrize("shape", [(50, 2), (3, 1, 16, 16), (2, 1, 8, 8, 8)])
def test_input_noise_has_its_deviation_and_passes_gradients(shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 0.3, requires_grad=True)
    torch.manual_seed(0)
    seen = InputNoise(0.2)(x)
    added = (seen - x).detach()
    assert abs(added.std() - 0.2) < 4 * 0.2 / (2 * added.numel()) ** 0.5
    assert abs(added.mean()) < 4 * 0.2 / added.numel() ** 0.5
    seen.sum().backward()
    assert (x.grad == 1).all()
    assert torch.equal(InputNoise(0.0)(x), x)
    with pytest.raises(SettingError, match="std=-1"):
        InputNoise(-1)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_p_0_leaves_every_bit_and_p_1_every_image_changed(
    channels: int, dtype: torch.dtype
) -> None:
    x = images(channels=channels).to(dtype).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    for augment in with_p(0.0):
        assert torch.equal(augment(x), x)
    for augment in with_p(1.0):
        changed = augment(x)
        assert changed.shape == x.shape
        assert changed.dtype == dtype
        assert (changed != x).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ALL)
def test_p_is_the_share_of_images_that_change(name: str) -> None:
    x = images(4000, 3, 8, 8)
    torch.manual_seed(0)
    changed = (DiffAugment([name], 0.3)(x) != x).flatten(1).any(1).double().mean()
    # Three chances in `color`; 1 of 9 translations by up to a pixel either way is none.
    expected = {"color": 1 - 0.7**3, "translation": 0.3 * 8 / 9, "cutout": 0.3}[name]
    assert_close(changed, torch.tensor(expected).double(), rtol=0, atol=0.03)


def test_colours_follow_their_formulas() -> None:
    x = images()
    u = uniform(len(x))
    assert_close(brightness(x, 1.0), x + u - 0.5)
    grey = x.mean(1, keepdim=True)
    u = uniform(len(x))
    assert_close(saturation(x, 1.0), grey + 2 * u * (x - grey))
    mean = x.mean((1, 2, 3), keepdim=True)
    u = uniform(len(x))
    assert_close(contrast(x, 1.0), mean + (u + 0.5) * (x - mean))


def test_expectations_and_ranges_of_the_colours() -> None:
    x = images(1, 3, 4, 4).expand(20_000, -1, -1, -1)
    torch.manual_seed(0)
    # E b = 0, E s = 1, E c = 1: each leaves the mean image. Six standard errors.
    for function, spread in ((brightness, 0.5), (saturation, 1.0), (contrast, 0.5)):
        change = function(x, 1.0) - x
        assert_close(change.mean(0), torch.zeros(3, 4, 4), rtol=0, atol=0.025 * spread)
    b = (brightness(x, 1.0) - x).amax((1, 2, 3))
    assert -0.5 <= b.min() < -0.49
    assert 0.49 < b.max() <= 0.5
    c = contrast(x, 1.0).std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.5 - 1e-4 <= c.min() < 0.51
    assert 1.49 < c.max() <= 1.5 + 1e-4


def test_grey_images_have_no_saturation() -> None:
    x = images(channels=1)
    assert saturation(x, 1.0) is x


@pytest.mark.parametrize(("h", "w"), [(16, 16), (28, 20), (12, 32)])
def test_translations_are_shifts_by_an_eighth_at_most(h: int, w: int) -> None:
    x = images(400, 2, h, w)
    torch.manual_seed(0)
    shifted = translation(x, 1.0)
    reach_h, reach_w = int(h / 8 + 0.5), int(w / 8 + 0.5)
    padded = F.pad(x, (reach_w, reach_w, reach_h, reach_h))
    found = torch.zeros(2 * reach_h + 1, 2 * reach_w + 1)
    for top in range(2 * reach_h + 1):
        for left in range(2 * reach_w + 1):
            same = (padded[:, :, top : top + h, left : left + w] == shifted).flatten(1).all(1)
            found[top, left] = same.sum()
    assert found.sum() == len(x)
    # All shifts are equally likely: the chi-square of k cells is k - 1 +- sqrt(2 (k - 1)).
    expected, free = len(x) / found.numel(), found.numel() - 1
    assert abs(((found - expected) ** 2 / expected).sum() - free) < 4 * (2 * free) ** 0.5


@pytest.mark.parametrize(("h", "w"), [(16, 16), (28, 20), (9, 8)])
def test_cutout_is_a_rectangle_of_half_the_side_cut_by_the_edge(h: int, w: int) -> None:
    n = 4000
    x = images(n, 2, h, w)
    torch.manual_seed(0)
    cut = cutout(x, 1.0)
    hole = (cut == 0).all(1)
    assert torch.equal(cut, torch.where(hole[:, None], 0, x))
    rows, columns = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None, :])
    for lines, size in ((rows, h), (columns, w)):
        side = int(size / 2 + 0.5)
        height = lines.sum(1)
        assert height.max() == side
        # A centre on the edge leaves half of it, of an odd side the larger half.
        assert height.min() == side - side // 2
        gaps = lines.int().diff(dim=1).ne(0).sum(1)
        assert gaps.max() <= 2
        # The share of centres that cover a line.
        centres = torch.arange(size + 1 - side % 2)
        offset = torch.arange(size)[:, None] - (centres - side // 2)
        covered = ((offset >= 0) & (offset < side)).double().mean(1)
        assert_close(lines.double().mean(0), covered, rtol=0, atol=4 * 0.5 / n**0.5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_gradients_of_both_orders(channels: int, p: float) -> None:
    x = images(2, channels, 4, 4).double().requires_grad_()

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return DiffAugment(ALL, p)(x) ** 2

    assert torch.autograd.gradcheck(seeded, x)
    assert torch.autograd.gradgradcheck(seeded, x)


def test_gradients_reach_all_images() -> None:
    x = images(50).requires_grad_()
    torch.manual_seed(0)
    (gradient,) = torch.autograd.grad(with_p(1.0)[1](x).sum(), x)
    assert gradient.isfinite().all()
    assert (gradient != 0).flatten(1).any(1).all()


def test_the_seed_decides() -> None:
    x = images()
    for augment in with_p(0.7):
        torch.manual_seed(3)
        first = augment(x)
        torch.manual_seed(3)
        assert torch.equal(augment(x), first)
        assert not torch.equal(augment(x), first)


def test_draws_do_not_depend_on_p_or_on_precision() -> None:
    x = images()
    after = []
    for p, dtype in ((0.0, torch.float32), (1.0, torch.float32), (1.0, torch.bfloat16)):
        torch.manual_seed(3)
        DiffAugment(ALL, p)(x.to(dtype))
        after.append(torch.rand(4))
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])


def test_the_policy_is_in_order() -> None:
    x = images()
    torch.manual_seed(0)
    whole = DiffAugment(["cutout", "color"])(x)
    torch.manual_seed(0)
    parts = x
    for function in TRANSFORMATIONS["cutout"] + TRANSFORMATIONS["color"]:
        parts = function(parts, 1.0)
    assert torch.equal(whole, parts)


# ADA


def logits(share: float, n: int = 40) -> Tensor:
    """D's logits of n reals, of which a share is taken for real."""
    return torch.where(torch.arange(n) < round(share * n), 2.0, -3.0)


def test_p_rises_at_the_published_speed_where_d_overfits() -> None:
    ada = ADA(ALL, target=0.6, speed=1000, every=4)
    history = []
    for _ in range(12):
        ada.observe(logits(0.9))  # r = 0.8
        history.append(ada.p.item())
    # 160 reals in 4 batches: 0.16 of the way from 0 to 1.
    expected = [0.0] * 3 + [0.16] * 4 + [0.32] * 4 + [0.48]
    assert_close(torch.tensor(history), torch.tensor(expected))


def test_p_falls_elsewhere_and_never_below_0() -> None:
    ada = ADA(ALL, target=0.6, speed=1000, every=1)
    ada.p.fill_(0.1)
    for expected in (0.06, 0.02, 0.0, 0.0):
        ada.observe(logits(0.7))  # r = 0.4
        assert_close(ada.p, torch.tensor(expected), rtol=0, atol=1e-6)


def test_p_stays_at_the_target_and_below_1() -> None:
    ada = ADA(ALL, target=0.6, speed=100, every=1)
    ada.p.fill_(0.5)
    ada.observe(logits(0.8))  # r = 0.6
    assert ada.p == 0.5
    for _ in range(3):
        ada.observe(logits(1.0))
    assert ada.p == 1
    ada.observe(logits(0.0))
    assert_close(ada.p, torch.tensor(0.6))


def test_r_is_over_all_batches_since_the_last_change() -> None:
    ada = ADA(ALL, target=0.0, speed=1000, every=2)
    # 30 of 40 against 4 of 20: 34 of 60 are taken for real.
    ada.observe(logits(0.75, 40))
    ada.observe(logits(0.2, 20))
    assert_close(ada.p, torch.tensor(0.06))
    assert (ada.signs, ada.images) == (0, 0)


def test_p_of_ada_is_the_probability() -> None:
    x = images(2000)
    ada = ADA(["cutout"])
    torch.manual_seed(0)
    assert torch.equal(ada(x), x)
    ada.p.fill_(0.25)
    changed = (ada(x) != x).flatten(1).any(1).double().mean()
    assert_close(changed, torch.tensor(0.25).double(), rtol=0, atol=0.04)


def test_ada_goes_on_where_it_was_saved() -> None:
    def steps(ada: ADA, first: int, last: int) -> None:
        for k in range(first, last):
            ada.observe(logits(0.5 + 0.05 * k))

    whole = ADA(ALL, target=0.2, speed=1000, every=4)
    steps(whole, 0, 10)
    half = ADA(ALL, target=0.2, speed=1000, every=4)
    steps(half, 0, 6)  # between two changes of p
    rest = ADA(ALL, target=0.2, speed=1000, every=4)
    rest.load_state_dict(half.state_dict())
    steps(rest, 6, 10)
    assert whole.p > 0
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name


def test_observing_needs_no_gradient() -> None:
    ada = ADA(ALL, every=1)
    ada.observe(logits(1.0).requires_grad_())
    assert not ada.p.requires_grad
    assert ada.p > 0


# Settings


@pytest.mark.parametrize(
    ("name", "kind"), [("none", NoAugment), ("diffaugment", DiffAugment), ("ada", ADA)]
)
def test_presets_are_the_published_ones(name: str, kind: type) -> None:
    node = yaml.safe_load((CONF / "model" / "augment" / f"{name}.yaml").read_text())
    augment = build(node, Augment, "model.augment")
    assert type(augment) is kind
    assert getattr(augment, "policy", ALL) == ALL
    if name == "diffaugment":
        assert augment.p == 1
    if name == "ada":
        assert (augment.target, augment.speed, augment.every, augment.p) == (0.6, 500_000, 4, 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiffAugment(["colour"]), "colour"),
        (lambda: ADA(["blur"]), "blur"),
        (lambda: DiffAugment(ALL, 1.5), "model.augment.p=1.5"),
        (lambda: ADA(ALL, speed=0), "model.augment.speed=0"),
        (lambda: ADA(ALL, every=0), "model.augment.every=0"),
    ],
)
def test_impossible_settings(make: object, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        make()
