"""Early stopping on scores of known course."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import lightning as L
import pytest

from src.callbacks.base import Shared
from src.callbacks.early_stopping import EarlyStopping
from src.callbacks.quality import Quality
from src.config.composition import bears_on_result, compose
from src.errors import SettingError
from src.metrics.base import Sampler, SampleScorer, Scores
from tests.callbacks.tiny import Tiny

Fit = Callable[..., tuple[L.Trainer, Tiny]]


class Course(SampleScorer):
    """Gives these values of a metric, one after the other."""

    def __init__(self, values: Sequence[float], metric: str = "fid") -> None:
        super().__init__(None, "tiny")
        self.values, self.metric, self.given = values, metric, 0
        self.headline = {metric: f"{metric}100_tiny"}

    def size(self, metric: str) -> int:
        return 100

    def protocol(self, metric: str) -> dict[str, str]:
        return {"metric": self.metric}

    def score(self, sample: Sampler) -> Scores:
        self.given += 1
        names = (f"{self.metric}100_tiny", "sharpness100_tiny")
        protocols = {name: {"metric": name.partition("100")[0]} for name in names}
        return Scores({names[0]: self.values[self.given - 1], names[1]: 1.0}, protocols)


def run(fit: Fit, course: Course, stopping: EarlyStopping, **more: object) -> Tiny:
    return fit(Quality(every=7), stopping, scorers=[course], budget=70, **more)[1]


@pytest.mark.parametrize(
    ("values", "metric", "more", "scorings"),
    [
        ([5, 4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5], "fid", {}, 10),  # to the end
        ([5, 4, 4.5, 4.1, 1], "fid", {}, 4),
        ([5, 4, 4.5, 3.9, 4, 4, 1], "fid", {}, 6),  # counted from the best
        ([1, 2, 3, 2.5, 2.9, 9], "is", {}, 5),  # more is better
        ([1, 2, 3, 4], "fid", {"mode": "max", "patience": 1, "min_delta": 1.5}, 2),
        ([5, 4.9, 4.8, 4.7], "fid", {"min_delta": 0.5}, 3),
        ([5, float("nan"), float("nan"), 1], "fid", {}, 3),
        ([float("nan"), 5, 6, 7, 8], "fid", {}, 4),
        ([5, 4, 4.5, 4.1, 1], "fid", {"monitor": "fid"}, 4),
        ([5, 4, 4.5, 4.1, 1], "fid", {"monitor": "fid100"}, 4),
        ([5, 4, 4.5, 4.1, 1], "fid", {"monitor": "fid100_tiny"}, 4),
        ([5, 4, 3, 2], "fid", {"monitor": "sharpness", "mode": "max"}, 3),
    ],
)
def test_when_it_stops(
    fit: Fit, values: list[float], metric: str, more: dict, scorings: int
) -> None:
    stopping = EarlyStopping(**({"patience": 2} | more))
    course = Course([*values, *[0.0] * 10], metric)
    model = run(fit, course, stopping)
    assert len(stopping.shared.history) == scorings
    assert model.samples_seen == 7 * scorings
    assert (stopping.shared.stopped is not None) == (scorings < 10)
    if scorings < 10:
        assert "early stopping" in stopping.shared.stopped


def test_a_resumed_run_stops_where_the_whole_one_does(fit: Fit) -> None:
    values = [5, 4, 4.5, 4.1, 1, 1, 1, 1, 1, 1]
    course = Course(values)
    run(fit, course, EarlyStopping(patience=2), stop_at=21)
    again = Course(values)
    again.given = 2  # the third is scored again: the kill came before its end was saved
    stopping = EarlyStopping(patience=2)
    model = run(fit, again, stopping, resume=True)
    assert model.samples_seen == 28
    assert [entry["samples_seen"] for entry in stopping.shared.history] == [7, 14, 21, 28]


@pytest.mark.parametrize(
    ("monitor", "complete"),
    [(None, False), ("fid", False), ("fid100", False), ("fid100_tiny", False), ("sharpness", True)],
)
def test_all_numbers_are_computed_if_one_of_them_is_watched(
    monitor: str | None, complete: bool
) -> None:
    quality, stopping = Quality(), EarlyStopping(monitor)
    stopping.shared = Shared([Course([])])
    stopping.setup(SimpleNamespace(callbacks=[quality, stopping]), None, "fit")
    assert quality.complete is complete


def test_a_misspelt_score_is_told_before_the_training() -> None:
    stopping = EarlyStopping("fidd")
    stopping.shared = Shared([])
    with pytest.raises(SettingError, match=r"there is no such score\. Did you mean"):
        stopping.setup(SimpleNamespace(callbacks=[stopping]), None, "fit")
    stopping.shared = Shared([Course([])])  # one of the user's may be called so
    stopping.setup(SimpleNamespace(callbacks=[stopping]), None, "fit")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"monitor": "kid"}, "no such score.*\nChoose one of fid100_tiny, sharpness100_tiny"),
        ({"monitor": "sharpness"}, "neither better nor worse"),
    ],
)
def test_a_score_that_cannot_be_watched(fit: Fit, more: dict, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        run(fit, Course([1.0] * 10), EarlyStopping(**more))


def test_no_scores(fit: Fit) -> None:
    with pytest.raises(SettingError, match="no scores"):
        fit(Quality(), EarlyStopping())


def test_it_bears_on_the_result() -> None:
    settings = compose("train", ["callbacks=early_stopping"])
    assert list(settings.callbacks)[-1] == "early_stopping"
    assert bears_on_result("callbacks.early_stopping.patience")
    assert "early_stopping" in settings.hydra.run.dir
