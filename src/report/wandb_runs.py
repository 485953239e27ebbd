"""Reads runs from Weights & Biases instead of folders: `runs=wandb:entity/project/group`.

`train` leaves there what a comparison needs: the configuration, the summary with its protocols, the
clock, and the pictures of the fixed codes.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from src.config.checks import check_stored, rename_old
from src.errors import PluginError, SettingError
from src.report.comparison import LeftOut
from src.report.read import Record, unfinished
from src.runs.escape import line
from src.runs.metrics_file import CLOCK
from src.runs.records import SUMMARY
from src.runs.stored import CONFIG, check_plain, expect, parse_json

PICTURES = "samples"  # the name under which the callback of that name logs


def read_wandb(
    address: str, api: Any = None, plugins: Sequence[str] = ()
) -> tuple[list[Record], list[LeftOut]]:
    """Finished runs of a project, or of one group of it, and the others with a reason.

    Args:
        address: `wandb:entity/project` or `wandb:entity/project/group`.
        api: instead of `wandb.Api()`.
        plugins: names of the plug-ins whose classes the runs may name.

    Raises:
        SettingError: if the address cannot be read, or nothing is there.
    """
    parts = address.removeprefix("wandb:").split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise SettingError(f"runs={address}: write wandb:entity/project or .../project/group.")
    import wandb

    filters = {"group": parts[2]} if len(parts) > 2 else {}
    records, left_out = [], []
    try:
        api = api or wandb.Api()
        for run in api.runs("/".join(parts[:2]), filters=filters, lazy=False):
            if run.config.get("made_by") == "compare":
                continue
            found = _record(run, plugins)
            (records if isinstance(found, Record) else left_out).append(found)
    except (wandb.errors.Error, ValueError) as error:  # ValueError: there is no such project
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError(f"runs={address} cannot be read: {reason}") from error
    if not records and not left_out:
        raise SettingError(f"runs={address}: there is no run.")
    return records, left_out


def _record(run: Any, plugins: Sequence[str]) -> Record | LeftOut:
    place = f"{'/'.join(run.path)}/{run.name}"
    settings = dict(run.config)
    settings.pop("choices", None)  # for W&B's own page; the summary has them too
    try:
        text = json.dumps(dict(run.summary_metrics))
        summary = parse_json(re.sub(r'"(NaN|-?Infinity)"', r"\1", text))  # so W&B writes them
        check_plain(settings, CONFIG)
        rename_old(settings)
        check_stored(settings, plugins)
        expect(summary, SUMMARY, "summary")
    except PluginError as error:
        return LeftOut(place, "not allowed", line(str(error)))
    except (ValueError, TypeError) as error:
        return LeftOut(place, "damaged", line(str(error)))
    summary["status"] = summary.get("status") or run.state
    if reason := unfinished(summary, summary.get(CLOCK, 0)):
        return LeftOut(place, *reason)
    rows = list(run.scan_history(keys=[CLOCK, "seconds"]))
    clock = [row[CLOCK] for row in rows], [row["seconds"] for row in rows]
    return Record(place, settings, summary, clock, partial(_frames, run))


def _frames(run: Any) -> list[tuple[int, Path]]:
    """Pictures are fetched only when they are shown, into a folder that goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="sparring-")
    _KEPT.append(folder)
    frames = []
    for row in run.scan_history(keys=[CLOCK, PICTURES]):
        for name in _names(row[PICTURES]):
            run.file(name).download(root=folder.name, exist_ok=True)
            frames.append((int(row[CLOCK]), Path(folder.name) / name))
    return sorted(frames)


_KEPT: list[tempfile.TemporaryDirectory] = []


def _names(logged: Mapping[str, Any]) -> list[str]:
    """Files of what was logged: one image, or a list of them."""
    names = [logged["path"]] if "path" in logged else list(logged.get("filenames", ()))
    # They become paths here, and may be anybody's.
    return [n for n in names if re.fullmatch(r"[\w./-]+\.png", n) and ".." not in n and n[0] != "/"]
