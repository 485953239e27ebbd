"""Where the wall time goes, by a clock that the test moves."""

import time
from contextlib import suppress

import pytest

from src.runs.wall import PARTS, WallTime


def test_every_second_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def spend(seconds: float) -> None:
        clock[0] += seconds

    wall = WallTime(begun=97.0)
    wall.past = dict.fromkeys(PARTS, 0.0) | {"start": 10.0, "saving": 0.5}
    wall.lap("start")
    spend(2)
    wall.lap("data")
    spend(20)  # the model trains
    with wall.spent_on("scoring"):
        spend(4)
    with suppress(KeyError), wall.spent_on("scoring"):
        spend(1)
        raise KeyError
    spend(0.25)
    found = wall.summary(before=30.0, training=50.0)
    assert found == {
        **{"start": 13.0, "data": 2.0, "training": 50.0, "scoring": 5.0, "pictures": 0.0},
        **{"saving": 0.5, "other": 0.25},
    }
    assert tuple(found) == PARTS
