"""Ends a training when a score has not improved for a while, as Lightning's callback of this name.

Lightning's looks at validation epochs, which an endless stream has not; this one looks at the
scores of `callbacks.quality`. Nothing is remembered but which number is meant: what was reached is
in the scores' history, so that a resumed run decides as an uninterrupted one.
"""

import math
import sys
from typing import Any, Literal

import lightning as L
from tqdm import tqdm

from src.callbacks.base import Callback, Kind
from src.callbacks.quality import Quality
from src.config.ranges import NotNegativeFloat, PositiveInt
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.report.metrics import is_meant, lower_is_better, misspelt
from src.runs.stored import expect


class EarlyStopping(Callback):
    """Ends the training as the budget does, with the last scores and pictures.

    Args:
        monitor: the score, such as `fid`, `fid10k` or `fid10k_mnist`; None is the first headline
            number.
        patience: scorings in a row without an improvement.
        min_delta: smallest change that is one, in the score's unit.
        mode: whether less or more is better; None knows it of the score.
    """

    kind = Kind.SCORE  # after `quality`, which stands before it in each configuration

    def __init__(
        self,
        monitor: str | None = None,
        patience: PositiveInt = 3,
        min_delta: NotNegativeFloat = 0.0,
        mode: Literal["min", "max"] | None = None,
    ) -> None:
        super().__init__()
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.mode = mode
        self._name: str | None = None
        self._lower = True
        self._looked = 0  # scorings looked at in this process

    def setup(self, trainer: L.Trainer, pl_module: GenerativeModel, stage: str) -> None:
        """Have all numbers computed each time, if the one that is meant is no headline number."""
        known = [*self.shared.short_names, *self.shared.short_names.values()]
        wanted = self.monitor
        if wanted is None or any(name == wanted or name.startswith(f"{wanted}_") for name in known):
            return
        all_ours = all(type(each).__module__.startswith("src.") for each in self.shared.scorers)
        if all_ours and (cure := misspelt(wanted)):
            raise SettingError(f"{self._setting}: there is no such score.{cure}")
        for callback in trainer.callbacks:
            if isinstance(callback, Quality):
                callback.complete = True

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if not self.shared.scorers:
            raise SettingError(
                "callbacks=early_stopping: this run has no scores.\n"
                "Choose metrics=auto, or callbacks=default."
            )
        self._look(trainer, model)

    def due(self, model: GenerativeModel) -> float:
        return math.inf

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._look(trainer, model)

    def _look(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        history = self.shared.history
        if len(history) == self._looked:
            return
        self._looked = len(history)
        if self._name is None:
            self._name, self._lower = self._choose()
        sign = 1 if self._lower else -1
        best, best_at = math.inf, 0
        for i, entry in enumerate(history):
            value = sign * entry.get(self._name, math.nan)
            if math.isfinite(value) and (i == 0 or value < best - self.min_delta):
                best, best_at = value, i
        if len(history) - 1 - best_at < self.patience:
            return
        number = "a scoring" if self.patience == 1 else f"{self.patience} scorings"
        self.shared.stopped = (
            f"early stopping: {self._name} no better than {sign * best:.4g}, of "
            f"{history[best_at]['samples_seen']:,} samples, in {number}"
        )
        trainer.should_stop = True
        tqdm.write(f"Stopped at {model.samples_seen:,} samples. {self.shared.stopped}", sys.stderr)

    @property
    def _setting(self) -> str:
        return f"callbacks.early_stopping.monitor={self.monitor}"

    def _choose(self) -> tuple[str, bool]:
        """The full name of the score that is meant, and whether less of it is better."""
        protocols = self.shared.scores.protocols
        wanted = self.monitor or next(iter(self.shared.headline.keys()), "")
        meant = self.shared.short_names.get(wanted, wanted)
        found = [name for name in self.shared.scores.values if name in (meant, wanted)]
        found = found or [n for n, record in protocols.items() if is_meant(wanted, n, record)]
        if len(found) != 1:
            shown = ", ".join(found or protocols)
            raise SettingError(
                f"{self._setting}: {'which one?' if found else 'there is no such score.'}\n"
                f"Choose one of {shown}."
            )
        name = found[0]
        record = protocols.get(name, {})
        lower = lower_is_better(str(record.get("metric", name)), record)
        if self.mode is not None:
            lower = self.mode == "min"
        if lower is None:
            raise SettingError(
                f"{self._setting}: less of {name} is neither better nor worse.\n"
                "Say which by callbacks.early_stopping.mode=min or max."
            )
        return name, lower

    def state_dict(self) -> dict[str, Any]:
        return {"name": self._name, "lower": self._lower}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        expect(state, {"name": str | None, "lower": bool}, "callbacks.early_stopping")
        self._name, self._lower = state["name"], state["lower"]
