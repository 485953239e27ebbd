"""A progress bar on the samples-seen clock; where there is no terminal, a line now and then."""

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from src.callbacks.quality import Quality
from src.callbacks.records import Records
from src.callbacks.schedule import budget_of
from src.durations import format_duration
from src.models.base import GenerativeModel


class Progress(ProgressBar):
    """Takes the place of Lightning's bar. A step that shows nothing costs one look at a clock.

    Args:
        refresh: seconds between two updates on a terminal; elsewhere a line appears at each tenth
            of the budget.
    """

    def __init__(self, refresh: float = 0.5) -> None:
        super().__init__()
        self.refresh = refresh
        self._bar: tqdm | None = None
        self._enabled = True
        self._due = 0.0
        self._start = (0, 0.0)

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def print(self, *args: Any, sep: str = " ") -> None:
        """Print without breaking the bar."""
        tqdm.write(sep.join(map(str, args)), file=sys.stderr)

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._budget = budget_of(trainer)
        self._start = (model.samples_seen, time.monotonic())
        self._tenth = 10 * model.samples_seen // self._budget
        self._due = 0.0
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._budget,
                initial=model.samples_seen,
                unit=" samples",
                unit_scale=True,
                dynamic_ncols=True,
                mininterval=0,  # it is called rarely enough
                miniters=1,
                bar_format="{percentage:3.0f}% {bar:20} {n_fmt}/{total_fmt} samples"
                " | {rate_fmt} | {remaining} left{postfix}",
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._enabled:
            return
        if self._bar is not None:
            if (now := time.monotonic()) >= self._due:
                self._due = now + self.refresh
                self._update_bar(trainer, model)
        elif 10 * model.samples_seen // self._budget > self._tenth:
            self._tenth = 10 * model.samples_seen // self._budget
            self._write_line(trainer, model)

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._close(trainer, model)

    def on_exception(
        self, trainer: L.Trainer, model: GenerativeModel, exception: BaseException
    ) -> None:
        self._close(trainer, model)

    def _close(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if self._bar is not None:
            self._update_bar(trainer, model)
            self._bar.close()
            self._bar = None

    def _update_bar(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._bar.set_postfix_str(_numbers(trainer, model), refresh=False)
        self._bar.update(model.samples_seen - self._bar.n)

    def _write_line(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        seen, budget = model.samples_seen, self._budget
        rate = (seen - self._start[0]) / max(time.monotonic() - self._start[1], 1e-9)
        left = max(budget - seen, 0) / rate
        print(
            f"{100 * seen // budget:3d}%  {seen:,}/{budget:,} samples  {rate:,.0f}/s"
            f"  {format_duration(left)} left  {_numbers(trainer, model)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )


def _numbers(trainer: L.Trainer, model: GenerativeModel) -> str:
    """The latest losses and headline scores, such as `loss/d 1.21 loss/g 0.93 fid 12.4`.

    A training in stages says first which one it is in: `layer 2 of 4: loss/layer_2 31.2`.
    """
    numbers: dict[str, float] = {}
    for callback in trainer.callbacks:
        if isinstance(callback, Records):
            numbers |= {k: v for k, v in callback.latest.items() if k.startswith("loss")}
        if isinstance(callback, Quality):
            numbers |= callback.headline
    stage = [f"{model.stage.name}:"] if model.stage else []
    return " ".join(stage + [f"{name} {value:.3g}" for name, value in numbers.items()])
