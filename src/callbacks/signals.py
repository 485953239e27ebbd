"""Saves at SIGTERM, SIGHUP and Ctrl-C: the iteration ends, a checkpoint is written, the run stops.

A scheduler sends SIGTERM some seconds before it kills. Lightning's own handler would raise at the
end of the batch, without a checkpoint; this one takes its place while the training lasts.
"""

import math
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import lightning as L

from src.callbacks.base import Callback, Kind
from src.distributed import ranks
from src.models.base import GenerativeModel

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ECHO = 1.0  # seconds: a scheduler may send a rank what its parent passes on to it as well


class Signals(Callback):
    """Ends the training after the iteration in which a signal came, or after a few short ones.

    A second signal, or one after the last iteration (during the final scores), ends the process
    at once: an earlier checkpoint exists by then.
    """

    kind = Kind.STOP

    def __init__(self) -> None:
        super().__init__()
        self._iterating = False
        self._at = -ECHO
        self._handlers: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self.shared.interrupted_by = None
        self._iterating = not trainer.should_stop
        if threading.current_thread() is threading.main_thread():
            # nohup has SIGHUP ignored, and it stays so.
            heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
            self._handlers = {number: signal.signal(number, self._handle) for number in heard}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if ranks.count() > 1 and time.monotonic() - self._at < ECHO:
            return
        self._at = time.monotonic()
        if self.shared.interrupted_by or not self._iterating:
            self._restore()
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(128 + number)
        self.shared.interrupted_by = signal.Signals(number).name
        # Not print: the signal may have come in the midst of one, which cannot be entered twice.
        os.write(2, f"\n{self.shared.interrupted_by}: saving after this iteration.\n".encode())

    def due(self, model: GenerativeModel) -> float:
        return math.inf

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.shared.interrupted_by:
            trainer.should_stop = True  # the checkpoint callback, which comes next, saves

    def on_train_epoch_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._iterating = False

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, model: GenerativeModel, exception: BaseException
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._handlers = {}
