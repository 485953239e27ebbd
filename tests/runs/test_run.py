"""The run folder: whole files or none, one process at a time, and nothing is lost by a refusal."""

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import src
from src.config.composition import compose, plain
from src.errors import SettingError
from src.runs import provenance as provenance_module
from src.runs.files import appending, write_atomically
from src.runs.provenance import git_commit, provenance
from src.runs.run import CONTENTS, Run, run_folders
from tests.conftest import contents

SETTINGS = plain(
    compose("train", ["model=tiny", "data=slanted_land", "budget=100", "hydra.run.dir=unused"])
)


def changed(**entries: object) -> dict:
    return SETTINGS | entries


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "some" / "run")


def trained(run: Run, status: str = "running") -> Run:
    """As a run looks that has a checkpoint; its lock is free again."""
    assert run.open(SETTINGS, "continue") == "new"
    run.update_summary(status=status, samples_seen=50)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_text("weights")
    (run / "samples").mkdir()
    (run / "samples" / "final.png").write_text("picture")
    (run / "metrics.csv").write_text("samples_seen,loss\n50,1.0\n")
    return reopened(run)


def reopened(run: Run) -> Run:
    """As the next process sees it."""
    run.close()
    return Run(run.folder)


# Writing


@pytest.mark.parametrize("content", ["text é\n", b"\x00\xff"])
def test_write_atomically(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "file"
    for _ in range(2):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod", "fdopen"])
def test_a_failed_write_leaves_the_old_file(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(SettingError, match="No space left on device") as caught:
        write_atomically(path, "new")
    message = str(caught.value)
    assert str(path) in message
    assert "hydra.run.dir" in message
    assert len(message.splitlines()) <= 3
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_kill_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Cannot write"):
        write_atomically(tmp_path / "file" / "below", "x")
    with pytest.raises(SettingError, match="Cannot write"):
        Run(tmp_path / "file" / "run").open(SETTINGS, "continue")


# States


def test_new_interrupted_finished(run: Run) -> None:
    assert run.open(SETTINGS, "continue") == "new"
    assert run.settings == SETTINGS
    run = trained(reopened(run))
    assert run.open(SETTINGS, "continue") == "interrupted"
    run.update_summary(status="finished")
    assert Run(run.folder).summary == {"status": "finished", "samples_seen": 50}
    assert reopened(run).open(SETTINGS, "continue") == "finished"


def test_killed_before_the_first_checkpoint(run: Run) -> None:
    run.open(SETTINGS, "continue")
    run.update_summary(status="running")
    assert Run(run.folder).checkpoint is None
    assert reopened(run).open(SETTINGS, "continue") == "new"


def test_a_call_that_failed_before_it_began_is_forgotten(run: Run) -> None:
    run.open(SETTINGS, "continue")
    run = reopened(run)
    assert run.open(changed(budget=7), "continue") == "new"
    assert run.settings["budget"] == 7


def test_the_checkpoint_before_the_last(run: Run) -> None:
    run = trained(run)
    last, previous = (run / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    previous.write_text("older")
    assert run.checkpoint == last
    last.unlink()
    assert run.checkpoint == previous
    assert run.open(SETTINGS, "continue") == "interrupted"


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "finished"])
def test_a_changed_configuration_is_refused(run: Run, status: str) -> None:
    run = trained(run, status)
    before = contents(run.folder)
    other = changed(budget=200, model=SETTINGS["model"] | {"batch_size": 2})
    with pytest.raises(SettingError) as caught:
        run.open(other, "continue")
    message = str(caught.value)
    assert "budget: 100 -> 200" in message
    assert "model.batch_size: 1 -> 2" in message
    assert "model.clip" not in message
    assert "existing=restart" in message
    assert len(message.splitlines()) <= 3
    assert contents(run.folder) == before


def test_added_and_removed_settings_are_differences(run: Run) -> None:
    run = trained(run)
    model = {key: value for key, value in SETTINGS["model"].items() if key != "clip"}
    with pytest.raises(
        SettingError, match=r"model\.beta: absent -> 2; model\.clip: None -> absent"
    ):
        run.open(changed(model=model | {"beta": 2}), "continue")


def test_what_does_not_bear_on_the_result_may_change(run: Run) -> None:
    run = trained(run)
    data = SETTINGS["data"] | {"root": "/elsewhere"}
    other = changed(wandb=SETTINGS["wandb"] | {"mode": "disabled"}, data=data, existing="resume")
    assert run.open(other, "continue") == "interrupted"


def test_resume_in_spite_of_a_change(run: Run) -> None:
    run = trained(run, "finished")
    before = contents(run.folder)
    assert run.open(changed(budget=200), "resume") == "interrupted"
    assert contents(run.folder) == before  # it may still prove impossible
    run.store(changed(budget=200))
    assert reopened(run).open(changed(budget=200), "continue") == "finished"


def test_restart_removes_what_the_run_wrote(run: Run) -> None:
    run = trained(run, "finished")
    (run / "wandb").mkdir()
    (run / "notes.txt").write_text("mine")
    assert run.open(changed(budget=7), "restart") == "new"
    assert sorted(contents(run.folder)) == ["config.yaml", "notes.txt"]
    assert run.settings["budget"] == 7


def test_restart_of_nothing_is_new(run: Run) -> None:
    assert run.open(SETTINGS, "restart") == "new"


@pytest.mark.parametrize("existing", ["continue", "resume", "restart"])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, existing: str) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("somebody else's")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingError, match="holds files, but no run"):
        Run(tmp_path).open(SETTINGS, existing)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", ["model: {name: resnet}\nepochs: 3\n", "", "- 1\n", "a: [", "\0"])
def test_somebody_elses_config_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("somebody else's")
    before = contents(tmp_path)
    for existing in ("continue", "resume", "restart"):
        with pytest.raises(SettingError, match=r"config\.yaml"):
            Run(tmp_path).open(SETTINGS, existing)
    assert contents(tmp_path) == before


def test_a_restart_that_is_killed_leaves_a_run_folder(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(run, "finished")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", kill)
    with pytest.raises(KeyboardInterrupt):
        run.open(SETTINGS, "restart")
    monkeypatch.undo()
    assert reopened(run).open(SETTINGS, "continue") == "interrupted"


def test_contents_end_with_what_makes_it_a_run() -> None:
    assert CONTENTS[-1] == "config.yaml"


# Reading


def test_not_a_run_folder(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing", Path(__file__)):
        with pytest.raises(SettingError, match=r"run=.* is not a run folder") as caught:
            _ = Run(folder).settings
        assert len(str(caught.value).splitlines()) <= 3


def test_a_configuration_with_objects_in_it_is_not_read(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    bomb = f"model: !!python/object/apply:os.mkdir ['{marker}']\ndata: {{}}\nbudget: 1\n"
    (tmp_path / "config.yaml").write_text(bomb)
    yaml.unsafe_load(bomb)
    marker.rmdir()  # so the bomb would work
    with pytest.raises(SettingError):
        _ = Run(tmp_path).settings
    assert not marker.exists()


@pytest.mark.parametrize("text", ['{"status": "fini', "[]", ""])
def test_a_damaged_summary(text: str, run: Run) -> None:
    run = trained(run, "finished")
    (run / "summary.json").write_text(text)
    before = contents(run.folder)
    with pytest.raises(SettingError, match=r"summary\.json is damaged.*existing=restart"):
        run.open(SETTINGS, "continue")
    assert contents(run.folder) == before
    assert reopened(run).open(SETTINGS, "restart") == "new"


def test_the_summary_grows(run: Run) -> None:
    run.update_summary(status="running", metrics={"fid": 3.5})
    run.update_summary(status="finished", name="é")
    expected = {"status": "finished", "metrics": {"fid": 3.5}, "name": "é"}
    assert run.summary == expected
    assert json.loads((run / "summary.json").read_text()) == expected


# The lock


def test_two_in_one_process(run: Run) -> None:
    run.open(SETTINGS, "continue")
    with pytest.raises(SettingError, match="in use"):
        Run(run.folder).open(SETTINGS, "continue")


def test_two_processes(run: Run) -> None:
    code = """
import sys
from pathlib import Path
from src.runs.run import Run
run = Run(Path(sys.argv[1]))
run.lock()
print("locked", flush=True)
sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(src.__file__).parents[1],
    )
    try:
        assert other.stdout.readline() == b"locked\n"
        before = contents(run.folder)
        for existing in ("continue", "restart"):
            with pytest.raises(SettingError, match=r"in use.*\n.*hydra\.run\.dir"):
                run.open(SETTINGS, existing)
        assert contents(run.folder) == before
    finally:
        other.kill()  # as hard as it gets: the lock is free at once
        other.wait()
    assert Run(run.folder).open(SETTINGS, "continue") == "new"


# Where it comes from


def test_provenance() -> None:
    record = provenance()
    assert {"python", "torch", "lightning"} <= record["versions"].keys()
    assert json.loads(json.dumps(record)) == record


def _git(folder: Path) -> Callable[..., str]:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", *identity, *words]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return git


def test_git_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("src/runs", "conf"):
        (tmp_path / name).mkdir(parents=True)
    module = tmp_path / "src" / "runs" / "provenance.py"
    module.write_text("")
    (tmp_path / "conf" / "train.yaml").write_text("")
    monkeypatch.setattr(provenance_module, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None  # outside of git
    git = _git(tmp_path)
    git("init")
    assert git_commit() is None  # somebody else's repository, as around an installed copy
    git("add", ".")
    git("commit", "-m", "x")
    assert git_commit() == git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "conf" / "train.yaml").write_text("seed: 1")
    assert git_commit() == git("rev-parse", "--short=12", "HEAD") + "+changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None


def test_a_stray_summary_hides_no_run_below(run: Run) -> None:
    trained(run)
    top = run.folder.parent
    (top / "summary.json").write_text("{}")
    (run / "samples" / "summary.json").write_text("{}")
    assert list(run_folders(top)) == [top, run.folder]


# What would be waited for, or renamed


@pytest.mark.parametrize("name", [
    "log.txt", ".stop", "notes", "checkpoints/.last.ckpt", "checkpoints/x.ckpt", "samples/a/b",
])  # fmt: skip
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_neither_file_nor_folder_is_refused(name: str, kind: str, run: Run) -> None:
    run = trained(run)
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    assert run.look(SETTINGS, "continue") == "interrupted"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        bound = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket must be short
        bound.bind(path.name)
        os.chdir(here)
        bound.close()
    for existing in ("continue", "resume", "restart"):
        for step in (run.look, run.open):
            with pytest.raises(SettingError, match="is neither file nor folder") as caught:
                step(SETTINGS, existing)
            assert str(path) in str(caught.value)


def test_what_killed_writers_left_is_swept_away(run: Run) -> None:
    """And nothing else: not what looks alike, nor what another command may be writing."""
    run = trained(run)
    ours = (
        *(".config.yaml.abcdefgh", ".summary.json.0123_xyz", "checkpoints/.last.ckpt.a1b2c3d4"),
        *("checkpoints/.last.ckpt", "checkpoints/.previous", "samples/.0000000250.png.abcdefgh"),
        *(".metrics.csv.abcdefgh", ".progress.json.abcdefgh", "..stop.abcdefgh"),
    )
    others = (
        *(".evaluations.json.abcdefgh", ".summary.json.old", "samples/.notes", ".abcdefgh"),
        *("wandb/.summary.json.abcdefgh", "checkpoints/.mine.abcdefgh", ".config.yaml.ABCDEFGH"),
    )
    (run / "wandb").mkdir()
    for name in (*ours, *others):
        (run / name).write_text("half")
    before = {path for path in run.folder.rglob("*") if path.is_file()}
    run.look(SETTINGS, "continue")
    assert {path for path in run.folder.rglob("*") if path.is_file()} == before
    run.open(SETTINGS, "continue")
    left = {path for path in run.folder.rglob("*") if path.is_file()}
    assert before - left == {run / name for name in ours}


def test_only_wandbs_own_link_leads_out(run: Run, tmp_path: Path) -> None:
    """Its logger links to a log in its cache; the run is found finished, and goes on."""
    trained(run, "finished")
    logs = run / "wandb" / "offline-run-1" / "logs"
    logs.mkdir(parents=True)
    (tmp_path / "core-debug.log").touch()
    (logs / "debug-core.log").symlink_to(tmp_path / "core-debug.log")
    assert run.look(SETTINGS, "continue") == "finished"
    assert run.open(changed(budget=200), "resume") == "interrupted"
    for name in ("wandb/debug-core.log", "wandb/offline-run-1/logs/debug.log", "samples/a.png"):
        (run / name).symlink_to(tmp_path / "core-debug.log")
        with pytest.raises(SettingError, match="leads out"):
            run.look(SETTINGS, "continue")
        (run / name).unlink()


def test_a_log_is_a_file(tmp_path: Path) -> None:
    for _ in range(2):
        with appending(tmp_path / "log.txt") as file:
            print("a line", file=file)
    assert (tmp_path / "log.txt").read_text() == "a line\n" * 2
    (tmp_path / "link").symlink_to("log.txt")
    (tmp_path / "dangling").symlink_to("new")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("link", "dangling", "pipe"):
        with pytest.raises(SettingError, match="is no regular file"):
            appending(tmp_path / name)
    os.close(reader)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "log.txt").read_text() == "a line\n" * 2


def test_a_run_keeps_its_name_whatever_links_lead_to_it(tmp_path: Path) -> None:
    for name in ("mine/default/seed=2", "b", "mine/default/seed=10"):
        made = Run(tmp_path / "runs" / name)
        made.open(SETTINGS, "continue")
        made.close()
    (tmp_path / "runs" / "a_theirs").mkdir()
    (tmp_path / "runs" / "a_theirs" / "x").symlink_to("../mine/default/seed=2")
    elsewhere = Run(tmp_path / "elsewhere")
    elsewhere.open(SETTINGS, "continue")
    elsewhere.close()
    (tmp_path / "runs" / "c").symlink_to(elsewhere.folder)
    found = [str(path.relative_to(tmp_path / "runs")) for path in run_folders(tmp_path / "runs")]
    assert found == ["b", "c", "mine/default/seed=10", "mine/default/seed=2"]


# The clock


def test_the_clock(run: Run) -> None:
    run = trained(run)
    (run / "metrics.csv").write_text("samples_seen,seconds,loss\n50,1.5,2\n60,,3\n70,2.5,4\n80,3")
    assert run.clock == ([50, 70], [1.5, 2.5])
    (run / "metrics.csv").write_text("samples_seen,loss\n50,1.5\n")
    assert run.clock == ([], [])


def test_a_clock_of_millions_of_rows_is_damaged(run: Run) -> None:
    run = trained(run)
    (run / "metrics.csv").write_text("samples_seen,seconds\n" + "1,1\n" * 8_000_000)
    begin = time.process_time()
    with pytest.raises(SettingError, match="more than 200,000 rows"):
        _ = run.clock
    assert time.process_time() - begin < 2


def test_progress_of_many_numbers_is_damaged(run: Run) -> None:
    run = trained(run)
    beat = {"samples_seen": 1, "budget": 9, "seconds": 1, "rate": 1, "time": 1, "scores": []}
    for names, right in ((200, True), (201, False)):
        scores = [{f"a{i}": 1 for i in range(names)}]
        (run / "progress.json").write_text(json.dumps(beat | {"scores": scores}))
        if right:
            assert run.progress["scores"] == scores
        else:
            with pytest.raises(SettingError, match="more than 200 numbers"):
                _ = run.progress


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(
    number: int, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Some network file systems: the run goes on, and a note says what nobody looks after."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run.open(SETTINGS, "continue") == "new"
    assert "has no locks" in capsys.readouterr().out
    assert not run.in_use


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_finished_run_on_a_disk_that_is_read_only(
    number: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(run, "finished").close()

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Run, "_open_lock", refuse)
    assert Run(run.folder).open(SETTINGS, "continue") == "finished"
    with pytest.raises(SettingError, match="Cannot write"):
        Run(run.folder).open(SETTINGS, "restart")
    with pytest.raises(SettingError, match="another configuration"):
        Run(run.folder).open(changed(budget=7), "continue")
