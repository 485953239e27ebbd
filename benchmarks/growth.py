"""What grows with what: `python -m benchmarks.growth step|start|sweep|compare`.

    step      seconds and memory of an iteration of DCGAN against batch, resolution and width; each
              is a process of its own, which trains on noise
    start     seconds and memory until training begins against the number of images of 64 px, given
              as one .npy: the first time, when the cache is made, and the second
    sweep     seconds of a sweep against its runs, each of 64 samples
    compare   seconds of a comparison against its runs: copies of a finished run with other seeds,
              budgets and numbers, five seeds of each variant

Seconds are the wall clock's, start of Python included where a command is measured. Results are
added to `results/growth.json`, with machine and versions, and `growth.png` is drawn of all of them.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks import throughput
from src.config.composition import compose, plain
from src.runs.files import write_atomically
from src.training.trainer import keep_freed_memory

SEEDS = 5  # of a variant, in comparisons
RESOLUTION = 64  # of the images whose number grows
DISTINCT = 10_000  # images that are drawn; further ones are these, changed
WARM_UP = 3  # iterations before the clock starts
Row = dict[str, float | str]


# Iterations


def iteration(words: Sequence[str], resolution: int, seconds: float) -> Row:
    """Milliseconds of an iteration and the process's peak memory; to be called in a fresh one."""
    torch.set_num_threads(1)
    keep_freed_memory()
    settings = plain(compose("train", ["model=dcgan", "data=celeba", "data.root=none", *words]))
    data = throughput.Noise((3, resolution, resolution), settings["model"]["batch_size"], n=1_000)
    data.setup()
    probe = throughput.sparring(settings, data, 2, WARM_UP) / 2
    iterations = max(int(seconds / probe), 2)
    spent = throughput.sparring(settings, data, iterations, WARM_UP)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ms": 1000 * spent / iterations, "MB": peak / 1024}


def step(options: argparse.Namespace) -> list[Row]:
    """Iterations against batch, resolution and width, each about its usual value."""
    cases = [("batch", n, [f"model.batch_size={n}"], 32) for n in (8, 16, 32, 64, 128, 256)]
    few = "model.batch_size=16"
    cases += [("px", r, [few, f"data.resolution={r}"], r) for r in (16, 32, 64, 128)]
    both = "model.generator.width={0}", "model.discriminator.width={0}"
    for width in (16, 32, 64, 128):
        cases.append(("width", width, [few, *(word.format(width) for word in both)], 32))
    rows: list[Row] = []
    for against, value, own, resolution in cases:
        words = ["data.resolution=32", *own, *options.overrides]
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            measured = fresh.apply(iteration, (words, resolution, options.seconds))
        rows.append({"against": against, "value": value, **measured})
        print(f"| {against} {value} | {measured['ms']:.1f} ms | {measured['MB']:.0f} MB |")
    return rows


# Commands


def run(words: Sequence[str], folder: Path | None = None) -> Row:
    """Seconds of a command of ours, and the most memory of its own that it had.

    Pages of a file that is mapped into memory are not its own: the system drops them at will.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
        own = 0
        while process.poll() is None:
            own = max(own, _own_memory(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - start
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(words)} failed:\n{output.read()[-2000:]}")
    return {"seconds": wall, "MB": own / 1024}


def _own_memory(process: int) -> int:
    """Kilobytes of a process that are no file's; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("RssAnon")), 0)


def start(options: argparse.Namespace) -> list[Row]:
    """Starts against the number of images."""
    rows: list[Row] = []
    for count in options.counts or (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            root = Path(place) / "images"
            root.mkdir()
            make_images(root / "images.npy", count)
            for time_of in ("first", "second"):
                run_folder = Path(place) / time_of
                words = ["src.train", "model=dcgan", "data=folder", f"data.root={root}"]
                words += [f"data.resolution={RESOLUTION}", f"data.cache={place}/cache"]
                words += ["budget=64", "metrics=none", "~callbacks.neighbours"]
                words += ["wandb.mode=disabled", f"hydra.run.dir={run_folder}"]
                measured = run(words)
                wall = json.loads((run_folder / "summary.json").read_text())["wall"]
                row = {"images": count, "time": time_of, "data": wall["data"]}
                row |= {"start": wall["start"] + wall["data"], "MB": measured["MB"]}
                rows.append(row)
                cells = [f"{count:,}", time_of, f"{row['start']:.1f} s to the first step"]
                cells += [f"{row['data']:.2f} s of it for data", f"{row['MB']:.0f} MB"]
                print(f"| {' | '.join(cells)} |", flush=True)
    return rows


def make_images(path: Path, count: int) -> None:
    """Write so many different images of noise as uint8 (n, h, w, 3)."""
    shape = (RESOLUTION, RESOLUTION, 3)
    x = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, 256, (min(count, DISTINCT), *shape), np.uint8)
    for first in range(0, count, DISTINCT):
        part = x[first : first + DISTINCT]
        part[:] = drawn[: len(part)] ^ generator.integers(0, 256, shape, np.uint8)
    x.flush()


def sweep(options: argparse.Namespace) -> list[Row]:
    """Sweeps against their runs."""
    rows: list[Row] = []
    for count in options.counts or (1, 2, 4, 8, 16):
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            seeds = ",".join(map(str, range(count)))
            words = ["src.train", "-m", "model=ae", "data=mnist", "data.source=builtin"]
            words += ["budget=64", "metrics=none", "wandb.mode=disabled", f"seed={seeds}"]
            measured = run([*words, f"hydra.sweep.dir={place}"])
            made = len(list(Path(place).rglob("summary.json")))
            if made != count:
                raise SystemExit(f"{made} of {count} runs were finished.")
        rows.append({"runs": count, "seconds": measured["seconds"]})
        print(f"| {count} | {measured['seconds']:.1f} s |", flush=True)
    return rows


def compare(options: argparse.Namespace) -> list[Row]:
    """Comparisons against the number of runs."""
    if not options.run:
        raise SystemExit("compare: give a finished run with --run FOLDER")
    rows: list[Row] = []
    for count in options.counts or (10, 100, 1_000):
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            copy(options.run, Path(place) / "runs", count)
            report = Path(place) / "report.html"
            measured = run(["src.compare", f"runs={place}/runs", f"out={report}"])
            last = f"budget={1000 + (count - 1) // SEEDS}"
            if count > SEEDS and last not in report.read_text():
                raise SystemExit(f"The comparison lacks {last}.")
        rows.append({"runs": count, **measured})
        print(f"| {count} | {measured['seconds']:.1f} s |", flush=True)
    return rows


def copy(original: Path, root: Path, count: int) -> None:
    """Write so many copies of a run below a folder."""
    drawing = random.Random(0)
    config = yaml.safe_load((original / "config.yaml").read_text())
    summary = json.loads((original / "summary.json").read_text())
    for k in range(count):
        variant, seed = divmod(k, SEEDS)
        folder = root / f"budget={1000 + variant}" / f"seed={seed}"
        folder.mkdir(parents=True)
        changed = config | {"seed": seed, "budget": 1000 + variant}
        write_atomically(folder / "config.yaml", yaml.safe_dump(changed, sort_keys=False))
        factor = math.exp(0.1 * drawing.gauss(0, 1) + 0.01 * variant)
        numbers = {name: factor * value for name, value in summary["metrics"].items()}
        scored = [
            row | {name: factor * row[name] for name in row if name != "samples_seen"}
            for row in summary["scores"]
        ]
        made = summary | {"seed": seed, "metrics": numbers, "scores": scored}
        write_atomically(folder / "summary.json", json.dumps(made))
        shutil.copy(original / "metrics.csv", folder)
        (folder / ".lock").touch()


# The picture


def draw(record: dict[str, dict], path: Path) -> None:
    """A panel of each kind that was measured, on logarithmic axes."""
    from matplotlib.figure import Figure

    panels = [name for name in MEASURES if name in record]
    figure = Figure((4.2 * len(panels), 3.2), dpi=80, layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        rows = record[name]["rows"]
        if name == "step":
            for against in dict.fromkeys(row["against"] for row in rows):
                chosen = [row for row in rows if row["against"] == against]
                x, y = ([row[key] for row in chosen] for key in ("value", "ms"))
                axes.loglog(x, y, marker="o", label=f"against {against}")
            axes.set(xlabel="batch, px or width", ylabel="ms an iteration")
        elif name == "start":
            for time_of in ("first", "second"):
                chosen = [row for row in rows if row["time"] == time_of]
                x, y = ([row[key] for row in chosen] for key in ("images", "start"))
                axes.loglog(x, y, marker="o", label=f"{time_of} time")
            axes.set(xlabel="images of 64 px", ylabel="seconds to the first step")
        else:
            axes.loglog([row["runs"] for row in rows], [row["seconds"] for row in rows], marker="o")
            axes.set(xlabel=f"runs ({name})", ylabel="seconds")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(path)


MEASURES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "step": step,
    "start": start,
    "sweep": sweep,
    "compare": compare,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--run", type=Path, help="compare: folder of a finished run")
    parser.add_argument("--counts", type=int, nargs="+", help="images or runs")
    parser.add_argument("--seconds", type=float, default=3.0, help="step: of each measurement")
    parser.add_argument("--folder", type=Path, help="for what is written (1,000,000 images: 25 GB)")
    parser.add_argument("--out", type=Path, default=throughput.RESULTS / "growth.json")
    parser.add_argument("overrides", nargs="*", help="step: further settings")
    options = parser.parse_args()
    record = json.loads(options.out.read_text()) if options.out.exists() else {}
    load = os.getloadavg()[0]  # what else the machine does
    rows = MEASURES[options.what](options)
    record[options.what] = {"machine": throughput.machine(), "load": load, "rows": rows}
    write_atomically(options.out, json.dumps(record, indent=1) + "\n")
    draw(record, options.out.with_suffix(".png"))
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
