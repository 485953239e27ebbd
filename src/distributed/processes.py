"""Starts the ranks of one model as processes of this machine, and watches over them.

`python -m src.train trainer.devices=2` holds the run folder and does nothing but this; the ranks
(`src/distributed/ranks.py`) are children that get the checked configuration on their standard
input. So they start in the same way from a command line, in a sweep and from Python, and none can
die, nor hang for one that died, without the run ending in an error. This module
imports torch in the children only.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from src.errors import SettingError, TrainingError
from src.runs.run import Run

GRACE = 5.0  # seconds in which the others may end by themselves after one has failed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = tuple(128 + number for number in SIGNALS)


class RankError(RuntimeError):
    """A rank failed by an error that is no user's; its traceback is in the text."""


def train_on_ranks(
    settings: Mapping[str, Any], choices: Mapping[str, str], run: Run, resume: bool
) -> None:
    """Train one run on `trainer.devices` ranks, to the end.

    Args:
        settings: checked and resolved.
        choices: the names of its presets and parts, for the record.
        run: locked by this process.
        resume: True if its checkpoint is where to begin.

    Raises:
        SettingError, TrainingError: as a rank raised it, or if a rank was killed.
        RankError: if one failed otherwise.
        SystemExit: after a signal of `SIGNALS`, when rank 0 has saved.
    """
    before = run.summary
    with tempfile.TemporaryDirectory(prefix="sparring-ranks-") as folder:
        task = {"settings": settings, "choices": choices, "run": str(run.folder)}
        task["path"] = list(map(str, sys.path))
        ranks = _start(task | {"resume": resume, "folder": folder}, run)
        try:
            with _passing_signals_on(ranks[0]) as passed:
                _wait(ranks)
        finally:
            killed = [process.poll() is None for process in ranks]
            for process in ranks:
                process.kill()
                process.wait()
        codes = [process.returncode for process in ranks]
        if codes[0] == 0:
            return
        if codes[0] in STOPPED or passed:
            sys.exit(codes[0] if codes[0] in STOPPED else 128 + passed[-1])
        error = _first_error(codes, killed, Path(folder))
    if run.summary != before:  # it had begun
        run.update_summary(status="failed", error=str(error).partition("\n")[0])
    raise error


def _start(task: Mapping[str, Any], run: Run) -> list[subprocess.Popen]:
    count = task["settings"]["trainer"]["devices"]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    # Or each rank would start as many threads as there are cores.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    processes = []
    for rank in range(count):
        # Only rank 0 is heard; of the others what they wrote is shown if they fail.
        quiet = (Path(task["folder"]) / f"rank{rank}.log").open("wb") if rank else None
        process = subprocess.Popen(
            [sys.executable, "-m", "src.training.rank"],
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
            env=environment | {"RANK": str(rank)},  # by which libraries know not to speak twice
            start_new_session=True,  # Ctrl-C comes to this process alone
            pass_fds=run.lock_handles,  # the folder is in use until the last rank has ended
        )
        if quiet:
            quiet.close()
        mine = json.dumps(task | {"rank": rank, "count": count})
        # It stays open: its end tells the child that this process is no more.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(mine.encode() + b"\n")
            process.stdin.flush()
        processes.append(process)
    return processes


def _wait(processes: list[subprocess.Popen]) -> None:
    """Wait until rank 0 has ended, or at most GRACE seconds after another rank failed."""
    leader, *others = processes
    while leader.poll() is None and not any(process.poll() for process in others):
        time.sleep(0.05)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.05)


@contextlib.contextmanager
def _passing_signals_on(leader: subprocess.Popen) -> Iterator[list[int]]:
    """Pass signals on to rank 0, which saves; those that came are in the list."""
    passed: list[int] = []

    def pass_on(number: int, _: object) -> None:
        passed.append(number)
        leader.send_signal(number)

    handlers = {}
    if threading.current_thread() is threading.main_thread():
        heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, pass_on) for number in heard}
    try:
        yield passed
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _first_error(codes: list[int], killed: list[bool], folder: Path) -> Exception:
    """The failure that made the others fail: a kill, or else the first that was reported."""
    count = len(codes)
    for rank, code in enumerate(codes):
        if code < 0 and not killed[rank]:
            name = signal.Signals(-code).name
            return TrainingError(
                f"Rank {rank} of {count} was ended by {name}, and with it the run.\n"
                "SIGKILL is often the system's answer to too little memory.\n"
                f"The same command goes on from the last checkpoint.{_log(folder, rank)}"
            )
    reports = [json.loads(path.read_text()) for path in folder.glob("rank*.json")]
    if not reports:
        rank = next(k for k, code in enumerate(codes) if code)
        return RankError(
            f"Rank {rank} of {count} ended with code {codes[rank]}{_log(folder, rank)}"
        )
    first = min(reports, key=lambda report: report["time"])
    kinds = {kind.__name__: kind for kind in (SettingError, TrainingError)}
    if first["kind"] in kinds:
        return kinds[first["kind"]](first["text"])
    return RankError(f"Rank {first['rank']} of {count}: {first['text']}\n\n{first['traceback']}")


def _log(folder: Path, rank: int) -> str:
    """The end of what a rank wrote, if it was not heard."""
    path = folder / f"rank{rank}.log"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(["", *lines[-20:]]) if lines else ""
