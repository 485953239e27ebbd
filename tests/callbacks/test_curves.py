from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from src.callbacks.curves import Curves
from src.callbacks.progress import Progress
from src.callbacks.quality import Quality
from src.callbacks.records import Records
from src.pictures import grids
from src.runs.run import Run
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import SignalAt, Spread


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[dict]]:
    """Rows of which curves are drawn, call by call."""
    calls, draw = [], grids.curves

    def curves(rows: list[dict]) -> Image.Image:
        calls.append(rows)
        return draw(rows)

    monkeypatch.setattr(grids, "curves", curves)
    return calls


@pytest.mark.parametrize("stop_at", [None, 105])
def test_the_final_scores_are_in_the_curves(
    fit: Callable, tmp_path: Path, drawn: list, stop_at: int | None
) -> None:
    """Whatever the order in the configuration, and if the run was killed before these scores."""
    loggers = [CSVMetrics(str(tmp_path))]
    if stop_at:
        fit(Curves(), Records(every=20), Quality(), scorers=[Spread()], loggers=loggers,
            stop_at=stop_at)  # fmt: skip
        assert drawn == []
    fit(Curves(), Records(every=20), Quality(), scorers=[Spread()], loggers=loggers,
        resume=stop_at is not None)  # fmt: skip
    (rows,) = drawn
    assert [row["samples_seen"] for row in rows if "fid" in row] == [28, 56, 77, 105]
    assert Image.open(tmp_path / "samples" / "curves.png").size[0] > 100


def test_nothing_is_drawn_of_an_interrupted_run(fit: Callable, tmp_path: Path, drawn: list) -> None:
    fit(Curves(), Records(every=20), SignalAt(35), loggers=[CSVMetrics(str(tmp_path))])
    assert drawn == []


def test_others_hear_of_scores_at_once(fit: Callable, tmp_path: Path) -> None:
    """The heartbeat of the iteration has its scores: a sweep may end the run by them."""
    seen = []

    class Look(Progress):
        def _write_heartbeat(self, trainer: object, model: object) -> None:
            super()._write_heartbeat(trainer, model)
            seen.append((model.samples_seen, len(Run(tmp_path).progress["scores"])))

    fit(Look(heartbeat=0), Quality(), scorers=[Spread()])
    assert dict(seen)[28] == 1
    assert dict(seen)[56] == 2
