from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from src.callbacks.quality import Quality
from src.metrics.base import Sampler, Scores
from src.runs.metrics_file import read_metrics
from src.training.checkpoints import load_checkpoint
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import SignalAt, Spread, Tiny

SCORERS = [Spread()]


def test_four_times_and_the_end(fit: Callable, tmp_path: Path) -> None:
    quality = Quality()
    _, model = fit(quality, scorers=SCORERS, loggers=[CSVMetrics(str(tmp_path))])
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["samples_seen"] for row in rows] == [28, 56, 77, 105]
    assert [entry["samples_seen"] for entry in quality.shared.history] == [28, 56, 77, 105]
    assert all(row["fid"] == row["fid100_tiny"] for row in rows)
    assert quality.shared.scores.protocols == {
        name: {"n_fake": 100} for name in quality.shared.scores.values
    }
    expected = model.sample(100, seed=3).std().item()
    assert quality.shared.headline == {"fid": pytest.approx(expected, rel=1e-6)}
    assert quality.shared.wall.parts["scoring"] > 0


def test_every(fit: Callable) -> None:
    quality = Quality(every=50)
    fit(quality, scorers=SCORERS)
    assert [entry["samples_seen"] for entry in quality.shared.history] == [56, 105]


class Both(Spread):
    """Has a number beside the headline number, unless it is brief."""

    def score(self, sample: Sampler) -> Scores:
        found = super().score(sample)
        return found if self.brief else Scores(found.values | {"more": 1.0}, found.protocols)


@pytest.mark.parametrize(("complete", "times"), [(False, 1), (True, 4)])
def test_all_numbers_at_the_end_or_each_time(fit: Callable, complete: bool, times: int) -> None:
    quality = Quality(complete=complete)
    fit(quality, scorers=[Both()])
    history = quality.shared.history
    assert [entry["samples_seen"] for entry in history] == [28, 56, 77, 105]
    assert ["more" in entry for entry in history] == [False] * (4 - times) + [True] * times
    assert all("fid100_tiny" in entry for entry in history)


def test_without_headline_numbers_only_the_end_is_scored(fit: Callable) -> None:
    scorer = Both()
    scorer.headline = {}
    quality = Quality()
    fit(quality, scorers=[scorer])
    assert [entry["samples_seen"] for entry in quality.shared.history] == [105]
    assert quality.shared.history[0]["more"] == 1.0


def test_the_last_weights_are_scored_in_full(fit: Callable) -> None:
    """Even if they were in brief: the training ended, before its budget, where it was scored."""

    class StopThere(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, model: Tiny, *_: object) -> None:
            trainer.should_stop = trainer.should_stop or model.samples_seen == 56

    quality = Quality()
    fit(quality, StopThere(), scorers=[Both()])
    assert [entry["samples_seen"] for entry in quality.shared.history] == [28, 56]
    assert quality.shared.history[-1]["more"] == 1.0


def test_the_end_is_scored_when_time_runs_out(fit: Callable) -> None:
    quality = Quality()
    model = fit(quality, scorers=SCORERS, budget=10**9, max_time="0.05s")[1]
    assert [entry["samples_seen"] for entry in quality.shared.history] == [model.samples_seen]


def test_an_interrupted_run_is_not_scored(fit: Callable) -> None:
    quality = Quality()
    fit(quality, SignalAt(35), scorers=SCORERS)
    assert [entry["samples_seen"] for entry in quality.shared.history] == [28]


@pytest.mark.parametrize("stop_at", [21, 28, 70, 105])
def test_history_after_a_resume(fit: Callable, stop_at: int) -> None:
    whole, resumed = Quality(), Quality()
    fit(whole, scorers=SCORERS)
    fit(Quality(), scorers=SCORERS, stop_at=stop_at)
    fit(resumed, scorers=SCORERS, resume=True)
    assert resumed.shared.history == whole.shared.history
    assert resumed.shared.scores == whole.shared.scores


def test_the_model_and_the_random_state_are_left_alone(fit: Callable, tmp_path: Path) -> None:
    plain = fit(stop_at=105, folder=tmp_path / "plain")[1]
    scored = fit(Quality(), scorers=SCORERS, stop_at=105, folder=tmp_path / "scored")[1]
    assert torch.equal(plain.mean, scored.mean)
    checkpoints = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("plain", "scored")
    ]
    assert checkpoints[0]["state_dict"].keys() == checkpoints[1]["state_dict"].keys()
    assert list(checkpoints[1]["callbacks"]) == ["Checkpoint", "Quality"]


def test_without_scorers_nothing_happens(fit: Callable, tmp_path: Path) -> None:
    quality = Quality()
    fit(quality, loggers=[CSVMetrics(str(tmp_path))])
    assert not quality.shared.history
    assert not (tmp_path / "metrics.csv").exists()


class Fails(Spread):
    """A metric that breaks at the second scoring."""

    def score(self, sample: Sampler) -> Scores:
        self.times = getattr(self, "times", 0) + 1
        if self.times == 2:
            raise ZeroDivisionError
        return super().score(sample)


def test_an_error_of_a_metric_costs_no_training(fit: Callable, tmp_path: Path) -> None:
    """The second scoring is at 56 samples; the run goes on from there and scores it again."""
    whole, again = Quality(), Quality()
    fit(whole, scorers=SCORERS, folder=tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        fit(Quality(), scorers=[Fails()])
    saved = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert saved["sparring"]["samples_seen"] == 56
    fit(again, scorers=SCORERS, resume=True)
    assert again.shared.history == whole.shared.history
