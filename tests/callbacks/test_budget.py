import time
from collections.abc import Callable

import lightning as L
import pytest

from src.callbacks.schedule import Scheduled
from src.errors import SettingError
from tests.callbacks.tiny import POINTS, Tiny


class Slow(Tiny):
    """10 ms a step."""

    def iterate(self, draw: Callable) -> None:
        time.sleep(0.01)
        super().iterate(draw)


class Sleeper(Scheduled):
    """Sleeps 50 ms outside the training at each of its four points."""

    def points(self, budget: int) -> list[int]:
        return [10, 30, 50, 70]

    def act(self, trainer: L.Trainer, model: Tiny) -> None:
        with self.off_the_clock(model, "scoring"):
            time.sleep(0.05)


@pytest.mark.parametrize(("budget", "seen"), [(1, 7), (70, 70), (71, 77)])
def test_stops_in_the_iteration_that_reaches_the_budget(
    fit: Callable, budget: int, seen: int
) -> None:
    assert fit(budget=budget)[1].samples_seen == seen


def test_a_finished_run_does_no_more_iterations(fit: Callable) -> None:
    before = fit(budget=70, stop_at=70)[1]
    after = fit(budget=70, resume=True)[1]
    assert after.iteration == before.iteration == 10
    assert after.mean.tolist() == before.mean.tolist()
    assert fit(budget=77, resume=True)[1].iteration == 11


def test_the_training_clock_leaves_out_what_happens_beside(fit: Callable) -> None:
    sleeper = Sleeper()
    start = time.perf_counter()
    _, model = fit(sleeper, model=Slow(POINTS))
    wall = time.perf_counter() - start
    assert 0.2 <= sleeper.shared.wall.parts["scoring"] <= 0.4
    assert 0.15 <= model.seconds <= wall - sleeper.shared.wall.parts["scoring"]


def test_the_training_clock_goes_on_after_a_resume(fit: Callable) -> None:
    first = fit(model=Slow(POINTS), stop_at=56)[1]
    both = fit(model=Slow(POINTS), resume=True)[1]
    assert first.seconds >= 0.08
    assert first.seconds + 0.07 <= both.seconds <= first.seconds + 2


def test_max_time_counts_over_resumes(fit: Callable) -> None:
    first = fit(model=Slow(POINTS), budget=10**6, max_time="0.1s")[1]
    assert 0.1 <= first.seconds <= 0.5
    fit(model=Slow(POINTS), budget=10**6, stop_at=210)
    resumed = fit(model=Slow(POINTS), budget=10**6, max_time="0.1s", resume=True)[1]
    assert resumed.samples_seen == 210


def test_a_wrong_max_time_is_refused(fit: Callable) -> None:
    with pytest.raises(SettingError, match="max_time=soon"):
        fit(max_time="soon")
