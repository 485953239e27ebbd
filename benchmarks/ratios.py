"""The quick ratios beside the recorded ones: `make bench`, alone on the machine.

Rows of training are the platform's rate over that of a loop by hand of the same networks, see
`throughput.py`; rows of scores are torch-fidelity's time over the platform's, see `scores.py`. Both
are in one process, in turn, by the processor's time, with one thread. A ratio below nine tenths of
the recorded one is measured once more; if it still is, the exit status is 1.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks import scores, throughput
from benchmarks.throughput import RESULTS, machine
from src.runs.files import write_atomically

FALL = 0.9  # of the recorded ratio
TRAINING = {
    "gan": (28, "data=mnist"),
    "dcgan": (28, "data=mnist"),
    "r1gan": (2, "experiment=mixtures data=ring model/penalty=none"),
    "ae": (28, "data=mnist"),
    "vae": (28, "data=mnist"),
    "stacked_ae": (28, "data=mnist"),
    "srresnet": (64, "data/degradation=downsample"),
}
Ratio = tuple[float, float, float]  # median, lowest and highest over the rounds


def step(model: str, rounds: int, seconds: float) -> Ratio:
    """The platform's rate over that of a loop by hand."""
    resolution, words = TRAINING[model]
    result = throughput.measure(model, resolution, rounds, seconds, words.split(), ["by hand"])
    return result["sparring / by hand"], *result["sparring / by hand, spread"]


def score(name: str, rounds: int) -> Ratio:
    """torch-fidelity's time over the platform's, of 4,000 x 512 features."""
    row = scores.measure(4000, 512, rounds, 50, 500)[name]
    return row["ratio"], row["lowest"], row["highest"]


def measures(rounds: int, seconds: float) -> dict[str, Callable[[], Ratio]]:
    """What is measured, by name."""
    return {
        f"training {name}": partial(step, name, rounds, seconds) for name in TRAINING
    } | {
        name: partial(score, name, rounds)
        for name in ("FID, both sides new", "KID, both sides new")
    }  # fmt: skip


def compare(taken: dict[str, Callable[[], Ratio]], recorded: dict[str, Ratio]) -> dict[str, Ratio]:
    """Measure, print each ratio beside the recorded one, and return them all."""
    found = {}
    print("| ratio | recorded | now | lowest to highest |\n|---|---|---|---|")
    for name, take in taken.items():
        before = recorded.get(name, (0.0,))[0]
        found[name] = take()
        if found[name][0] < FALL * before:
            found[name] = max(found[name], take())
        now, low, high = found[name]
        fell = " fell" if now < FALL * before else ""
        known = f"{before:.3f}" if before else "-"
        print(f"| {name} | {known} | {now:.3f}{fell} | {low:.3f} to {high:.3f} |", flush=True)
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each loop in a round")
    parser.add_argument("--only", nargs="+", help="names of ratios; all others are left out")
    parser.add_argument("--record", action="store_true", help="write what is found as the record")
    parser.add_argument("--file", type=Path, default=RESULTS / "ratios.json", help="the record")
    options = parser.parse_args(words)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    throughput.CLOCK[0] = time.process_time
    known = json.loads(options.file.read_text())["ratios"] if options.file.exists() else {}
    taken = measures(options.rounds, options.seconds)
    if wrong := set(options.only or ()) - set(taken):
        raise SystemExit(f"There is no {', '.join(wrong)}, but {', '.join(taken)}.")
    taken = {name: take for name, take in taken.items() if name in (options.only or taken)}
    recorded = {name: known[name] for name in taken if name in known and not options.record}
    with threadpool_limits(1):
        found = known | compare(taken, recorded)
    if options.record:
        record = {"machine": machine(), "rounds": options.rounds, "seconds": options.seconds}
        record["ratios"] = {k: [round(x, 4) for x in ratio] for k, ratio in found.items()}
        write_atomically(options.file, json.dumps(record, indent=2) + "\n")
    return int(any(found[name][0] < FALL * recorded[name][0] for name in recorded))


if __name__ == "__main__":
    sys.exit(main())
