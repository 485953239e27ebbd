import math
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.callbacks import LambdaCallback

from src.callbacks.base import Callback, Shared, Turns, arrange
from src.callbacks.budget import Budget
from src.callbacks.checkpoint import Checkpoint
from src.callbacks.health import Health
from src.callbacks.quality import Quality
from src.callbacks.records import Records
from src.callbacks.signals import Signals
from src.callbacks.together import Together
from src.models import base
from src.models.base import GenerativeModel
from src.runs.metrics_file import read_metrics
from src.training.checkpoints import load_checkpoint
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import Spread, Tiny


class Counter(L.Callback):
    """A user's own, of Lightning's class: it counts, and ends the training at 49 samples."""

    def __init__(self) -> None:
        self.n = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, model: Tiny, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.n += 1
        if model.samples_seen >= 49:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, int]:
        return {"n": self.n}


def test_the_order_goes_by_kind() -> None:
    given = [Together(), Quality(), Checkpoint(), Signals(), Counter(), Records(), Budget()]
    shared = Shared()
    arranged = arrange(given, shared)
    kinds = [Budget, Turns, Counter, Records, Signals, Checkpoint, Quality, Together]
    assert [type(c) for c in arranged] == kinds
    assert all(c.shared is shared for c in arranged if not isinstance(c, Counter))


def test_a_users_callback_is_saved_and_can_end_the_training(fit: Callable, tmp_path: Path) -> None:
    """The fixture names the checkpoint callback first."""
    counter = Counter()
    assert fit(counter)[1].samples_seen == 49
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert checkpoint["sparring"]["samples_seen"] == 49
    assert checkpoint["callbacks"]["Counter"] == {"n": counter.n} == {"n": 7}


class Backwards(L.Callback):
    """Counts the steps back."""

    steps = 0

    def on_after_backward(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        self.steps += 1


def test_callbacks_that_ask_for_it_see_each_step_back(fit: Callable) -> None:
    watching = Backwards()
    _, watched = fit(watching)
    _, model = fit()
    assert watching.steps == watched.iteration == 15
    assert watched.mean.equal(model.mean)


class Visitor(Callback):
    """Notes down the clock at each of its turns; `often` is after each iteration."""

    def __init__(self, often: bool) -> None:
        super().__init__()
        self.often, self.clocks = often, list[int]()

    def due(self, model: GenerativeModel) -> float:
        return super().due(model) if self.often else math.inf

    def on_train_batch_end(self, trainer: L.Trainer, model: GenerativeModel, *_: object) -> None:
        self.clocks.append(model.samples_seen)


@pytest.mark.parametrize("pause", [0.0, 0.01, math.inf])
def test_turns_are_where_they_are_due_and_change_nothing(
    fit: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    monkeypatch.setattr(base, "PAUSE", pause)
    ends, visitors = [], [Visitor(often=True), Visitor(often=False)]
    for visitor in visitors:
        folder = tmp_path / str(visitor.often)
        trainer, model = fit(
            Records(every=100), Health(gradients=3), Quality(every=150), visitor,
            budget=700, folder=folder, loggers=[CSVMetrics(str(folder))], scorers=[Spread()],
        )  # fmt: skip
        assert trainer.global_step == model.iteration == 100
        rows = read_metrics(folder / "metrics.csv")
        for row in rows:
            row.pop("seconds", None)
            row.pop("samples_per_second", None)
        checkpoint = load_checkpoint(folder / "checkpoints" / "last.ckpt")
        ends.append((rows, checkpoint["loops"], checkpoint["sparring"]["records"]))
        ends[-1] += (model.mean.tolist(),)
    assert ends[0] == ends[1]
    each, due = list(range(7, 701, 7)), [105, 154, 203, 301, 406, 455, 504, 602, 700]
    assert visitors[0].clocks == each
    assert visitors[1].clocks == {0.0: each, math.inf: due}.get(pause, visitors[1].clocks)
    assert set(due) <= set(visitors[1].clocks)


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_before_optimizer_step"])
def test_hooks_of_others_are_called_in_each_iteration(
    fit: Callable, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setattr(base, "PAUSE", math.inf)
    visitor = Visitor(often=False)
    fit(LambdaCallback(**{hook: lambda *_: None}), visitor)
    assert len(visitor.clocks) == 15
    visitor.clocks.clear()
    fit(LambdaCallback(on_train_start=lambda *_: None), visitor)
    assert visitor.clocks == [105]
