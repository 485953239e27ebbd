"""Parquet of the Hugging Face kind, and what strangers can put into it."""

from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from src.data.parquet import ParquetImages, from_hub
from src.errors import SettingError
from tests.data.examples import content, load, make, parquet_table, pixels


def test_pixels_and_classes(tmp_path: Path) -> None:
    data = load("hugging_face", tmp_path, "data.resolution=12")
    assert data.splits["train"].y.tolist() == [i % 2 for i in range(20)]
    for split, row, i in (("train", 0, 0), ("train", 17, 17), ("test", 2, 52)):
        assert np.array_equal(data.splits[split].x[row].permute(1, 2, 0).numpy(), pixels(i))


def test_a_table_without_classes_and_with_plain_bytes(tmp_path: Path) -> None:
    table = pyarrow.table({"img": [content(i) for i in range(10)], "text": ["x"] * 10})
    parquet.write_table(table, tmp_path / "set.parquet")
    images = ParquetImages(tmp_path / "set.parquet")
    layout = images.layout()
    assert layout.class_names == ()
    assert {split: len(own) for split, own in layout.splits.items()} == {"train": 9, "test": 1}
    with images.open(layout.splits["test"][0]) as image:
        assert np.array_equal(np.asarray(image), pixels(9))


def test_labels_without_names(tmp_path: Path) -> None:
    table = parquet_table(10)
    for metadata in ({}, {"huggingface": "[]"}, {"huggingface": '{"info": {"features": 1}}'}):
        path = tmp_path / "set.parquet"
        parquet.write_table(table.replace_schema_metadata(metadata), path)
        assert ParquetImages(path).layout().class_names == ("0", "1")


def test_paths_of_a_row_are_not_opened(tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": str(Path(__file__))}] * 3
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    table = pyarrow.table({"image": pyarrow.array(rows, kind)})
    parquet.write_table(table, tmp_path / "set.parquet")
    images = ParquetImages(tmp_path / "set.parquet")
    with pytest.raises(ValueError, match="no bytes"), images.open("0[1]"):
        pass


@pytest.mark.parametrize(
    ("make_bad", "told"),
    [
        (lambda path: path.write_bytes(b"PAR1 no more"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "cannot be read"),
        (lambda path: parquet.write_table(pyarrow.table({"a": [1]}), path), "no column of images"),
        (lambda path: parquet.write_table(parquet_table(0), path), "no images"),
    ],
)
def test_files_that_are_no_images(make_bad: Callable, told: str, tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    parquet.write_table(parquet_table(4), path)
    make_bad(path)
    with pytest.raises(SettingError, match=told):
        ParquetImages(path).layout()


def test_a_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, local_dir: Path, **settings: str) -> None:
        asked.append((name, settings["repo_type"]))
        make("hugging_face", Path(local_dir))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for _ in range(2):  # the second time it is there
        folder = from_hub("hf://somebody/pets", tmp_path)
        assert ParquetImages(folder).layout().class_names == ("cat", "dog")
    assert asked == [("somebody/pets", "dataset")]


def test_a_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route\nto the host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(SettingError, match=r"hf://somebody/pets: the download failed: no route$"):
        from_hub("hf://somebody/pets", tmp_path)
