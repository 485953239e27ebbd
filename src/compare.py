"""Compare finished runs: `python -m src.compare runs=outputs/mnist by=model out=report.html`.

Prints a table for each data set and protocol with a verdict on what is more than noise, and writes
it as a page, or as Markdown, LaTeX, CSV or JSON; or draws the numbers against a setting.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

if not __package__:  # python src/compare.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import PICTURES, check_compare
from src.config.composition import plain
from src.errors import SettingError
from src.report import write
from src.report.against import plot
from src.report.build import compare as build
from src.report.comparison import Comparison, LeftOut
from src.report.read import Record, read_runs
from src.runs.escape import terminal
from src.runs.files import write_atomically


def compare(config: DictConfig, _: Path) -> Comparison:
    """Read, compare, print and write.

    Raises:
        SettingError: if there is nothing to compare, or a setting does not fit the runs.
    """
    settings = plain(config)
    records, left_out = read(as_list(settings["runs"]), settings["plugins"])
    comparison = build(records, left_out, as_list(settings["by"]), settings["metric"])
    print(write.text(comparison, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    targets = outputs(settings["out"]) if comparison.tables else []
    logged = settings["wandb"]["log"] and comparison.tables
    if logged or any(path.suffix in (".html", ".json") for path in targets):
        from src.report.frames import add_pictures

        places = {record.place: record for record in records}
        add_pictures(comparison, places, settings["pictures_mb"])
    for path in targets:
        if path.suffix in PICTURES:
            content = plot(comparison, settings["x"], as_list(settings["y"]), path.suffix)
        else:
            content = FORMATS[path.suffix](comparison)
        write_atomically(path, content)
        if path.suffix == ".csv":
            write_atomically(path.with_name(f"{path.stem}_runs.csv"), write.runs_as_csv(comparison))
    if targets:
        print(terminal(f"\nWritten: {', '.join(map(str, targets))}"))
    if logged:
        from src.report.wandb_log import log

        log(comparison, settings["wandb"], targets[0].parent if targets else Path("outputs"))
    return comparison


def read(places: Sequence[str], plugins: Sequence[str] = ()) -> tuple[list[Record], list[LeftOut]]:
    """Runs below folders and of projects at Weights & Biases, and those that are left out.

    Args:
        places: paths, and addresses that begin with `wandb:`.
        plugins: names of the plug-ins whose classes the runs may name.

    Raises:
        SettingError: if no folder is given, or one has no run.
    """
    if not places:
        raise SettingError("runs=[]: no folder is named.\nSay where runs are: runs=outputs/mnist")
    folders = [place for place in places if not place.startswith("wandb:")]
    records, left_out = read_runs(folders, plugins) if folders else ([], [])
    for address in dict.fromkeys(place for place in places if place.startswith("wandb:")):
        from src.report.wandb_runs import read_wandb

        there, others = read_wandb(address, plugins=plugins)
        records, left_out = [*records, *there], [*left_out, *others]
    return records, left_out


def as_list(value: Any) -> list[str]:
    """One or many, as settings say it."""
    if value is None:
        return []
    return [str(part) for part in (value if isinstance(value, list) else [value])]


def outputs(out: str | None) -> list[Path]:
    """The files to write: one by its ending, or all formats into a folder."""
    if out is None:
        return []
    path = Path(out)
    return [path] if path.suffix else [path / name for name in FILES]


def page(comparison: Comparison) -> str:
    """The page that works from a file."""
    from src.report.page import render

    return render(comparison)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    ".html": page,
    ".md": write.markdown,
    ".tex": write.latex,
    ".csv": write.comma_separated,
    ".json": write.as_json,
}
FILES = ("report.html", "table.md", "table.tex", "table.csv", "comparison.json")


def main() -> None:
    """Run the command of the command line."""
    launch("compare", check_compare, compare)


if __name__ == "__main__":
    main()
