"""Finds runs and reads what a comparison needs of them: settings, summary, and the clock.

A run that cannot be compared is named with its reason and never averaged: one that is unfinished,
that failed, that is damaged or was never scored. Nothing here imports torch.
"""

import base64
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from src.config.checks import ADVICE
from src.config.composition import bears_on_result, flatten
from src.errors import PluginError, SettingError
from src.report.comparison import LeftOut
from src.runs.escape import line
from src.runs.records import EVALUATIONS
from src.runs.run import Run, run_folders


@dataclass
class Record:
    """Record of a run, wherever it was read.

    Attributes:
        place: its folder, or its path at Weights & Biases.
        settings: its configuration.
        summary: content of summary.json.
        clock: samples seen and seconds of training, at the times when both were logged.
        frames: gives the samples seen and the file of each picture drawn from the fixed codes.
    """

    place: str
    settings: dict[str, Any]
    summary: dict[str, Any]
    clock: tuple[list[float], list[float]] = ((), ())
    frames: Callable[[], list[tuple[int, Path]]] = list

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @cached_property
    def flat(self) -> dict[str, Any]:
        """All settings by dotted keys."""
        return flatten(self.settings)

    @cached_property
    def variant(self) -> dict[str, Any]:
        """The flat settings that make a variant: without seed, metrics and what does not matter."""
        return {key: value for key, value in self.flat.items() if _is_of_variant(key)}


@cache
def _is_of_variant(key: str) -> bool:
    if key in ("seed", "model.budget"):  # `budget` is what was trained
        return False
    advice = not ADVICE.isdisjoint(key.split("."))
    return bears_on_result(key) and not advice and not key.startswith("metrics.")


def read_runs(
    paths: Sequence[str], plugins: Sequence[str] = ()
) -> tuple[list[Record], list[LeftOut]]:
    """All finished runs below folders, and the others with the reason why they are left out.

    Args:
        paths: folders, or patterns of them.
        plugins: names of the plug-ins whose classes the runs may name.

    Raises:
        SettingError: if a path does not exist, or there is no run at all.
    """
    records, left_out = [], []
    for folder in find(paths):
        found = read_run(folder, plugins)
        (records if isinstance(found, Record) else left_out).append(found)
    if not records and not left_out:
        raise SettingError(
            f"runs={','.join(paths)}: there is no run below.\n"
            "A run folder is what python -m src.train made, such as outputs/mnist/dcgan/..."
        )
    return records, left_out


def find(paths: Iterable[str]) -> list[Path]:
    """Run folders at or below the paths, which may be patterns, in the order of their names.

    Raises:
        SettingError: if there is nothing at a path.
    """
    found: dict[Path, None] = {}
    for path in paths:
        places = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not places:
            raise SettingError(
                f"runs={path} does not exist.\nGive a folder with runs, such as runs=outputs/mnist"
            )
        for place in places:
            found |= dict.fromkeys(run_folders(Path(place)))
    return list(found)


def read_run(folder: Path, plugins: Sequence[str] = ()) -> Record | LeftOut:
    """A finished run, or why there is none."""
    run = Run(folder, plugins)
    try:
        settings, summary, clock = run.settings, run.summary, run.clock
        evaluations = run.read_json("evaluations.json", EVALUATIONS, [])
        summary["status"] = run.status_of(summary)
    except PluginError as error:
        return LeftOut(str(folder), "not allowed", line(str(error).removeprefix(f"run={folder}: ")))
    except (SettingError, OSError) as error:
        reason = str(error).replace(f"{folder}/", "")
        return LeftOut(str(folder), "damaged", line(reason))
    if reason := unfinished(summary, clock[0][-1] if clock[0] else 0):
        return LeftOut(str(folder), *reason)
    summary |= {key: summary.get(key) or {} for key in ("metrics", "protocols")}
    for entry in evaluations:  # `python -m src.evaluate` adds numbers, and replaces none
        if entry["samples_seen"] == summary.get("samples_seen"):
            summary["metrics"].setdefault(entry["name"], entry["value"])
            summary["protocols"].setdefault(entry["name"], entry["protocol"])
    return Record(str(folder), settings, summary, clock, run.frames)


def unfinished(summary: dict[str, Any], samples: float) -> tuple[str, str] | None:
    """Status and reason of a run that has not reached its end, else None."""
    status = summary["status"]
    if status == "finished":
        return None
    if status == "failed":
        return "failed", str(summary.get("error") or "no reason was recorded")
    at = f"at {samples:,.0f} samples" if samples else "before its first record"
    if status == "running":
        return status, at
    return status, f"{at}; the same command goes on with it"


def data_address(content: bytes, kind: str) -> str:
    """Bytes as an address that a page can hold: `data:image/webp;base64,...`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
