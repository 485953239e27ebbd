"""Image folders: classes, splits, settings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.data.folder import Folder
from src.errors import SettingError


def load(root: Path | None, tmp_path: Path, **settings: object) -> Folder:
    defaults = {
        "name": "pets",
        "kind": "images",
        "channels": 3,
        "resolution": 16,
        "labels": [],
        "source": "real",
        "root": root and str(root),
        "cache": str(tmp_path / "cache"),
        "crop": None,
        "resize": "crop",
        "filter": "lanczos",
        "background": "white",
        "max_broken": 0.001,
        "batch_size": 4,
        "seed": 0,
    }
    data = Folder(**defaults | settings)
    data.setup()
    return data


def test_subfolders_are_classes(tmp_path: Path, write_images: Callable, zipped: Callable) -> None:
    names = [f"{kind}/{i:02d}.png" for kind in ("cat", "dog", "eel") for i in range(10)]
    root = write_images(tmp_path / "pets", names)
    data = load(root, tmp_path)
    assert data.spec.classes == ("cat", "dog", "eel")
    assert data.splits["train"].y.tolist() == [0] * 9 + [1] * 9 + [2] * 9
    assert data.splits["test"].y.tolist() == [0, 1, 2]
    assert data.data_id == load(zipped(root, tmp_path / "pets.zip"), tmp_path).data_id
    assert data.data_id["splits"] == {"train": 27, "test": 3}
    (root / "eel").rename(root / "fox")
    assert load(root, tmp_path).data_id["hash"] != data.data_id["hash"]


def test_flat_folder_has_no_classes(tmp_path: Path, write_images: Callable) -> None:
    root = write_images(tmp_path / "flat", [f"{i}.jpg" for i in range(5)])
    data = load(root, tmp_path, channels=1)
    assert data.spec.classes == ()
    assert data.splits["train"].y is None
    assert data.splits["train"].x.shape == (5, 1, 16, 16)
    assert "test" not in data.splits
    assert data.reals("test") is data.splits["train"]


def test_own_test_split(tmp_path: Path, write_images: Callable) -> None:
    names = [f"{split}/{kind}/1.png" for split in ("test", "train") for kind in ("a", "b")]
    data = load(write_images(tmp_path / "set", names), tmp_path)
    assert data.splits["train"].y.tolist() == data.splits["test"].y.tolist() == [0, 1]
    # The pictures were written in the order of `names`: those of test come first.
    assert not torch.equal(data.splits["train"].x, data.splits["test"].x)


@pytest.mark.parametrize(
    "settings",
    [{"resolution": 0}, {"crop": -1}, {"max_broken": 1.0}],
)
def test_impossible_settings(tmp_path: Path, write_images: Callable, settings: dict) -> None:
    root = write_images(tmp_path / "flat", ["1.jpg"])
    with pytest.raises(SettingError, match=f"data.{next(iter(settings))}"):
        load(root, tmp_path, **settings)


def test_no_root(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data\.root is not set"):
        load(None, tmp_path)


def test_stream_of_mapped_images(tmp_path: Path, write_images: Callable) -> None:
    root = write_images(tmp_path / "flat", [f"{i}.jpg" for i in range(9)])
    batch = next(load(root, tmp_path).train_dataloader())
    assert batch.x.shape == (4, 3, 16, 16)
    assert batch.y is None
    assert -1 <= batch.x.min() < -0.9
    assert 0.9 < batch.x.max() <= 1
