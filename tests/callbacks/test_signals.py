import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from src.callbacks.quality import Quality
from src.callbacks.signals import Signals
from src.metrics.base import Sampler, Scores
from tests.callbacks.tiny import SignalAt, Spread, Tiny


def handlers() -> list:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]


def interrupted_by(trainer: L.Trainer) -> str | None:
    return next(c.shared.interrupted_by for c in trainer.callbacks if isinstance(c, Signals))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_iteration_is_finished_and_saved(
    fit: Callable, tmp_path: Path, number: int, capfd: pytest.CaptureFixture
) -> None:
    before = handlers()
    trainer, model = fit(SignalAt(35, number))
    assert interrupted_by(trainer) == signal.Signals(number).name
    assert model.samples_seen == 42
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["sparring"]["samples_seen"] == 42
    assert handlers() == before
    assert f"{signal.Signals(number).name}: saving" in capfd.readouterr().err
    whole = fit(folder=tmp_path / "whole")[1]
    resumed_trainer, resumed = fit(resume=True)
    assert interrupted_by(resumed_trainer) is None
    assert torch.equal(resumed.mean, whole.mean)


class Later(L.Callback):
    """Sends this process SIGTERM after a while."""

    def on_train_start(self, trainer: L.Trainer, model: Tiny) -> None:
        self.timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        self.timer.start()


def test_many_short_iterations_are_not_in_its_way(fit: Callable, tmp_path: Path) -> None:
    begun = time.monotonic()
    trainer, model = fit(Later(), budget=10**9)
    assert time.monotonic() - begun < 3
    assert interrupted_by(trainer) == "SIGTERM"
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == model.iteration
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["sparring"]["samples_seen"] == model.samples_seen < 10**9


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_second_signal_ends_at_once(
    fit: Callable, tmp_path: Path, number: int, code: int
) -> None:
    before = handlers()
    with pytest.raises(SystemExit) as end:
        fit(SignalAt(35, number, times=2))
    assert end.value.code == code
    assert handlers() == before
    assert not (tmp_path / "checkpoints").exists()


def test_a_signal_after_the_last_iteration_ends_at_once(fit: Callable) -> None:
    with pytest.raises(SystemExit) as end:
        fit(SignalAt(0, at_end=True))
    assert end.value.code == 143


def test_what_nohup_ignores_stays_ignored(fit: Callable) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        trainer, model = fit(SignalAt(35, signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert interrupted_by(trainer) is None
    assert model.samples_seen == 105


class SignalInScores(Spread):
    """Ctrl-C comes in the midst of the first scoring."""

    def score(self, sample: Sampler) -> Scores:
        sample(50, 0)
        os.kill(os.getpid(), signal.SIGINT)
        return super().score(sample)


def test_a_signal_ends_a_scoring(fit: Callable, tmp_path: Path) -> None:
    """It ends before the next portion of samples, with a checkpoint; nothing is lost of the run."""
    whole, again = Quality(), Quality()
    fit(whole, scorers=[Spread()], folder=tmp_path / "whole")
    first = Quality()
    trainer, model = fit(first, scorers=[SignalInScores()])
    assert interrupted_by(trainer) == "SIGINT"
    assert (model.samples_seen, first.shared.history) == (28, [])
    assert fit(again, scorers=[Spread()], resume=True)[1].samples_seen == 105
    assert again.shared.history == whole.shared.history
