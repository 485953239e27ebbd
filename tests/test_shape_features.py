"""A linear classifier of D's features: which features, and that it can tell classes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from benchmarks.shape_features import averages, d_features, main, nearest_accuracy, svm_accuracy
from src.config.composition import compose, plain
from src.data.procedural.solids import find_kinds, render, sample_factors
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.networks.voxel import VoxelDiscriminator
from src.training.instantiate import build_model
from tests.conftest import Fit

NAMES = ("chair", "mug", "plane")
TINY = ("data=solids", f"data.labels=[{','.join(NAMES)}]", "data.resolution=16", "data.size=60")
NARROW = ("model.generator.width=2", "model.discriminator.width=2")


def solids(n: int, seed: int) -> Split:
    factors = sample_factors(n, seed)
    return Split(render(factors, NAMES, 16), find_kinds(factors, NAMES))


def model(shape: tuple[int, ...] = (1, 16, 16, 16)) -> GenerativeModel:
    settings = plain(compose("train", ["model=gan3d", *TINY, *NARROW]))
    return build_model(settings, DataSpec("voxels", shape, NAMES))


def test_the_features_are_the_last_three_stages_at_two_cubed_places() -> None:
    x = torch.rand(3, 1, 64, 64, 64) > 0.9
    made = model((1, 64, 64, 64))
    (d,) = (part for part in made.modules() if isinstance(part, VoxelDiscriminator))
    found = d_features(made, x)
    assert found.shape == (3, 8 * (4 + 8 + 16))  # of the widths 2, 4, 8 and 16
    with torch.no_grad():
        last = F.max_pool3d(d(x.float()).features.view(3, 16, 4, 4, 4), 2)
    assert_close(torch.from_numpy(found[:, -8 * 16 :]), last.flatten(1))
    assert d_features(model(), x[..., :16, :16, :16]).shape == (3, 8 * (2 + 4))


def test_classes_are_told_apart() -> None:
    train, test = solids(150, 0), solids(60, 1)
    guessed = float((test.y == 0).double().mean())
    assert nearest_accuracy(train, test) > guessed + 0.4
    assert svm_accuracy(averages, train, test) > guessed + 0.4
    assert averages(train.x[:2]).shape == (2, 512)
    # What says nothing of the shapes has no accuracy but by chance.
    noise = np.random.default_rng(0)
    assert svm_accuracy(lambda x: noise.normal(size=(len(x), 9)), train, test) < guessed + 0.25
    assert nearest_accuracy(train, Split(train.x, train.y)) == 1


def test_runs_are_judged_and_averaged(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("budget=8", "metrics=none", "model.batch_size=4", *NARROW, "~callbacks.samples")
    runs = []
    for seed in (0, 1):
        run = fit("model=gan3d", *TINY, *words, f"seed={seed}", folder=tmp_path / str(seed))
        runs.append(str(run.folder))
    main([*TINY, *runs])
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:4]] == [
        "| nearest training shape by IoU", "| averages over 8^3 blocks", "| untrained D",
    ]  # fmt: skip
    name, accuracy, number, _ = rows[4].split(" |")
    assert (name, number) == (f"| D of {runs[0]}, {runs[1]}", " 2")
    assert re.fullmatch(r" [01]\.\d{3} \+- \d\.\d{3}", accuracy)
    with pytest.raises(SettingError, match="two classes or more"):
        main([*TINY, "data.labels=[chair]"])
