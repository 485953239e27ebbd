"""The base of our callbacks: when each takes its turn, and the state that they share.

After an iteration the clock moves first; then pictures and logs are made; then a signal may end
the training; then the checkpoint is saved; then, if it is time, the model is scored, so that an
error of a metric costs no training; then the progress is shown, with the new scores; and last all
ranks agree whether to go on. This order follows from the kind of a callback, and not from its place
in a configuration: a user's own callback, of any class of Lightning's, is called before the save,
so that its state is saved too. At the end of the training the order is the same.

After short iterations callbacks are called only where one of them is due; see `Turns`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import lightning as L
import torch
from lightning.pytorch.profilers import PassThroughProfiler

from src.metrics.base import Scorer, Scores
from src.models.base import GenerativeModel, overrides
from src.runs.wall import WallTime


class Kind(IntEnum):
    """Turn of a callback after each iteration."""

    CLOCK = 0
    OBSERVE = 1
    STOP = 2
    SAVE = 3
    SCORE = 4
    REPORT = 5
    AGREE = 6


@dataclass
class Shared:
    """State that the callbacks of one training share.

    Attributes:
        scorers: scorers of this run, see `src/metrics/`.
        scores: values and protocols of the last scoring.
        history: `{"samples_seen": ..., name: value ...}` of each scoring, over all resumes.
        terms: means of the terms that the model recorded, as last fetched; a new dict each time.
        wall: where the time goes; the training clock leaves out what is counted there.
        interrupted_by: name of the signal that ended the training, or None.
        stopped: reason why the training ended before its budget was spent, or None.
        save: saves a checkpoint, unless that was done in this iteration.
    """

    scorers: Sequence[Scorer] = ()
    scores: Scores = field(default_factory=lambda: Scores({}, {}))
    history: list[dict[str, float]] = field(default_factory=list)
    terms: dict[str, float] = field(default_factory=dict)
    wall: WallTime = field(default_factory=WallTime)
    interrupted_by: str | None = None
    stopped: str | None = None
    save: Callable[[], None] = lambda: None

    @property
    def short_names(self) -> dict[str, str]:
        """Full names of the headline numbers by their short ones, such as `fid`."""
        return {short: name for scorer in self.scorers for short, name in scorer.headline.items()}

    @property
    def headline(self) -> dict[str, float]:
        """Latest headline numbers by their short names."""
        values = self.scores.values
        return {k: values[name] for k, name in self.short_names.items() if name in values}


@runtime_checkable
class PictureLogger(Protocol):
    """A logger that takes pictures, as Lightning's for W&B does."""

    def log_image(self, key: str, images: list, step: int | None = None) -> None: ...


def log_picture(trainer: L.Trainer, key: str, path: Path, samples_seen: int) -> None:
    """Hand a picture's file to all loggers that take pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, PictureLogger):
            logger.log_image(key, [str(path)], step=samples_seen)


@runtime_checkable
class PageLogger(Protocol):
    """A logger that takes pages (.html) and animations (.gif)."""

    def log_page(self, key: str, path: Path, step: int) -> None: ...


def log_page(trainer: L.Trainer, key: str, path: Path, samples_seen: int) -> None:
    """Hand a page's or an animation's file to all loggers that take such."""
    for logger in trainer.loggers:
        if isinstance(logger, PageLogger):
            logger.log_page(key, path, samples_seen)


class Callback(L.Callback):
    """A callback with a turn of its own and with access to what the others know.

    Attributes:
        kind: its turn.
        shared: state shared by all callbacks of a training, set by `arrange`.
    """

    kind: ClassVar[Kind] = Kind.OBSERVE

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared()

    def due(self, model: GenerativeModel) -> float:
        """Samples seen from which on it has to be called; inf if a few times a second is enough.

        Unless a subclass knows better, that is after each iteration.
        """
        return 0.0

    @contextmanager
    def off_the_clock(self, model: GenerativeModel, part: str) -> Iterator[None]:
        """Leave the time of a `with` block out of the training clock.

        Args:
            model: is trained.
            part: one of `src.runs.wall.PARTS`, to which the time is counted.
        """
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)  # training steps still in the queue
        with self.shared.wall.spent_on(part):
            yield


class Turns(Callback):
    """Tells the model until when no callback has to be called.

    To call them all takes an eighth of a small network's iteration. Where there are hooks of the
    iteration, or of parts of it, that do not say when they are due, or a profiler that counts
    iterations, callbacks are called after each.
    """

    kind = Kind.CLOCK

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        batch = ("on_train_batch_start", "on_train_batch_end")
        parts = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
        others = [callback for callback in trainer.callbacks if callback is not self]
        called = [callback for callback in others if overrides(callback, *batch)]
        known = all(isinstance(callback, Callback) for callback in called)
        looked_at = overrides(model, *batch) or any(overrides(o, *parts) for o in (model, *others))
        known = known and not looked_at and isinstance(trainer.profiler, PassThroughProfiler)
        self._called: list[Callback] = called if known else []

    def on_train_batch_start(
        self, trainer: L.Trainer, model: GenerativeModel, batch: Any, batch_idx: int
    ) -> None:
        model.until = min((callback.due(model) for callback in self._called), default=0.0)


def arrange(callbacks: Iterable[L.Callback], shared: Shared) -> list[L.Callback]:
    """Sort callbacks by kind, with `Turns` among them, and give them their shared state.

    Those of one kind stay in the order in which they came.
    """
    callbacks = [*callbacks, Turns()]
    for callback in callbacks:
        if isinstance(callback, Callback):
            callback.shared = shared
    return sorted(callbacks, key=_kind)


def _kind(callback: L.Callback) -> Kind:
    return callback.kind if isinstance(callback, Callback) else Kind.OBSERVE
