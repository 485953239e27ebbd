"""Pairs: what belongs to what, on which side, in which split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.pairs import Pairs
from src.data.spec import to_uint8
from src.errors import SettingError


def shade(path: Path, value: int, size: tuple[int, int] = (20, 20)) -> None:
    """Write a picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)


def load(root: Path, tmp_path: Path, /, **settings: object) -> Pairs:
    defaults = {
        "name": "things", "kind": "images", "channels": 3, "source_channels": 3, "resolution": 8,
        "direction": "a_to_b", "labels": [], "source": "real", "root": str(root),
        "cache": str(tmp_path / "cache"), "crop": None, "resize": "crop", "filter": "box",
        "background": "white", "batch_size": 4, "seed": 0,
    }  # fmt: skip
    data = Pairs(**defaults | settings)
    data.setup()
    return data


def folders(root: Path, n: int = 12, test: int = 3) -> Path:
    """A has the grey 10 i, B 10 i + 5; endings and orders of folders differ."""
    for split, count in (("train", n), ("test", test)):
        for i in range(count):
            shade(root / f"{split}A" / f"{i}.png", 10 * i)
            shade(root / f"{split}B" / f"{i}.bmp", 10 * i + 5)
    return root


def values(x: torch.Tensor) -> list[int]:
    assert (x == x[:, :1, :1, :1]).all()
    return x[:, 0, 0, 0].tolist()


def test_two_folders(tmp_path: Path, zipped: Callable) -> None:
    root = folders(tmp_path / "set")
    data = load(root, tmp_path)
    for split in ("train", "test"):
        a, b = values(data.sources[split]), values(data.splits[split].x)
        assert [x + 5 for x in a] == b
        assert len(set(a)) == {"train": 12, "test": 3}[split]
    assert load(zipped(root, tmp_path / "set.zip"), tmp_path).data_id == data.data_id
    back = load(root, tmp_path, direction="b_to_a")
    assert back.sources["test"].equal(data.splits["test"].x)
    assert back.splits["test"].x.equal(data.sources["test"])


def test_the_hash_of_the_targets_is_that_of_the_targets_alone(tmp_path: Path) -> None:
    """Features of reals are kept by it; the identity knows the sources too."""
    first = load(folders(tmp_path / "one"), tmp_path).data_id
    shade(folders(tmp_path / "two") / "trainA" / "0.png", 200)
    second = load(tmp_path / "two", tmp_path).data_id
    assert first["hash"] == second["hash"]
    assert first != second


@pytest.mark.parametrize("layout", ["split", "flat"])
def test_side_by_side(layout: str, tmp_path: Path) -> None:
    for i in range(20):
        pixels = np.zeros((10, 20, 3), np.uint8)
        pixels[:, :10], pixels[:, 10:] = 10 * i, 10 * i + 5
        folder = ("train" if i < 15 else "val") if layout == "split" else "."
        path = tmp_path / "set" / folder / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    data = load(tmp_path / "set", tmp_path, source_channels=1)
    assert len(data.splits["train"].x) == (15 if layout == "split" else 18)
    assert data.spec.source.shape == (1, 8, 8)
    for split, b in data.splits.items():
        assert [x + 5 for x in values(data.sources[split])] == values(b.x)


def test_without_a_test_split_every_tenth_pair_is_held_out(tmp_path: Path) -> None:
    data = load(folders(tmp_path / "set", 21, 0), tmp_path)
    assert {split: len(own.x) for split, own in data.splits.items()} == {"train": 19, "test": 2}
    held, kept = (set(values(data.splits[split].x)) for split in ("test", "train"))
    assert not held & kept


def test_the_stream_keeps_pairs_together_and_mirrors_both(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for i in range(10):
        for side, add in (("A", 0), ("B", 5)):
            pixels = np.full((8, 8, 3), 10 * i + add, np.uint8)
            pixels[:, 4:] += 100
            path = root / f"train{side}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    stream = load(root, tmp_path, flip=True).train_dataloader()
    mirrored = []
    for _ in range(8):
        x, _, source = next(stream)
        assert ((to_uint8(x).int() - to_uint8(source).int()) == 5).all()
        mirrored += (x[:, 0, 0, 0] > x[:, 0, 0, 7]).tolist()
    assert 0 < sum(mirrored) < len(mirrored)


def test_sources_of_a_split(tmp_path: Path) -> None:
    data = load(folders(tmp_path / "set"), tmp_path)
    assert to_uint8(data.source_of("test", torch.tensor([2, 0]))).equal(
        data.sources["test"][[2, 0]]
    )


def test_what_is_no_pair(tmp_path: Path) -> None:
    root = folders(tmp_path / "set")
    (root / "trainB" / "7.bmp").unlink()
    with pytest.raises(SettingError, match=r"trainA has 12 images and trainB 11.*: 7\."):
        load(root, tmp_path)
    shade(root / "trainB" / "7.bmp", 7, (20, 10))
    with pytest.raises(SettingError, match=r"7\.png has 20 x 20 and trainB/7\.bmp has 20 x 10"):
        load(root, tmp_path)
    for twin in ("trainA/7.bmp", "more/trainA/7.png"):  # one would take the place of the other
        shade(root / twin, 7)
        with pytest.raises(SettingError, match=r"7\.\w+ are both 7 of trainA"):
            load(root, tmp_path)
        (root / twin).unlink()
    with pytest.raises(SettingError, match="no pairs in trainA"):
        load(folders(tmp_path / "other", 0, 3), tmp_path)
    with pytest.raises(SettingError, match="trainA/ and trainB/"):
        load(tmp_path, tmp_path, root=None)


def test_a_broken_image_breaks_the_set(tmp_path: Path) -> None:
    root = folders(tmp_path / "set")
    (root / "trainB" / "7.bmp").write_bytes(b"no image")
    with pytest.raises(SettingError, match=r"7\.bmp"):
        load(root, tmp_path)
