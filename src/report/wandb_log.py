"""Logs a comparison to Weights & Biases: a table per data set and protocol, with pictures."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from src.loggers import wandb_mode
from src.report.comparison import Comparison, Table


def log(comparison: Comparison, settings: Mapping[str, Any], folder: Path) -> None:
    """Make one run of it, of the job type `compare`.

    Args:
        comparison: with its pictures.
        settings: `mode`, `project` and `group`, see `src.settings.CompareWandb`.
        folder: where W&B keeps its files.

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
        name=f"{comparison.title} by {comparison.metric}",
        config={"made_by": "compare", "by": comparison.by, "metric": comparison.metric},
        settings=wandb.Settings(console="off", silent=mode == "offline", quiet=True),
    )
    for table in comparison.tables:
        run.log({f"comparison/{table.id}_{table.metric}": _table(comparison, table)})
        run.summary[f"verdict/{table.id}_{table.metric}"] = table.verdict.text
    run.finish()
    print(f"Logged to W&B, {mode}: {run.dir if mode == 'offline' else run.url}")


def _table(comparison: Comparison, table: Table) -> Any:
    import wandb

    last = {run.id: run.pictures[-1].image for run in comparison.runs if run.pictures}
    head = ["variant", "letters", "n", table.metric, "sd", "best"]
    others = [column.key for column in table.columns if column.key != table.metric]
    made = wandb.Table(columns=[*head, *others, "samples drawn"])
    for group in table.groups:
        cell = group.values[table.metric]
        numbers = [group.values[key].mean if key in group.values else None for key in others]
        picture = next((last[run] for run in group.runs if run in last), None)
        made.add_data(
            group.name,
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
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
