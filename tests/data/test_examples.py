"""Collections of images as people have them: what is read of each, and its pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.errors import SettingError
from tests.data.examples import COLLECTIONS, load, pixels

SMALL = ("data.resolution=12", "data.max_broken=0.1")
TWO, THREE = ("a", "b"), ("0", "1", "2")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple(map(str, range(10)))
# Images to train on, held out, classes, and words of the line that says so.
READ: dict[str, tuple[int, int, tuple[str, ...], str]] = {
    "training_testing": (27, 3, THREE, "27 images in 3 classes (0, 1, 2), 3 (test) held out."),
    "train_test_in_capitals": (27, 3, THREE, ""),
    "stray_beside_splits": (27, 3, THREE, "Left out: 1 beside the folders (cover.png)."),
    "stray_beside_classes": (27, 3, THREE, "Left out: 1 beside the folders (cover.png)."),
    "dataset_tool_zip": (36, 4, tuple("01234"), "Classes are those of dataset.json."),
    "ffhq_folders": (32, 3, (), "unlabelled, 3 (test) held out. Its 4 numbered folders are blocks"),
    "labels_csv": (18, 2, ("cat", "dog"), "Classes are those of labels.csv."),
    "labels_csv_without_endings": (18, 2, ("cat", "dog"), ""),
    "metadata_csv": (18, 4, ("no", "yes"), ""),
    "metadata_jsonl": (18, 2, THREE, "Classes are those of metadata.jsonl."),
    "csv_with_split": (16, 4, ("0", "1"), ""),
    "zip_with_backslashes": (18, 2, TWO, ""),
    "zip_with_dots": (18, 2, TWO, ""),
    "tar": (18, 2, TWO, ""),
    "tar_gz": (18, 2, TWO, ""),
    "link_to_parent": (18, 2, TWO, ""),
    "link_to_itself": (18, 2, TWO, "held out. Left out: 1 behind broken links."),
    "other_endings": (36, 4, (), ""),
    "thumbnails": (18, 2, TWO, "Left out: 6 hidden, 6 small or deleted copies (@eaDir, thumbs)."),
    "copies_across_splits": (20, 5, (), "Of the 5 held out, 3 are exact copies of training"),
    "npz": (20, 5, tuple("0123"), ""),
    "npy": (18, 2, (), ""),
    "npy_with_labels": (18, 2, ("0", "1"), ""),
    "cifar10_binary": (50, 10, CIFAR, ""),
    "cifar10_python": (50, 10, CIFAR, ""),
    "cifar10_tar_gz": (50, 10, CIFAR, ""),
    "hugging_face": (20, 4, ("cat", "dog"), ""),
    "svhn": (20, 10, DIGITS, ""),
}


def stored(split: Tensor) -> np.ndarray:
    """(n, c, h, w) as (n, h, w, c)."""
    return split.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(kind: str, tmp_path: Path) -> None:
    train, held_out, classes, said = READ[kind]
    data = load(kind, tmp_path, "data.resolution=12", "data.max_broken=0")
    assert len(data.splits["train"].x) == train
    assert len(data.splits["test"].x) == held_out
    assert data.spec.classes == classes
    assert said in data.describe()
    if classes:
        assert data.splits["train"].y.unique().tolist() == [*range(len(classes))]


@pytest.mark.parametrize("kind", [kind for kind in COLLECTIONS if kind.startswith("celeba")])
def test_forms_of_celeba(kind: str, tmp_path: Path) -> None:
    data = load(kind, tmp_path, "data.resolution=12", "data.label=Male")
    assert data.data_id["splits"] == {"train": 14, "val": 3, "test": 3}
    assert data.attribute_names == ("Male", "Young")
    assert data.splits["test"].y.tolist() == [1, 0, 1]


def test_kaggles_mnist(tmp_path: Path) -> None:
    data = load("kaggle_idx", tmp_path, "data.source=real")
    assert data.data_id["splits"] == {"train": 20, "test": 10}


def test_archives_are_the_folder(tmp_path: Path) -> None:
    kinds = ("link_to_parent", "zip_with_backslashes", "zip_with_dots", "tar", "tar_gz")
    hashes = {load(kind, tmp_path, *SMALL).data_id["hash"] for kind in kinds}
    assert len(hashes) == 1


def test_turned_images_are_seen_upright(tmp_path: Path) -> None:
    data = load("turned_by_exif", tmp_path, *SMALL)
    assert np.array_equal(stored(data.splits["test"].x)[0], np.rot90(pixels(9), -1))
    assert np.array_equal(stored(data.splits["train"].x)[3], pixels(3))


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("grey", 128), ("black", 0)])
def test_transparent_pixels_are_background(background: str, value: int, tmp_path: Path) -> None:
    data = load("hidden_colours", tmp_path, *SMALL, f"data.background={background}")
    image = stored(data.splits["train"].x)[2]
    assert (image[:, :6] == value).all()
    assert np.array_equal(image[:, 6:], pixels(2)[:, 6:])


def test_endings(tmp_path: Path) -> None:
    data = load("other_endings", tmp_path, *SMALL)
    assert np.array_equal(stored(data.splits["train"].x)[3], pixels(3))  # without an ending
    (tmp_path / "more" / "other_endings").mkdir(parents=True)
    (tmp_path / "more" / "other_endings" / "photo.heic").write_bytes(b"ftypheic")
    assert "Left out: 1 of another kind (.heic)." in load(
        "other_endings", tmp_path / "more", *SMALL
    ).describe()  # fmt: skip


def test_labels_of_ones_own_choice(tmp_path: Path) -> None:
    data = load("training_testing", tmp_path / "1", *SMALL, "data.labels=null")
    assert data.spec.classes == ()
    assert data.splits["train"].y is None
    assert "unlabelled" in data.describe()
    data = load("training_testing", tmp_path / "2", *SMALL, "data.labels=['2','0']")
    assert data.spec.classes == ("2", "0")
    assert data.data_id["splits"] == {"train": 18, "test": 2}
    assert "Left out: 10 of other classes." in data.describe()


@pytest.mark.parametrize(
    ("resize", "corner"),
    [("crop", "red"), ("pad", "black"), ("stretch", "blue")],
)
def test_rectangles(
    resize: str, corner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A red square between two blue ones."""

    def write(root: Path) -> Path:
        x = np.zeros((8, 24, 3), np.uint8)
        x[..., 2], x[:, 8:16] = 200, (200, 0, 0)
        for i in range(2):
            Image.fromarray(x).save(root / f"{i}.png")
        return root

    monkeypatch.setitem(COLLECTIONS, "rectangles", write)
    words = ("data.resolution=24", f"data.resize={resize}", "data.filter=nearest")
    data = load("rectangles", tmp_path, *words, "data.background=black")
    image = stored(data.splits["train"].x)[0]
    colours = {"red": (200, 0, 0), "black": (0, 0, 0), "blue": (0, 0, 200)}
    assert tuple(image[0, 0]) == colours[corner]
    assert tuple(image[12, 12]) == colours["red"]
    if resize == "pad":
        assert (image[8:16, :8] == (0, 0, 200)).all()
        assert (image[:8] == 0).all()
    assert data.data_id.get("fit", "crop") == resize


def test_arrays_keep_their_pixels(tmp_path: Path) -> None:
    data = load("npz", tmp_path, *SMALL)
    assert np.array_equal(stored(data.splits["train"].x), np.stack([pixels(i) for i in range(20)]))
    assert data.splits["train"].y.tolist() == [i % 4 for i in range(20)]
    svhn = load("svhn", tmp_path)
    assert np.array_equal(stored(svhn.splits["train"].x)[7], pixels(7, 32))
    assert svhn.splits["train"].y.tolist() == [(i + 1) % 10 for i in range(20)]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x / 255,
        lambda x: (x / 127.5 - 1).astype(np.float32),
        lambda x: x.astype(np.int64),
        np.asfortranarray,
    ],
    ids=["nchw", "0 to 1", "-1 to 1", "int64", "fortran"],
)
def test_arrays_of_other_types(
    change: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.stack([pixels(i) for i in range(10)])
    x[:, 0, 0], x[:, 0, 1] = 0, 255  # so that each image shows its range

    def write(root: Path) -> Path:
        np.save(root / "x.npy", change(x))
        return root / "x.npy"

    monkeypatch.setitem(COLLECTIONS, "arrays", write)
    assert np.array_equal(stored(load("arrays", tmp_path, *SMALL).splits["test"].x)[0], x[9])


def test_both_forms_of_cifar_are_the_same_data(tmp_path: Path) -> None:
    first, *others = (
        load(kind, tmp_path) for kind in ("cifar10_binary", "cifar10_python", "cifar10_tar_gz")
    )
    for other in others:
        assert other.data_id["hash"] == first.data_id["hash"]
    assert torch.equal(first.splits["train"].y[:10], torch.arange(10))


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="object and not numbers"):
        load("npy_of_objects", tmp_path)
