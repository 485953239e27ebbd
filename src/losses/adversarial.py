"""Adversarial losses: pure functions of the discriminator's logits, each a minimisation.

A loss says what D minimises, `d(d_real, d_fake)`, and what G does, `g(d_fake, d_real)`: logits, one
for each sample (n,) or each patch of it (n, h, w), to a scalar. `needs_real` says whether G's loss
compares with fresh reals, and `output` turns a logit into what is shown of D: a probability where
the loss makes it one. Means over all logits, in their precision, which is float32 in training. With
s the sigmoid, and D(x) and D(G(z)) the logits of reals and of fakes:

                    D minimises                                          G minimises
    minimax         -E log s(D(x)) - E log(1 - s(D(G(z))))               E log(1 - s(D(G(z))))
    non-saturating  the same                                             -E log s(D(G(z)))
    least squares   E (D(x) - real)^2 + E (D(G(z)) - fake)^2             E (D(G(z)) - g)^2
    Wasserstein     E D(G(z)) - E D(x)                                   -E D(G(z))
    hinge           E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))           -E D(G(z))
    relativistic    -E log s(D(x) - D(G(z)))                             -E log s(D(G(z)) - D(x))
      average       -E log s(D(x) - E D(G(z)))                           with x and G(z) exchanged
                    -E log(1 - s(D(G(z)) - E D(x)))
"""

from abc import ABC, abstractmethod
from functools import reduce
from operator import add
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from src.config.ranges import PositiveFloat
from src.distributed import ranks


class AdversarialLoss(ABC):
    """Base: the two sides, and what a logit means.

    Attributes:
        needs_real: True if G's loss compares with fresh reals.
        undecided: D's output of a sample that is as likely a real as a fake; None if the loss knows
            no such value.
    """

    needs_real = False
    undecided: float | None = None

    @abstractmethod
    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        """Terms of D's loss, of its logits of reals and of fakes, which have one shape (n, ...).

        Named `real` and `fake`; a single one if the two cannot be told apart.
        """

    def d(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """Loss that D minimises: the sum of the terms."""
        return reduce(add, self.d_sides(d_real, d_fake).values())

    @abstractmethod
    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        """Loss that G minimises; `d_real` is given if `needs_real`."""

    def output(self, logits: Tensor) -> Tensor:
        """D's outputs (n,) to be logged: probabilities if the loss makes them, else the logits."""
        return logits


class NonSaturating(AdversarialLoss):
    """The original game with the non-saturating generator loss (Goodfellow et al. 2014, sec. 3).

    D: -t log s(d_real) - (1 - t) log(1 - s(d_real)) - log(1 - s(d_fake)), G: -log s(d_fake),
    with s the sigmoid.

    Args:
        real_label: t, the target for reals; 0.9 is one-sided label smoothing
            (Salimans et al. 2016).
        d_weight: factor on D's loss; recipes that average the two halves say 0.5.
    """

    def __init__(self, real_label: float = 1.0, d_weight: PositiveFloat = 1.0) -> None:
        self.real_label, self.d_weight = real_label, d_weight
        self.undecided = real_label / 2

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        # -t log s(x) - (1 - t) log(1 - s(x)) = softplus(-x) + (1 - t) x
        real = F.softplus(-d_real)
        if self.real_label != 1:
            real = real + (1 - self.real_label) * d_real
        fake = F.softplus(d_fake)
        return {"real": self.d_weight * real.mean(), "fake": self.d_weight * fake.mean()}

    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return F.softplus(-d_fake).mean()

    def output(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class Minimax(NonSaturating):
    """The zero-sum game itself (Goodfellow et al. 2014, eq. 1): G minimises log(1 - s(d_fake)).

    With D at its best, G descends 2 JSD(data, G) - 2 ln 2. While D tells the fakes with certainty,
    s(d_fake) is 0 and with it G's gradient: it saturates.
    """

    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -F.softplus(d_fake).mean()


class LeastSquares(AdversarialLoss):
    """Logits are drawn to targets, without a sigmoid (LSGAN, Mao et al. 2017, eq. 2).

    The paper's factors 1/2 are left out of both sides: `d_weight=0.5` puts D's back.

    Args:
        real_label: D's target for reals.
        fake_label: D's target for fakes.
        g_label: G's target for fakes. With 0, -1, 1 for g, fake, real, the game is on Pearson's
            chi^2 divergence.
        d_weight: factor on D's loss.
    """

    def __init__(
        self,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        g_label: float = 1.0,
        d_weight: PositiveFloat = 1.0,
    ) -> None:
        self.real_label, self.fake_label, self.g_label = real_label, fake_label, g_label
        self.undecided = (real_label + fake_label) / 2
        self.d_weight = d_weight

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        real, fake = (d_real - self.real_label).square(), (d_fake - self.fake_label).square()
        return {"real": self.d_weight * real.mean(), "fake": self.d_weight * fake.mean()}

    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return (d_fake - self.g_label).square().mean()


class Wasserstein(AdversarialLoss):
    """The critic's mean difference (WGAN, Arjovsky et al. 2017, eq. 2-3).

    -d estimates the Wasserstein-1 distance as far as D is 1-Lipschitz, which it is only with a
    penalty: weight clipping, WGAN-GP or WGAN-LP.
    """

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        return {"real": -d_real.mean(), "fake": d_fake.mean()}

    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -d_fake.mean()


class Hinge(Wasserstein):
    """D is content beyond a margin of 1; G's side is Wasserstein's.

    Lim & Ye 2017 ("Geometric GAN"); Miyato et al. 2018 (SNGAN), eq. 16-17.
    """

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        return {"real": F.relu(1 - d_real).mean(), "fake": F.relu(1 + d_fake).mean()}


class Relativistic(AdversarialLoss):
    """Each real beside one fake: which of the two is real? (RpGAN, Jolicoeur-Martineau 2019).

    The loss of R3GAN (Huang et al. 2024, sec. 2), where R1 and R2 make it converge.
    """

    needs_real = True

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        return {"pairs": F.softplus(d_fake - d_real).mean()}

    def g(self, d_fake: Tensor, d_real: Tensor) -> Tensor:
        return self.d(d_fake, d_real)  # the roles exchanged


class RelativisticAverage(AdversarialLoss):
    """Is a real more real than the average fake? (RaGAN, Jolicoeur-Martineau 2019, eq. 9-10).

    With r = D(x) - E D(G(z)) of reals and f = D(G(z)) - E D(x) of fakes, D minimises a(r) + b(f)
    and G, with the roles exchanged, a(f) + b(r); the inner means are over the whole batch, on all
    ranks. G gets a gradient from both terms. The adversary of ESRGAN (Wang et al. 2018, eq. 1-2).

                         a(t)               b(t)
        standard         -log s(t)          -log(1 - s(t))
        least squares    (t - 1)^2          (t + 1)^2
        hinge            max(0, 1 - t)      max(0, 1 + t)

    Args:
        form: one of these.
        weight: factor on both losses; 0.5, the mean of the two terms, is what both papers' code
            has.
    """

    needs_real = True

    def __init__(
        self,
        form: Literal["standard", "least_squares", "hinge"] = "standard",
        weight: PositiveFloat = 0.5,
    ) -> None:
        self.form, self.weight = form, weight

    def d_sides(self, d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        relative_real = d_real - ranks.mean(d_fake.mean())
        relative_fake = d_fake - ranks.mean(d_real.mean())
        sides = {"real": self._distance(relative_real), "fake": self._distance(-relative_fake)}
        return {name: self.weight * side.mean() for name, side in sides.items()}

    def g(self, d_fake: Tensor, d_real: Tensor) -> Tensor:
        return self.d(d_fake, d_real)  # the roles exchanged

    def _distance(self, t: Tensor) -> Tensor:
        """a(t); and b(t) = a(-t)."""
        if self.form == "least_squares":
            return (t - 1).square()
        return F.softplus(-t) if self.form == "standard" else F.relu(1 - t)
