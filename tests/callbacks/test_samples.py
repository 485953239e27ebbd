from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.records import Records
from src.callbacks.samples import Samples
from src.data.spec import DataSpec, to_model
from src.pictures import grids as pictures
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import IMAGES, POINTS, SignalAt, Tiny

CLOCKS = [0, 7, 14, 28, 42, 56, 63, 77, 91, 105]


class Conditional(Tiny):
    """Odd samples are brighter."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.conditional = True

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (super().decode(z) / 4 + labels.view(-1, 1, 1, 1)).clamp(-1, 1)


class Encoding(Tiny):
    """Gives back what it sees, darker."""

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x / 2 - 0.5


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "samples").iterdir())


def pixels(path: Path) -> list:
    return list(Image.open(path).getdata())


@pytest.mark.parametrize("spec", [IMAGES, POINTS])
def test_files_and_times(fit: Callable, tmp_path: Path, spec: object) -> None:
    samples = Samples()
    csv = [CSVMetrics(str(tmp_path))]
    _, model = fit(Records(every=20), samples, spec=spec, loggers=csv)
    numbered = [f"{clock:010d}.png" for clock in CLOCKS]
    others = ["final.png", "progress.gif", "reals.png"]
    assert names(tmp_path) == sorted(numbered + others)
    assert pixels(tmp_path / "samples" / "final.png") == pixels(tmp_path / "samples" / numbered[-1])
    animation = Image.open(tmp_path / "samples" / "progress.gif")
    assert animation.n_frames == len(CLOCKS)
    assert animation.info["loop"] == 0
    assert samples.shared.wall.parts["pictures"] > 0
    if spec is IMAGES:
        shown = Image.open(tmp_path / "samples" / "final.png")
        assert shown.tobytes() == pictures.grid(model.sample(64, seed=0)).tobytes()


def test_every_and_n(fit: Callable, tmp_path: Path) -> None:
    fit(Samples(n=4, every=50), spec=IMAGES)
    assert [name for name in names(tmp_path) if name[0] == "0"] == [
        "0000000000.png", "0000000056.png", "0000000105.png",
    ]  # fmt: skip
    assert Image.open(tmp_path / "samples" / "final.png").size == (2 + 2 * 66, 2 + 2 * 66)


@pytest.mark.parametrize("stop_at", [7, 56, 105])
def test_the_same_files_after_a_kill(fit: Callable, tmp_path: Path, stop_at: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(Samples(n=4), spec=IMAGES, folder=whole)
    fit(Samples(n=4), spec=IMAGES, folder=killed, stop_at=stop_at)
    fit(Samples(n=4), spec=IMAGES, folder=killed, resume=True)
    assert names(killed) == names(whole)
    for name in names(whole):
        assert (killed / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()


def test_training_is_left_alone(fit: Callable, tmp_path: Path) -> None:
    plain = fit(spec=IMAGES, folder=tmp_path / "plain")[1]
    drawn = fit(Samples(n=4), spec=IMAGES)[1]
    assert torch.equal(plain.mean, drawn.mean)
    assert drawn.training


def test_an_interrupted_run_has_no_end(fit: Callable, tmp_path: Path) -> None:
    fit(Samples(n=4), SignalAt(35), spec=IMAGES)
    assert names(tmp_path)[-2:] == ["0000000042.png", "reals.png"]


def test_one_class_per_column(fit: Callable, tmp_path: Path) -> None:
    fit(Samples(n=6, every=100), spec=IMAGES, model=Conditional(IMAGES))
    shown = Image.open(tmp_path / "samples" / "final.png")
    assert shown.size == (2 + 2 * 66, 2 + 3 * 66)
    even, odd = shown.getpixel((34, 34)), shown.getpixel((34 + 66, 34))
    assert odd > 200 > even


def test_points_that_are_pictures(fit: Callable, tmp_path: Path) -> None:
    spec = DataSpec("points", (6,), picture_shape=(2, 3))
    _, model = fit(Samples(every=50), spec=spec)
    shown = Image.open(tmp_path / "samples" / "final.png")
    x = model.sample(64, seed=0)
    assert shown.tobytes() == pictures.grid_of_points(x, (2, 3)).tobytes()
    assert Image.open(tmp_path / "samples" / "reals.png").size == (12 + 8 * 75, 12 + 7 * 54)


def test_reconstructions(fit: Callable, tmp_path: Path) -> None:
    trainer, _ = fit(Samples(n=8, every=50), spec=IMAGES, model=Encoding(IMAGES))
    paths = sorted((tmp_path / "samples").glob("reconstructions_*.png"))
    assert [path.stem[-4:] for path in paths] == ["0000", "0056", "0105"]
    x = to_model(trainer.datamodule.reals("test").x[[0, 2, 5, 8]])
    assert Image.open(paths[-1]).tobytes() == pictures.pairs(x, x / 2 - 0.5).tobytes()


def test_pictures_reach_the_loggers(fit: Callable, tmp_path: Path) -> None:
    class Sink(CSVMetrics):
        def __init__(self, folder: str) -> None:
            super().__init__(folder)
            self.images: list = []

        def log_image(self, key: str, images: list[str], step: int) -> None:
            self.images.append((key, Path(images[0]).name, step))

    sink = Sink(str(tmp_path))
    fit(Samples(n=4, every=50), spec=IMAGES, loggers=[sink])
    assert sink.images == [
        ("reals", "reals.png", 0),
        ("samples", "0000000000.png", 0),
        ("samples", "0000000056.png", 56),
        ("samples", "0000000105.png", 105),
    ]
