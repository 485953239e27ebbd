"""Finds runs and reads what a comparison needs of them: settings, summary, and the clock.

A run that cannot be compared is named with its reason and never averaged: one that is unfinished,
that failed, that is damaged or was never scored. Nothing here imports torch.
"""

import base64
import csv
import glob
import io
import json
import os
import re
import reprlib
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

# The shapes of what is used of a run: a type, [shape of each entry] or {key: shape of its value}.
# "*" is every key; what has a question mark may be absent or null.
NUMBER = int | float
SETTINGS = {"model": dict, "data": dict, "budget": int, "seed": int}
SUMMARY = {
    "status?": str,
    "error?": str,
    "stopped?": str,
    "headline?": [str],
    "metrics?": {"*": NUMBER},
    "protocols?": {"*": dict},
    "scores?": [{"samples_seen": NUMBER, "*": NUMBER}],
    "data_id?": {"shape?": [int], "splits?": {"*": int}},
    "choices?": {"*": str | None},
    "samples_seen?": NUMBER,
    "seconds?": NUMBER,
    "parameters?": {"*": NUMBER},
    "peak_memory?": NUMBER,
}
EVALUATIONS = [{"name": str, "value": NUMBER, "samples_seen": NUMBER, "protocol": dict}]


def expect(value: Any, shape: Any, place: str) -> None:
    """Check what was read against a shape as above.

    Raises:
        SettingError: naming the place and what is there instead.
    """
    if not isinstance(value, type(shape) if isinstance(shape, dict | list) else shape):
        raise SettingError(f"{place} is {'missing' if value is None else reprlib.repr(value)}.")
    inside = f"{place}." if ": " in place else f"{place}: "
    if isinstance(shape, list):
        for i, entry in enumerate(value):
            expect(entry, shape[0], f"{inside}{i}")
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            for name in value if key == "*" else [key.removesuffix("?")]:
                if not key.endswith("?") or value.get(name) is not None:
                    expect(value.get(name), inner, f"{inside}{name}")


def read_file(path: Path, shape: Any, absent: str, parse: Callable[[str], Any] = json.loads) -> Any:
    """What is in a file, or in the text that stands for one that is not there.

    Raises:
        SettingError: naming the file, if it cannot be read or has another shape.
    """
    try:
        found = parse(path.read_text() if path.exists() else absent)
    except (OSError, ValueError, TypeError, yaml.YAMLError, csv.Error) as error:
        raise SettingError(f"{path.name}: {error}") from error
    expect(found, shape, path.name)
    return found


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
        return self.settings["seed"]

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
        settings = read_file(folder / "config.yaml", SETTINGS, "", _settings)
        summary = read_file(folder / "summary.json", SUMMARY, "{}")
        evaluations = read_file(folder / "evaluations.json", EVALUATIONS, "[]")
        clock = read_file(folder / "metrics.csv", tuple, "", _clock)
        summary["status"] = Run(folder).status or "begun"
    except (SettingError, OSError) as error:
        return LeftOut(str(folder), "damaged", " ".join(str(error).split())[:200])
    if reason := unfinished(summary, clock[0][-1] if clock[0] else 0):
        return LeftOut(str(folder), *reason)
    summary |= {key: summary.get(key) or {} for key in ("metrics", "protocols")}
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


def _settings(text: str) -> Any:
    settings = yaml.safe_load(text)
    json.dumps(settings)  # YAML can hold what no setting is: dates, or a list inside of itself
    return settings


def _clock(text: str) -> tuple[list[float], list[float]]:
    """The columns `samples_seen` and `seconds` of a metrics.csv, of the rows that have both."""
    rows = csv.reader(io.StringIO(text))
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
