"""The stopping rule of the course notes: train until D says about 0.5 of every picture.

    stop when   mean |D(x) - 1/2| < margin   over reals, and over samples, for a while

At the end of the game the best D is p(x) / (p(x) + q(x)) = 1/2 everywhere, since the samples' q is
the data's p: there is nothing left to tell (Goodfellow et al. 2014, proposition 1 and theorem 1).
What is averaged are the distances of single samples, so that a D that is sure of each and wrong of
half of them does not pass. Nor does an untrained one: it must have separated the two
before. Beyond that the rule believes D: one that is too weak to see a difference stops the training
too.

With labels smoothed to t the best D ends at t / 2, and between its two targets with least squares;
then that is meant by 1/2. Wasserstein's, the hinge and the relativistic loss have no such value.
"""

import sys
from collections.abc import Sequence
from typing import Any

import lightning as L
from tqdm import tqdm

from src.callbacks.overfitting import imitate, judge, some_reals
from src.callbacks.schedule import Scheduled, regularly
from src.config.ranges import PositiveFloat, PositiveInt
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.models.capabilities import Judges
from src.runs.stored import expect, is_count


class Equilibrium(Scheduled):
    """Ends the training as the budget does, with scores and pictures. Without a D it does nothing.

    Logs the greater of the two means as `d_prob/imbalance`.

    Args:
        margin: largest distance of D to 1/2.
        patience: checks in a row at which it must be so.
        n: training samples, and as many generated ones, that D is asked about.
        every: samples seen between two checks; None is a hundredth of the budget.
    """

    def __init__(
        self,
        margin: PositiveFloat = 0.05,
        patience: PositiveInt = 10,
        n: PositiveInt = 240,
        every: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("margin", margin), ("patience", patience), ("n", n)):
            if value <= 0:
                raise SettingError(f"callbacks.equilibrium.{name}={value} must be positive.")
        self.margin, self.patience, self.n, self.every = margin, patience, n, every
        self._told_apart = False
        self._near = 0

    def points(self, budget: int) -> Sequence[int]:
        return regularly(budget, self.every, 100, "equilibrium")

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        super().on_train_start(trainer, model)
        if isinstance(model, Judges) and model.judge.loss.undecided is None:
            raise SettingError(
                "callbacks=equilibrium: with model.loss="
                f"{type(model.judge.loss).__name__} D has no output that means 1/2.\n"
                "Use model/loss=non_saturating or least_squares, or callbacks=default."
            )
        self._stop_if_reached(trainer)  # it was killed between the stop and the end of the scores

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if not isinstance(model, Judges):
            return
        with self.off_the_clock(model, "scoring"):
            real = some_reals(trainer, "train", self.n)
            half = model.judge.loss.undecided
            distances = [
                (judge(model, batch) - half).abs().mean() for batch in (real, imitate(model, real))
            ]
            imbalance = float(max(distances))
        for logger in trainer.loggers:
            logger.log_metrics({"d_prob/imbalance": imbalance}, step=model.samples_seen)
        near = imbalance < self.margin
        self._told_apart = self._told_apart or not near
        self._near = self._near + 1 if near and self._told_apart else 0
        if self._stop_if_reached(trainer):
            tqdm.write(
                f"Stopped at {model.samples_seen:,} samples. {self.shared.stopped}", sys.stderr
            )

    def _stop_if_reached(self, trainer: L.Trainer) -> bool:
        if self._near < self.patience:
            return False
        self.shared.stopped = (
            f"equilibrium: D within {self.margin:g} of 1/2 at {self.patience} checks in a row"
        )
        trainer.should_stop = True
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"told_apart": self._told_apart, "near": self._near}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        expect(state, {"told_apart": bool, "near": is_count}, "callbacks.equilibrium")
        self._told_apart, self._near = state["told_apart"], state["near"]
