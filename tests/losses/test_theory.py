"""What the losses and penalties are for: the divergences, distances and dynamics of their papers.

Each value is compared with one that was computed without the code under test: by integration over
densities, or in closed form.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.testing import assert_close

from src.losses.adversarial import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from src.losses.penalties import R1, R2, WGANGP, WGANLP, GradientPenalty, NoPenalty
from src.networks.mlp import MLP

# The optimal D of two known Gaussians. Their quantiles stand for their samples, so that batch means
# are integrals by the midpoint rule: measured to be within 2e-6 with 100,000 of them.

REAL, FAKE = Normal(0.0, 1.0), Normal(1.5, 0.7)
GRID = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
P, Q = REAL.log_prob(GRID).exp(), FAKE.log_prob(GRID).exp()
NEARLY = {"rtol": 0, "atol": 1e-5}


def quantiles(law: Normal, n: int) -> Tensor:
    return law.icdf((torch.arange(n, dtype=torch.float64) + 0.5) / n)


def log_ratio(x: Tensor) -> Tensor:
    """log p_real(x) / p_fake(x), the logit of the optimal D (Goodfellow et al. 2014, prop. 1)."""
    return REAL.log_prob(x) - FAKE.log_prob(x)


def integral(values: Tensor) -> float:
    return torch.trapezoid(values, GRID).item()


def jensen_shannon(p: Tensor, q: Tensor, integrate: Callable[[Tensor], float] = integral) -> float:
    m = (p + q) / 2
    return integrate(torch.xlogy(p, p / m) + torch.xlogy(q, q / m)) / 2


def best(optimal: Callable[[Tensor], Tensor], n: int = 100_000) -> tuple[Tensor, Tensor]:
    """Logits of reals and of fakes by an optimal D."""
    return optimal(quantiles(REAL, n)), optimal(quantiles(FAKE, n))


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating()])
def test_the_optimal_d_gives_the_jensen_shannon_divergence(loss: NonSaturating) -> None:
    """min over D of loss.d = 2 ln 2 - 2 JSD (Goodfellow et al. 2014, thm. 1)."""
    expected = 2 * math.log(2) - 2 * jensen_shannon(P, Q)
    assert 0.3 < expected < 1.1  # neither equal nor apart
    assert_close(loss.d(*best(log_ratio)).item(), expected, **NEARLY)
    for other in (lambda x: 1.1 * log_ratio(x), lambda x: log_ratio(x) - 0.1, torch.zeros_like):
        assert loss.d(*best(other)).item() > expected + 1e-4


def test_minimax_is_a_zero_sum_game() -> None:
    """G's loss is what of -D's depends on G, and the non-saturating one is not."""
    real, fake = best(log_ratio)
    part = -NonSaturating().d(torch.full_like(real, 1e4), fake)  # log s(1e4) = 0
    assert_close(Minimax().g(fake), part)
    assert NonSaturating().g(fake) != part


def test_least_squares_is_pearsons_divergence() -> None:
    """With b - c = 1 and b - a = 2: chi^2(p + q || 2 q) / 2 for G's full loss (Mao et al. 2017)."""
    loss = LeastSquares(real_label=1, fake_label=-1, g_label=0)
    real, fake = best(lambda x: log_ratio(x).sigmoid() * 2 - 1)  # D* = (b p + a q) / (p + q)
    expected = integral((Q - P).square() / (P + Q))
    # D's targets moved to G's label on both sides are the paper's C(G), twice over.
    assert_close((loss.g(fake) + loss.g(real)).item(), expected, **NEARLY)
    # And D's own: E_p (D - 1)^2 + E_q (D + 1)^2 at D*.
    assert_close(loss.d(real, fake).item(), integral(4 * P * Q / (P + Q)), **NEARLY)


def test_the_hinge_is_total_variation() -> None:
    """The best D is the sign of p - q, and its loss 2 - 2 TV (Lim & Ye 2017)."""
    total_variation = integral((P - Q).abs()) / 2
    real, fake = best(lambda x: log_ratio(x).sign())
    # The sign jumps: the midpoint rule is exact to one of 100,000 points per jump.
    assert_close(Hinge().d(real, fake).item(), 2 - 2 * total_variation, rtol=0, atol=1e-4)


def test_the_relativistic_loss_compares_pairs() -> None:
    """The original game on pairs: ln 2 - JSD((x, y), (y, x)) for x real and y fake."""
    n = 1000  # squared: the midpoint rule is within 2e-4 here
    real, fake = best(log_ratio, n)
    value = Relativistic().d(real.repeat_interleave(n), fake.repeat(n)).item()
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    p, q = REAL.log_prob(grid).exp(), FAKE.log_prob(grid).exp()
    divergence = jensen_shannon(
        torch.outer(p, q),
        torch.outer(q, p),
        lambda values: torch.trapezoid(torch.trapezoid(values, grid), grid).item(),
    )
    assert_close(value, math.log(2) - divergence, rtol=0, atol=3e-4)


# The Wasserstein distance by a trained critic


def distance(
    penalty: GradientPenalty, real: Callable[[int], Tensor], fake: Callable[[int], Tensor]
) -> float:
    """-loss.d on fresh samples, by a small critic that was trained with the penalty."""
    torch.manual_seed(0)
    loss, steps = Wasserstein(), 500
    network = MLP([real(1).shape[1], 32, 32, 1], "relu")
    optimizer = torch.optim.Adam(network.parameters(), 0.01, (0.5, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, steps)

    def critic(x: Tensor) -> Tensor:
        return network(x).squeeze(1)

    for _ in range(steps):
        x, y = real(256), fake(256)
        d_real, d_fake = critic(x), critic(y)
        optimizer.zero_grad()
        (loss.d(d_real, d_fake) + penalty.d(critic, x, y, d_real, d_fake)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return -loss.d(critic(real(200_000)), critic(fake(200_000))).item()


def excess(weight: float) -> float:
    """What a soft penalty adds to W1 in one dimension.

    With h the difference of the distribution functions and r the density of the points between,
    the critic maximises E h f' - weight E_r (|f'| - 1)^2 by |f'| = 1 + |h| / (2 weight r), whether
    slopes below 1 are penalised or not: its distance is W1 + integral of h^2 / (2 weight r).
    """
    h = REAL.cdf(GRID) - FAKE.cdf(GRID)
    density = torch.zeros_like(GRID)
    shares = (torch.arange(500) + 0.5) / 500
    for share in shares.tolist():
        mean = share * FAKE.mean + (1 - share) * REAL.mean
        std = torch.hypot(share * FAKE.stddev, (1 - share) * REAL.stddev)
        density += Normal(mean, std).log_prob(GRID).exp() / len(shares)
    return integral(h.square() / (2 * weight * density.clamp(min=1e-30)))


@pytest.mark.parametrize("kind", [WGANGP, WGANLP])
@pytest.mark.parametrize("weight", [10.0, 100.0])
def test_a_critic_finds_the_wasserstein_distance(kind: type[WGANGP], weight: float) -> None:
    """In one dimension: within 2 % of W1 plus the penalty's excess, which is 8 % or 0.8 %."""
    true = integral((REAL.cdf(GRID) - FAKE.cdf(GRID)).abs())
    measured = distance(kind(weight), lambda n: REAL.sample((n, 1)), lambda n: FAKE.sample((n, 1)))
    assert_close(measured, true + excess(weight), rtol=0.02, atol=0)
    if weight == 100:
        assert_close(measured, true, rtol=0.03, atol=0)
    else:
        assert measured > 1.05 * true


@pytest.mark.parametrize("kind", [WGANGP, WGANLP])
def test_a_critic_finds_the_distance_of_a_shift(kind: type[WGANGP]) -> None:
    """In two dimensions, within 3 %: W1 of a distribution and its translate is the way between."""
    shift = torch.tensor([1.2, 1.6])
    measured = distance(
        kind(100.0), lambda n: torch.randn(n, 2), lambda n: torch.randn(n, 2) + shift
    )
    assert_close(measured, 2.0, rtol=0.03, atol=0)


# The Dirac-GAN: reals are at 0, G's only sample is theta, D(x) = psi x (Mescheder et al. 2018)


def dirac_gan(
    loss: AdversarialLoss, penalty: NoPenalty, steps: int = 1000, lr: float = 0.1
) -> Tensor:
    """(theta, psi) after each pair of alternating gradient steps from (1, 1): (2, steps)."""
    theta, psi = (torch.ones(1, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    real, path = torch.zeros_like(theta), []

    def critic(x: Tensor) -> Tensor:
        return (x @ psi).squeeze(1)

    for _ in range(steps):
        fake = theta.detach()
        d_real, d_fake = critic(real), critic(fake)
        d_loss = loss.d(d_real, d_fake) + penalty.d(critic, real, fake, d_real, d_fake)
        (slope,) = torch.autograd.grad(d_loss, psi)
        psi.data -= lr * slope
        (slope,) = torch.autograd.grad(loss.g(critic(theta), critic(real)), theta)
        theta.data -= lr * slope
        path.append(torch.cat([theta, psi]).detach())
    return torch.cat(path, 1)


@pytest.mark.parametrize("loss", [Minimax(), Wasserstein(), Hinge()])
def test_without_a_penalty_they_circle(loss: AdversarialLoss) -> None:
    """Within 6 % of where they began, and all the way round."""
    theta, psi = dirac_gan(loss, NoPenalty())
    radius = torch.hypot(theta, psi)
    assert 0.94 < radius.min() / math.sqrt(2) < radius.max() / math.sqrt(2) < 1.06
    assert theta[-300:].min() < -1.3
    assert theta[-300:].max() > 1.3


@pytest.mark.parametrize("loss", [Wasserstein(), Hinge()])
def test_wasserstein_stays_on_an_ellipse(loss: Wasserstein) -> None:
    """Alternating steps of the linear game keep theta^2 + psi^2 - lr theta psi exactly."""
    theta, psi = dirac_gan(loss, NoPenalty())
    kept = theta.square() + psi.square() - 0.1 * theta * psi
    assert_close(kept, torch.full_like(kept, 1.9), rtol=1e-9, atol=0)


@pytest.mark.parametrize("loss", [NonSaturating(), Relativistic()])
def test_non_saturating_hardly_converges(loss: AdversarialLoss) -> None:
    """Its linear part circles too; the rest shrinks it as 1 / sqrt(time), slower than any rate.

    In small steps d r^2 / dt = -2 theta psi tanh(theta psi / 2), in the mean over a turn -r^4 / 8
    near 0, so that r = sqrt(8 / t); here within 5 %.
    """
    lr, turn = 0.2, 63  # steps: 2 pi over an angle of lr / 2
    radius = dirac_gan(loss, NoPenalty(), 4000, lr).norm(dim=0)
    for steps in (1000, 4000):
        mean = radius[steps - turn : steps].mean().item()
        assert_close(mean, math.sqrt(8 / (lr * steps)), rtol=0.05, atol=0)


@pytest.mark.parametrize("loss", [NonSaturating(), Minimax(), Wasserstein(), Relativistic()])
@pytest.mark.parametrize("penalty", [R1(0.5), R2(0.5)])
def test_zero_centred_penalties_converge(loss: AdversarialLoss, penalty: R1) -> None:
    """To 0 at a rate, which is sqrt(1 - lr gamma) a step; here within 1 %.

    Near 0 a step is psi' = (1 - lr gamma) psi - lr c theta, theta' = theta + lr c psi', with c the
    slope of the loss: a rotation, shrunk by the root of its determinant.
    """
    lr = 0.2
    radius = dirac_gan(loss, penalty, 400, lr).norm(dim=0)
    assert radius[-1] < 1e-6
    rate = (radius[-1] / radius[-201]).item() ** (1 / 200)
    assert_close(rate, math.sqrt(1 - lr * 0.5), rtol=0.01, atol=0)


def test_wgan_gp_does_not_converge() -> None:
    """Its pull on D's slope holds the loss's in balance at theta = 2 weight, psi = 0, from above.

    d psi / dt = -theta + 2 weight (1 - psi) for psi > 0 and d theta / dt = psi: a stable point.
    """
    theta, psi = dirac_gan(Wasserstein(), WGANGP(1.0))
    assert_close(theta[-1].item(), 2.0, rtol=1e-6, atol=0)
    assert_close(psi[-1].item(), 0.0, rtol=0, atol=1e-6)
