"""Many runs by one command: `python -m src.train -m model=gan,dcgan seed=range(3)`.

Every run is checked before the first begins; those that cannot work are left out and listed. Each
of the others is a process of its own (`src/sweeps/worker.py`), here or where the launcher puts it
(`src/sweeps/launchers.py`); which runs there are is the sweeper's choice (`src/sweeps/search.py`).
Nothing that becomes of one run touches another. The same command again does what is left. At the
same time, it shares the runs with the first: what another process trains is left to it, and waited
for.
"""

import hashlib
import json
import os
import re
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config import checks, composition
from src.data.sources import resolve_source
from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.run import Run
from src.runs.table import RECORDS, Row, count_states, look, table
from src.sweeps import launchers, search
from src.sweeps.launchers import Launcher
from src.sweeps.search import Grid, Source, Trial
from src.sweeps.worker import Order, Outcome, ask_to_stop

REFRESH = 1.0  # seconds between two looks at the runs
GOODBYE = 300.0  # seconds for the runs to save when the sweep is interrupted
ELSEWHERE = "another process trains it"

# Words that say how or where, and not what: with others it is still the same sweep.
ASIDE = re.compile(
    r"(\+*hydra[./](?!sweeper\.params\b)|wandb|existing=|trainer\.(accelerator|devices)|data\.root)"
)

_CORE = "hydra._internal.core_plugins"
OURS = {
    "launcher": {f"{_CORE}.basic_launcher.BasicLauncher": "src.sweeps.launchers.Basic"},
    "sweeper": {f"{_CORE}.basic_sweeper.BasicSweeper": "src.sweeps.search.Grid"},
}


@dataclass(eq=False)
class Job:
    """One run of the sweep.

    Attributes:
        trial: whose run it is.
        name: its folder below the outputs, or its overrides if it was refused.
        state: waiting, running, finished, resumed, finished before, pruned, failed, interrupted.
        note: a reason.
        order: None if it was refused.
        stopping: True if it was asked to end early.
        refused: the reason is not the run's own, but the sweep's: log.txt does not have it, and
            the same command again meets it again.
    """

    trial: Trial
    name: str
    state: str
    note: str = ""
    order: Order | None = None
    stopping: bool = False
    refused: bool = False

    def row(self) -> Row:
        if self.order is None or self.state == "waiting":
            return Row(self.name, self.state, note=self.note)
        try:
            row = look(Path(self.order.folder), self.name)
        except (SettingError, OSError) as error:  # damaged files
            row = Row(self.name, self.state, note=str(error).partition("\n")[0])
        if self.state == "running" and row.state != "running":
            row.note = "starting"
        row.state, row.note = self.state, self.note or row.note
        return row


def sweep(overrides: Sequence[str], check: Callable[[DictConfig], None]) -> int:
    """Run a sweep and print its table.

    Args:
        overrides: overrides of the command line, without flags.
        check: checks a single run's configuration; raises SettingError.

    Returns:
        The exit status: 0 if every run has come to its end, else 1 or, after a signal, 128 + it.

    Raises:
        SettingError: if the sweep as a whole cannot be; a single run's is in the table.
    """
    overrides = [text for text in overrides if not re.match(r"hydra\.mode=", text)]
    # No others, which may be right with some of the choices only.
    own = [text for text in overrides if re.match(r"\+*hydra[./]|(experiment|debug)=[^,(]*$", text)]
    base = composition.compose("train", own)
    nodes = {kind: _node(base, kind) for kind in OURS}
    checks.check_sweep(nodes)
    source = build(search, nodes["sweeper"])
    outputs = Path(base.hydra.sweep.dir)
    place = _place(outputs / RECORDS, [*overrides, *source.aim, type(source).__name__])
    source.begin(overrides, place)
    launcher = build(launchers, nodes["launcher"])
    try:
        return _Sweep(overrides, check, source, launcher, outputs, place).run()
    finally:
        launcher.close()


def build(module: ModuleType, node: Mapping[str, Any]) -> Any:
    """A launcher or a sweeper of its checked configuration; no class of elsewhere is built."""
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return getattr(module, node["_target_"].rpartition(".")[2])(**arguments)


def _node(base: DictConfig, kind: str) -> dict[str, Any]:
    """`hydra.launcher` or `hydra.sweeper`; Hydra's own basic ones stand for ours."""
    node = OmegaConf.to_container(base.hydra[kind], resolve=True)
    node["_target_"] = OURS[kind].get(node["_target_"], node["_target_"])
    return node


def _place(records: Path, overrides: Sequence[str]) -> Path:
    """Folder of a sweep's record, by its first day and its overrides: the same at each call."""
    what = [text for text in overrides if not ASIDE.match(text)]
    key = hashlib.sha256("\n".join(sorted(what)).encode()).hexdigest()[:8]
    known = sorted(records.glob(f"*-{key}.json"))
    spelt = re.sub(r"[^\w.]+", "-", "_".join(what[:-1]))[:50]
    return known[0] if known else records / f"{time.strftime('%Y-%m-%d')}_{spelt}-{key}.json"


class _Sweep:
    def __init__(
        self,
        overrides: Sequence[str],
        check: Callable[[DictConfig], None],
        source: Source,
        launcher: Launcher,
        outputs: Path,
        place: Path,
    ) -> None:
        self.overrides, self.check, self.source, self.launcher = overrides, check, source, launcher
        self.outputs, self.place = outputs, place
        self.jobs: dict[str, Job] = {}
        self.queue: deque[Job] = deque()
        self.running: dict[Future, Job] = {}
        self.twins: list[tuple[Job, Trial]] = []
        self.view = _View()

    def run(self) -> int:
        before = signal.signal(signal.SIGTERM, _interrupt)
        status = 0
        try:
            if isinstance(self.source, Grid):
                while (trial := self.source.ask()) is not None:
                    self._take(trial)
                self._record()
            while self._start() or self.running or self.queue:
                self._wait()
                self._prune()
                self.view.show(self)
        except KeyboardInterrupt as interrupt:
            status = 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
            self._stop()
        finally:
            signal.signal(signal.SIGTERM, before)
        self.view.clear()
        self._report()
        return status or int(bool(self._lost()))

    def _take(self, trial: Trial) -> None:
        """Check a trial's run; put it into the queue, or with those that are done."""
        job = self._job(trial)
        other = self.jobs.get(job.name)
        if other is not None and other.state in ("waiting", "running"):
            self.twins.append((other, trial))  # the same run in other overrides, or by chance
            return
        self.jobs[job.name] = job
        if job.state == "waiting":
            self.queue.append(job)
        else:
            self._tell(job, Outcome(job.state, job.note))

    def _job(self, trial: Trial) -> Job:
        swept = [text for text in trial.overrides if text not in self.overrides]
        try:
            config = composition.compose("train", [*trial.overrides, *self._group()])
            self.check(config)
            resolve_source(config)
            settings = composition.plain(config)
            name = config.hydra.sweep.subdir
            run = Run(Path(config.hydra.sweep.dir) / name, settings["plugins"])
            state = run.look(settings, settings["existing"])
            done = state == "finished" and run.settings["data"]["root"] == settings["data"]["root"]
        except SettingError as error:
            reason = str(error).partition("\n")[0]
            name = " ".join(swept) or "the only run"
            return Job(trial, name, "failed", note=reason, refused=True)
        chosen = composition.get_choices(config)
        order = Order(settings, chosen, str(run.folder), token=uuid.uuid4().hex)
        place = "finished before" if done else "waiting"
        return Job(trial, name, place, order=order)

    def _group(self) -> list[str]:
        """The runs of a sweep share a group in Weights & Biases."""
        given = any(text.lstrip("+").startswith("wandb.group=") for text in self.overrides)
        return [] if given else [f"wandb.group='{self.place.stem}'"]

    def _start(self) -> bool:
        """Start what there is room for; whether something was started."""
        slots = min(self.launcher.slots, self.source.max_batch_size or sys.maxsize)
        started = False
        while len(self.running) < slots:
            if job := self._next():
                if job.trial.prune([]):  # judged while it was left to another sweep
                    self._tell(job, Outcome("interrupted"))
                    self.view.say(self, job)
                else:
                    job.state = "running"
                    self.running[self.launcher.submit(job.order)] = job
            elif trial := self.source.ask():
                self._take(trial)
            else:
                break
            started = True
        if started:
            self._record()
        return started

    def _next(self) -> Job | None:
        """The first in the queue that no other process trains."""
        for job in list(self.queue):
            if not Run(Path(job.order.folder)).in_use:
                self.queue.remove(job)
                job.note = ""
                return job
            self._leave(job)
        return None

    def _leave(self, job: Job) -> None:
        """Leave a run to the process that trains it, for as long as it does."""
        if not job.note:
            job.note = ELSEWHERE
            self.view.say(self, job)

    def _wait(self) -> None:
        """Wait for an end, but not for longer than the view may stay as it is."""
        if self.running:
            done, _ = wait(self.running, REFRESH, FIRST_COMPLETED)
            for future in done:
                self._end(future)
        else:  # for other processes
            time.sleep(REFRESH)

    def _end(self, future: Future) -> None:
        job = self.running.pop(future)
        try:
            outcome = future.result()
        except (CancelledError, KeyboardInterrupt) as error:
            outcome = Outcome("interrupted", type(error).__name__)
        except Exception as error:  # of the place where it ran: Ray's, submitit's
            first = str(error).strip().partition("\n")[0]
            outcome = Outcome("interrupted", f"{type(error).__name__}: {first}")
        job.state, job.note = outcome.state, outcome.reason or ""
        if job.state == "waiting":
            self._leave(job)
            self.queue.append(job)
            return
        self._tell(job, outcome)
        self._record()
        self.view.say(self, job)

    def _tell(self, job: Job, outcome: Outcome) -> None:
        summary = {}
        try:
            if job.order:
                summary = Run(Path(job.order.folder)).summary
        except SettingError as error:
            outcome = Outcome("failed", str(error).partition("\n")[0])
            job.state, job.note, job.refused = "failed", outcome.reason, True
        mine = [trial for other, trial in self.twins if other is job]
        self.twins = [(other, trial) for other, trial in self.twins if other is not job]
        for trial in (job.trial, *mine):
            note = trial.tell(outcome, summary)
            if note == "pruned":
                job.state, job.note = "pruned", ""
            elif note:
                job.state, job.note, job.refused = "failed", note, True

    def _prune(self) -> None:
        for job in self.running.values():
            scores = []
            with suppress(SettingError):  # a damaged file, which is that run's own matter
                scores = Run(Path(job.order.folder)).progress.get("scores", [])
            if not job.stopping and job.trial.prune(scores):
                job.stopping = True
                ask_to_stop(job.order)

    def _stop(self) -> None:
        """Have all runs save and end. A second signal ends this process at once; they follow."""
        self.view.clear()
        print("Stopping: the runs save what they have. Once more to leave at once.", flush=True)
        try:
            for future, job in self.running.items():
                ask_to_stop(job.order)
                if not Run(Path(job.order.folder)).in_use:
                    self.launcher.cancel(future)
            deadline = time.monotonic() + GOODBYE
            while self.running and time.monotonic() < deadline:
                self._wait()
        except KeyboardInterrupt:
            os._exit(130)

    def _record(self) -> None:
        runs = [
            {
                "name": job.name,
                "overrides": job.trial.overrides,
                "state": job.state,
                "note": job.note,
            }
            for job in self.jobs.values()
        ]
        text = json.dumps(
            {"overrides": list(self.overrides), "runs": runs}, indent=1, ensure_ascii=False
        )
        write_atomically(self.place, text + "\n")

    def _report(self) -> None:
        rows = [job.row() for job in self.jobs.values()]
        print(f"\n{table(rows)}\n\n{count_states(rows)}")
        left = [job for job in self._lost() if not job.refused]
        for job in left:
            if job.state in ("failed", "interrupted"):
                print(f"{job.state}: see {line(str(Path(job.order.folder) / 'log.txt'), 400)}")
        if said := self.source.report():
            print(line(said, 1000))
        if left:
            print("The same command again does what is left.")

    def _lost(self) -> list[Job]:
        """Runs that have not come to their end."""
        states = ("failed", "interrupted", "waiting", "running")
        return [job for job in self.jobs.values() if job.state in states]


class _View:
    """On a terminal the runs that are on, again and again; a line for each that ends."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._lines = 0

    def say(self, sweep: _Sweep, job: Job) -> None:
        self.clear()
        ended = [j for j in sweep.jobs.values() if j.state not in ("waiting", "running")]
        row = job.row()
        scores = " ".join(f"{n} {value:.4g}" for n, value in list((row.scores or {}).items())[:8])
        about = f"{line(job.name)}  {line(scores)}  {line(job.note)}"
        print(f"[{len(ended)}/{len(sweep.jobs)}] {job.state}: {about}".rstrip(), flush=True)

    def show(self, sweep: _Sweep) -> None:
        if self._terminal:
            self.clear()
            width, height = os.get_terminal_size()
            left = [job for job in sweep.queue if job.note]
            rows = [job.row() for job in [*sweep.running.values(), *left]]
            lines = [
                *table(rows).splitlines()[: height - 3],
                count_states(list(sweep.jobs.values())),
            ]
            self._lines = len(lines)
            print("\n".join(text[: width - 1] for text in lines), flush=True)

    def clear(self) -> None:
        if self._lines:
            print(f"\033[{self._lines}A\033[J", end="", flush=True)
            self._lines = 0


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)
