"""Says at the start of a training how long it will take here, if that is long.

What is measured are the first seconds of the training itself, so that it costs nothing; the first
iteration, in which memory is taken and kernels are chosen, does not count.
"""

import math
import sys
from typing import Any

import lightning as L
from tqdm import tqdm

from src.callbacks.base import Callback, Kind
from src.config.durations import format_duration, parse_duration
from src.config.ranges import NotNegativeFloat, PositiveFloat
from src.models.base import GenerativeModel

SHORT = 600  # seconds of a training to which the advice leads


class Forecast(Callback):
    """Prints the time that is left, and how to make it short.

    Args:
        seconds: training time that is measured.
        longer_than: seconds of training from which on it is said.
        max_time: when the training will be stopped; None is at the budget.
    """

    kind = Kind.REPORT

    def __init__(
        self,
        seconds: PositiveFloat = 5.0,
        longer_than: NotNegativeFloat = SHORT,
        max_time: str | None = None,
    ) -> None:
        super().__init__()
        self.seconds, self.longer_than = seconds, longer_than
        self.max_seconds = float("inf") if max_time is None else parse_duration(max_time)
        self._start: tuple[int, float] | None = None
        self._done = False

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._start, self._done = None, False

    def due(self, model: GenerativeModel) -> float:
        return math.inf

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._done:
            return
        if self._start is None:
            self._start = (model.samples_seen, model.seconds)
            return
        samples = model.samples_seen - self._start[0]
        seconds = model.seconds - self._start[1]
        if seconds < self.seconds or samples <= 0:
            return
        self._done = True
        rate = samples / seconds
        left = (model.budget - model.samples_seen) / rate
        left = min(left, self.max_seconds - model.seconds)
        if left > self.longer_than:
            tqdm.write(forecast(rate, left), sys.stderr)


def forecast(rate: float, left: float) -> str:
    """The sentence that is printed.

    Args:
        rate: samples per second.
        left: seconds of training.
    """
    return (
        f"About {format_duration(left)} of training are left here, at {rate:,.4g} samples/s, and "
        "scores and pictures beside.\n"
        f"To make it short: budget={_round(SHORT * rate)} is a training of ten minutes here, with "
        "all that follows;\n"
        "max_time=10m breaks this one off. Ctrl-C saves it, and the same command goes on."
    )


def _round(samples: float) -> str:
    """The two leading digits of a budget, as a user types it: 56k, 1.2M."""
    whole = float(f"{samples:.1e}") if samples >= 1 else 1
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if whole >= unit:
            return f"{whole / unit:g}{name}"
    return f"{whole:.0f}"
