"""Strengths that change while training, on the clock of samples seen.

Each is its configured value times a factor that runs from the first to the second number given,
along a line or half a cosine, between two shares of the budget; where a training has stages, of
each stage. One schedule serves learning rates, Adam's second moment, the penalty, the average
and the augmentation (R3GAN, Huang et al. 2024, anneals all five together).
"""

import math
from collections.abc import Sequence
from typing import Literal

from src.config.ranges import Share
from src.errors import SettingError


class Schedule:
    """Scales strengths; (1, 1) leaves one alone.

    Args:
        shape: shape of the way from the first factor to the second.
        since: share of the budget, or of a stage, up to which the first factor holds.
        until: share at which the second is reached.
        lr: factors on the learning rates of all players.
        beta2: factors on 1 - beta2 of Adam: (10, 1) begins with a tenth of the memory.
        penalty: on the penalty's strength.
        half_life: on the half-life of the average.
        augment: on the augmentation's probability.
    """

    def __init__(
        self,
        shape: Literal["linear", "cosine"] = "linear",
        since: Share = 0.0,
        until: Share = 1.0,
        lr: Sequence[float] = (1.0, 1.0),
        beta2: Sequence[float] = (1.0, 1.0),
        penalty: Sequence[float] = (1.0, 1.0),
        half_life: Sequence[float] = (1.0, 1.0),
        augment: Sequence[float] = (1.0, 1.0),
    ) -> None:
        if not 0 <= since < until <= 1:
            raise SettingError(
                f"model.schedule.since={since} and until={until} must be shares of the budget.\n"
                "They are from 0 to 1, one after the other."
            )
        self.shape, self.since, self.until = shape, since, until
        factors = {
            "lr": lr,
            "beta2": beta2,
            "penalty": penalty,
            "half_life": half_life,
            "augment": augment,
        }
        for name, pair in factors.items():
            if len(pair) != 2 or min(pair) < 0:
                raise SettingError(
                    f"model.schedule.{name}={pair} must be two factors, from and to."
                )
        self._ends = {name: pair for name, pair in factors.items() if tuple(pair) != (1, 1)}

    def factors(self, progress: float) -> dict[str, float]:
        """The factor of each strength that changes, at a share of the budget in [0, 1]."""
        share = (progress - self.since) / (self.until - self.since)
        share = min(max(share, 0.0), 1.0)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return {name: start + (end - start) * share for name, (start, end) in self._ends.items()}
