"""Run folders without a training: the files that `train` leaves, with numbers of a test."""

import copy
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from src.config.checks import check
from src.config.composition import compose, get_choices, plain

DATA = {
    "name": "mnist", "source": "real", "size": 60000, "shape": [1, 28, 28],
    "splits": {"train": 60000, "test": 10000}, "hash": "11de40a25ca32f09",
}  # fmt: skip
REAL = {"fid": 1.18, "is": 9.66, "precision": 0.9, "recall": 0.88, "sharpness": 1.0}


@cache
def _settings(model: str, words: tuple[str, ...]) -> dict[str, Any]:
    config = compose("train", [f"model={model}", "data.source=real", "budget=1000", *words])
    check(config)
    return {"settings": plain(config), "choices": get_choices(config)}


def protocol(metric: str) -> dict[str, Any]:
    """As a scorer records it."""
    return {
        "metric": metric, "n_fake": 10000, "n_real": 60000, "real_split": "train",
        "extractor": {"name": "mnist", "hash": "f00d"}, "data_id": DATA, "seed": 0,
        "real": REAL[metric],
    }  # fmt: skip


def write_run(
    root: Path,
    model: str = "dcgan",
    seed: int = 0,
    fid: float = 5.0,
    *,
    words: tuple[str, ...] = (),
    latent: int | None = None,
    variant: str = "default",
    summary: Mapping[str, Any] | None = None,
    frames: int = 0,
    measured: Mapping[str, Any] | None = None,
) -> Path:
    """A finished run in the place that `train` gives it.

    Args:
        root: the output folder.
        model: preset.
        seed: of the run.
        fid: its number; it was half as much again at the scoring before the last, if not `scores`.
        words: overrides of the configuration.
        latent: `model.latent.dim`, without composing anew.
        variant: name of the folder.
        summary: replaces entries of summary.json.
        frames: pictures of the fixed codes.
        measured: replaces entries of the protocols.
    """
    composed = copy.deepcopy(_settings(model, words))
    folder = root / "mnist" / model / variant / f"seed={seed}"
    folder.mkdir(parents=True)
    settings = composed["settings"] | {"seed": seed}
    if latent:
        settings["model"]["latent"]["dim"] = latent
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    (folder / "config.yaml").write_text(yaml.dump(settings, Dumper=dumper, sort_keys=False))
    values = {"fid10k_mnist": fid, "is10k_mnist": 9 - fid / 100, "sharpness2k": 0.9}
    names = {"fid10k_mnist": "fid", "is10k_mnist": "is", "sharpness2k": "sharpness"}
    protocols = {name: protocol(bare) | dict(measured or {}) for name, bare in names.items()}
    made = {
        "status": "finished", "error": None, "data_id": protocols["fid10k_mnist"]["data_id"],
        "seed": seed, "choices": composed["choices"], "plugins": {},
        "versions": {"python": "3.11.7", "torch": "2.15.0"}, "git": "1facc47a9e0c",
        "stopped": None, "metrics": values | {"fid": fid}, "headline": ["fid"],
        "protocols": protocols,
        "scores": [
            {"samples_seen": 500} | values | {"fid10k_mnist": 1.02 * fid},
            {"samples_seen": 1000} | values,
        ],
        "samples_seen": 1000, "seconds": 20.0, "iterations": 100, "updates": {"d": 100, "g": 100},
        "wall": {"training": 20.0, "scoring": 1.0},
        "parameters": {"generator": 3000, "discriminator": 2000}, "peak_memory": 2**30,
        "rested": {}, "device": "cpu, 2 threads", "devices": 1, "precision": "32-true",
    } | dict(summary or {})  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(made, indent=2))
    (folder / ".lock").touch()
    rows = [f"{i * 5},{i / 10},0.5" for i in range(1, 201)]
    (folder / "metrics.csv").write_text("\n".join(["samples_seen,seconds,loss/d", *rows]) + "\n")
    if frames:
        (folder / "samples").mkdir()
        rng = np.random.default_rng(seed)
        for i in range(frames):
            grey = rng.integers(0, 256, (10 * 58 + 2, 16 * 58 + 2), dtype=np.uint8)
            path = folder / "samples" / f"{i * 1000 // max(frames - 1, 1):010d}.png"
            Image.fromarray(grey).save(path, compress_level=1)
        Image.new("L", (4, 4)).save(folder / "samples" / "final.png")
    return folder


def sweep(root: Path, *models: str, seeds: int = 3, sd: float = 0.1, **means: float) -> None:
    """A run of each model and seed, FIDs log-normal around `means[model]`, 5 by default."""
    rng = np.random.default_rng(0)
    for model in models:
        for seed in range(seeds):
            fid = means.get(model, 5.0) * float(np.exp(sd * rng.standard_normal()))
            write_run(root, model, seed, fid)
