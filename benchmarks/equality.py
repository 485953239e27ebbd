"""Compare the weights that two states of the code train: `python -m benchmarks.equality REF`.

For changes that move code and are not meant to change what it does. Every variant below is trained
for a few steps by the code of REF (a commit or a tag) and by the code here, on the CPU with one
thread, and compared are

    weights      hashes of all tensors of the last checkpoint, sorted: names do not matter
    scores       the numbers of `summary.json`, those of time and memory left out
    folder       where the run lies
    refusals     what the command says of settings that are wrong

It prints what differs and ends with status 1 if anything does. REF is checked out into a temporary
git worktree; about five minutes on two cores.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

HERE = Path(__file__).resolve().parents[1]
COMMON = (
    *("data.source=builtin", "trainer=cpu", "wandb.mode=disabled", "metrics.n=100", "budget=300"),
    *("model.batch_size=32", "callbacks.samples.n=4"),
)
SMALL = ("model.generator.width=4", "model.discriminator.width=4")
MNIST, FACES = ("data=mnist",), ("data=celeba", "data.resolution=32")
# Every module, kind of penalty, loss, condition, schedule and augmentation, and two ranks.
VARIANTS: dict[str, tuple[str, ...]] = {
    "toy": ("experiment=mixtures", "data=ring"),
    "slanted": ("experiment=notes/slanted_land",),
    "perceptrons": ("model=gan", *MNIST),
    "dcgan": ("model=dcgan", *MNIST, *SMALL),
    "dcgan-faces": ("model=dcgan", *FACES, *SMALL),
    "stacked": ("model=dcgan", "data=stacked_mnist", *SMALL),
    "two ranks": ("model=dcgan", *MNIST, *SMALL, "trainer.devices=2"),
    "lsgan": ("model=lsgan", *MNIST, *SMALL),
    "cdcgan": ("model=cdcgan", *MNIST, *SMALL),
    "acgan": ("model=acgan", *MNIST, *SMALL),
    "infogan": ("model=infogan", *MNIST, *SMALL),
    "wgan": ("model=wgan", *MNIST, *SMALL),
    "wgan_gp": ("model=wgan_gp", *MNIST, *SMALL),
    "dragan": ("model=dragan", *MNIST, *SMALL),
    "r1gan": ("model=r1gan", *MNIST, *SMALL),
    "sngan": ("model=sngan", *FACES, *SMALL),
    "projection": ("model=sngan", *MNIST, *SMALL, "model/condition=projection"),
    "sagan": ("model=sagan", *FACES, *SMALL),
    "r3gan": ("model=r3gan", *MNIST, "model/generator=r3gan_narrow",
              "model/discriminator=r3gan_narrow"),
    "ada": ("model=dcgan", *MNIST, *SMALL, "model/augment=ada"),
    "diffaugment": ("model=dcgan", *MNIST, *SMALL, "model/augment=diffaugment",
                    "model/schedule=linear"),
    "ae": ("model=ae", *MNIST),
    "denoising": ("model=denoising_ae", *MNIST),
    "contractive": ("model=contractive_ae", *MNIST),
    "sparse": ("model=sparse_ae", *MNIST),
    "convolutional": ("model=conv_ae", *MNIST),
    "stacked denoising": ("model=stacked_denoising_ae", *MNIST),
    "deep": ("model=deep_ae", *MNIST),
    "vae": ("model=vae", *MNIST),
    "cvae": ("model=cvae", *MNIST),
    "iwae": ("model=iwae", *MNIST),
    "conv_vae": ("model=conv_vae", *FACES),
}  # fmt: skip
WRONG = (
    ("budgt=1000",),
    ("model=dcgann",),
    ("budget=-5",),
    ("model=dcgan", "data.resolution=20"),
    ("model=gaussian_gan",),
    ("model=dcgan", "model.generator.width=x"),
    ("model.loss._target_=os.system",),
    ("data.root=/nowhere", "data.source=real"),
)
# Of a summary: what is not the same when the same command is run again.
VARYING = ("seconds", "peak_memory", "git", "versions", "device")


class Result(NamedTuple):
    """Result of a variant in one of the trees."""

    folder: str
    weights: Counter[str]
    scores: dict[str, Any]
    said: str


def tensors(value: object) -> Iterator[torch.Tensor]:
    """All tensors in dicts and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)


def hashed(tensor: torch.Tensor) -> str:
    """The type, the shape, and a hash of the numbers."""
    data = tensor.detach().cpu().contiguous().view(-1)
    digest = hashlib.sha256(data.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} {digest}"


def flat(value: object, name: str = "") -> dict[str, Any]:
    """Nested values as `a.b.0`, those that vary left out."""
    if not isinstance(value, dict | list):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = {}
    for key, each in items:
        if key not in VARYING:
            found |= flat(each, f"{name}.{key}" if name else str(key))
    return found


def run(tree: Path, place: Path, words: tuple[str, ...]) -> Result:
    """Train one variant by the code of a tree.

    Args:
        tree: a checkout.
        place: a folder for what it writes.
        words: overrides.
    """
    place.mkdir(parents=True)
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "SPARRING_CACHE": str(place.parent / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *words],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = sorted(place.rglob("summary.json"))
    if done.returncode or not found:
        return Result("", Counter(), {}, done.stderr.replace(str(place), "").strip())
    run_folder = found[0].parent
    last = torch.load(run_folder / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    weights = Counter(map(hashed, tensors(last)))
    folder = run_folder.relative_to(place).as_posix()
    return Result(folder, weights, flat(json.loads(found[0].read_text())), "")


def differences(old: Result, new: Result) -> list[str]:
    """List the differences, a line each."""
    found = []
    if old.said != new.said:
        found += [f"said before: {old.said[-600:]!r}", f"says now:    {new.said[-600:]!r}"]
    if old.folder != new.folder:
        found.append(f"folder: {old.folder} -> {new.folder}")
    lost, gained = old.weights - new.weights, new.weights - old.weights
    if lost or gained:
        found.append(
            f"weights: {lost.total()} of {old.weights.total()} tensors are not among the "
            f"{new.weights.total()} here, e.g. {[*lost, *gained][:3]}"
        )
    for key in sorted(old.scores.keys() | new.scores.keys()):
        before, after = old.scores.get(key, "(none)"), new.scores.get(key, "(none)")
        if repr(before) != repr(after):  # NaN is not equal to itself
            found.append(f"{key}: {before} -> {after}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ref", metavar="REF", help="commit to compare with, e.g. HEAD~1")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    options = parser.parse_args()
    variants = {name: VARIANTS[name] for name in options.only or VARIANTS}
    jobs = {name: (*COMMON, *words) for name, words in variants.items()}
    if not options.only:
        jobs |= {f"refusal of {' '.join(words)}": words for words in WRONG}
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "tree")
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(old), options.ref], check=True)
        try:
            unlike = compare({"old": old, "new": HERE}, jobs, Path(folder), options.jobs)
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)
    print(f"{len(jobs) - unlike} of {len(jobs)} are the same as in {options.ref}")
    sys.exit(unlike > 0)


def compare(
    trees: dict[str, Path], jobs: dict[str, tuple[str, ...]], folder: Path, at_once: int
) -> int:
    """Run all jobs in both trees, print what differs, and return how many jobs do."""
    unlike = 0
    with ThreadPoolExecutor(at_once) as pool:
        futures = {
            name: [
                pool.submit(run, tree, folder / side / str(i), words)
                for side, tree in trees.items()
            ]
            for i, (name, words) in enumerate(jobs.items())
        }
        for name, pair in tqdm(futures.items(), unit="variant"):
            results = [future.result() for future in pair]
            found = differences(*results)
            unlike += bool(found)
            count = f"{results[0].weights.total()} tensors, {len(results[0].scores)} values"
            if not results[0].folder:
                count = f"refused: {results[0].said[:60]!r}"
            tqdm.write(f"{name:40}  {'differs' if found else 'same'}  {count}")
            for line in found:
                tqdm.write(f"    {line}")
    return unlike


if __name__ == "__main__":
    main()
