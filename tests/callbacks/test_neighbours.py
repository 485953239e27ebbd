from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from src.callbacks import neighbours
from src.callbacks.neighbours import Neighbours, nearest, picture
from src.cli import launch
from src.config.checks import check_sample
from src.data.spec import to_model
from src.sample import sample
from src.training.fit import train
from tests.callbacks.tiny import IMAGES, POINTS, SignalAt, Tiny
from tests.conftest import composed


@pytest.fixture
def reals() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (57, 3, 4, 4), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("portion", [1000, 57, 10, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_nearest_against_all_distances(
    reals: Tensor, portion: int, flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PORTION", portion)
    x = to_model(reals[torch.randperm(57, generator=torch.Generator().manual_seed(1))[:9]]) * 0.7
    every = (x[:, None].double() - to_model(reals).double()).flatten(2).norm(dim=2)
    if flip:
        mirrored = (x[:, None].double() - to_model(reals.flip(-1)).double()).flatten(2).norm(dim=2)
        every = torch.minimum(every, mirrored)
    index, distance = nearest(x, reals, 5, flip)
    expected, order = every.sort(1)
    assert torch.equal(index, order[:, :5])
    assert_close(distance.double(), expected[:, :5], rtol=1e-4, atol=1e-4)


def test_copies_are_found(reals: Tensor) -> None:
    places = torch.tensor([3, 50, 3])
    index, distance = nearest(to_model(reals[places]), reals, 1)
    assert torch.equal(index[:, 0], places)
    assert distance.max() < 0.02
    mirrored = to_model(reals[places]).flip(-1)
    assert nearest(mirrored, reals, 1, flip=True)[1].max() < 0.02
    assert nearest(mirrored, reals, 1)[1].min() > 1


def test_no_more_neighbours_than_there_are(reals: Tensor) -> None:
    assert nearest(torch.zeros(2, 3, 4, 4), reals[:3], 5)[0].shape == (2, 3)


def test_the_picture(reals: Tensor) -> None:
    """Two samples of 4 px, enlarged 16 times; the nearest stands below and is the same here."""
    shown = picture(to_model(reals[[7, 8]]), reals, k=3)
    assert shown.size == (2 + 2 * 66, (2 + 66) + 6 + (2 + 3 * 66))
    above = shown.crop((0, 2, 134, 66))
    assert above.tobytes() == shown.crop((0, 68 + 6 + 2, 134, 68 + 6 + 66)).tobytes()


def test_at_the_end_of_a_run(fit: Callable, tmp_path: Path) -> None:
    trainer, model = fit(Neighbours(n=5, k=2), spec=IMAGES)
    expected = picture(model.sample(5, seed=0), trainer.datamodule.splits["train"].x, 2)
    assert Image.open(tmp_path / "samples" / "neighbours.png").tobytes() == expected.tobytes()


def test_training_is_left_alone(fit: Callable, tmp_path: Path) -> None:
    plain = fit(spec=IMAGES, folder=tmp_path / "plain")[1]
    assert torch.equal(fit(Neighbours(), spec=IMAGES)[1].mean, plain.mean)


def test_none_of_points_or_of_an_interrupted_run(fit: Callable, tmp_path: Path) -> None:
    fit(Neighbours(), spec=POINTS)
    fit(Neighbours(), SignalAt(35), model=Tiny(IMAGES), spec=IMAGES, folder=tmp_path / "other")
    assert not list(tmp_path.rglob("neighbours.png"))


def test_of_a_run_folder(tmp_path: Path) -> None:
    """`what=neighbours` draws for a finished run what the run drew at its end."""
    train(
        composed("model=vae", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "budget=128"),
        tmp_path / "run",
    )

    def draw(*words: str) -> None:
        launch("sample", check_sample, sample, [f"run={tmp_path}/run", "what=neighbours", *words])

    draw("n=16", f"out={tmp_path}/again.png")
    first = Image.open(tmp_path / "run" / "samples" / "neighbours.png")
    assert Image.open(tmp_path / "again.png").tobytes() == first.tobytes()
    draw("n=20", f"out={tmp_path}/more.png")  # sixteen in a row, and a second one
    assert Image.open(tmp_path / "more.png").height > 2 * first.height
    with pytest.raises(SystemExit, match=r"what=neighbours makes a \.png"):
        draw(f"out={tmp_path}/array.npz")
