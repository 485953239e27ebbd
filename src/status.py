"""Progress of many runs: `python -m src.status`, and the table of a sweep.

Everything is read from the run folders, so it works while they run, after a crash, and from another
machine that sees them.
"""

import os
import sys
import time
from pathlib import Path

from omegaconf import DictConfig

if not __package__:  # python src/status.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import check_status
from src.errors import SettingError
from src.runs.run import run_folders
from src.runs.stored import expect, parse_json, read_bytes
from src.runs.table import RECORDS, Row, count_states, look, table

ORDER = ("running", "waiting", "failed", "interrupted")  # others, all of which ended well, follow
SWEEP = {"runs": [{"name": str, "state": str, "note": str}]}


def rows(outputs: Path) -> list[Row]:
    """All runs below a folder, and those of its sweeps that have no folder yet or never will."""
    found: dict[str, Row] = {}
    for folder in run_folders(outputs):
        name = str(folder.relative_to(outputs))
        try:
            found[name] = look(folder, name)
        except (SettingError, OSError) as error:
            found[name] = Row(name, "damaged", note=str(error).partition("\n")[0])
    for record in sorted((outputs / RECORDS).glob("*.json")):
        try:
            sweep = parse_json(read_bytes(record, flags=os.O_NOFOLLOW))
            expect(sweep, SWEEP, record.name)
        except (OSError, ValueError):
            continue  # the folders say most of it
        for entry in sweep["runs"]:
            name = entry["name"]
            row = found.get(name)
            if row is None:  # not begun, or removed since
                if entry["state"] in ("waiting", "running", "failed"):
                    found[name] = Row(name, entry["state"], note=entry["note"])
            elif entry["note"] and not row.note and row.state == "interrupted":
                row.note = entry["note"]
    place = {state: i for i, state in enumerate(ORDER)}
    return sorted(found.values(), key=lambda row: place.get(row.state, len(ORDER)))


def status(config: DictConfig, _: Path) -> None:
    """Print the table of all runs below `runs`, again and again with `watch`.

    Raises:
        SettingError: if there is no such folder.
    """
    outputs = Path(config.runs)
    if not outputs.is_dir():
        raise SettingError(f"runs={outputs}: there is no such folder.")
    while True:
        found = rows(outputs)
        counts = count_states(found)
        text = f"{table(found)}\n\n{counts}" if found else f"No runs in {outputs} yet."
        if config.watch and sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        print(text, flush=True)
        if not config.watch:
            return
        time.sleep(config.every)


def main() -> None:
    """Run the command of the command line."""
    launch("status", check_status, status)


if __name__ == "__main__":
    main()
