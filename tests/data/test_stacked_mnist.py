"""Triples of digits: made of the right ones, the same each time, with their true law."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from src.config.composition import compose, plain
from src.data import sources
from src.data.mnist import digits, resized
from src.data.sources import resolve
from src.data.stacked_mnist import StackedMNIST, triple_class
from src.errors import SettingError


def stacked(**settings: object) -> StackedMNIST:
    defaults = {
        "name": "mnist",
        "kind": "images",
        "channels": 3,
        "resolution": 28,
        "labels": [str(i) for i in range(10)],
        "source": "builtin",
        "root": "",
        "cache": "",
        "size": 300,
        "batch_size": 8,
        "seed": 0,
    }
    data = StackedMNIST(**defaults | settings)
    data.setup()
    return data


def test_each_channel_is_a_digit_of_its_class() -> None:
    data = stacked()
    for name, single in digits().items():
        x, y = data.splits[name]
        assert (x.shape, x.dtype) == ((300, 3, 28, 28), torch.uint8)
        shown = torch.stack([y // 100, y // 10 % 10, y % 10], 1)
        # Which of the single images each channel is: all pixels are compared at once.
        same = torch.cdist(x.flatten(0, 1).flatten(1).double(), single.x.flatten(1).double()) == 0
        assert same.any(1).all()
        assert torch.equal(single.y[same.int().argmax(1)], shown.flatten())
        # Channels are drawn independently, and anew for each image.
        assert len(x.flatten(1).unique(dim=0)) == 300
        assert shown[:, 0].eq(shown[:, 1]).sum() + shown[:, 1].eq(shown[:, 2]).sum() >= 30


def test_what_the_spec_says() -> None:
    data = stacked(resolution=32, size=5)
    assert data.spec.shape == (3, 32, 32)
    assert len(data.spec.classes) == 1000
    assert data.spec.classes[314] == "3-1-4"
    assert triple_class(torch.tensor([[3, 1, 4], [0, 0, 0]]), 10).tolist() == [314, 0]
    assert data.digits == "digits"
    assert [len(split.x) for split in data.splits.values()] == [5, 5]
    assert data.data_id["name"] == "stacked_digits"
    assert data.data_id["size"] == 5
    assert data.data_id["shape"] == [3, 32, 32]
    small = stacked(size=5).splits["train"]
    assert torch.equal(resized(small.x.flatten(0, 1)[:, None], 32).view(5, 3, 32, 32),
                       data.splits["train"].x)  # fmt: skip


def test_shares_are_those_of_the_training_digits() -> None:
    data = stacked(size=1)
    single = digits()["train"].y.bincount().double()
    single /= single.sum()
    assert_close(data.shares.sum(), torch.tensor(1.0).double())
    assert_close(data.shares[314], single[3] * single[1] * single[4])
    cube = data.shares.view(10, 10, 10)
    for axes in ((1, 2), (0, 2), (0, 1)):
        assert_close(cube.sum(axes), single)
    # A sample has them: the mean of a chi-square is its degrees of freedom.
    counts = stacked(size=20_000).splits["train"].y.bincount(minlength=1000)
    chi = ((counts - 20_000 * data.shares) ** 2 / (20_000 * data.shares)).sum()
    assert abs(chi - 999) < 4 * (2 * 999) ** 0.5


def test_triples_are_the_same_for_all_seeds() -> None:
    first, second = stacked(), stacked(seed=7, batch_size=3)
    assert first.data_id == second.data_id
    assert torch.equal(first.splits["train"].x, second.splits["train"].x)
    assert first.data_id != stacked(size=301).data_id
    assert first.data_id["hash"] != stacked(resolution=32).data_id["hash"]
    # A larger set begins with the smaller one.
    assert torch.equal(stacked(size=400).splits["train"].x[:300], first.splits["train"].x)


def test_batches() -> None:
    batch = next(stacked(size=20).train_dataloader())
    assert (batch.x.shape, batch.x.dtype) == ((8, 3, 28, 28), torch.float32)
    assert (batch.x.min(), batch.x.max()) == (-1, 1)
    assert batch.y.shape == (8,)


def test_no_images_are_refused() -> None:
    with pytest.raises(SettingError, match=r"data\.size=0"):
        stacked(size=0)


def test_files_are_those_of_the_single_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_answers", lambda *_: False)
    data = plain(compose("train", ["data=stacked_mnist", f"data.root={tmp_path}"]))["data"]
    assert plain(compose("train", ["data=stacked_mnist"]))["data"]["root"].endswith("data/mnist")
    source, notice = resolve(data)
    assert source == "builtin"
    assert "no mnist files there" in notice
    assert "1,797" in notice
    with pytest.raises(SettingError, match="train-images-idx3-ubyte"):
        resolve(data | {"source": "real"})
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    assert resolve(data) == ("real", "")
