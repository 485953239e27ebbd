"""The run folder: what is in it, how it is written and read.

    config.yaml        the composed configuration, written once
    summary.json       status, numbers with their protocols, cost, versions, data
    metrics.csv        curves, one row per logging time
    checkpoints/       last.ckpt and the one before it
    samples/           pictures
    progress.json      where the training is, every few seconds while it runs
    log.txt            what a run of a sweep said, and the traceback if it failed
    wandb/             the W&B run

Every file is written under a temporary name and renamed, so that a reader, or the same command
after a kill, never finds half of one. This module does not import torch.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from src.config import bears_on_result, flatten
from src.errors import FolderInUseError, SettingError

State = Literal["new", "interrupted", "finished"]

GLANCE = 0.2  # seconds for which whoever looks whether a folder is in use may hold it

# In the order in which a restart removes them: until the end the folder is that of a run.
CONTENTS = (
    "summary.json",
    "checkpoints",
    "metrics.csv",
    "evaluations.json",
    "progress.json",
    "samples",
    "wandb",
    "config.yaml",
)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Raises:
        SettingError: if the disk is full or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> SettingError:
    """The error for a file that cannot be written; what was there before is untouched."""
    return SettingError(
        f"Cannot write {path}: {error.strerror or error}.\n"
        "Nothing that was saved before is lost. Free some space, or choose another place with "
        "hydra.run.dir=..., and repeat the command."
    )


class Run:
    """One run folder.

    Args:
        folder: exists or not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._lock: IO | None = None

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def settings(self) -> dict[str, Any]:
        """The stored configuration.

        Raises:
            SettingError: if this is no run folder.
        """
        try:
            settings = yaml.safe_load((self / "config.yaml").read_text())
        except (OSError, yaml.YAMLError) as error:
            raise SettingError(
                f"run={self.folder} is not a run folder: its config.yaml cannot be read.\n"
                "A run folder is what python -m src.train made, such as outputs/mnist/dcgan/..."
            ) from error
        if not isinstance(settings, dict) or not settings.keys() >= {"model", "data", "budget"}:
            raise SettingError(f"{self / 'config.yaml'} is damaged, or not that of a run.")
        return settings

    @property
    def summary(self) -> dict[str, Any]:
        """The stored summary; empty if there is none yet.

        Raises:
            SettingError: if it is damaged.
        """
        path = self / "summary.json"
        try:
            summary = json.loads(path.read_text()) if path.exists() else {}
            if not isinstance(summary, dict):
                raise ValueError(f"it holds {str(summary)[:20]}")
        except ValueError as error:
            raise SettingError(f"{path} is damaged: {error}. Use existing=restart.") from error
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
        status = self.summary.get("status", "begun")
        return "interrupted" if status == "running" and not self.in_use else status

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, if any."""
        paths = [self / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt")]
        return next((path for path in paths if path.exists()), None)

    @property
    def progress(self) -> dict[str, Any]:
        """Where the training is or was; empty if it has not said so yet, or the file is damaged."""
        try:
            progress = json.loads((self / "progress.json").read_text())
        except (OSError, ValueError):
            return {}
        return progress if isinstance(progress, dict) else {}

    @property
    def in_use(self) -> bool:
        """Whether a process trains here now; of one that was killed nothing is left."""
        try:
            with (self / ".lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def lock(self) -> None:
        """Keep others out until `close`, or until this process ends.

        Raises:
            FolderInUseError: if another process holds the folder.
            SettingError: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self / ".lock").open("w")
        except OSError as error:
            raise unwritable(self.folder, error) from error
        deadline = time.monotonic() + GLANCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise FolderInUseError(
                        f"{self.folder} is in use: another process trains there.\n"
                        "Wait for it, or choose another place with hydra.run.dir=..."
                    ) from error
            time.sleep(0.05)

    @property
    def lock_handles(self) -> tuple[int, ...]:
        """What a child inherits to keep others out for as long as it lives."""
        return (self._lock.fileno(),) if self._lock else ()

    def close(self) -> None:
        """Let others in."""
        if self._lock:
            self._lock.close()

    def look(self, settings: Mapping[str, Any], existing: str) -> State:
        """Decide between a new run, a resume and a finished run; nothing is changed.

        Args:
            settings: the composed configuration of this call.
            existing: `continue`, `resume` or `restart`, see `src.settings.Train`.

        Raises:
            SettingError: if the folder holds a run of another configuration, or other things.
        """
        self._refuse_strangers()
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
            existing: `continue`, `resume` or `restart`, see `src.settings.Train`.

        Raises:
            FolderInUseError: if another process trains there.
            SettingError: as `look` says.
        """
        self._refuse_strangers()  # before a lock is put among their files
        self.lock()
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

    def store(self, settings: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        write_atomically(self / "config.yaml", text)

    def clear(self) -> None:
        """Remove what a run wrote, and nothing else.

        Raises:
            SettingError: if there is a config.yaml, but not that of a run.
        """
        if (self / "config.yaml").exists() and self.settings:
            for path in map(self.folder.joinpath, CONTENTS):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def run_folders(root: Path) -> Iterator[Path]:
    """All run folders at or below a folder, in the order of their names.

    What lies inside of one, such as W&B's own config.yaml, is no run; nor is a config.yaml alone.
    """
    for place, folders, files in os.walk(root, followlinks=True):
        if "summary.json" in files or {"config.yaml", ".lock"} <= set(files):
            folders.clear()
            yield Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for all settings that bear on the result."""
    old, new = flatten(old), flatten(new)
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in sorted(old.keys() | new.keys())
        if bears_on_result(key) and old.get(key, "absent") != new.get(key, "absent")
    ]


def provenance() -> dict[str, Any]:
    """Versions and the git commit of the code that is running."""
    packages = ("torch", "torchvision", "lightning", "hydra-core", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"versions": {"python": platform.python_version()} | versions, "git": git_commit()}


def git_commit() -> str | None:
    """The commit of the source tree, with `+changes` if files differ; None outside of git."""
    root = Path(__file__).parent

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )

    try:
        # An installed copy may lie inside of somebody else's repository.
        if git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
            return None
        commit = git("rev-parse", "--short=12", "HEAD").stdout.strip()
        dirty = git("status", "--porcelain", "--", ".", "../conf").stdout.strip()
    except FileNotFoundError:  # git is not installed
        return None
    return f"{commit}+changes" if dirty else commit
