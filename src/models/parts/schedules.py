"""Strengths that change while training, on the clock of samples seen.

Each is its configured value times a factor that runs from the first to the second number given,
along a line or half a cosine, within the first `until` of the budget; where a training has stages,
of each stage. One schedule serves learning rates, Adam's second moment, the penalty, the average
and the augmentation (R3GAN, Huang et al. 2024, anneals all five together).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from src.errors import SettingError

if TYPE_CHECKING:
    from src.models.base import GenerativeModel

# What a model's parts call the strengths.
PARTS = {
    "penalty": ("penalty", "scale"),
    "half_life": ("ema", "half_life"),
    "augment": ("augment", "p"),
}


class Schedule:
    """Scales strengths; (1, 1) leaves one alone.

    Args:
        shape: of the way from the first factor to the second.
        until: share of the budget, or of a stage, at which the second is reached.
        lr: factors on the learning rates of all players.
        beta2: factors on 1 - beta2 of Adam: (10, 1) begins with a tenth of the memory.
        penalty: on the penalty's strength.
        half_life: on the half-life of the average.
        augment: on the augmentation's probability.
    """

    def __init__(
        self,
        shape: Literal["linear", "cosine"] = "linear",
        until: float = 1.0,
        lr: Sequence[float] = (1.0, 1.0),
        beta2: Sequence[float] = (1.0, 1.0),
        penalty: Sequence[float] = (1.0, 1.0),
        half_life: Sequence[float] = (1.0, 1.0),
        augment: Sequence[float] = (1.0, 1.0),
    ) -> None:
        if not 0 < until <= 1:
            raise SettingError(f"model.schedule.until={until} must be in (0, 1]: share of budget.")
        self.shape, self.until = shape, until
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
        self.factors = {name: pair for name, pair in factors.items() if tuple(pair) != (1, 1)}
        self._configured: dict[str, float] = {}

    def factor(self, name: str, progress: float) -> float:
        """Of a strength at a share of the budget."""
        start, end = self.factors[name]
        share = min(progress / self.until, 1.0)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return start + (end - start) * share

    def apply(self, model: "GenerativeModel") -> None:
        """Set all strengths for the model's progress in its stage."""
        for name in self.factors:
            factor = self.factor(name, model.stage_progress)
            if name in PARTS:
                part, attribute = PARTS[name]
                owner = getattr(model, part, None)
                if owner is None or not hasattr(owner, attribute):
                    raise SettingError(
                        f"model.schedule.{name}: the model's {part} has no such thing."
                    )
                configured = self._configured.setdefault(name, getattr(owner, attribute))
                setattr(owner, attribute, factor * configured)
                continue
            for optimizer in model._optimizers.values():
                # As configured: what a resumed run loads is what it had come to.
                lr, betas = optimizer.defaults["lr"], optimizer.defaults.get("betas")
                for group in optimizer.param_groups:
                    if name == "lr":
                        group["lr"] = factor * lr
                    elif betas:
                        group["betas"] = (betas[0], 1 - min(factor * (1 - betas[1]), 1.0))
