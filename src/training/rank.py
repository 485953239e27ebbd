"""One rank of a training on several devices: a child of `src.distributed.processes`.

Its task is a line on its standard input, which stays open for as long as the parent lives.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.errors import SettingError
from src.runs.files import write_atomically

PARTING = 60.0  # seconds to end in after the parent was killed: rank 0 saves first


def main() -> None:
    """Be the rank that the line on standard input describes."""
    # Unbuffered: a thread that waits in a buffer's lock would spoil the end of the interpreter.
    with open(0, "rb", buffering=0, closefd=False) as lines:
        task = json.loads(lines.readline())
    rank = task["rank"]
    # Until the training has handlers of its own, there is nothing to save; others follow rank 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if rank else signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(rank,), daemon=True).start()
    try:
        _work(task)
    except Exception as error:
        text = str(error) if isinstance(error, SettingError) else f"{type(error).__name__}: {error}"
        report = {"rank": rank, "kind": type(error).__name__, "text": text}
        report |= {"time": time.monotonic(), "traceback": traceback.format_exc()}
        path = Path(task["folder"]) / f"rank{rank}.json"
        write_atomically(path, json.dumps(report))
        sys.stdout.flush()
        os._exit(1)  # other threads may wait for a rank that will not come


def _work(task: Mapping[str, Any]) -> None:
    # Not before the parent is watched: torch takes seconds.
    from src.distributed import ranks
    from src.runs.run import Run
    from src.training.fit import fit
    from src.training.trainer import choose_device

    settings, folder = task["settings"], Path(task["folder"])
    sys.path += [place for place in task["path"] if place not in sys.path]  # of plug-ins
    run = Run(Path(task["run"]), settings["plugins"])
    device = choose_device(settings["trainer"]["accelerator"])
    with ranks.joined(task["rank"], task["count"], folder / "meeting", device):
        fit(settings, task["choices"], run, task["resume"])


def _end_with_parent(rank: int) -> None:
    while os.read(0, 1):
        pass
    if rank == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PARTING)
    os._exit(1)


if __name__ == "__main__":
    main()
