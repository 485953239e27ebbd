"""GANs of voxels from the command to the pictures: training, scores, samples."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.config.checks import check_sample
from src.config.composition import compose
from src.errors import SettingError
from src.runs.run import Run
from src.sample import sample
from tests.conftest import Fit

TINY = (
    *("data=solids", "data.resolution=16", "data.size=60", "data.flip=true", "budget=48"),
    *("model.generator.width=2", "model.discriminator.width=2", "model.batch_size=8"),
    *("metrics=auto", "metrics.n=5", "callbacks.samples.n=16", "callbacks.samples.every=48"),
    *(f"~callbacks.{name}" for name in ("progress", "curves", "health")),
)


@pytest.fixture
def run(fit: Fit) -> Run:
    return fit("model=gan3d", "model/condition=projection", *TINY)


def drawn(run: Run, out: Path, *words: str) -> Path:
    settings = compose("sample", [f"run={run.folder}", f"out={out}", "n=3", *words])
    check_sample(settings)
    sample(settings, out.parent)
    return out


def test_a_conditional_gan_of_voxels(run: Run, tmp_path: Path) -> None:
    summary = run.summary
    assert summary["status"] == "finished"
    assert {f"{m}5_iou" for m in ("coverage", "nna", "overlap", "whole")} <= {*summary["metrics"]}
    assert summary["protocols"]["whole5_iou"]["real"] == 1
    with Image.open(run.folder / "samples" / "final.png") as picture:
        assert picture.size == (8 * 96, 2 * 96)  # a class for each column
    assert (run.folder / "samples" / "reals.png").exists()
    assert (run.folder / "samples" / "progress.gif").exists()
    with np.load(drawn(run, tmp_path / "shapes.npz", "label=mug"), allow_pickle=False) as file:
        shapes = file["arr_0"]
    assert shapes.shape == (3, 16, 16, 16)
    assert shapes.dtype == bool
    with Image.open(drawn(run, tmp_path / "shapes.png", "what=interpolation")) as picture:
        assert picture.size == (10 * 96, 3 * 96)
    with pytest.raises(SettingError, match="voxels"):
        drawn(run, tmp_path / "near.png", "what=neighbours")
    with pytest.raises(SettingError, match=r"choose \.png, \.npz"):
        drawn(run, tmp_path / "folder")
