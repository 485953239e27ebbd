"""A comparison as a sweep may give it: variants x seeds x data sets, animations of digits."""

import base64
import functools
import io
import math

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from src.report.comparison import (
    Cell,
    Column,
    Comparison,
    Curve,
    Group,
    LeftOut,
    Pair,
    Picture,
    RunEntry,
    Table,
    Verdict,
)

# name, settings, final FID, seconds for 300k samples, parameters
VARIANTS = [
    ("r3gan", {"model.loss": "relativistic", "model.penalty": "r1_r2"}, 4.1, 2900, 2.6e6),
    ("dcgan", {"model.loss": "standard", "model.penalty": "none"}, 6.3, 1150, 3.5e6),
    ("dcgan loss=hinge", {"model.loss": "hinge", "model.penalty": "none"}, 6.6, 1160, 3.5e6),
    ("wgan_gp", {"model.loss": "wasserstein", "model.penalty": "wgan_gp"}, 7.9, 4100, 3.5e6),
    ("sngan", {"model.loss": "hinge", "model.penalty": "none"}, 8.2, 1420, 3.1e6),
    ("lsgan", {"model.loss": "least_squares", "model.penalty": "none"}, 9.4, 1140, 3.5e6),
    ("dragan", {"model.loss": "standard", "model.penalty": "dragan"}, 12.5, 1900, 3.5e6),
    ("wgan", {"model.loss": "wasserstein", "model.penalty": "clip"}, 31.0, 2300, 3.5e6),
    ("vae", {"model.beta": 1.0}, 42.0, 310, 1.1e6),
    ("vae beta=4", {"model.beta": 4.0}, 71.0, 312, 1.1e6),
]
METRIC = "fid10k_mnist"
COLUMNS = [
    Column(METRIC, "FID", "", True, "Frechet distance of 10,000 samples to the training data"),
    Column("is10k_mnist", "IS", "", False, "Inception score with the digit classifier"),
    Column("precision10k_mnist", "precision", "", False, "Share of samples near a real image"),
    Column("recall10k_mnist", "recall", "", False, "Share of real images near a sample"),
    Column("samples", "samples", "", None, "Real samples shown in training"),
    Column("seconds", "time", "s", True, "Training time without scoring"),
    Column("parameters", "parameters", "", None, "Weights of all networks"),
    Column("peak_memory", "memory", "bytes", True, "Largest resident memory"),
    Column("images_per_second", "samples/s", "1/s", False, "Samples seen per second"),
]


def example(
    variants: int = 10, seeds: int = 3, tables: int = 2, scorings: int = 14, side: int = 28
) -> Comparison:
    """Numbers, curves and pictures of `tables * variants * seeds` made-up runs, always the same.

    Args:
        scorings: points of each curve and frames of each animation.
        side: of one picture's images, of which a frame has 8 x 8, in pixels.
    """
    rng = np.random.default_rng(0)
    made = [_table(rng, t, variants, seeds, scorings, side) for t in range(tables)]
    return Comparison(
        title="Ten variants on MNIST and Fashion-MNIST",
        created="2026-03-01T12:00:00+00:00",
        by=["model"],
        metric=METRIC,
        tables=[table for table, _ in made],
        runs=[run for _, runs in made for run in runs],
        left_out=[
            LeftOut("outputs/mnist/began/default/seed=0", "failed", "not finite: loss/d at 12,544"),
            LeftOut("outputs/mnist/wgan/default/seed=3", "running", "128,000 of 300,000 samples"),
            LeftOut("outputs/mnist/vae/default/seed=9", "damaged", "summary.json: not valid JSON"),
        ],
        notes=[
            "Numbers of different protocols or data are never in one table.",
            "With 3 seeds the test finds a difference of 4 standard deviations in 88 % of cases.",
        ],
    )


def _table(
    rng: np.random.Generator, t: int, variants: int, seeds: int, scorings: int, side: int
) -> tuple[Table, list[RunEntry]]:
    runs: list[RunEntry] = []
    groups = []
    for v in range(variants):
        name, config, fid, seconds, parameters = VARIANTS[v % len(VARIANTS)]
        name = name if v < len(VARIANTS) else f"{name} width={v}"
        fid *= (1 + 0.7 * t) * (1 + v // len(VARIANTS))
        own = [
            _run(rng, f"{t}/{v}/{seed}", t, v, name, config, fid, seconds, parameters, scorings)
            for seed in range(seeds)
        ]
        own[0].pictures = _film(v, own[0].curve, side)
        runs += own
        values = {column.key: _cell(own, column) for column in COLUMNS}
        letters = "abcdefgh"[min(7, int(math.log2(fid / 3)))]
        letters += "c" if name == "dcgan loss=hinge" else ""
        groups.append(Group(f"{t}/{v}", name, [r.id for r in own], values, letters, config))
    pairs = [
        Pair(a.id, b.id, p, ratio, ratio * 0.8, ratio / 0.8, p < 0.05)
        for i, a in enumerate(groups)
        for b in groups[i + 1 :]
        for ratio in [a.values[METRIC].mean / b.values[METRIC].mean]
        for p in [min(1.0, math.exp(-6 * abs(math.log(ratio))))]
    ]
    verdict = Verdict(
        "r3gan is better than every other variant. dcgan and dcgan loss=hinge cannot be told apart "
        "at 5 %.",
        "Tukey-Kramer on log FID, pooled variance",
        0.05,
        pairs,
    )
    data = ["MNIST, train, 28 px, hash 11de40ec", "Fashion-MNIST, train, 28 px, hash 77aa02f1"][t]
    protocol = {"samples": 10000, "extractor": "mnist", "extractor_hash": "5b1f09", "ema": True}
    warnings = ["wgan: the seeds differ by more than 20 % of their mean; add seeds."] if t else []
    table = Table(
        f"table{t}", data, METRIC, True, 1.1, protocol, COLUMNS, groups, verdict, warnings
    )
    return table, runs


def _run(
    rng: np.random.Generator,
    id: str,
    t: int,
    v: int,
    name: str,
    config: dict,
    fid: float,
    seconds: float,
    parameters: float,
    scorings: int,
) -> RunEntry:
    samples = np.geomspace(1600, 300_000, scorings).astype(int)
    final = fid * math.exp(0.06 * rng.normal())
    fall = final * (samples[-1] / samples) ** (0.6 + 0.02 * v)
    value = np.minimum(fall, 330) * np.exp(0.08 * rng.normal(size=scorings))
    value[-1] = final
    seconds *= math.exp(0.02 * rng.normal())
    seed = int(id.rsplit("/", maxsplit=1)[-1])
    return RunEntry(
        id=id,
        table=f"table{t}",
        group=f"{t}/{v}",
        seed=seed,
        folder=f"outputs/{['mnist', 'fashion'][t]}/{name.replace(' ', '/')}/seed={seed}",
        status="finished",
        metrics={
            METRIC: float(value.min()),
            "is10k_mnist": float(9.8 - 0.6 * math.log(final)),
            "precision10k_mnist": float(np.clip(0.97 - 0.0025 * final + 0.01 * rng.normal(), 0, 1)),
            "recall10k_mnist": float(np.clip(0.95 - 0.0075 * final + 0.01 * rng.normal(), 0, 1)),
        },
        cost={
            "samples": 300_000,
            "seconds": seconds,
            "parameters": int(parameters),
            "peak_memory": float(9e8 + 200 * parameters),
            "images_per_second": float(3e5 / seconds),
        },
        provenance={
            "git": "1facc47a9e0c",
            "versions": {"python": "3.11.7", "torch": "2.15.0", "lightning": "2.6.6"},
            "data_id": {"name": ["mnist", "fashion"][t], "size": 60000, "hash": "11de40ec28a7c150"},
            "protocols": {METRIC: {"samples": 10000, "extractor": "mnist", "ema": True}},
            "device": "cpu, 2 cores" if seed else "cuda, NVIDIA H200",
        },
        config=config,
        curve=Curve(
            [int(n) for n in samples],
            [float(s) for s in seconds * samples / samples[-1]],
            [float(f) for f in value],
            [float(f) for f in np.minimum.accumulate(value)],
        ),
    )


def _cell(runs: list[RunEntry], column: Column) -> Cell:
    values = [float((run.metrics | run.cost)[column.key]) for run in runs]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    best = max(values) if column.lower_is_better is False else min(values)
    return Cell(float(np.mean(values)), sd, len(values), best, values)


def _film(v: int, curve: Curve, side: int) -> list[Picture]:
    """Digits that come out of the noise, the clearer the lower the metric."""
    clear = [math.exp(-value / 150) for value in curve.value]
    return [
        Picture(samples, _frame(v % 5, round(share, 1), side))
        for samples, share in zip(curve.samples, clear, strict=True)
    ]


@functools.cache
def _frame(v: int, share: float, side: int) -> str:
    rng = np.random.default_rng(v)
    digits = np.stack([np.asarray(_digit(i, side)) for i in rng.integers(1700, size=64)])
    noise = rng.normal(110, 25, digits.shape)
    images = np.clip(share * digits + (1 - share) * noise, 0, 255).astype(np.uint8)
    sheet = images.reshape(8, 8, side, side).swapaxes(1, 2).reshape(8 * side, 8 * side)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "WEBP", quality=80, method=0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _digit(i: int, side: int) -> Image.Image:
    image = Image.fromarray((_digits()[i] * 15.9).astype(np.uint8))
    return image.resize((side, side), Image.Resampling.BICUBIC)


@functools.cache
def _digits() -> np.ndarray:
    return load_digits().images
