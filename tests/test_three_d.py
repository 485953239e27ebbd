"""Models of voxels from the command to the pictures: training, scores, samples, meshes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from src.api import load_run
from src.callbacks.shapes import best_to_worst
from src.config.checks import check_sample, check_translate
from src.config.composition import compose
from src.errors import SettingError
from src.runs.run import Run
from src.sample import sample
from src.translate import translate
from tests.conftest import Fit

TINY = (
    *("data=solids", "data.resolution=16", "data.size=60", "data.flip=true", "budget=48"),
    *("model.batch_size=8", "metrics=auto", "metrics.n=5"),
    *("callbacks.samples.n=16", "callbacks.samples.every=48"),
    *(f"~callbacks.{name}" for name in ("progress", "curves", "health")),
)


@pytest.fixture
def run(fit: Fit) -> Run:
    widths = (f"model.{player}.width=2" for player in ("generator", "discriminator"))
    return fit("model=gan3d", "model/condition=projection", *TINY, *widths)


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
    assert {"frechet5_solids", "recall5_solids"} <= {*summary["metrics"]}
    assert summary["protocols"]["frechet5_solids"]["real"] > 0
    with Image.open(run.folder / "samples" / "final.png") as picture:
        assert picture.size == (8 * 96, 2 * 96)  # a class for each column
    assert (run.folder / "samples" / "reals.png").exists()
    assert (run.folder / "samples" / "progress.gif").exists()
    with Image.open(run.folder / "samples" / "turntable.gif") as picture:
        assert picture.size == (4 * 96, 3 * 96)
    assert (run.folder / "samples" / "shapes.html").read_text().count('"bits"') == 12
    with np.load(drawn(run, tmp_path / "shapes.npz", "label=mug"), allow_pickle=False) as file:
        shapes = file["arr_0"]
    assert shapes.shape == (3, 16, 16, 16)
    assert shapes.dtype == bool
    with Image.open(drawn(run, tmp_path / "shapes.png", "what=interpolation")) as picture:
        assert picture.size == (10 * 96, 3 * 96)
    with pytest.raises(SettingError, match="voxels"):
        drawn(run, tmp_path / "near.png", "what=neighbours")
    with pytest.raises(SettingError, match=r"shapes can be \.png, \.npz"):
        drawn(run, tmp_path / "folder")
    assert '"columns":2' in drawn(run, tmp_path / "turn.html").read_text().replace(" ", "")


GREYS = ("L", "RGB", "LA", "P")  # modes in which programs save shades of grey
SINGLE_VIEW = (
    *("model=single_view", "model.conditional=true", "data/degradation=view"),
    *("data.degradation.side=28", "callbacks.shapes.n=5", "model.translator.encoder.width=2"),
    *("model.translator.generator.width=2", "model.translator.generator.occupancy=0.9"),
)


def test_a_shape_of_one_picture(fit: Fit, tmp_path: Path) -> None:
    run = fit(*TINY, *SINGLE_VIEW)
    summary, folder = run.summary, run.folder / "samples"
    assert {"iou5_test", "ap5_test", "whole5_test"} <= {*summary["metrics"]}
    found = summary["protocols"]["iou5_test"]["baselines"]
    assert found["mean shape"] < found["by picture"] <= found["nearest training shape"]
    with Image.open(folder / "final.png") as picture:
        assert picture.size == (5 * 98 + 2, 6 * 98 + 2)  # all six test shapes
    with Image.open(folder / "shapes.png") as picture:
        assert picture.size == (2 * 5 * 96 + 6, 3 * (96 + 22 + 6) - 6)
    page = (folder / "shapes.html").read_text()
    assert (page.count('"bits"'), page.count("data:image/png")) == (10, 5)
    assert (folder / "turntable.gif").exists()

    def call(given: Path, out: Path, *words: str) -> None:
        settings = compose("translate", [f"run={run.folder}", f"in={given}", f"out={out}", *words])
        check_translate(settings)
        translate(settings, tmp_path)

    photo = folder / "picture.png"
    call(photo, tmp_path / "chair.glb", "label=chair")
    mesh = trimesh.load_mesh(tmp_path / "chair.glb")
    assert mesh.is_watertight
    assert mesh.volume > 0
    call(photo, tmp_path / "chair.html", "label=0")
    assert (tmp_path / "chair.html").read_text().count('"bits"') == 1
    many = tmp_path / "many"
    many.mkdir()
    for name in ("a", "b"):
        (many / f"{name}.png").write_bytes(photo.read_bytes())
    call(many, tmp_path / "made", "label=mug")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"a.glb", "b.glb"}

    def refused(given: Path, *words: str, out: str = "x.glb", label: str = "chair") -> str:
        with pytest.raises(SettingError) as caught:
            call(given, tmp_path / out, f"label={label}", *words)
        assert len(str(caught.value).splitlines()) <= 2
        return str(caught.value)

    with Image.open(photo) as picture:
        picture.resize((30, 28)).save(tmp_path / "large.png")
        for mode in GREYS:
            picture.convert(mode).save(tmp_path / f"grey_{mode}.png")
        Image.merge("RGB", [picture, picture, picture.point(lambda v: v // 2)]).save(
            tmp_path / "colours.png"
        )
        Image.merge("LA", [picture, picture]).save(tmp_path / "glass.png")
    assert "has 30 x 28 pixels; the model takes 28 x 28" in refused(tmp_path / "large.png")
    for name, mode in (("colours", "RGB"), ("glass", "LA")):
        said = refused(tmp_path / f"{name}.png")
        assert f"has the channels {mode}, with colours or transparency; the model takes L" in said
    for mode in GREYS:
        call(tmp_path / f"grey_{mode}.png", tmp_path / f"{mode}.glb", "label=chair")
    assert len({(tmp_path / f"{mode}.glb").read_bytes() for mode in GREYS}) == 1
    assert "shapes can be .png" in refused(photo, out="x.jpg")
    assert "makes voxels of pictures" in refused(photo, "direction=back")
    assert "makes voxels of pictures" in refused(photo, "degrade=true")
    assert "makes voxels of pictures" in refused(photo, "mask=m.png")
    assert "no such class" in refused(photo, label="cloud")
    assert not (tmp_path / "x.glb").exists()
    with pytest.raises(SettingError, match="draws nothing"):
        drawn(run, tmp_path / "x.png")


def test_shapes_of_pictures_and_of_noise(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One model does both, and is scored and shown for both."""
    widths = (f"model.{part}.width=2" for part in ("encoder", "generator", "discriminator"))
    view = ("data/degradation=view", "data.degradation.side=28", "callbacks.shapes.n=5")
    run = fit("model=vaegan3d", *TINY, *view, *widths, "model.generator.occupancy=0.9")
    metrics, folder = {*run.summary["metrics"]}, run.folder / "samples"
    told = capsys.readouterr().out
    assert [f"src.{command} run=" in told for command in ("sample", "translate")] == [True, True]
    assert {"iou5_test", "ap5_test", "nna5_iou", "frechet5_solids", "whole5_iou"} <= metrics
    assert {"iou", "ap", "nna", "coverage", "whole", "frechet"} <= {*run.summary["headline"]}
    assert "mean shape" in run.summary["protocols"]["iou5_test"]["baselines"]
    with Image.open(folder / "final.png") as picture:
        assert picture.size == (4 * 96, 4 * 96)
    with Image.open(folder / "translations_0000000048.png") as picture:
        assert picture.size == (5 * 98 + 2, 6 * 98 + 2)  # all six test shapes
    with Image.open(folder / "shapes.png") as picture:
        assert picture.size == (2 * 5 * 96 + 6, 3 * (96 + 22 + 6) - 6)
    page = (folder / "shapes.html").read_text()
    assert (page.count('"bits"'), page.count("data:image/png")) == (5, 0)  # of samples
    with Image.open(drawn(run, tmp_path / "shapes.png", "what=interpolation")) as picture:
        assert picture.size == (10 * 96, 3 * 96)
    with Image.open(drawn(run, tmp_path / "codes.png", "what=traversal")) as picture:
        assert picture.size == (10 * 96, 3 * 96)
    photo, out = folder / "picture.png", tmp_path / "chair.glb"
    settings = compose("translate", [f"run={run.folder}", f"in={photo}", f"out={out}"])
    check_translate(settings)
    translate(settings, tmp_path)
    assert trimesh.load_mesh(out).is_watertight
    assert load_run(run.folder).sample(2).shape == (2, 1, 16, 16, 16)


def test_the_best_and_the_worst_are_shown() -> None:
    values = torch.tensor([0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 0.8, 0.6, 0.4])
    assert values[best_to_worst(values, 5)].tolist() == pytest.approx([0.9, 0.4, 0.3, 0.2, 0.1])
    assert best_to_worst(values, 20).tolist() == values.argsort(descending=True).tolist()
    assert values[best_to_worst(values, 1)].tolist() == pytest.approx([0.1])
