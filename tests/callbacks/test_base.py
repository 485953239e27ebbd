from collections.abc import Callable
from pathlib import Path

import lightning as L

from src.callbacks.base import Shared, Turns, arrange
from src.callbacks.budget import Budget
from src.callbacks.checkpoint import Checkpoint
from src.callbacks.quality import Quality
from src.callbacks.records import Records
from src.callbacks.signals import Signals
from src.callbacks.together import Together
from src.training.checkpoints import load_checkpoint
from tests.callbacks.tiny import Tiny


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
