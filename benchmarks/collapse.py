"""Whether the alarm at mode collapse is right: `python -m benchmarks.collapse --mnist PATH`.

Short trainings of all presets, and others that are made to collapse, each in a process of its own.
What a run is, its own scores say: it has collapsed if it has less than half of the modes, or a
recall below 0.1. Autoencoders and VAEs that blur so much that their recall is below 0.1, although
their samples differ, are told apart by `blurs`. The table has the alarm beside it, and the lowest
`diversity` that would have raised it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from src.runs.metrics_file import read_metrics

QUICK = ("callbacks.quality.every=${budget}", "callbacks.samples.every=${budget}")
QUICK += ("~callbacks.neighbours", "~callbacks.codes", "wandb.mode=disabled", "max_time=5m")
BLURRED = {"ae", "beta_vae", "conv_ae", "conv_vae", "cvae", "iwae", "linear_ae", "vae"}
BLURRED |= {"denoising_ae", "contractive_ae", "sparse_ae", "stacked_ae", "stacked_denoising_ae"}
BLURRED |= {"deep_ae"}
# Presets on MNIST, by samples that take a minute or two on one core.
ON_MNIST = {
    **dict.fromkeys(("dcgan", "mmgan", "lsgan", "hinge_gan", "r1gan", "dragan"), 60_000),
    **dict.fromkeys(("wgan", "wgan_gp", "wgan_lp"), 50_000),
    **dict.fromkeys(("infogan", "cdcgan", "acgan", "conv_ae", "conv_vae", "beta_vae"), 30_000),
    **dict.fromkeys(("ae", "contractive_ae", "denoising_ae", "linear_ae", "sparse_ae"), 300_000),
    **dict.fromkeys(("vae", "cvae", "stacked_ae", "stacked_denoising_ae", "deep_ae"), 300_000),
    **{"iwae": 100_000, "sngan": 15_000, "sagan": 8_000},
}
FAST = ("model.g_optimizer.lr=0.003", "model.d_optimizer.lr=0.003")
MIXTURES = ("r1gan model/penalty=r1_toy", "wgan_gp", "lsgan", "dragan")


def plan(mnist: str) -> Iterator[tuple[str, ...]]:
    """Overrides of each run, the longest last."""
    real = ("data=mnist", f"data.root={mnist}", "data.source=real", "metrics.n=2000")
    digits = ("data=mnist", "data.source=builtin", "metrics.n=500", "budget=20_000")
    faces = ("data=celeba", "data.source=builtin", "data.resolution=32", "metrics.n=1000")
    stacked = ("data=stacked_mnist", f"data.root={mnist}", "data.source=real", "metrics.n=4000")
    for seed in range(5):
        yield "model=gaussian_gan", "data=gaussian", f"seed={seed}"
    for seed in range(3):
        yield "model=tiny", "data=slanted_land", f"seed={seed}"
    for data in ("ring", "grid"):
        mixture = ("experiment=mixtures", f"data={data}", "budget=1_000_000")
        for model in MIXTURES:
            yield *mixture, *f"model={model}".split()
        for seed in range(3):
            yield *mixture, "model=mmgan", f"seed={seed}", *FAST
        yield *mixture, "model=hinge_gan", "model.latent.dim=1"
    for seed in range(3):
        yield "model=gan", *real, "budget=300_000", f"seed={seed}"
    yield "model=gan", *real, "budget=300_000", "model.g_optimizer.lr=0.002"
    yield "experiment=notes/gan", *real, "budget=600_000"
    yield "experiment=notes/cgan", *real, "budget=400_000"
    yield "model=vae", *real, "budget=300_000", "model.objective.beta=100"
    yield "model=gan", *stacked, "budget=200_000"
    yield "model=gan", *faces, "budget=60_000"
    yield "model=gan", *digits
    for model in ("dcgan", "vae", "conv_vae", "ae", "r1gan", "cdcgan", "infogan"):
        yield f"model={model}", *digits
    for model in ("dcgan", "vae", "conv_ae", "r1gan"):
        yield f"model={model}", *faces, "budget=10_000"
    for latent in (1, 2):
        yield "model=dcgan", *real, "budget=60_000", f"model.latent.dim={latent}"
    for seed in (1, 2):
        yield "model=dcgan", *real, "budget=20_000", f"seed={seed}"
    for model, budget in ON_MNIST.items():
        yield f"model={model}", *real, f"budget={budget}"


def state(summary: dict, model: str) -> str:
    """What a finished run is by its own scores: healthy, blurs or collapsed."""
    scores = summary["metrics"]
    modes = next((value for name, value in scores.items() if name.startswith("modes")), None)
    recall = next((value for name, value in scores.items() if name.startswith("recall")), None)
    if modes is not None:
        real = next(p["real"] for n, p in summary["protocols"].items() if n.startswith("modes"))
        return "collapsed" if modes < real / 2 else "healthy"
    if recall is None or recall >= 0.1:
        return "healthy"
    return "blurs" if model in BLURRED else "collapsed"


def train(folder: Path, overrides: tuple[str, ...]) -> dict:
    """Train one run, unless that was done. Returns its row of the table."""
    command = [sys.executable, "-m", "src.train", *overrides, *QUICK, f"hydra.run.dir={folder}"]
    log = folder.with_suffix(".log")
    if not log.exists() or "Mode collapse" not in log.read_text():
        with log.open("a") as out:  # a second time, what was finished only reports
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=True)
    summary = json.loads((folder / "summary.json").read_text())
    rows = read_metrics(folder / "metrics.csv")
    seen = [row["diversity"] for row in rows if "diversity" in row]
    late = seen[len(seen) // 4 :]
    lowest = min((max(late[i : i + 3]) for i in range(len(late) - 2)), default=float("nan"))
    model = next(word.split("=")[1] for word in overrides if word.startswith(("model=", "exp")))
    return {
        "run": " ".join(
            word for word in overrides if "data." not in word and "metrics" not in word
        ),
        "is": state(summary, "vae-100" if "model.objective.beta=100" in overrides else model),
        "alarm": "Mode collapse" in log.read_text(),
        "lowest": lowest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", required=True, help="folder of MNIST's files")
    parser.add_argument("--folder", type=Path, default=Path("outputs/collapse"))
    parser.add_argument("--part", default="0/1", help="k/n: every n-th run from the k-th on")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    first, step = map(int, arguments.part.split("/"))
    runs = list(enumerate(plan(arguments.mnist)))[first::step]
    rows = [
        train(arguments.folder / f"{number:02d}", overrides) for number, overrides in tqdm(runs)
    ]
    print("| run | it is | alarm | lowest diversity |\n|---|---|---|---|")
    for row in rows:
        alarm = "yes" if row["alarm"] else "no"
        print(f"| {row['run']} | {row['is']} | {alarm} | {row['lowest']:.2f} |")
    for kind in ("healthy", "blurs", "collapsed"):
        of_kind = [row for row in rows if row["is"] == kind]
        print(f"{kind}: {sum(row['alarm'] for row in of_kind)} alarms in {len(of_kind)} runs")


if __name__ == "__main__":
    main()
