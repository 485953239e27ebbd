"""Time of a comparison against the number of runs: `python -m benchmarks.growth RUN`.

Copies of a finished run, with other seeds, budgets and numbers, five seeds of each variant, stand
for a sweep; `python -m src.compare` reads all of them and writes its page. The table has the clock
on the wall and the processor's time, start of Python included.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.throughput import RESULTS, machine
from src.runs.files import write_atomically

SEEDS = 5


def copy(run: Path, root: Path, count: int) -> None:
    """Write so many copies of a run below a folder."""
    draw = random.Random(0)
    config = yaml.safe_load((run / "config.yaml").read_text())
    summary = json.loads((run / "summary.json").read_text())
    metrics = (run / "metrics.csv").read_bytes()
    for k in range(count):
        variant, seed = divmod(k, SEEDS)
        folder = root / f"budget={1000 + variant}" / f"seed={seed}"
        folder.mkdir(parents=True)
        changed = config | {"seed": seed, "budget": 1000 + variant}
        write_atomically(folder / "config.yaml", yaml.safe_dump(changed, sort_keys=False))
        factor = math.exp(0.1 * draw.gauss(0, 1) + 0.01 * variant)
        numbers = {name: factor * value for name, value in summary["metrics"].items()}
        scored = [
            row | {name: factor * row[name] for name in row if name != "samples_seen"}
            for row in summary["scores"]
        ]
        made = summary | {"seed": seed, "metrics": numbers, "scores": scored}
        write_atomically(folder / "summary.json", json.dumps(made))
        (folder / "metrics.csv").write_bytes(metrics)
        (folder / ".lock").touch()


def measure(run: Path, count: int) -> dict[str, float]:
    """Seconds, by both clocks, of a comparison of so many runs."""
    with tempfile.TemporaryDirectory() as place:
        copy(run, Path(place) / "runs", count)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        command = ["src.compare", f"runs={place}/runs", f"out={place}/report.html"]
        text = subprocess.run(
            [sys.executable, "-m", *command], check=True, capture_output=True, text=True
        ).stdout
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert f"budget={1000 + (count - 1) // SEEDS}" in text or count == 1, text[-2000:]
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"runs": count, "seconds": wall, "processor_seconds": used}


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Seconds against runs, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure((4.5, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    runs = [row["runs"] for row in rows]
    axes.loglog(runs, [row["seconds"] for row in rows], marker="o", label="wall")
    axes.loglog(runs, [row["processor_seconds"] for row in rows], marker="o", label="processor")
    axes.set(xlabel="runs compared", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    options = parser.parse_args()
    print("| runs | seconds | processor |\n|---|---|---|")
    rows = []
    for count in options.counts:
        rows.append(measure(options.run, count))
        print(f"| {count} | {rows[-1]['seconds']:.1f} | {rows[-1]['processor_seconds']:.1f} |")
    write_atomically(options.out, json.dumps({"machine": machine(), "compare": rows}) + "\n")
    draw(rows, options.out.with_suffix(".png"))
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
