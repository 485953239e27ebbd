"""Speed of FID and KID beside torch-fidelity's: `python -m benchmarks.scores`.

Of the same features (10,000 x 2,048, as wide as Inception's), in one process, in turn, on one
thread:

    FID, both sides new     both sides' moments and the distance
    FID, reals kept         the fakes' moments and the distance, as in training; against the same
                            whole computation of torch-fidelity
    KID, both sides new     100 subsets of 1,000
    KID, reals kept         without the products of reals with reals, as in training after the first

Times are of the processor, not of the clock on the wall: other work on the machine changes them
less. A ratio is torch-fidelity's time over ours, the median over the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch_fidelity.metric_fid as fidelity_fid
import torch_fidelity.metric_kid as fidelity_kid
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.throughput import RESULTS, machine
from src.metrics.quality import Moments, frechet_distance, kernel_distance, moments
from src.runs.files import write_atomically


def features(n: int, d: int, seed: int) -> Tensor:
    """Features (n, d) that depend on each other and are never negative, as Inception's."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator) / d**0.5
    return (torch.randn(n, d, generator=generator) @ mix + 0.1 * seed).relu()


def theirs_fid(fake: Tensor, real: Tensor) -> float:
    both = [fidelity_fid.fid_features_to_statistics(x) for x in (fake, real)]
    return fidelity_fid.fid_statistics_to_metric(*both, False)["frechet_inception_distance"]


def theirs_kid(fake: Tensor, real: Tensor, subsets: int, size: int) -> float:
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": 0, "verbose": False}
    found = fidelity_kid.kid_features_to_metric(fake, real, **settings)
    return found["kernel_inception_distance_mean"]


def timed(function: Callable[..., float], *given: object) -> tuple[float, float]:
    """A function's answer and the processor's seconds that it took."""
    start = time.process_time()
    return function(*given), time.process_time() - start


def measure(n: int, d: int, rounds: int, subsets: int, size: int) -> dict[str, dict]:
    """Each score's ratio, its lowest and highest, seconds, and its difference to theirs."""
    fake, real = features(n, d, 0), features(n, d, 1)
    kept, part = Moments(moments(real).mean, factor=moments(real).factored()), []
    theirs = {
        "FID": partial(theirs_fid, fake, real),
        "KID": partial(theirs_kid, fake, real, subsets, size),
    }
    ours = {
        "FID": (
            lambda: frechet_distance(moments(real), moments(fake)),
            lambda: frechet_distance(kept, moments(fake)),
        ),
        "KID": (
            lambda: kernel_distance(fake, real, 0, subsets, size),
            lambda: kernel_distance(fake, real, 0, subsets, size, part),
        ),
    }
    ours["KID"][1]()
    results = {}
    for name, reference in theirs.items():
        times = [[timed(each) for each in (reference, *ours[name])] for _ in range(rounds)]
        for k, which in enumerate(("both sides new", "reals kept"), 1):
            ratios = sorted(row[0][1] / row[k][1] for row in times)
            results[f"{name}, {which}"] = {
                "ratio": statistics.median(ratios),
                "lowest": ratios[0],
                "highest": ratios[-1],
                "seconds": statistics.median(row[k][1] for row in times),
                "their_seconds": statistics.median(row[0][1] for row in times),
                "relative_difference": abs(times[0][k][0] / times[0][0][0] - 1),
            }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10_000, help="features of each side")
    parser.add_argument("--d", type=int, default=2048, help="width of the features")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subsets", type=int, default=100, help="of KID")
    parser.add_argument("--size", type=int, default=1000, help="samples of a side in a subset")
    parser.add_argument("--out", type=Path, default=RESULTS / "scores.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = measure(options.n, options.d, options.rounds, options.subsets, options.size)
    print("| score | torch-fidelity | sparring | ratio | lowest to highest | difference |")
    print("|---|---|---|---|---|---|")
    for name, row in results.items():
        print(
            f"| {name} | {row['their_seconds']:.2f} s | {row['seconds']:.2f} s "
            f"| {row['ratio']:.2f} | {row['lowest']:.2f} to {row['highest']:.2f} "
            f"| {row['relative_difference']:.1g} |"
        )
    asked = {key: getattr(options, key) for key in ("n", "d", "rounds", "subsets", "size")}
    record = {"machine": machine(), "threads": 1, **asked, "results": results}
    write_atomically(options.out, json.dumps(record, indent=2) + "\n")
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
