"""Logs a comparison to Weights & Biases: a table per data set and protocol, with pictures."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from src.report.comparison import Comparison, Table
from src.runs import escape
from src.runs.wandb_access import wandb_mode


def log(comparison: Comparison, settings: Mapping[str, Any], folder: Path) -> None:
    """Make one run of it, of the job type `compare`.

    Args:
        comparison: with its pictures.
        settings: `mode`, `project` and `group`, see `src.config.settings.CompareWandb`.
        folder: folder of W&B's files.

    Raises:
        SettingError: for `mode=online`, if W&B cannot be reached.
    """
    mode = wandb_mode(settings["mode"])
    if mode == "disabled":
        return
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        dir=str(folder),
        mode=mode,
        project=settings["project"],
        group=settings["group"],
        job_type="compare",
        name=escape.line(f"{comparison.title} by {comparison.metric}", 120),
        config={"made_by": "compare", "by": comparison.by, "metric": comparison.metric},
        settings=wandb.Settings(console="off", silent=mode == "offline", quiet=True),
    )
    for table in comparison.tables:
        # It becomes the name of a file, and a metric may be called "../x".
        name = f"{table.id}_{re.sub(r'[^A-Za-z0-9_-]+', '_', table.metric)[:60]}"
        run.log({f"comparison/{name}": _table(comparison, table)})
        run.summary[f"verdict/{name}"] = escape.line(table.verdict.text, 2000)
    run.finish()
    print(f"Logged to W&B, {mode}: {run.dir if mode == 'offline' else run.url}")


def _table(comparison: Comparison, table: Table) -> Any:
    import wandb

    last = {run.id: run.pictures[-1].image for run in comparison.runs if run.pictures}
    head = ["variant", "letters", "n", escape.line(table.metric), "sd", "best", "samples drawn"]
    named = {escape.line(c.key): c.key for c in table.columns if c.key != table.metric}
    others = {name: key for name, key in named.items() if name not in head}
    made = wandb.Table(columns=[*head[:-1], *others, head[-1]])
    for group in table.groups:
        cell = group.values[table.metric]
        values = [group.values.get(key) for key in others.values()]
        numbers = [value.mean if value else None for value in values]
        picture = next((last[run] for run in group.runs if run in last), None)
        made.add_data(
            escape.line(group.name),
            group.letters,
            cell.n,
            cell.mean,
            cell.sd,
            cell.best,
            *numbers,
            wandb.Image(_image(picture)) if picture else None,
        )
    return made


def _image(address: str) -> Image.Image:
    """The picture in a data address."""
    content = base64.b64decode(address.partition(",")[2])
    return Image.open(io.BytesIO(content), formats=["WEBP"])
