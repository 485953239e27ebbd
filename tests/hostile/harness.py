"""A command in a forked child of this process: limits, and a record of what it did.

Torch and the project are imported once, in the parent, so that a case costs what the command does
with it. Nothing is computed in the parent, since threads do not survive a fork.
"""

import contextlib
import hashlib
import importlib
import os
import pkgutil
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from PIL import Image

import src
from src.cli import launch
from src.compare import compare
from src.config import checks
from src.config import composition as config
from src.evaluate import evaluate
from src.sample import sample
from src.status import status
from src.training.fit import train
from tests.hostile.folders import Case, Place, build, clear
from tests.hostile.watch import Watch

SECONDS = 10.0  # for any command on any folder
MEGABYTES = 2000  # beside what the imports take
ADDRESSES = 8 * 2**30  # beside those of the parent: so that nothing can take the whole machine
FILE_SIZE = 500 * 2**20

QUICK = (
    *("data.source=builtin", "wandb.mode=disabled", "trainer=cpu", "metrics.metrics=[fid]"),
    *(f"~callbacks.{name}" for name in ("progress", "overfitting", "collapse", "health", "codes")),
)
TRAINED = {  # a run of a second each, with scores
    "gan": (
        *("model=dcgan", "model.generator.width=2", "model.discriminator.width=2"),
        *("model.latent.dim=4", "model.batch_size=50", "budget=500", "metrics.n=100", *QUICK),
    ),
    "vae": (
        *("model=vae", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "budget=500"),
        *("model.latent_dim=3", "model.batch_size=50", "metrics.n=100", *QUICK),
        *("metrics.importance_images=10", "metrics.importance_samples=[2]"),
    ),
    "toy": ("model=gaussian_gan", "data=gaussian", "budget=400", "metrics.n=200", *QUICK),
}  # fmt: skip
DRAWS = "callbacks.samples.every=250"
FOLDERS = ("home", "here", "tmp", "out", "logs")  # of a child
READING = ("sample", "progress", "compare", "status")  # which leave the folder as it is
COMMANDS = (*READING, "evaluate", "continue", "resume")


@dataclass
class Outcome:
    """What came of a command.

    Attributes:
        command: one of COMMANDS.
        status: its exit status, or minus the signal that ended it.
        late: whether it had to be ended.
        seconds: from the fork on, without those in which no core was free for it.
        megabytes: its peak, beside what the parent had.
        stdout: what it said.
        stderr: and what it complained of.
        events: what it should not have done.
    """

    command: str
    status: int
    late: bool
    seconds: float
    megabytes: float
    stdout: str
    stderr: str
    events: list[str] = field(default_factory=list)


def warm(training: bool) -> None:
    """Import what the commands import.

    Args:
        training: with what only optimisers need, which is much.
    """
    for module in pkgutil.walk_packages(src.__path__, "src."):
        importlib.import_module(module.name)
    for name in ("sklearn.datasets", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)
    if training:
        importlib.import_module("torch._dynamo")
    Image.init()


def forked(
    function: Callable[[], None], root: Path, cache: Path, watch: Callable | None, seconds: float
) -> Outcome:
    """Call a function in a child.

    Args:
        function: may end by SystemExit, as a command does.
        root: folder for the child's home, current folder, temporary files and output.
        cache: for SPARRING_CACHE.
        watch: makes an audit hook of a function that reports.
        seconds: after which it is ended.
    """
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)
    names = [root / "logs" / name for name in ("stdout", "stderr", "events", "memory")]
    for name in names:
        name.write_bytes(b"")
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(function, root, cache, watch, names)
    late, elapsed = False, 0.0
    while True:
        done, how, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        # What it waits for others to leave it a core is not its fault.
        elapsed = max(elapsed, time.monotonic() - begin - _queued(child))
        if elapsed > seconds:
            late = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.003)
    with contextlib.suppress(ProcessLookupError):  # what it may have left
        os.killpg(child, signal.SIGKILL)
    texts = [name.read_bytes()[:20_000_000].decode(errors="replace") for name in names]
    before = float(texts[3] or "inf")
    return Outcome(
        "",
        os.waitstatus_to_exitcode(how),
        late,
        elapsed,
        max(0.0, usage.ru_maxrss / 1024 - before / 2**20),
        *texts[:2],
        list(dict.fromkeys(texts[2].splitlines())),
    )


def _pages(column: int) -> int:
    """Bytes of this process: 0 of addresses, 1 of memory."""
    return int(Path("/proc/self/statm").read_text().split()[column]) * os.sysconf("SC_PAGE_SIZE")


def _queued(process: int) -> float:
    """Seconds that a process was ready to run and did not."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _child(
    function: Callable[[], None],
    root: Path,
    cache: Path,
    watch: Callable | None,
    names: Sequence[Path],
) -> None:
    code = 1
    try:
        os.setsid()
        names[3].write_text(str(_pages(1)))  # fewer than the parent's: files are not mapped yet
        _surround(root, cache, names)
        if watch:
            log = os.open(names[2], os.O_WRONLY | os.O_APPEND)
            text = partial(str.encode, errors="backslashreplace")
            sys.addaudithook(watch(lambda line: os.write(log, text(f"{line!a}\n"))))
        try:
            function()
            code = 0
        except SystemExit as error:  # as the interpreter does
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _surround(root: Path, cache: Path, names: Sequence[Path]) -> None:
    """Give the child its own files, folders and limits."""
    null = os.open(os.devnull, os.O_RDONLY)
    out, complaints = (os.open(name, os.O_WRONLY | os.O_APPEND) for name in names[:2])
    for old, new in ((null, 0), (out, 1), (complaints, 2)):
        os.dup2(old, new)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    errors = "backslashreplace"  # as it is of the interpreter's own
    sys.stderr = open(2, "w", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
    os.chdir(root / "here")
    tempfile.tempdir = None
    os.environ |= {
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "MPLCONFIGDIR": str(root / "tmp"),
        "XDG_CACHE_HOME": str(root / "tmp"),
        "SPARRING_CACHE": str(cache),
        "WANDB_MODE": "disabled",
    }
    torch.set_num_threads(1)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    addresses = _pages(0) + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def base(folder: Path, name: str) -> Path:
    """An honest run, trained here if it is not there yet, with the cache that it filled."""
    run = folder / name
    if not run.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [*TRAINED[name], DRAWS, f"hydra.run.dir={run}"]
        train_it = partial(launch, "train", checks.check, train, words)
        done = forked(train_it, folder, folder / "cache", None, 120.0)
        if done.status:
            raise RuntimeError(f"No honest run could be trained: {done.stderr[-2000:]}")
    return run


SCRIPTS = {
    "sample": ("sample", checks.check_sample, sample),
    "progress": ("sample", checks.check_sample, sample),
    "evaluate": ("evaluate", checks.check_evaluate, evaluate),
    "compare": ("compare", checks.check_compare, compare),
    "status": ("status", checks.check_status, status),
    "continue": ("train", checks.check, train),
    "resume": ("train", checks.check, train),
}
TYPED = {
    "sample": ["n=4"],
    "progress": ["what=progress"],
    "evaluate": [
        *("device=cpu", "metrics.n=100", "metrics.importance_images=10"),
        "metrics.importance_samples=[2]",
    ],
    "continue": ["existing=continue"],
    "resume": ["existing=resume"],
}
OUT = {"sample": "grid.png", "progress": "animation.gif", "compare": "report"}


@cache
def composed(command: str, base: str, draws: bool) -> DictConfig:
    """What is typed, but for the places; the same for many cases."""
    typed = [*TYPED.get(command, []), *(TRAINED[base] if command in ("continue", "resume") else ())]
    if command in ("continue", "resume"):
        typed += [DRAWS] if draws else ["~callbacks.samples", "~callbacks.neighbours"]
    return config.compose(SCRIPTS[command][0], typed)


def call(command: str, case: Case, place: Place) -> None:
    """Call a command as it is typed, in a child: what its configuration is has been composed."""
    typed = composed(command, case.base, case.draws)
    if command in ("compare", "status"):
        typed.runs = str(place.runs)
    elif command in ("continue", "resume"):
        typed.hydra.run.dir = str(place.folder)
    else:
        typed.run = str(place.folder)
    if command in OUT:
        typed.out = str(place.root / "out" / OUT[command])
    config.compose = lambda *_: typed
    launch(*SCRIPTS[command], [])


def drive(command: str, case: Case, place: Place, seconds: float = SECONDS) -> Outcome:
    """Run a command on the folder of a case, with every eye on it."""
    composed(command, case.base, case.draws)
    return observed(partial(call, command, case, place), command, place, seconds)


def observed(
    function: Callable[[], None], command: str, place: Place, seconds: float = SECONDS
) -> Outcome:
    """Call a function in a child that may do what a command may."""
    writable = [place.root / name for name in ("out", "cache", "tmp")]
    private = [place.outside]
    if command not in READING:
        writable.append(place.folder)
    if command not in ("compare", "status"):
        private.append(place.runs / "honest")
    watch = partial(Watch, writable, private, [place.outside / "pictures"], place.root)
    before = snapshot(place)
    done = forked(function, place.root, place.root / "cache", watch, seconds)
    done.command = command
    after = snapshot(place)
    paths = sorted({*before, *after})
    done.events += [f"changed {path}" for path in paths if before.get(path) != after.get(path)]
    if place.proof.exists():
        done.events.insert(0, "the payload ran")
        clear(place.proof)
    return done


def snapshot(place: Place) -> dict[str, tuple]:
    """All that must not change: what is outside, the honest run, and that there is nothing new."""
    found = {}
    for top in (place.outside, place.runs / "honest", place.root / "home", place.root / "here"):
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                about = os.lstat(path)
                plain = stat.S_ISREG(about.st_mode)
                data = hashlib.sha256(Path(path).read_bytes()).hexdigest() if plain else ""
                found[path] = (about.st_mode, about.st_size, about.st_mtime_ns, data)
    for entry in (*os.scandir(place.root), *os.scandir(place.runs)):
        if entry.name not in (*FOLDERS, "cache", "proof"):
            found.setdefault(entry.path, (entry.is_symlink(),))
    return found


def prepare(
    case: Case, root: Path, bases: Path, interrupted: bool = False, linked: bool = False
) -> Place:
    """The folder of a case as `build` makes it, and a cache of the caller's."""
    place = Place(root.resolve(), case.folder, base(bases, case.base))
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "cache").exists():
        shutil.copytree(bases / "cache", root / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(place, case, interrupted, linked)
    return place


def remove(root: Path) -> None:
    """Remove a folder, however deep it is."""
    subprocess.run(["rm", "-rf", str(root)], check=True)
