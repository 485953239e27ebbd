import signal
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from src.callbacks.signals import Signals
from tests.callbacks.tiny import SignalAt


def handlers() -> list:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def interrupted_by(trainer: L.Trainer) -> str | None:
    return next(c.shared.interrupted_by for c in trainer.callbacks if isinstance(c, Signals))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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
