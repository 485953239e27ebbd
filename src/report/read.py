"""Finds runs and reads what a comparison needs of them: settings, summary, and the clock.

A run that cannot be compared is named with its reason and never averaged: one that is unfinished,
that failed, that is damaged or was never scored. Nothing here imports torch.
"""

import base64
import csv
import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from src.checks import ADVICE
from src.config import bears_on_result, flatten
from src.errors import SettingError
from src.report.comparison import LeftOut
from src.runs import Run, run_folders


@dataclass
class Record:
    """What is known of a run, wherever it was read.

    Attributes:
        place: its folder, or its path at Weights & Biases.
        settings: its configuration.
        summary: as in summary.json.
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
        return int(self.settings.get("seed", self.summary.get("seed", 0)))

    @cached_property
    def variant(self) -> dict[str, Any]:
        """The flat settings that make a variant: without seed, metrics and what does not matter."""
        flat = flatten(self.settings)
        return {key: value for key, value in flat.items() if _is_of_variant(key)}


@cache
def _is_of_variant(key: str) -> bool:
    if key in ("seed", "model.budget"):  # `budget` is what was trained
        return False
    advice = not ADVICE.isdisjoint(key.split("."))
    return bears_on_result(key) and not advice and not key.startswith("metrics.")


def read_runs(paths: Sequence[str]) -> tuple[list[Record], list[LeftOut]]:
    """All finished runs below folders, and the others with the reason why they are left out.

    Raises:
        SettingError: if a path does not exist, or there is no run at all.
    """
    records, left_out = [], []
    for folder in find(paths):
        found = read_run(folder)
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


def read_run(folder: Path) -> Record | LeftOut:
    """A finished run, or why there is none."""
    try:
        settings = _settings(folder / "config.yaml")
        summary = json.loads(_text(folder / "summary.json") or "{}")
        clock = _clock(folder / "metrics.csv")
        evaluations = json.loads(_text(folder / "evaluations.json") or "[]")
    except (ValueError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        return LeftOut(str(folder), "damaged", reason)
    if not isinstance(summary, dict):
        return LeftOut(str(folder), "damaged", "summary.json holds no summary")
    samples = clock[0][-1] if clock[0] else 0
    summary["status"] = Run(folder).status
    if reason := unfinished(summary, samples):
        return LeftOut(str(folder), *reason)
    for entry in evaluations:  # `python -m src.evaluate` adds numbers, and replaces none
        if entry["samples_seen"] == summary.get("samples_seen"):
            summary["metrics"].setdefault(entry["name"], entry["value"])
            summary["protocols"].setdefault(entry["name"], entry["protocol"])
    return Record(str(folder), settings, summary, clock, partial(_frames, folder / "samples"))


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


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _settings(path: Path) -> dict[str, Any]:
    settings = yaml.safe_load(_text(path) or "")
    if not isinstance(settings, dict) or not settings.keys() >= {"model", "data", "budget"}:
        raise ValueError("config.yaml is missing, damaged, or not that of a run")
    return settings


def _clock(path: Path) -> tuple[list[float], list[float]]:
    """The columns `samples_seen` and `seconds` of a metrics.csv, of the rows that have both."""
    if not path.exists():
        return [], []
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if not {"samples_seen", "seconds"} <= set(header):
            return [], []
        a, b = header.index("samples_seen"), header.index("seconds")
        # The last line may be cut off, in a file that is being written.
        pairs = [(float(row[a]), float(row[b])) for row in rows if len(row) > max(a, b) and row[b]]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _frames(folder: Path) -> list[tuple[int, Path]]:
    paths = sorted(folder.glob("*.png")) if folder.exists() else []
    return [(int(path.stem), path) for path in paths if re.fullmatch(r"\d+", path.stem)]


def data_address(content: bytes, kind: str) -> str:
    """Bytes as an address that a page can hold: `data:image/webp;base64,...`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
