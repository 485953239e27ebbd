"""The losses against their definitions in probabilities, and against known values."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from src.config.composition import CONF, compose, plain
from src.config.signatures import signature
from src.losses.adversarial import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)

REAL = torch.tensor([-3.0, -0.5, 0.0, 0.25, 2.0, 6.0])
FAKE = torch.tensor([-5.0, -1.0, 0.0, 0.75, 1.5, 0.3])
LOSSES = (NonSaturating(), Minimax(), LeastSquares(), Wasserstein(), Hinge(), Relativistic())
LOSSES += tuple(map(RelativisticAverage, ("standard", "least_squares", "hinge")))
PRESETS = sorted(path.stem for path in (CONF / "model" / "loss").glob("*.yaml"))


def log_d(logits: Tensor) -> Tensor:
    return logits.double().sigmoid().log()


def log_not_d(logits: Tensor) -> Tensor:
    return (1 - logits.double().sigmoid()).log()


@pytest.mark.parametrize(
    ("loss", "d", "g"),
    [
        (
            NonSaturating(),
            lambda x, y: -(log_d(x).mean() + log_not_d(y).mean()),
            lambda _, y: -log_d(y).mean(),
        ),
        (
            Minimax(),
            lambda x, y: -(log_d(x).mean() + log_not_d(y).mean()),
            lambda _, y: log_not_d(y).mean(),
        ),
        (
            LeastSquares(),
            lambda x, y: ((x - 1) ** 2).mean() + (y**2).mean(),
            lambda _, y: ((y - 1) ** 2).mean(),
        ),
        (
            LeastSquares(real_label=0.9, fake_label=-1, g_label=0.2, d_weight=0.5),
            lambda x, y: (((x - 0.9) ** 2).mean() + ((y + 1) ** 2).mean()) / 2,
            lambda _, y: ((y - 0.2) ** 2).mean(),
        ),
        (Wasserstein(), lambda x, y: y.mean() - x.mean(), lambda _, y: -y.mean()),
        (
            Hinge(),
            # Of the six reals 2 and 6 are beyond the margin, of the fakes -5 and just so -1.
            lambda x, _: x.new_tensor((4 + 1.5 + 1 + 0.75) / 6 + (1 + 1.75 + 2.5 + 1.3) / 6),
            lambda _, y: -y.mean(),
        ),
        (Relativistic(), lambda x, y: -log_d(x - y).mean(), lambda x, y: -log_d(y - x).mean()),
        (
            RelativisticAverage(weight=1),
            lambda x, y: -(log_d(x - y.mean()).mean() + log_not_d(y - x.mean()).mean()),
            lambda x, y: -(log_d(y - x.mean()).mean() + log_not_d(x - y.mean()).mean()),
        ),
        (
            RelativisticAverage("least_squares"),
            lambda x, y: (
                ((x - y.mean() - 1) ** 2).mean() / 2 + ((y - x.mean() + 1) ** 2).mean() / 2
            ),
            lambda x, y: (
                ((y - x.mean() - 1) ** 2).mean() / 2 + ((x - y.mean() + 1) ** 2).mean() / 2
            ),
        ),
        (
            RelativisticAverage("hinge", weight=1),
            lambda x, y: F.relu(1 - x + y.mean()).mean() + F.relu(1 + y - x.mean()).mean(),
            lambda x, y: F.relu(1 - y + x.mean()).mean() + F.relu(1 + x - y.mean()).mean(),
        ),
    ],
)
def test_definitions(loss: AdversarialLoss, d: Callable, g: Callable) -> None:
    real, fake = REAL.double(), FAKE.double()
    assert_close(loss.d(REAL, FAKE).double(), d(real, fake))
    assert_close(loss.g(FAKE, REAL).double(), g(real, fake))


@pytest.mark.parametrize("kind", [NonSaturating, Minimax])
@pytest.mark.parametrize("t", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_label_smoothing(kind: type[NonSaturating], t: float, weight: float) -> None:
    real = -t * log_d(REAL) - (1 - t) * log_not_d(REAL)
    expected = weight * (real.mean() - log_not_d(FAKE).mean())
    loss = kind(real_label=t, d_weight=weight)
    assert_close(loss.d(REAL, FAKE).double(), expected)
    # It is one-sided, and D's weight is D's.
    assert_close(loss.g(FAKE), kind().g(FAKE))


@pytest.mark.parametrize("t", [1.0, 0.9])
def test_d_is_the_cross_entropy_of_the_recipes(t: float) -> None:
    expected = F.binary_cross_entropy_with_logits(
        REAL, torch.full_like(REAL, t)
    ) + F.binary_cross_entropy_with_logits(FAKE, torch.zeros_like(FAKE))
    assert_close(NonSaturating(real_label=t).d(REAL, FAKE), expected)


@pytest.mark.parametrize(
    ("loss", "logit", "d", "g"),
    [
        # Goodfellow et al. 2014, thm. 1: D = 1/2.
        (NonSaturating(), 0.0, 2 * math.log(2), math.log(2)),
        (NonSaturating(d_weight=0.5), 0.0, math.log(2), math.log(2)),
        (Minimax(), 0.0, 2 * math.log(2), -math.log(2)),
        (LeastSquares(), 0.5, 0.5, 0.25),
        (Wasserstein(), 3.0, 0.0, -3.0),
        (Hinge(), 0.0, 2.0, 0.0),
        (Relativistic(), 3.0, math.log(2), math.log(2)),
        (RelativisticAverage(), 3.0, math.log(2), math.log(2)),
        (RelativisticAverage("least_squares"), 3.0, 1.0, 1.0),
        (RelativisticAverage("hinge"), 3.0, 1.0, 1.0),
    ],
)
def test_equilibrium(loss: AdversarialLoss, logit: float, d: float, g: float) -> None:
    """Where D cannot tell, the values are known, and no other constant gives D a lower one."""
    same = torch.full((7,), logit)
    assert_close(float(loss.d(same, same)), d, rtol=1e-6, atol=0)
    assert_close(float(loss.g(same, same)), g, rtol=1e-6, atol=0)
    for other in (same - 0.1, same + 0.1):
        assert float(loss.d(other, other)) >= d - 1e-6


@pytest.mark.parametrize("loss", [*LOSSES, NonSaturating(real_label=0.9)])
def test_extreme_logits_stay_finite(loss: AdversarialLoss) -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for value in (loss.d(logits, logits.flip(0)), loss.g(logits, logits.flip(0))):
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert gradient.isfinite().all()


def gradients(loss: AdversarialLoss, logits: Tensor) -> Iterator[Tensor]:
    """Of D's loss to its reals' and its fakes' logits, and of G's to its fakes'."""
    x, still = logits.clone().requires_grad_(True), logits
    for value in (loss.d(x, still), loss.d(still, x), loss.g(x, still)):
        yield torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize(
    ("loss", "slopes"),
    [
        (NonSaturating(), (-0.5, 0.5, -0.5)),
        (Minimax(), (-0.5, 0.5, -0.5)),
        (LeastSquares(), (-2, 0, -2)),
        (LeastSquares(fake_label=-1), (-2, 2, -2)),
        (Wasserstein(), (-1, 1, -1)),
        (Hinge(), (-1, 1, -1)),
        (Relativistic(), (-0.5, 0.5, -0.5)),
        # From the sample's own term and from the mean in the others'.
        (RelativisticAverage(), (-0.5, 0.5, -0.5)),
        (RelativisticAverage("least_squares"), (-2, 2, -2)),
        (RelativisticAverage("hinge", weight=1), (-2, 2, -2)),
    ],
)
def test_gradients_point_the_right_way(loss: AdversarialLoss, slopes: tuple[float, ...]) -> None:
    """At 0: D raises reals and lowers fakes, G raises fakes; each sample has its share 1/n."""
    for gradient, slope in zip(gradients(loss, torch.zeros(3)), slopes, strict=True):
        assert_close(gradient, torch.full((3,), slope / 3))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_gradient_has_the_wrong_sign(loss: AdversarialLoss) -> None:
    """At any logits, but for least squares beyond its targets, which draws back."""
    draws_back = isinstance(loss, LeastSquares) or getattr(loss, "form", "") == "least_squares"
    logits = torch.linspace(0.01, 0.99, 9) if draws_back else torch.linspace(-6, 6, 13)
    real, fake, g = gradients(loss, logits)
    assert (real <= 0).all()
    assert (fake >= 0).all()
    assert (g < 0).all()


def test_saturation() -> None:
    """G's gradient at fakes that D is sure of: gone in minimax, full in its replacement."""
    sure = torch.full((1,), -20.0)
    (*_, minimax), (*_, replacement) = (
        gradients(kind(), sure) for kind in (Minimax, NonSaturating)
    )
    assert -1e-8 < minimax.item() < 0
    assert_close(replacement.item(), -1.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_means_over_the_batch(loss: AdversarialLoss) -> None:
    """Twice the batch, the same loss; and the logits' precision is kept."""
    assert_close(loss.d(REAL.repeat(2), FAKE.repeat(2)), loss.d(REAL, FAKE))
    assert_close(loss.g(FAKE.repeat(2), REAL.repeat(2)), loss.g(FAKE, REAL))
    for side, dtype in product((loss.d, loss.g), (torch.float32, torch.float64)):
        assert side(REAL.to(dtype), FAKE.to(dtype)).dtype == dtype


@pytest.mark.parametrize("loss", LOSSES)
def test_needs_real(loss: AdversarialLoss) -> None:
    """Only where G's side depends on reals."""
    if loss.needs_real:
        assert isinstance(loss, Relativistic | RelativisticAverage)
        assert not loss.g(FAKE, REAL).equal(loss.g(FAKE, REAL + 1))
    else:
        assert_close(loss.g(FAKE), loss.g(FAKE, REAL))


@pytest.mark.parametrize("loss", LOSSES)
def test_output(loss: AdversarialLoss) -> None:
    """A probability where the loss is one's logarithm: 1/2 where D cannot tell."""
    probability = isinstance(loss, NonSaturating)
    assert_close(loss.output(REAL), REAL.sigmoid() if probability else REAL)


def test_relativistic_pairs_are_not_mixed() -> None:
    """The i-th real beside the i-th fake, and a common shift of D changes nothing."""
    loss = Relativistic()
    assert not loss.d(REAL, FAKE).isclose(loss.d(REAL, FAKE.flip(0)))
    assert_close(loss.d(REAL + 5, FAKE + 5), loss.d(REAL, FAKE))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_spell_out_every_setting(preset: str) -> None:
    settings = plain(compose("train", [f"model/loss={preset}"]))["model"]["loss"]
    assert set(settings) == {"_target_", *signature(settings["_target_"])}
