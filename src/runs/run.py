"""The run folder: what is in it, how it is written and read.

    config.yaml        the composed configuration, written once
    summary.json       status, numbers with their protocols, cost, versions, data
    metrics.csv        curves, one row per logging time
    checkpoints/       last.ckpt and the one before it
    samples/           pictures
    progress.json      where the training is, every few seconds while it runs
    log.txt            what a run of a sweep said, and the traceback if it failed
    wandb/             the W&B run
    tensorboard/       TensorBoard's files, if they were asked for
    profile/           table and trace of a profiler, if one was asked for

Every file is written under a temporary name and renamed, so that a reader, or the same command
after a kill, never finds half of one. Anybody may have written a folder: what is read of it passes
`src.runs.stored` and the checks of a typed command, and links that lead out of it are refused. This
module does not import torch.
"""

import csv
import errno
import fcntl
import json
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from src.config.checks import check_stored, rename_old
from src.config.composition import bears_on_result, flatten
from src.errors import FolderInUseError, PluginError, SettingError
from src.runs.escape import line
from src.runs.files import unwritable, write_atomically
from src.runs.folders import walk
from src.runs.metrics_file import CLOCK, MOST_CURVES, split
from src.runs.records import PROGRESS, SUMMARY
from src.runs.stored import (
    CONFIG,
    FILE,
    check_plain,
    decode,
    expect,
    parse_json,
    parse_yaml,
    read_bytes,
    write_yaml,
)

T = TypeVar("T")
State = Literal["new", "interrupted", "finished"]

MOST_METRICS = 200  # of a run
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # of file systems that have none
GLANCE = 0.2  # seconds for which whoever looks whether a folder is in use may hold it

# In the order in which a restart removes them: until the end the folder is that of a run.
CONTENTS = (
    "summary.json",
    "checkpoints",
    "metrics.csv",
    "evaluations.json",
    "progress.json",
    "samples",
    "profile",
    "tensorboard",
    "wandb",
    "config.yaml",
)
FOLDERS = ("checkpoints", "samples", "profile", "tensorboard", "wandb")  # of these
# W&B's link to a log in its cache; nobody writes to it again: each process has a folder of its own.
WANDB_LOG = "wandb/*/logs/debug-core.log"
# What `src.runs.files.replacing` leaves of a file that a killed process was writing for a run. Not
# of evaluations.json, which other commands write without a lock.
HALVES = re.compile(
    r"\.(config\.yaml|summary\.json|metrics\.csv|progress\.json|last\.ckpt|\.stop|[\w-]+\.png)"
    r"\.[a-z0-9_]{8}|\.last\.ckpt|\.previous"
)


class Run:
    """One run folder.

    Args:
        folder: exists or not.
        plugins: names of the plug-ins whose classes its configuration may name.
    """

    def __init__(self, folder: Path, plugins: Sequence[str] = ()) -> None:
        self.folder, self.plugins = Path(folder), plugins
        self._lock: IO | None = None

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str, most: int) -> bytes:
        """The content of a file of the folder.

        Raises:
            FileNotFoundError: if there is none.
            SettingError: naming the file, if it cannot be read, or a link leads out of the folder.
        """
        path = self / name
        if not os.path.lexists(path):
            raise FileNotFoundError(path)
        _check_inside(path, self.folder)
        try:
            return read_bytes(path, most)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingError(f"{path} cannot be read: {reason}.") from error

    def read_json(self, name: str, shape: Any, absent: Any, cure: str = "") -> Any:
        """Plain values of a file of the folder, checked against a shape by `stored.expect`.

        Args:
            name: name of the file.
            shape: expected shape, see `expect`.
            absent: value for a file that does not exist.
            cure: advice for a damaged file.

        Raises:
            SettingError: naming the file, if it is damaged.
        """
        try:
            content = self.read(name, FILE.size)
        except FileNotFoundError:
            return absent
        try:
            found = parse_json(content)
            expect(found, shape, "its content")
        except ValueError as error:
            raise SettingError(
                f"{self / name} is damaged: {line(str(error)).rstrip('.')}.{cure}"
            ) from error
        return found

    def check(self) -> None:
        """Raise for what is no run, as `settings` does: at once, before torch is imported."""
        _ = self.settings

    @property
    def settings(self) -> dict[str, Any]:
        """The stored configuration.

        Raises:
            PluginError: if it needs plug-ins that were not allowed.
            SettingError: if this is no run folder, or the configuration is none that could have
                been typed.
        """
        try:
            content = self.read("config.yaml", CONFIG.size)
        except FileNotFoundError as error:
            raise SettingError(
                f"run={self.folder} is not a run folder: there is no config.yaml.\n"
                "A run folder is what python -m src.train made, such as outputs/mnist/dcgan/..."
            ) from error
        try:
            settings = parse_yaml(content)
            rename_old(settings)
            check_stored(settings, self.plugins)
        except PluginError as error:
            raise PluginError(f"run={self.folder}: {error}") from error
        except ValueError as error:
            raise SettingError(
                f"{self / 'config.yaml'} is damaged, or not that of a run:\n{line(str(error), 300)}"
            ) from error
        return settings

    @property
    def summary(self) -> dict[str, Any]:
        """The stored summary; empty if there is none yet.

        Raises:
            SettingError: if it is damaged.
        """
        cure = " Use existing=restart to train anew."
        summary = self.read_json("summary.json", SUMMARY, {}, cure)
        if max(len(summary.get(key) or ()) for key in ("metrics", "protocols")) > MOST_METRICS:
            raise SettingError(
                f"{self / 'summary.json'} is damaged: more than {MOST_METRICS} numbers.{cure}"
            )
        return summary

    def update_summary(self, **entries: Any) -> None:
        """Merge entries into summary.json."""
        text = json.dumps(self.summary | entries, indent=2, ensure_ascii=False)
        write_atomically(self / "summary.json", text + "\n")

    @property
    def status(self) -> str:
        """`begun`, `running`, `interrupted`, `failed` or `finished`.

        One that was killed had no time to say so: it is `interrupted` if no process trains here.
        """
        return self.status_of(self.summary)

    def status_of(self, summary: Mapping[str, Any]) -> str:
        """The status, where the summary was read already."""
        status = summary.get("status") or "begun"
        return "interrupted" if status == "running" and not self.in_use else status

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, if any.

        Raises:
            SettingError: if a link leads out of the folder.
        """
        paths = [self / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt")]
        found = next((path for path in paths if os.path.lexists(path)), None)
        if found:
            _check_inside(found, self.folder)
        return found

    @property
    def progress(self) -> dict[str, Any]:
        """Content of progress.json; empty if there is none yet.

        Raises:
            SettingError: if the file is damaged.
        """
        progress = self.read_json("progress.json", PROGRESS, {})
        if any(len(scores) > MOST_METRICS for scores in progress.get("scores", ())):
            raise SettingError(
                f"{self / 'progress.json'} is damaged: more than {MOST_METRICS} numbers."
            )
        return progress

    def frames(self) -> list[tuple[int, Path]]:
        """Samples seen and file of each picture of the fixed codes, in the order of training."""
        folder = self / "samples"
        if folder.is_symlink() or not folder.is_dir():
            return []
        paths = sorted(folder.glob("*.png"))
        return [(int(path.stem), path) for path in paths if re.fullmatch("[0-9]{1,18}", path.stem)]

    @property
    def in_use(self) -> bool:
        """True if a process trains here now; a killed process leaves no lock."""
        try:
            with self._open_lock(os.O_RDONLY) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            raise SettingError(f"{self / '.lock'} cannot be read: {error.strerror}.") from error
        return False

    def _open_lock(self, flags: int) -> IO:
        """The lock file itself, never what a link in its place leads to, and no pipe."""
        never = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(self / ".lock", flags | never, 0o666)
        return os.fdopen(handle, "w" if flags & os.O_WRONLY else "r")

    @property
    def clock(self) -> tuple[list[float], list[float]]:
        """Samples seen and seconds of training, at the times when metrics.csv has both.

        Raises:
            SettingError: if the file is damaged.
        """
        try:
            header, rows = split(decode(self.read("metrics.csv", MOST_CURVES)))
            if not {CLOCK, "seconds"} <= set(header):
                return [], []
            a, b = header.index(CLOCK), header.index("seconds")
            pairs = [(float(r[a]), float(r[b])) for r in rows if len(r) > max(a, b) and r[b]]
        except FileNotFoundError:
            return [], []
        except SettingError:
            raise
        except (ValueError, csv.Error) as error:
            raise SettingError(f"{self / 'metrics.csv'} is damaged: {line(str(error))}.") from error
        finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
        return [seen for seen, _ in finite], [seconds for _, seconds in finite]

    def lock(self) -> None:
        """Keep others out until `close`, or until this process ends.

        Raises:
            FolderInUseError: if another process holds the folder.
            SettingError: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._open_lock(os.O_WRONLY | os.O_CREAT)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        deadline = time.monotonic() + GLANCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno in NO_LOCKS:
                    print(f"Note: this file system has no locks; start {self.folder} only once.")
                    return
                if not isinstance(error, BlockingIOError):
                    raise unwritable(self.folder, error) from error
                if time.monotonic() > deadline:
                    raise FolderInUseError(
                        f"{self.folder} is in use: another process trains there.\n"
                        "Wait for it, or choose another folder with hydra.run.dir=..."
                    ) from error
            time.sleep(0.05)

    @property
    def lock_handles(self) -> tuple[int, ...]:
        """Open files of the lock; a child that inherits them keeps others out while it lives."""
        return (self._lock.fileno(),) if self._lock else ()

    def close(self) -> None:
        """Let others in."""
        if self._lock:
            self._lock.close()

    def look(self, settings: Mapping[str, Any], existing: str) -> State:
        """Decide between a new run, a resume and a finished run; nothing is changed.

        Args:
            settings: the composed configuration of this call.
            existing: `continue`, `resume` or `restart`, see `src.config.settings.Train`.

        Raises:
            SettingError: if the folder holds a run of another configuration, or other things.
        """
        self._refuse_strangers()
        self._refuse_traps()
        if existing == "restart":
            return "new"
        if self.checkpoint is None and not (self / "summary.json").exists():
            return "new"  # there may be a configuration, of a call that failed before it began
        difference = _difference(self.settings, settings)
        if difference and existing != "resume":
            shown = "; ".join(difference[:4]) + (" ..." if len(difference) > 4 else "")
            raise SettingError(
                f"{self.folder} holds a run of another configuration: {shown}\n"
                "Choose another hydra.run.dir=..., or existing=restart to discard that run,\n"
                "or existing=resume to go on with its weights and the new settings."
            )
        if self.summary.get("status") == "finished" and not difference:
            return "finished"
        return "interrupted" if self.checkpoint else "new"

    def open(self, settings: Mapping[str, Any], existing: str) -> State:
        """Lock the folder and decide as `look` does.

        Only a new run's configuration is written here: a resume may still turn out to be
        impossible, and then leaves everything as it was.

        Args:
            settings: the composed configuration of this call.
            existing: `continue`, `resume` or `restart`, see `src.config.settings.Train`.

        Raises:
            FolderInUseError: if another process trains there.
            SettingError: as `look` says.
        """
        self._refuse_strangers()  # before a lock is put among their files
        self._refuse_traps()
        try:
            self.lock()
        except FolderInUseError:
            raise
        except SettingError:
            # Of a finished run, on a disk that is read-only, there is nothing to be written.
            if existing != "restart" and self.look(settings, existing) == "finished":
                return "finished"
            raise
        self._sweep()
        if existing == "restart":
            self.clear()
            state: State = "new"
        else:
            state = self.look(settings, existing)
        if self.checkpoint is None and not (self / "summary.json").exists():
            self.store(settings)
        return state

    def _refuse_strangers(self) -> None:
        if self.folder.exists() and not (self / "config.yaml").exists():
            names = {path.name for path in self.folder.glob("[!.]*")}
            # The configuration may be of another process, just now; the log is opened before it.
            strangers = sorted(names - {"config.yaml", "log.txt"})
            if strangers:
                raise SettingError(
                    f"hydra.run.dir={self.folder} holds files, but no run ({strangers[0]} ...).\n"
                    "Choose an empty folder; nothing was changed."
                )

    def _refuse_traps(self) -> None:
        """Refuse to write where links lead out of the folder, or a file is in a folder's place.

        What is neither a file nor a folder, such as a pipe, would be waited for.
        """
        for name in FOLDERS:
            if os.path.lexists(self / name) and not (self / name).is_dir():
                raise SettingError(f"{self / name} is no folder.\nRemove it.")
        for place, folders, files in walk(self.folder):
            for name in (*folders, *files):
                try:
                    mode = os.lstat(place / name).st_mode
                except OSError:  # it is gone: another process may be at work
                    continue
                if stat.S_ISLNK(mode):
                    inner = (place / name).relative_to(self.folder)
                    if not inner.match(WANDB_LOG):
                        _check_inside(place / name, self.folder)
                elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise SettingError(f"{place / name} is neither file nor folder.\nRemove it.")
            folders[:] = [name for name in folders if not os.path.islink(place / name)]

    def _sweep(self) -> None:
        """Remove what killed processes were writing; whoever holds the lock is the only writer."""
        for place in (self.folder, self / "checkpoints", self / "samples"):
            if place.is_symlink() or not place.is_dir():
                continue
            for path in place.iterdir():
                if HALVES.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                    path.unlink(missing_ok=True)

    def store(self, settings: Mapping[str, Any]) -> None:
        """Write config.yaml.

        Raises:
            SettingError: if it could not be read back.
        """
        try:
            check_plain(settings, CONFIG)
        except ValueError as error:
            raise SettingError(f"The settings cannot be stored: {error}.") from error
        write_atomically(self / "config.yaml", write_yaml(dict(settings)))

    def clear(self) -> None:
        """Remove what a run wrote, and nothing else.

        Raises:
            SettingError: if there is a config.yaml, but not that of a run.
        """
        if (self / "config.yaml").exists() and self.settings:
            for path in map(self.folder.joinpath, CONTENTS):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def run_folders(root: Path) -> Iterator[Path]:
    """All run folders at or below a folder, in the order of their names.

    One that links lead to as well has its own name.

    What lies inside of one, such as W&B's own config.yaml, is no run; nor is a config.yaml alone.
    """
    runs: set[Path] = set()
    for place, folders, files in walk(root):
        if "summary.json" in files or {"config.yaml", ".lock"} <= set(files):
            runs.add(place)
        if runs.intersection((place, *place.parents)):
            # Another run may lie below: files of that name in a folder of many hide none of them.
            # But links in a run's folder are its writer's.
            folders[:] = [
                name for name in folders if name not in FOLDERS and not os.path.islink(place / name)
            ]
        folders[:] = [name for name in folders if not name.startswith(".")]
    yield from sorted(runs, key=lambda place: place.parts)


def evenly(entries: Sequence[T], most: int) -> list[T]:
    """At most so many entries, evenly chosen, with the first and the last."""
    if len(entries) <= most:
        return list(entries)
    return [entries[round(i * (len(entries) - 1) / (most - 1))] for i in range(most)]


def _check_inside(path: Path, folder: Path) -> None:
    """Check that a path, links followed, stays in a folder.

    Raises:
        SettingError: if it does not.
    """
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link that leads to itself
        inside = False
    if not inside:
        raise SettingError(f"{path} is a link that leads out of the run folder.\nRemove it.")


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for all settings that bear on the result."""
    old, new = flatten(old), flatten(new)
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in sorted(old.keys() | new.keys())
        if bears_on_result(key) and old.get(key, "absent") != new.get(key, "absent")
    ]
