"""One run of a sweep, in a process of its own.

Whatever becomes of that process (an error, a crash of a library, the kernel's killer of large
processes) becomes an `Outcome`, a value: the launcher that called `work` never sees an exception,
and no other run is touched. The process is forked from a server that has torch imported, so it
starts at once. What it says goes to `log.txt` in the run folder. It ends itself, saving first, when
it is asked to by a `.stop` file, and when the process that started it is gone.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from src.errors import FolderInUseError, SettingError
from src.runs.escape import line, terminal
from src.runs.files import appending, write_atomically
from src.runs.run import Run
from src.runs.stored import read_bytes

ENDS = {"new": "finished", "interrupted": "resumed", "finished": "finished before"}
POLL = 0.5  # seconds between two looks for a `.stop` file


class Outcome(NamedTuple):
    """Result of a run: `failed` by an error of its own, `interrupted` from outside.

    `waiting` is one that was not begun, since another process trains in its folder.
    """

    state: Literal["finished", "resumed", "finished before", "failed", "interrupted", "waiting"]
    reason: str | None = None


@dataclass(frozen=True)
class Order:
    """Order to a worker; it is pickled and sent to where the run takes place.

    Attributes:
        settings: the composed and checked configuration.
        choices: the names of its presets and parts.
        folder: the run folder.
        token: token of this attempt: only a `.stop` file with it is meant.
        threads: for each of torch, BLAS and OpenMP; None leaves them alone.
        environment: variables, such as CUDA_VISIBLE_DEVICES.
    """

    settings: Mapping[str, Any]
    choices: Mapping[str, str]
    folder: str
    token: str
    threads: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def work(order: Order) -> Outcome:
    """Run an order in a process of its own and wait for its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["src.training.trainer", "src.callbacks.quality", "src.metrics.scorers"]
    )
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_carry_out, args=(order, sender))
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        outcome = None  # it died before it could say anything
    except BaseException:  # a signal to this process: the run shall save and end with it
        process.terminate()
        process.join()
        raise
    process.join()
    if outcome is None:
        code = process.exitcode
        if code is not None and code < 0:
            reason = f"killed by {signal.Signals(-code).name}"
            memory = " (out of memory?)" if code == -signal.SIGKILL else ""
            return Outcome("interrupted", reason + memory)
        return Outcome("interrupted", f"ended with status {code}")
    return outcome


def ask_to_stop(order: Order) -> None:
    """Have a run save and end, wherever it runs, if it sees the same run folder."""
    folder = Path(order.folder)
    if folder.is_dir():
        write_atomically(folder / ".stop", order.token)


def _carry_out(order: Order, sender: Connection) -> None:
    os.setpgrp()  # Ctrl-C is for the sweep, which then asks its runs to stop
    os.environ.update(order.environment)
    folder = Path(order.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = appending(folder / "log.txt")
    except OSError as error:
        sender.send(Outcome("failed", f"Cannot write {folder}: {error.strerror}"))
        return
    except SettingError as error:
        sender.send(Outcome("failed", str(error).partition("\n")[0]))
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.stdout = sys.stderr = log
    faulthandler.enable(log)
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {line(str(folder), 400)}")
    threading.Thread(target=_watch, args=(folder / ".stop", order.token), daemon=True).start()
    sender.send(_train(order, folder))


def _train(order: Order, folder: Path) -> Outcome:
    """The training; every way in which it can end is an outcome."""
    from omegaconf import OmegaConf

    from src.training.fit import train

    try:
        if order.threads:
            _limit_threads(order.threads)
        composed = {"hydra": {"runtime": {"choices": dict(order.choices)}}, **order.settings}
        run = Run(folder, order.settings["plugins"])
        found = run.look(order.settings, order.settings["existing"])
        train(OmegaConf.create(composed), folder)
        return Outcome(ENDS[found])
    except FolderInUseError:
        return Outcome("waiting")
    except SettingError as error:
        print(terminal(f"error: {error}"))
        return Outcome("failed", str(error).partition("\n")[0])
    except (SystemExit, KeyboardInterrupt):
        return Outcome("interrupted", "stopped")
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().partition("\n")[0]
        return Outcome("failed", f"{type(error).__name__}: {first}".removesuffix(": "))


def _limit_threads(threads: int) -> None:
    """The libraries are loaded already, so that variables such as OMP_NUM_THREADS come too late."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)


def _watch(stop: Path, token: str) -> None:
    """Ask this process to end, as a scheduler would, when its sweep is gone or wants it."""
    parent = multiprocessing.parent_process()
    while True:
        parent.join(POLL)
        gone = not parent.is_alive()
        if gone or _says(stop, token):
            if not gone:
                stop.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _says(stop: Path, token: str) -> bool:
    try:
        return read_bytes(stop, 1000, os.O_NOFOLLOW) == token.encode()
    except (OSError, ValueError):  # there is none, or it is something else
        return False
