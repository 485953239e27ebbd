"""The penalties against critics whose gradients are known, and against finite differences."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

from src.config.checks import check
from src.config.composition import CONF, compose, plain
from src.config.signatures import signature
from src.errors import SettingError
from src.losses.penalties import (
    DRAGAN,
    R1,
    R1R2,
    R2,
    WGANGP,
    WGANLP,
    GradientPenalty,
    NoPenalty,
    WeightClipping,
    between,
    gradient_norm,
    squared_gradient_norm,
)

PENALTIES = (R1(0.3), R2(0.3), R1R2(0.3), WGANGP(0.7), WGANLP(0.7), DRAGAN(0.7))
PRESETS = sorted(path.stem for path in (CONF / "model" / "penalty").glob("*.yaml"))

each = pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)


def quadratic(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """D(x) = x A x / 2 + b x, with gradient A x + b for a symmetric A."""
    flat = x.flatten(1)
    return (flat @ a * flat).sum(1) / 2 + flat @ b


def symmetric(d: int) -> Tensor:
    a = torch.randn(d, d, generator=torch.Generator().manual_seed(0))
    return a + a.T


def batch(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def points(penalty: GradientPenalty, real: Tensor, fake: Tensor) -> Tensor:
    """Where it looks."""
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    penalty.d(critic, real, fake)
    return torch.cat(seen)


def is_uniform(shares: Tensor) -> bool:
    """Kolmogorov-Smirnov at the 1 % level."""
    n = len(shares)
    return (shares.sort().values - torch.arange(1, n + 1) / n).abs().max() < 1.63 / n**0.5


# Values in closed form


@pytest.mark.parametrize(
    ("penalty", "slope", "expected"),
    [
        (R1(0.1), 5, 0.1 / 2 * 25),
        (R1(10), 5, 10 / 2 * 25),
        (R2(0.1), 5, 0.1 / 2 * 25),
        (R1R2(0.1), 5, 0.1 / 2 * (25 + 25)),
        (WGANGP(10), 5, 10 * (5 - 1) ** 2),
        (WGANGP(0.1), 0.5, 0.1 * (0.5 - 1) ** 2),
        (WGANGP(10), 1, 0),
        (WGANLP(10), 5, 10 * (5 - 1) ** 2),
        (WGANLP(10), 0.5, 0),
        (DRAGAN(10), 5, 10 * (5 - 1) ** 2),
        (DRAGAN(10), 0.5, 10 * (0.5 - 1) ** 2),
    ],
)
def test_a_linear_critic(penalty: GradientPenalty, slope: float, expected: float) -> None:
    """Its gradient is the same everywhere."""
    w = slope * torch.tensor([0.6, -0.8])
    real, fake = batch(9, 2), batch(9, 2, seed=2)
    value = penalty.d(lambda x: x @ w, real, fake, real @ w, fake @ w)
    assert value.shape == ()
    assert_close(value.item(), float(expected), rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(
    ("penalty", "f"),
    [
        (R1(0.3), lambda norm: 0.15 * norm**2),
        (R2(0.3), lambda norm: 0.15 * norm**2),
        (R1R2(0.3), lambda norm: 2 * 0.15 * norm**2),  # of a mean over both batches
        (WGANGP(0.7), lambda norm: 0.7 * (norm - 1) ** 2),
        (WGANLP(0.7), lambda norm: 0.7 * (norm - 1).clamp(min=0) ** 2),
        (DRAGAN(0.7), lambda norm: 0.7 * (norm - 1) ** 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_quadratic_critic(penalty: GradientPenalty, f: Callable[[Tensor], Tensor]) -> None:
    """Its gradient A x + b is different everywhere, and some norms are below 1."""
    a, b = symmetric(12) / 12, torch.linspace(-1, 1, 12) / 4
    real, fake = batch(50, 3, 2, 2), batch(50, 3, 2, 2, seed=2)
    torch.manual_seed(3)
    norm = (points(penalty, real, fake).flatten(1) @ a + b).square().sum(1).sqrt()
    assert norm.min() < 1 < norm.max()
    torch.manual_seed(3)
    value = penalty.d(partial(quadratic, a=a, b=b), real, fake)
    assert_close(value, f(norm).mean())


def test_gradient_norms() -> None:
    a, b = symmetric(12), torch.linspace(-1, 1, 12)
    x = batch(5, 3, 2, 2)
    critic, expected = partial(quadratic, a=a, b=b), (x.flatten(1) @ a + b).square().sum(1)
    assert_close(squared_gradient_norm(critic, x), expected)
    assert_close(gradient_norm(critic, x), expected.sqrt())


def test_gradients_of_samples_do_not_cancel() -> None:
    """Norms are taken of each sample: half of the slopes are 1, half are -1."""
    x = torch.cat([torch.ones(4, 1), -torch.ones(4, 1)])
    assert_close(R1(2.0).d(lambda x: x.abs().sum(1), x, x).item(), 1.0)
    assert_close(WGANGP(2.0).d(lambda x: x.abs().sum(1), x, x).item(), 0.0)


# Where they look


def test_zero_centred_penalties_look_at_samples() -> None:
    real, fake = batch(4, 2), batch(4, 2, seed=2)
    assert_close(points(R1(1.0), real, fake), real)
    assert_close(points(R2(1.0), real, fake), fake)
    assert_close(points(R1R2(1.0), real, fake), torch.cat([real, fake]))


@pytest.mark.parametrize("kind", [WGANGP, WGANLP])
def test_interpolates(kind: type[WGANGP]) -> None:
    """On the line from a real to its fake, one uniform share for all of a sample's dimensions."""
    real, fake = batch(2000, 3, 2, 2), 5 + batch(2000, 3, 2, 2, seed=2)
    torch.manual_seed(0)
    shares = ((points(kind(1.0), real, fake) - real) / (fake - real)).flatten(1)
    assert_close(shares, shares[:, :1].expand_as(shares), rtol=0, atol=1e-4)
    assert is_uniform(shares[:, 0])


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_dragan_looks_around_reals(noise: float) -> None:
    """x + share U noise std(x): one share per sample, one U per dimension, one std per batch."""
    real = 3 * batch(1000, 1, 20, 50) + 7
    torch.manual_seed(0)
    offset = points(DRAGAN(1.0, noise), real, torch.full_like(real, torch.nan)) - real
    units = offset.flatten(1) / (noise * real.std())
    assert units.min() > -1e-4
    # The largest of 1000 uniform numbers is nearly 1, so that a sample's largest is its share.
    shares = units.max(dim=1, keepdim=True).values
    assert is_uniform(shares[:, 0])
    clear = shares[:, 0] > 0.2  # elsewhere float32 rounds the small offset
    assert is_uniform((units / shares)[clear][:, ::7].flatten())


def test_between_draws_anew() -> None:
    a, b = torch.zeros(5, 2), torch.ones(5, 2)
    assert not between(a, b).equal(between(a, b))


# Gradients


@each
def test_gradients_against_finite_differences(penalty: GradientPenalty) -> None:
    """With respect to all of D's parameters, in float64."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    critic[2].weight.data *= 8  # so that some slopes are above 1
    real, fake = batch(8, 3).double(), batch(8, 3, seed=2).double()
    names = [name for name, _ in critic.named_parameters()]

    def value(*parameters: Tensor) -> Tensor:
        torch.manual_seed(4)  # the same points each time
        weights = dict(zip(names, parameters, strict=True))
        return penalty.d(lambda x: functional_call(critic, weights, x), real, fake)

    norm = gradient_norm(critic, torch.cat([real, fake]))
    assert norm.min() < 1 < norm.max()
    assert value(*critic.parameters()).dtype == torch.float64
    assert torch.autograd.gradcheck(value, tuple(critic.parameters()), eps=1e-6, atol=1e-7)


def test_slopes_against_finite_differences() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0)).double()
    x, h = torch.randn(6, 4).double(), 1e-5
    with torch.no_grad():
        slopes = [(critic(x + h * e) - critic(x - h * e)) / (2 * h) for e in torch.eye(4).double()]
    expected = torch.stack(slopes).square().sum(0)
    assert_close(squared_gradient_norm(critic, x), expected, rtol=1e-8, atol=1e-8)


def test_the_critics_weights_get_the_penaltys_gradient() -> None:
    """d/dw (gamma / 2) w^2 = gamma w for D(x) = w x."""
    w = torch.tensor([[3.0]], requires_grad=True)
    R1(0.2).d(lambda x: (x @ w).flatten(), torch.randn(8, 1), torch.randn(8, 1)).backward()
    assert_close(w.grad, torch.tensor([[0.6]]))


@each
def test_a_flat_critic_has_a_finite_gradient(penalty: GradientPenalty) -> None:
    """A norm has no derivative at 0: D must not become NaN there, and the value is exact."""
    w = torch.zeros(2, 1, requires_grad=True)
    value = penalty.d(lambda x: (x @ w).flatten(), batch(8, 2), batch(8, 2, seed=2))
    value.backward()
    two_sided = isinstance(penalty, WGANGP) and not isinstance(penalty, WGANLP)
    assert_close(value.item(), 0.7 if two_sided else 0.0)
    assert_close(w.grad, torch.zeros(2, 1))


@each
def test_one_flat_sample_leaves_the_others_their_gradient(penalty: GradientPenalty) -> None:
    """D(x) = relu(w x) is flat for some samples."""
    w = torch.tensor([[3.0], [4.0]], requires_grad=True)
    penalty.d(lambda x: (x @ w).relu().flatten(), batch(64, 2), batch(64, 2, seed=2)).backward()
    assert w.grad.isfinite().all()
    assert w.grad.abs().min() > 0


@each
def test_samples_and_generator_are_left_alone(penalty: GradientPenalty) -> None:
    w = torch.ones(2, 1, requires_grad=True)
    real, source = batch(4, 2), batch(4, 2, seed=2).requires_grad_(True)
    before = real.clone()
    penalty.d(lambda x: (x @ w).flatten().tanh(), real, 2 * source).backward()
    assert real.equal(before)
    assert not real.requires_grad
    assert source.grad is None
    assert w.grad is not None


# Strength


@each
@pytest.mark.parametrize("every", [1, 4, 16])
def test_every_and_scale_multiply(
    penalty: GradientPenalty, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def value() -> float:
        torch.manual_seed(0)
        return penalty.d(lambda x: x.square().sum(1), batch(8, 2), batch(8, 2, seed=2)).item()

    once = value()
    assert once > 0
    monkeypatch.setattr(penalty, "every", every)
    assert_close(value(), every * once, rtol=1e-6, atol=0)
    monkeypatch.setattr(penalty, "scale", 0.25)
    assert_close(value(), every * once / 4, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [R1, R2, R1R2, WGANGP, WGANLP, DRAGAN])
def test_every_is_kept(kind: type[GradientPenalty]) -> None:
    assert (kind(3.0, every=16).every, kind(3.0).every, kind(3.0).scale) == (16, 1, 1.0)


@each
def test_the_batch_size_does_not_matter(penalty: GradientPenalty) -> None:
    def value(copies: int) -> float:
        torch.manual_seed(0)
        real, fake = batch(4, 2).repeat(copies, 1), batch(4, 2, seed=2).repeat(copies, 1)
        return penalty.d(lambda x: x.square().sum(1), real, fake).item()

    # Where points are drawn, 200,000 of them are still not quite all.
    drawn = isinstance(penalty, WGANGP)
    sizes = (50_000, 100_000) if drawn else (1, 3)
    assert_close(value(sizes[0]), value(sizes[1]), rtol=0.02 if drawn else 1e-6, atol=0)


@pytest.mark.parametrize(("kind", "batches"), [(R1, 1), (R2, 1), (R1R2, 2)])
def test_gamma_auto(kind: type[R1], batches: int) -> None:
    """0.0002 r^2 / n: 0.01 for 100 images of 71 pixels, whatever their channels."""
    for n, c, r in ((100, 3, 71), (8, 1, 4)):
        x = batch(n, c, r, r)
        w = torch.full((c * r * r,), 2 / (c * r * r) ** 0.5)
        value = kind("auto", every=4).d(lambda x, w=w: x.flatten(1) @ w, x, x)
        gamma = 0.0002 * r * r / n
        assert_close(value.item(), 4 * batches * gamma / 2 * 2**2, rtol=1e-4, atol=0)


@pytest.mark.parametrize("shape", [(8, 2), (8, 1, 4, 4, 4)])
def test_gamma_auto_is_of_images(shape: tuple[int, ...]) -> None:
    x = batch(*shape)
    with pytest.raises(SettingError, match=r"model\.penalty\.gamma=auto") as caught:
        R1("auto").d(lambda x: x.flatten(1).sum(1), x, x)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: R1(-1.0), "gamma=-1.0"),
        (lambda: R1R2(1.0, -1), "every=-1"),
        (lambda: R2("auto", -1), "every=-1"),
        (lambda: WGANGP(-0.1), "weight=-0.1"),
        (lambda: WGANLP(1.0, -2), "every=-2"),
        (lambda: DRAGAN(1.0, noise=-1.0), "noise=-1.0"),
        (lambda: WeightClipping(0.0), "limit=0.0"),
        (lambda: WeightClipping(-1.0), "limit=-1.0"),
    ],
)
def test_negative_settings_are_refused(make: Callable[[], NoPenalty], named: str) -> None:
    with pytest.raises(SettingError, match=rf"model\.penalty\.{named}"):
        make()


# Precision


@each
def test_float32_within_autocast(penalty: GradientPenalty) -> None:
    kinds = set()

    def critic(x: Tensor) -> Tensor:
        y = x @ torch.ones(2, 1)
        kinds.update((x.dtype, y.dtype))
        return y.flatten()

    with torch.autocast("cpu", torch.bfloat16):
        value = penalty.d(critic, batch(4, 2).bfloat16(), batch(4, 2, seed=2).bfloat16())
    assert kinds == {torch.float32}
    assert value.dtype == torch.float32
    # The points themselves are not rounded to eight bits either.
    with torch.autocast("cpu", torch.bfloat16):
        seen = points(penalty, batch(4, 2), batch(4, 2, seed=2))
    assert not seen.equal(seen.bfloat16().float())


@each
def test_float64_stays(penalty: GradientPenalty) -> None:
    x = batch(4, 2).double()
    assert points(penalty, x, x + 1).dtype == torch.float64
    assert penalty.d(lambda x: x.sum(1), x, x + 1).dtype == torch.float64


# No gradients


def test_no_penalty() -> None:
    penalty, x, network = NoPenalty(), batch(3, 2), nn.Linear(2, 2)
    before = [parameter.clone() for parameter in network.parameters()]
    penalty.after_step(network)
    assert float(penalty.d(lambda x: x, x, x, x, x)) == 0
    assert penalty.every == 0
    assert_close(list(network.parameters()), before)


def test_weight_clipping() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    network(torch.randn(16, 4) + 5)  # running means beyond the limit
    before = {key: value.clone() for key, value in network.state_dict().items()}
    WeightClipping(0.1).after_step(network)
    names = {name for name, _ in network.named_parameters()}
    for name, value in network.state_dict().items():
        assert_close(value, before[name].clamp(-0.1, 0.1) if name in names else before[name])
    assert before["0.weight"].abs().max() > 0.1
    assert all(p.requires_grad and p.grad_fn is None for p in network.parameters())
    network(torch.randn(16, 4)).sum().backward()  # the clipping is no part of any graph


def test_weight_clipping_adds_nothing_to_the_loss() -> None:
    penalty = WeightClipping()
    assert penalty.every == 0
    assert penalty.limit == 0.01
    assert float(penalty.d(lambda x: x, batch(3, 2), batch(3, 2))) == 0


# Presets


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_spell_out_every_setting(preset: str) -> None:
    """And batch norm, with which one sample's gradient depends on the others, is not advised."""
    settings = plain(compose("train", [f"model/penalty={preset}"]))["model"]["penalty"]
    arguments = set(signature(settings["_target_"]))
    assert set(settings) == {"_target_", "discriminator_norm", *arguments}
    gradients = preset not in ("none", "clip")
    assert settings["discriminator_norm"] == ("none" if gradients else "batch")


@pytest.mark.parametrize("kind", ["r1", "r2", "r1r2"])
def test_auto_on_the_command_line(kind: str) -> None:
    words = ["data.source=builtin", f"model/penalty={kind}"]
    check(compose("train", [*words, "model.penalty.gamma=auto"]))
    with pytest.raises(SettingError, match="auto"):
        check(compose("train", [*words, "model.penalty.gamma=automatic"]))
