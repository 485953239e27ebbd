"""Where runs are, read from their folders."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.cli import launch
from src.config.checks import check_status
from src.runs.escape import line
from src.runs.run import Run
from src.runs.table import Row, table
from src.status import rows, status
from tests.runs.test_escape import HOSTILE

SETTINGS = {"model": {}, "data": {"root": None}, "budget": 400}


def make(folder: Path, progress: dict | None = None, **summary: object) -> Run:
    run = Run(folder)
    run.open(SETTINGS, "continue")
    if summary:
        run.update_summary(**summary)
    if progress is not None:
        beat = BEAT | {"time": time.time()} | progress
        (run / "progress.json").write_text(json.dumps(beat))
    return run


BEAT = {
    "samples_seen": 100,
    "budget": 400,
    "rate": 10.0,
    "seconds": 12.0,
    "stage": None,
    "scores": [{"samples_seen": 50, "fid": 9.0}, {"samples_seen": 100, "fid": 7.5}],
}


def test_states(tmp_path: Path) -> None:
    metrics = {"fid10k_mnist": 3.25, "fid": 3.25, "other": 1.0}
    running = make(tmp_path / "a" / "seed=0", {"stage": "layer 1 of 2"}, status="running")
    done = {"metrics": metrics, "headline": ["fid"], "samples_seen": 400, "seconds": 50.0}
    make(tmp_path / "a" / "seed=1", {}, status="finished", **done).close()
    make(tmp_path / "b" / "seed=0", {}, status="running").close()  # it was killed
    make(tmp_path / "b" / "seed=1", status="failed", error="Training diverged: x").close()
    silent = make(tmp_path / "b" / "seed=2", {"time": time.time() - 700}, status="running")
    (tmp_path / "b" / "seed=3").mkdir()
    (tmp_path / "b" / "seed=3" / "config.yaml").write_text("a file of somebody else")
    inner = tmp_path / "a" / "seed=1" / "wandb" / "files"
    inner.mkdir(parents=True)
    (inner / "config.yaml").write_text("")
    (inner / "summary.json").write_text("{}")
    found = {row.name: row for row in rows(tmp_path)}
    assert {name: row.state for name, row in found.items()} == {
        "a/seed=0": "running",
        "b/seed=2": "running",
        "b/seed=1": "failed",
        "b/seed=0": "interrupted",
        "a/seed=1": "finished",
    }
    row = found["a/seed=0"]
    assert (row.seen, row.left, row.scores, row.note) == (100, 30.0, {"fid": 7.5}, "layer 1 of 2")
    assert found["a/seed=1"].scores == {"fid": 3.25}
    assert found["b/seed=1"].note == "Training diverged: x"
    assert found["b/seed=2"].note == "silent for 11m 40s"
    assert next(iter(found)) == "a/seed=0"  # what is on comes first
    lines = table(list(found.values())).splitlines()
    assert lines[0].split() == ["run", "state", "samples", "time", "left", "fid"]
    assert lines[1].split()[:6] == ["a/seed=0", "running", "25", "%", "of", "400"]
    assert max(map(len, lines)) < 100
    running.close()
    silent.close()


def test_what_has_no_folder_is_known_from_the_sweep(tmp_path: Path) -> None:
    make(tmp_path / "a", {}, status="running").close()
    (tmp_path / ".sweeps").mkdir()
    entries = [
        {"name": "a", "state": "interrupted", "note": "killed by SIGKILL", "overrides": []},
        {"name": "model=gn", "state": "failed", "note": "no such choice", "overrides": []},
        {"name": "b", "state": "waiting", "note": "", "overrides": []},
        {"name": "removed", "state": "interrupted", "note": "stopped", "overrides": []},
    ]
    (tmp_path / ".sweeps" / "one.json").write_text(json.dumps({"runs": entries}))
    found = [(row.name, row.state, row.note) for row in rows(tmp_path)]
    assert found == [
        ("b", "waiting", ""),
        ("model=gn", "failed", "no such choice"),
        ("a", "interrupted", "killed by SIGKILL"),
    ]


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    make(tmp_path / "a", status="finished", metrics={}).close()
    make(tmp_path / "b", status="finished").close()
    (tmp_path / "b" / "summary.json").write_text("{")
    make(tmp_path / "c", status="running").close()
    (tmp_path / "c" / "progress.json").write_text("{}}")
    found = {row.name: row for row in rows(tmp_path)}
    assert [found[name].state for name in "abc"] == ["finished", "damaged", "damaged"]
    assert "summary.json" in found["b"].note


@pytest.mark.parametrize("name", ["summary.json", "progress.json"])
@pytest.mark.parametrize("content", [
    "", "[]", "[1]", "3", '{"samples_seen": "100"}', '{"seconds": {}}', '{"scores": [1]}', b"\xff",
    '{"status": ["finished"]}', '{"status": "finished", "metrics": {"fid": "x"}, "headline": [3]}',
    '{"status": "failed", "error": ["x"]}',
])  # fmt: skip
def test_a_damaged_file_ends_no_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    make(tmp_path / "a", {}, status="running").close()
    made = content.encode() if isinstance(content, str) else content
    (tmp_path / "a" / name).write_bytes(made)
    make(tmp_path / "b", status="finished").close()
    found = rows(tmp_path)
    assert [(row.name, row.state) for row in found] == [("a", "damaged"), ("b", "finished")]
    assert name in found[0].note
    assert "damaged" in table(found)


@pytest.mark.parametrize("content", [
    '{"overrides": [], "ru', "", "[]", "null", "{}", '{"runs": {}}', '{"runs": [{"name": "x"}]}',
    '{"runs": [{"name": "x", "state": "waiting", "note": null}]}', b"\xff",
])  # fmt: skip
def test_a_damaged_record_of_a_sweep_is_skipped(tmp_path: Path, content: str | bytes) -> None:
    make(tmp_path / "a", status="finished").close()
    (tmp_path / ".sweeps").mkdir()
    made = content.encode() if isinstance(content, str) else content
    (tmp_path / ".sweeps" / "a.json").write_bytes(made)
    entry = {"name": "b", "state": "waiting", "note": ""}
    (tmp_path / ".sweeps" / "b.json").write_text(json.dumps({"runs": [entry]}))
    assert [row.name for row in rows(tmp_path)] == ["b", "a"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_notes_of_strangers_are_one_line_each(name: str) -> None:
    made = [Row(name, name, 5, 10, 3.0, 4.0, {name: 1.0, "fid": 2.0}, name) for _ in range(2)]
    head, *lines = table([*made, Row("a" * 300, "running", note="b" * 300)]).split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in (head, *lines))
    assert lines[0].startswith(line(name))
    assert "fid" in head.split()
    assert lines[2] == f"{'a' * 196} ...  running{' ' * (len(lines[2]) - 409)}{'b' * 196} ..."
    assert lines[2].encode()


def test_times_that_are_none() -> None:
    made = Row("a", "running", 5, 10, float("inf"), float("nan"), {"fid": float("nan")})
    assert table([made]).splitlines()[1].split() == ["a", "running", "50", "%", "of", "10", "nan"]


@pytest.mark.parametrize("beat", [{"rate": 5e-324}, {"time": -1e308}, {"seconds": float("nan")}])
def test_a_clock_that_is_none_ends_no_table(tmp_path: Path, beat: dict) -> None:
    run = make(tmp_path / "a", beat, status="running")
    assert len(table(rows(tmp_path)).splitlines()) == 2
    run.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make(tmp_path / "x=1,y" / "seed=0", status="finished", samples_seen=12_345).close()
    launch("status", check_status, status, [f"runs={tmp_path}"])
    told = capsys.readouterr().out
    assert "x=1,y/seed=0" in told
    assert "12,345" in told
    assert told.endswith("1 finished\n")
    with pytest.raises(SystemExit, match="there is no such folder"):
        launch("status", check_status, status, [f"runs={tmp_path}/x=1/none"])


def test_the_scores_that_most_runs_have_are_shown() -> None:
    scores = [{f"s{i}": 1.0 for i in range(j, 8)} for j in range(8)]
    assert all(f"s{i}" in table([Row("a", "finished", scores=scores[0])]) for i in range(8))
    found = [Row(f"r{j}", "finished", scores=own) for j, own in enumerate([scores[0], *scores])]
    found.insert(0, Row("theirs", "finished", scores={f"t{i}": 2.0 for i in range(150)}))
    told = table(found)
    assert told.splitlines()[0].split() == ["run", "state", *(f"s{i}" for i in range(8))]
    assert told.splitlines()[-1] == "(and 150 other numbers)"
    assert max(map(len, told.splitlines())) < 120


def test_a_reader_that_has_read_enough_ends_it_quietly(tmp_path: Path) -> None:
    make(tmp_path / "outputs" / "a", {})
    command = f"{sys.executable} -m src.status runs={tmp_path}/outputs"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 141)  # 0: it was the faster one
    assert done.stderr == ""


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"^error: (?s:.*)x\nNo file can have a name of this length"
    ):
        launch("status", check_status, status, [f"runs={tmp_path}/{'x' * 300}"])


def test_an_ascii_terminal(tmp_path: Path) -> None:
    make(tmp_path / "é", {})
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "src.status", f"runs={tmp_path}"],
        check=False,
        env=os.environ | ascii_only,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "25 % of 400" in done.stdout
