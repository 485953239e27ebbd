"""`make bench` fails where a ratio fell by a tenth, and only there; here the ratios are given."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import ratios


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """`bench(*words, a=[...])` measures these values of a ratio one after the other."""

    def run(*words: str, **given: list[float]) -> int:
        def take(values: Iterator[float]) -> Callable[[], ratios.Ratio]:
            return lambda: (next(values), 0.0, 9.0)

        taken = {name: take(iter(values)) for name, values in given.items()}
        monkeypatch.setattr(ratios, "measures", lambda *_: taken)
        return ratios.main([*words, "--file", str(tmp_path / "ratios.json")])

    monkeypatch.setattr(ratios.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(ratios.throughput, "CLOCK", [None])
    return run


def test_a_fall_is_measured_twice(bench: Callable, capsys: pytest.CaptureFixture) -> None:
    assert bench("--record", a=[1.0], b=[0.8]) == 0
    assert bench(a=[0.91], b=[0.73]) == 0
    assert bench(a=[0.89, 0.91], b=[0.8]) == 0
    assert "fell" not in capsys.readouterr().out
    assert bench(a=[0.89, 0.88], b=[0.8]) == 1
    assert "| a | 1.000 | 0.890 fell | 0.000 to 9.000 |" in capsys.readouterr().out


def test_some_are_chosen(bench: Callable, tmp_path: Path) -> None:
    assert bench("--record", a=[1.0], b=[1.0]) == 0
    assert bench("--only", "b", a=[], b=[0.95]) == 0
    assert bench("--record", "--only", "b", a=[], b=[0.5]) == 0
    record = json.loads((tmp_path / "ratios.json").read_text())
    assert {name: ratio[0] for name, ratio in record["ratios"].items()} == {"a": 1.0, "b": 0.5}
    with pytest.raises(SystemExit, match="There is no c, but a"):
        bench("--only", "c", a=[])
