"""A progress bar on the samples-seen clock; where there is no terminal, a line now and then.

Beside it `progress.json` in the run folder says every few seconds where the training is: that is
what other processes, such as the sweep that started it, know of a run.
"""

import json
import math
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from src.callbacks.base import Callback, Kind
from src.config.durations import format_duration
from src.config.ranges import NotNegativeFloat
from src.models.base import GenerativeModel
from src.runs.files import write_atomically

MOST_LOSSES = 6
PARTS = ("loss/d_real", "loss/d_fake")


class Progress(Callback, ProgressBar):
    """Takes the place of Lightning's bar. A step that shows nothing costs one look at a clock.

    Args:
        refresh: seconds between two updates on a terminal; elsewhere a line appears at each tenth
            of the budget.
        heartbeat: seconds between two writes of progress.json.
    """

    kind = Kind.REPORT

    def __init__(self, refresh: NotNegativeFloat = 0.5, heartbeat: NotNegativeFloat = 5.0) -> None:
        super().__init__()
        self.refresh, self.heartbeat = refresh, heartbeat
        self._beat = 0.0
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
        self._budget = model.budget
        self._start = (model.samples_seen, time.monotonic())
        self._tenth = 10 * model.samples_seen // self._budget
        self._due = 0.0
        self._write_heartbeat(trainer, model)
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

    def due(self, model: GenerativeModel) -> float:
        if not self._enabled or self._bar is not None:
            return math.inf
        return math.ceil(self._budget * (self._tenth + 1) / 10)

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (now := time.monotonic()) >= self._beat:
            self._beat = now + self.heartbeat
            self._write_heartbeat(trainer, model)
        if not self._enabled:
            return
        if self._bar is not None:
            if now >= self._due:
                self._due = now + self.refresh
                self._update_bar(model)
        elif 10 * model.samples_seen // self._budget > self._tenth:
            self._tenth = 10 * model.samples_seen // self._budget
            self._write_line(model)

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._close(model)

    def on_exception(
        self, trainer: L.Trainer, model: GenerativeModel, exception: BaseException
    ) -> None:
        self._close(model)

    def _close(self, model: GenerativeModel) -> None:
        if self._bar is not None:
            self._update_bar(model)
            self._bar.close()
            self._bar = None

    def _update_bar(self, model: GenerativeModel) -> None:
        self._bar.set_postfix_str(self._numbers(model), refresh=False)
        self._bar.update(model.samples_seen - self._bar.n)

    def _write_line(self, model: GenerativeModel) -> None:
        seen, budget = model.samples_seen, self._budget
        rate = self._rate(model)
        left = max(budget - seen, 0) / rate
        print(
            f"{100 * seen // budget:3d}%  {seen:,}/{budget:,} samples  {rate:,.0f}/s"
            f"  {format_duration(left)} left  {self._numbers(model)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    def _rate(self, model: GenerativeModel) -> float:
        """Samples per second of this process."""
        seconds = time.monotonic() - self._start[1]
        return (model.samples_seen - self._start[0]) / max(seconds, 1e-9)

    def _write_heartbeat(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        progress = {
            "time": time.time(),
            "process": f"{os.getpid()} on {platform.node()}",
            "samples_seen": model.samples_seen,
            "budget": self._budget,
            "rate": self._rate(model),
            "seconds": model.seconds,
            "stage": model.stage.name if model.stage else None,
            "scores": self._scores(),
        }
        folder = Path(trainer.default_root_dir)
        if folder.is_dir():  # or else it was removed, as the next checkpoint says
            write_atomically(folder / "progress.json", json.dumps(progress) + "\n")

    def _scores(self) -> list[dict[str, float]]:
        """Headline numbers of each scoring, by their short names, with its `samples_seen`."""
        names = self.shared.short_names
        return [
            {"samples_seen": entry["samples_seen"]}
            | {short: entry[name] for short, name in names.items() if name in entry}
            for entry in self.shared.history
        ]

    def _numbers(self, model: GenerativeModel) -> str:
        """Latest losses and headline scores, such as `loss/d 1.21 loss/g 0.93 fid 12.4`.

        Where there are many losses, the two parts of a discriminator's are left out. A training in
        stages names the current one first: `layer 2 of 4: loss/layer_2 31.2`. Where players may
        rest, the share of their steps that were left out is shown too.
        """
        shown = ("loss/", "rests/")
        losses = {k: v for k, v in self.shared.terms.items() if k.startswith(shown)}
        if len(losses) > MOST_LOSSES:  # of several discriminators
            losses = {k: v for k, v in losses.items() if not k.startswith(PARTS)}
        numbers = losses | self.shared.headline
        stage = [f"{model.stage.name}:"] if model.stage else []
        return " ".join(stage + [f"{name} {value:.3g}" for name, value in numbers.items()])
