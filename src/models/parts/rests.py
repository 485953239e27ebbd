"""When a player leaves its step out, so that neither runs away from the other: a slot.

    none        never
    accuracy    D, if it is right about more than 80 % of the batch         3D-GAN, Wu et al. 2016
    costs       D, if its loss of the reals or that of the fakes is below e - m; G, if either is
                above e + m; neither, if both would                         VAE-GAN's code, 2016

The batch at hand decides, by what D says of it before the step. A D that rests still sees batches,
so that it returns to work when G has caught up, and the clock counts them. All ranks decide alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from src.config.ranges import NotNegativeFloat, PositiveFloat, Share
from src.distributed import ranks
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss


class Rests(ABC):
    """Base of the rules.

    Attributes:
        players: those that the rule may let rest, of `d` and `g`.
    """

    players: Sequence[str] = ()

    def check(self, loss: AdversarialLoss) -> None:
        """Check that the rule can be used with a loss.

        Raises:
            SettingError: if it cannot.
        """
        if loss.undecided is None:
            raise SettingError(
                f"model/rests: with model.loss={type(loss).__name__} D has no output that means "
                "1/2.\nUse model/loss=non_saturating or least_squares, or model/rests=none."
            )

    @abstractmethod
    def __call__(self, shown: Mapping[str, Tensor], loss: AdversarialLoss) -> Collection[str]:
        """Players that leave out the step of this batch, the same on all ranks.

        Args:
            shown: the values beside D's loss, as `Adversary.d_terms` returns them.
            loss: D's loss.
        """


class NoRests(Rests):
    """Every player takes every step."""

    def check(self, loss: AdversarialLoss) -> None:
        pass

    def __call__(self, shown: Mapping[str, Tensor], loss: AdversarialLoss) -> Collection[str]:
        return ()


class AccuracyRests(Rests):
    """D rests while it is too good (Wu et al. 2016, arXiv:1610.07584, sec. 3.3).

    Args:
        above: share of a batch's reals and fakes, of which D is right about more if it rests.
    """

    players = ("d",)

    def __init__(self, above: Share = 0.8) -> None:
        self.above = above

    def __call__(self, shown: Mapping[str, Tensor], loss: AdversarialLoss) -> Collection[str]:
        real, fake = shown["d_real"].detach(), shown["d_fake"].detach()
        right = (real > loss.undecided).sum() + (fake < loss.undecided).sum()
        # The mean of counts is exact, as that of shares is not.
        accuracy = _means(right)[0] / (real.numel() + fake.numel())
        return ("d",) if accuracy > self.above else ()


class CostRests(Rests):
    """D rests while it is too good, G while D is too bad (Larsen et al. 2016, their code).

    Args:
        equilibrium: D's loss of either side where the two are balanced; for non-saturating and
            minimax losses at most ln 2 = 0.69, that of a D which says 1/2.
        margin: distance from it at which a player rests.
    """

    players = ("d", "g")

    def __init__(self, equilibrium: PositiveFloat = 0.68, margin: NotNegativeFloat = 0.35) -> None:
        self.low, self.high = equilibrium - margin, equilibrium + margin

    def __call__(self, shown: Mapping[str, Tensor], loss: AdversarialLoss) -> Collection[str]:
        costs = _means(shown["loss/d_real"], shown["loss/d_fake"])
        d, g = min(costs) < self.low, max(costs) > self.high
        if d == g:
            return ()
        return ("d",) if d else ("g",)


def _means(*values: Tensor) -> list[float]:
    """Means over the ranks of scalars. On a GPU it waits for them: the next step depends on it."""
    with torch.no_grad():
        return ranks.mean(torch.stack([value.float() for value in values])).tolist()
