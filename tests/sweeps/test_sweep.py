"""Many runs by one command: whatever becomes of one, the others come to their end."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.config.checks import check
from src.runs.run import Run
from src.status import rows
from src.sweeps import launchers
from src.sweeps.launchers import Basic, Joblib, visible_gpus
from src.sweeps.sweep import sweep
from src.sweeps.worker import Order, Outcome
from tests.conftest import QUICK, UNDRAWN

TOY = (*QUICK, *UNDRAWN, "model=gaussian_gan", "data=gaussian", "callbacks.progress.heartbeat=0.2")
RATE = "model.g_optimizer.lr"


ROOT = str(Path(__file__).parent.parent)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ROOT)  # for the processes that are started from there


def run(*words: str) -> int:
    return sweep([*TOY, *words], check)


def states(text: str) -> dict[str, str]:
    """The last table's states, by the ends of the runs' names."""
    lines = text.rpartition("\nrun ")[2].splitlines()[1:]
    table = lines[: lines.index("")]
    pattern = "finished before|finished|resumed|failed|interrupted|waiting"
    found = [re.match(rf"(.*?)\s+({pattern})\b", line) for line in table]
    return {match[1].removeprefix("gaussian/gaussian_gan/"): match[2] for match in found}


def started(folder: Path, patience: float = 240.0) -> int:
    """The process that trains in a folder, as soon as it does."""
    for _ in range(int(patience / 0.02)):
        if process := Run(folder).progress.get("process"):
            return int(process.split()[0])
        time.sleep(0.02)
    raise TimeoutError(folder)


def test_no_failure_touches_another_run(capsys: pytest.CaptureFixture) -> None:
    """Several cannot be, one diverges; the good one ends as it does alone."""
    words = (f"{RATE}=-1,1e+300,0.01", "seed=0,-5", "budget=400")
    assert run(*words) == 1
    told = capsys.readouterr().out
    names = {
        rate: f"metrics=none,budget=400,g_optimizer.lr={rate}/seed=0" for rate in ("1e+300", "0.01")
    }
    assert states(told) == {
        names["0.01"]: "finished",
        names["1e+300"]: "failed",
        f"{RATE}=-1 seed=0": "failed",
    } | {f"{RATE}={rate} seed=-5": "failed" for rate in ("-1", *names)}
    assert "seed=-5 must be from 0" in told
    assert re.search(r"lr=-1 seed=0 .*lr=-1 must be float above 0", told)
    assert re.search(r"lr=1e\+300/seed=0 .*Training diverged: .* is (nan|inf)", told)
    outputs = Path("outputs/gaussian/gaussian_gan")
    assert "error: Training diverged" in (outputs / names["1e+300"] / "log.txt").read_text()
    assert run(*words) == 1  # what failed is tried again, what is finished is not
    assert states(capsys.readouterr().out)[names["0.01"]] == "finished before"
    assert (outputs / names["0.01"] / "log.txt").read_text().count("--- ") == 1
    assert (outputs / names["1e+300"] / "log.txt").read_text().count("--- ") == 2


def test_a_run_that_hangs_and_is_killed(capsys: pytest.CaptureFixture) -> None:
    folder = Path("outputs/gaussian/gaussian_gan/metrics=none,budget=2000/seed=0").resolve()
    seen = []

    def hang_and_kill() -> None:
        process = started(folder)
        os.kill(process, signal.SIGSTOP)
        seen.extend(rows(Path("outputs").resolve()))
        os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=hang_and_kill)
    thread.start()
    words = ("seed=0,1", "budget=2000", "callbacks.checkpoint.seconds=0")
    assert run(*words) == 1
    thread.join()
    assert [row.state for row in seen] == ["running", "waiting"]
    told = capsys.readouterr().out
    first, second = "metrics=none,budget=2000/seed=0", "metrics=none,budget=2000/seed=1"
    assert states(told) == {first: "interrupted", second: "finished"}
    assert "killed by SIGKILL" in told
    assert {row.state for row in rows(Path("outputs"))} == {"interrupted", "finished"}
    assert run(*words) == 0
    assert states(capsys.readouterr().out)[second] == "finished before"
    assert Run(folder).summary["status"] == "finished"
    assert Run(folder).summary["samples_seen"] == 2000


def test_a_stop_is_for_one_attempt() -> None:
    """An old request does not end a run."""
    folder = Path("outputs/gaussian/gaussian_gan/metrics=none,budget=400/seed=0")
    folder.mkdir(parents=True)
    (folder / ".stop").write_text("another")
    assert run("seed=0", "budget=400") == 0


# Another process trains one of the runs


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_in_other_hands_is_waited_for(ends: bool, capsys: pytest.CaptureFixture) -> None:
    """The others first; if it was left unfinished, it is done here."""
    outputs = Path("outputs/gaussian/gaussian_gan/metrics=none,budget=400").resolve()
    first, second = outputs / "seed=0", outputs / "seed=1"
    assert run("seed=0", "budget=400") == 0
    elsewhere = first.rename(outputs.parent / "elsewhere")
    holder = Run(first)
    holder.lock()

    def finish_elsewhere() -> None:
        while Run(second).summary.get("status") != "finished":
            time.sleep(0.05)
        if ends:
            shutil.copytree(elsewhere, first, dirs_exist_ok=True)
            # The copy has a lock of its own; it is the first that is held until now.
        holder.close()

    thread = threading.Thread(target=finish_elsewhere)
    thread.start()
    assert run("seed=0,1", "budget=400") == 0
    thread.join()
    told = capsys.readouterr().out
    assert "waiting: gaussian/gaussian_gan/metrics=none,budget=400/seed=0" in told
    assert list(states(told).values()) == ["finished before" if ends else "finished", "finished"]
    assert (first / "log.txt").read_text().count("Training in") == 1
    assert Run(first).summary["samples_seen"] == 400


def test_a_run_that_another_process_took_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Between the look at its folder and its start."""
    orders = []

    class Late(Basic):
        def submit(self, order: Order) -> Future[Outcome]:
            orders.append(order)
            if len(orders) > 1:
                return super().submit(order)
            holder = Run(Path(order.folder))
            holder.lock()
            future = super().submit(order)
            future.add_done_callback(lambda _: holder.close())
            return future

    monkeypatch.setattr(launchers, "Basic", Late)
    assert run("seed=0", "budget=400") == 0
    assert len(orders) == 2
    told = capsys.readouterr().out
    assert "another process trains it" in told
    assert list(states(told).values()) == ["finished"]


# Where runs take place: the end of a worker, as Ray or SLURM tell it


class Unreliable(Basic):
    """Every other place is lost."""

    def __init__(self) -> None:
        self.slots, self.orders = 2, []

    def submit(self, order: Order) -> Future[Outcome]:
        self.orders.append(order)
        future: Future[Outcome] = Future()
        if len(self.orders) % 2:
            future.set_exception(ConnectionError("the host is gone\nand more"))
        else:
            future.set_result(Outcome("finished"))
        return future


def test_a_lost_worker_is_one_lost_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    launcher = Unreliable()
    monkeypatch.setattr(launchers, "Basic", lambda: launcher)
    assert run("seed=range(4)") == 1
    assert list(states(capsys.readouterr().out).values()) == ["interrupted", "finished"] * 2
    assert len(launcher.orders) == 4
    record = json.loads(next(Path("outputs/.sweeps").glob("*.json")).read_text())
    assert record["runs"][0]["note"] == "ConnectionError: the host is gone"


def test_the_same_run_in_two_words_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Unreliable()
    monkeypatch.setattr(launchers, "Basic", lambda: launcher)
    run("seed=0,0", "model.batch_size=20,20")
    assert len(launcher.orders) == 1


def test_a_sweep_keeps_its_group_and_its_runs_share_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launcher = Unreliable()
    monkeypatch.setattr(launchers, "Basic", lambda: launcher)
    run("seed=0,1")
    monkeypatch.setattr(time, "strftime", lambda _: "2099-01-01")  # another day
    run("seed=0,1", "wandb.project=x", "hydra.sweeper.max_batch_size=1")
    groups = {order.settings["wandb"]["group"] for order in launcher.orders}
    assert len(launcher.orders) == 4
    assert len(groups) == 1
    assert groups == {order.settings["logger"]["wandb"]["group"] for order in launcher.orders}
    run("seed=0,2")
    run("seed=3", "wandb.group=mine")
    groups = [order.settings["wandb"]["group"] for order in launcher.orders[4:]]
    assert len({*groups}) == 2
    assert groups[-1] == "mine"


class Written(Basic):
    """Each run ends at once, but for the last, and leaves the given files behind."""

    def __init__(self, runs: int, **files: str) -> None:
        self.slots, self.files, self.left = runs, files, runs

    def submit(self, order: Order) -> Future[Outcome]:
        self.left -= 1
        folder = Path(order.folder)
        Run(folder).store(order.settings)
        for name, text in self.files.items():
            (folder / f"{name}.json").write_text(text)
        future: Future[Outcome] = Future()
        late = threading.Timer(0.3 * (not self.left), future.set_result, [Outcome("finished")])
        late.start()
        return future


SCORED = json.dumps({"status": "finished", "headline": ["fid"], "metrics": {"fid": 1.0}})


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"progress": "{", "summary": SCORED}, "finished"),
        ({"progress": "[1]", "summary": SCORED}, "finished"),
        ({"progress": '{"samples_seen": 1}', "summary": SCORED}, "finished"),
        ({"summary": "{"}, "failed"),
    ],
)
def test_a_damaged_file_is_that_runs_own(
    files: dict[str, str],
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    launcher = Written(2, **files)
    monkeypatch.setattr(launchers, "Basic", lambda: launcher)
    assert run("seed=0,1") == (state == "failed")
    told = capsys.readouterr().out
    assert list(states(told).values()) == [state] * 2
    assert ("summary.json is damaged" in told) == (state == "failed")
    assert "log.txt" not in told


OPTUNA = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "model.batch_size=8,16")


@pytest.mark.skipif(not find_spec("optuna"), reason="optuna is not installed")
def test_what_is_sought_is_part_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """How much, how and where is not."""
    places = []
    # The last argument is where the sweep is recorded.
    noted = lambda *given: SimpleNamespace(run=lambda: places.append(given[-1]))  # noqa: E731
    monkeypatch.setattr("src.sweeps.sweep._Sweep", noted)
    recipe = ("experiment=mnist_variants", "seed=0")
    for words, sweeps in (
        (OPTUNA, 1),
        ((*OPTUNA, "hydra.sweeper.n_trials=2", "hydra.sweeper.direction=minimize"), 1),
        ((*OPTUNA, "hydra.sweeper.pruner=none", "hydra/launcher=joblib"), 1),
        ((*OPTUNA, "hydra.sweeper.direction=maximize"), 2),
        ((*OPTUNA, "hydra.sweeper.metric=fid"), 3),
        (recipe, 4),
        ((*recipe, "hydra.sweeper.max_batch_size=2"), 4),
        ((*recipe, "hydra.sweeper.params.model=gan"), 5),
    ):
        run(*words)
        assert len({*places}) == sweeps, words


@pytest.mark.skipif(not find_spec("optuna"), reason="optuna is not installed")
def test_a_reason_of_the_sweeper_is_not_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(launchers, "Basic", lambda: Written(1, summary=SCORED))
    assert run(*OPTUNA, "hydra.sweeper.metric=kid") == 1
    told = capsys.readouterr().out
    assert "it has no number kid: fid" in told
    assert "log.txt" not in told
    assert "The same command again" not in told


def test_when_the_same_command_again_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(launchers, "Basic", Unreliable)
    assert run("seed=-1,-2") == 1
    assert "The same command again" not in capsys.readouterr().out
    assert run("seed=-1,2") == 1
    assert "The same command again" in capsys.readouterr().out


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    orders: list[Order] = []
    monkeypatch.setattr(launchers, "_in_thread", lambda _: Future())
    monkeypatch.setattr(launchers, "replace", lambda order, **new: orders.append(new) or order)
    assert Joblib().slots == 2
    launcher = Joblib(n_jobs=3)
    futures = [launcher.submit(Order({}, {}, "", "")) for _ in range(3)]
    futures[1].set_result(Outcome("finished"))
    launcher.submit(Order({}, {}, "", ""))
    given = [new["environment"]["CUDA_VISIBLE_DEVICES"] for new in orders]
    assert given == ["2", "5", "2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("choice", "module"),
    [("ray", "ray"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit")],
)
def test_an_extra_that_is_not_installed(
    choice: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = launchers.importlib.util.find_spec
    monkeypatch.setattr(
        launchers.importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )
    with pytest.raises(ValueError, match=rf"{choice} needs {module}: pip install") as caught:
        run("seed=0", f"hydra/launcher={choice}")
    assert len(str(caught.value).splitlines()) == 1


# For real, as a user calls it


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Start a sweep in a process of its own."""

    def start(*words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "src.train", "-m", *TOY, *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Who runs the tests may have it ignored, as in the background of a shell.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    return start


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "ray", "submitit_local"])
def test_launchers(launcher: str, command: Callable) -> None:
    needed = {"submitit_local": "submitit"}.get(launcher, launcher)
    if launcher != "basic" and not find_spec(needed):
        pytest.skip(f"{needed} is not installed")
    words = (f"{RATE}=-1,0.01", "seed=0,1", "budget=400", f"hydra/launcher={launcher}")
    process = command(*words)
    told = process.communicate(timeout=600)[0]
    assert process.returncode == 1, told
    assert list(states(told).values()).count("finished") == 2
    assert list(states(told).values()).count("failed") == 2
    assert told.count("Invalid learning rate") >= 2


@pytest.mark.slow
def test_two_sweeps_share_the_runs(command: Callable, tmp_path: Path) -> None:
    """The same command twice, at the same time."""
    words = ("seed=range(6)", "budget=4000")
    processes = [command(*words) for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    counts = [list(states(text).values()) for text in told]
    done = sum(here.count("finished") for here in counts)
    before = sum(here.count("finished before") for here in counts)
    assert (done, before) == (6, 6), told
    assert all(here.count("finished") > 0 for here in counts)
    for log in tmp_path.glob("outputs/gaussian/gaussian_gan/*/seed=*/log.txt"):
        assert log.read_text().count("Training in") == 1


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("optuna"), reason="optuna is not installed")
def test_two_searches_share_the_study(command: Callable, tmp_path: Path) -> None:
    words = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "model.batch_size=range(8,40)")
    words += ("metrics=toy", "budget=20000", "callbacks.quality.every=5000")
    processes = [command(*words) for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert all("Best of" in text for text in told)
    for log in tmp_path.glob("outputs/gaussian/gaussian_gan/*/seed=*/log.txt"):
        assert log.read_text().count("Training in") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_whole_sweep_that_is_killed(number: int, command: Callable, tmp_path: Path) -> None:
    """At a random moment, three times; what was finished stays so, and the rest is done."""
    words = ("seed=range(6)", "budget=6000", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    moments = random.Random(int(number))
    folders = [
        tmp_path / f"outputs/gaussian/gaussian_gan/metrics=none,budget=6000/seed={i}"
        for i in range(6)
    ]
    written: dict[Path, int] = {}
    for _ in range(3):
        process = command(*words)
        while not any(Run(folder).in_use for folder in folders):
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 3))
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        told = process.communicate(timeout=300)[0]
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), told
        if number != signal.SIGKILL:
            assert not any(Run(folder).in_use for folder in folders)
        for folder in folders:
            path = folder / "summary.json"
            if Run(folder).summary.get("status") == "finished":
                assert written.setdefault(folder, path.stat().st_mtime_ns) == (
                    path.stat().st_mtime_ns
                )
    process = command(*words)
    told = process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    assert set(states(told).values()) <= {"finished before", "finished", "resumed"}
    assert list(states(told).values()).count("finished before") == len(written)
    for folder in folders:
        assert Run(folder).summary["samples_seen"] == 6000
        assert not Run(folder).in_use


def test_seeds_of_a_variant_share_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from src.training import trainer as build

    named = []
    monkeypatch.setattr(build, "build", lambda *_, **given: named.append(given.get("name")))
    settings = {"wandb": {"mode": "offline"}, "logger": {"csv": {}, "wandb": {}}, "plugins": []}
    for folder in ("outputs/mnist/gan/budget=7/seed=3", "mine"):
        with build.build_loggers(settings, Path(folder)):
            pass
    assert named == [None, "mnist/gan/budget=7", None, "mine"]
