from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.callbacks.health import Health
from src.callbacks.records import Records
from src.errors import TrainingError
from tests.callbacks.tiny import POINTS, StopAt, Tiny


def test_the_guilty_term_is_named(fit: Callable) -> None:
    with pytest.raises(TrainingError, match=r"loss/mean is nan at 63 samples") as error:
        fit(Records(every=20), Health(), model=Tiny(POINTS, spoil=50))
    assert str(error.value).count("\n") == 2
    assert "fine" not in str(error.value)


def test_a_healthy_run_goes_through(fit: Callable) -> None:
    assert fit(Records(every=20), Health())[1].samples_seen == 105


def test_a_broken_model_does_not_overwrite_a_good_checkpoint(fit: Callable, tmp_path: Path) -> None:
    fit(Health(), stop_at=42)
    path = tmp_path / "checkpoints" / "last.ckpt"
    good = path.read_bytes()
    with pytest.raises(TrainingError, match=r"the weight mean is not finite at 70 samples"):
        fit(Health(), StopAt(70), model=Tiny(POINTS, spoil=50), resume=True)
    assert path.read_bytes() == good
    assert torch.load(path, weights_only=True)["state_dict"]["mean"].isfinite().all()
