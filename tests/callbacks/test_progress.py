import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src.callbacks import progress
from src.callbacks.base import Shared
from src.callbacks.progress import Progress
from src.callbacks.quality import Quality
from src.callbacks.records import Records
from tests.callbacks.tiny import POINTS, Spread, Staged


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_ten_lines_where_there_is_no_terminal(
    fit: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(Records(every=7), Quality(), Progress(), scorers=[Spread()], budget=1400)
    lines = [line for line in stream.getvalue().splitlines() if "samples  " in line]
    assert [line[:4] for line in lines] == [f"{k:3d}%" for k in range(10, 101, 10)]
    assert lines[4].startswith(" 50%  700/1,400 samples  ")
    for part in ("/s  ", " left  ", "loss/mean ", "fid "):
        assert part in lines[4]
    assert "0s left" in lines[9]


def test_a_resumed_run_goes_on(fit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(stop_at=700, budget=1400)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(Progress(), budget=1400, resume=True)
    lines = [line for line in stream.getvalue().splitlines() if "samples  " in line]
    assert [line[:4] for line in lines] == [f"{k:3d}%" for k in range(60, 101, 10)]


def test_the_bar_on_a_terminal(fit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(Records(every=7), Progress(refresh=0), budget=140)
    first, *_, last = stream.getvalue().rstrip("\n").split("\r")[1:]
    assert first.startswith("  0%")
    assert last.startswith("100%")
    for part in ("140/140 samples", "samples/s", "00:00 left", "loss/mean "):
        assert part in last


def test_the_stage_is_named(fit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        fit(Records(every=7), Progress(refresh=0), model=Staged(POINTS), budget=140)
        shown = stream.getvalue()
        assert "layer 1 of 1: loss/mean " in shown
        assert shown.rindex("layer 1 of 1: ") < shown.index("fine-tuning: loss/mean ")


def test_the_share_of_rests_is_shown() -> None:
    bar, model = Progress(), Staged(POINTS)
    bar.shared.terms = {"loss/d": 1.25, "d_real": 0.5, "rests/d": 0.75}
    assert bar._numbers(model).endswith("loss/d 1.25 rests/d 0.75")


def test_rare_refreshes(fit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(Progress(refresh=1000), budget=1400)
    assert stream.getvalue().count("\r") <= 4


def test_the_bar_takes_the_place_of_lightnings(fit: Callable) -> None:
    bar = Progress()
    assert fit(bar, budget=7)[0].progress_bar_callback is bar


def test_the_heartbeat(fit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processes know of a run: where it was, and each score so far."""
    seen = []

    def write(path: Path, text: str) -> None:
        assert path.name == "progress.json"
        seen.append(json.loads(text))

    monkeypatch.setattr(progress, "write_atomically", write)
    fit(Quality(every=700), Progress(heartbeat=0), scorers=[Spread()], budget=1400)
    clocks = [beat["samples_seen"] for beat in seen]
    assert (clocks[0], clocks[-1]) == (0, 1400)
    assert 700 in clocks  # at once after the scores
    assert clocks == sorted(set(clocks))
    assert seen[0]["scores"] == []
    assert [score["samples_seen"] for score in seen[-1]["scores"]] == [700]
    assert "fid" in seen[-1]["scores"][0]
    assert seen[-1]["budget"] == 1400
    assert int(seen[-1]["process"].split()[0]) == os.getpid()
    seen.clear()
    fit(Progress(heartbeat=1000), budget=1400)
    assert len(seen) <= 2  # on its own clock


@pytest.mark.parametrize(("domains", "shown"), [(("",), 4), (("_a", "_b"), 4)])
def test_of_many_losses_the_parts_are_left_out(domains: tuple[str, ...], shown: int) -> None:
    callback, shared = Progress(), Shared()
    names = ("d", "g", "d_real", "d_fake")
    shared.terms = {f"loss/{name}{domain}": 1.0 for domain in domains for name in names}
    callback.shared = shared
    said = callback._numbers(Staged(POINTS))
    assert said.count("loss/") == shown
    assert ("d_real" in said) == (len(domains) == 1)
