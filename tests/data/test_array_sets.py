"""Sets of arrays of strangers: pickles that run programs, files of MATLAB, shapes and values."""

import io
import os
import pickle
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from src.data.array_sets import NumpyImages, as_uint8
from src.data.cifar import CifarImages, unpickle
from src.data.svhn import parse_mat
from src.errors import SettingError
from tests.data.examples import make, stack


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/tmp/a-pickle-was-here",)


def old(value: object) -> bytes:
    """As Python 2 and NumPy 1 wrote it: CIFAR's batches."""
    return pickle.dumps(value, protocol=2).replace(b"numpy._core", b"numpy.core")


def test_the_unpickler_reads_arrays_of_bytes() -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    batch = {b"data": x, b"labels": [1, 2]}
    turned = {b"data": np.asfortranarray(x), b"labels": [1, 2]}
    for content in (old(batch), pickle.dumps(batch), old(turned)):
        read = unpickle(content)
        assert np.array_equal(read[b"data"].values, x)
        assert read[b"labels"] == [1, 2]


def deep(n: int) -> bytes:
    """A key of a dictionary that is a tuple in a tuple in a tuple ..."""
    return b"\x80\x02}N" + b"\x85" * n + b"Ns."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({b"data": Bomb()}),
        pickle.dumps(np.array([Bomb()], object)),
        pickle.dumps(np.zeros(3)),
        old({b"data": np.zeros(3, np.uint8)}).replace(b"K\x03\x85", b"K\x7f\x85"),
        pickle.dumps(np.zeros(2, np.uint8))[:-20],
        b"cnumpy\nload\n(S'x'\ntR.",
        deep(10**6),
        b"no pickle",
        b"",
    ],
    ids=["program", "objects", "floats", "shape", "cut", "numpy.load", "deep", "text", "empty"],
)
def test_the_unpickler_reads_nothing_else(content: bytes) -> None:
    with pytest.raises(ValueError, match="its pickle is refused"):
        unpickle(content)
    assert not Path("/tmp/a-pickle-was-here").exists()


def test_a_batch_that_is_none(tmp_path: Path) -> None:
    root = make("cifar10_python", tmp_path / "set")
    batch = root / "cifar-10-batches-py" / "data_batch_3"
    for content, told in (
        (pickle.dumps([1]), "no batch"),
        (pickle.dumps({b"labels": [11], b"data": b""}), "other labels"),
        (pickle.dumps({b"labels": [1], b"data": b""}), "no array"),
        (pickle.dumps({b"labels": [1], b"data": np.zeros((2, 3072), np.uint8)}), "images of CIFAR"),
    ):
        batch.write_bytes(content)
        with pytest.raises(SettingError, match=told):
            CifarImages(root).layout()
    batch.unlink()
    with pytest.raises(SettingError, match="no data_batch_3"):
        CifarImages(root).layout()


def mat(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays, do_compression=True)
    return file.getvalue()


def test_files_of_matlab() -> None:
    rng = np.random.default_rng(0)
    arrays = {"X": rng.integers(0, 256, (4, 5, 3, 7), np.uint8), "y": rng.random((3, 2))}
    arrays["long name"] = np.array([[7]])
    for packed in (True, False):
        file = io.BytesIO()
        more = {"text": "words", "cell": np.array([1, "a"], object)}
        savemat(file, arrays | more, do_compression=packed)
        read = dict(parse_mat(file.getvalue()))
        for name, x in arrays.items():
            assert np.array_equal(read[name], x)
        assert "cell" not in read


def test_damaged_files_of_matlab() -> None:
    whole = mat(X=np.zeros((4, 4), np.uint8))
    for size in range(128, len(whole)):
        with suppress(ValueError):
            assert list(parse_mat(whole[:size])) == []
    inside = zlib.compress(b"\x0e\0\0\0\xff\xff\xff\x7f" + bytes(64))
    packed = b"\x0f\0\0\0" + len(inside).to_bytes(4, "little") + inside
    for content in (b"", b"no file", whole[:128] + packed):
        with pytest.raises(ValueError):
            list(parse_mat(content))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": np.zeros(5)}, "no array"),
        ({"x": np.zeros((5, 5, 4, 7))}, "no images"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "no images"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images(arrays: dict, told: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SettingError, match=told):
        NumpyImages(tmp_path / "x.npz").layout()


def test_names_of_arrays(tmp_path: Path) -> None:
    """MedMNIST's, guided diffusion's, and labels that are none."""
    x, y = stack(20), np.arange(20) % 2
    medical = {"train_images": x, "train_labels": y[:, None]}
    medical |= {"val_images": x[:4], "val_labels": y[:4, None]}
    for arrays, classes, held_out in (
        (medical, 2, 4),
        ({"arr_0": x, "arr_1": y}, 2, 2),
        ({"trainX": x, "testX": x[:3]}, 0, 3),
        ({"images": x, "ids": np.arange(20)}, 0, 2),
        ({"images": x, "a": y, "b": y}, 0, 2),
        ({"images": x, "labels": y, "ids": np.arange(20), "features": np.ones((20, 3))}, 2, 2),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        layout = NumpyImages(tmp_path / "x.npz").layout()
        assert len(layout.class_names) == classes
        assert len(layout.splits["test"]) == held_out


def test_two_sets_that_are_held_out(tmp_path: Path) -> None:
    """MedMNIST's val and test: both keep their labels, of the same number or not."""
    x, y = stack(20), np.arange(20) % 3
    for shape in ((-1,), (-1, 1)):
        for n in (4, 5):
            arrays = {}
            for split, part in (("train", slice(0, 11)), ("val", slice(11, 11 + n)),
                                ("test", slice(16, 20))):  # fmt: skip
                arrays[f"{split}_images"] = x[part]
                arrays[f"{split}_labels"] = y[part].reshape(shape)
            np.savez(tmp_path / "x.npz", **arrays)
            layout = NumpyImages(tmp_path / "x.npz").layout()
            assert [len(layout.splits[split]) for split in ("train", "test")] == [11, n + 4]
            assert layout.class_names == ("0", "1", "2")
            assert layout.classes["val_images[2]"] == str(13 % 3)
            assert layout.classes["test_images[2]"] == str(18 % 3)
            assert layout.remarks == []


KINDS = np.array(["cat", "dog"])


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        (np.eye(2)[np.arange(20) % 2], ("0", "1"), []),
        (np.eye(2, dtype=bool)[np.arange(20) % 2], ("0", "1"), []),
        (KINDS[np.arange(20) % 2], ("cat", "dog"), []),
        (KINDS[np.arange(20) % 2][:, None], ("cat", "dog"), []),
        (np.arange(20) % 2.0, ("0", "1"), []),
        (np.arange(20) % 2 == 1, ("0", "1"), []),
        (np.ones((20, 2), int), (), ["labels has rows that are not one-hot"]),
        (np.full((20, 2), np.nan), (), ["labels has rows that are not one-hot"]),
        (np.arange(20) / 2, (), ["labels has numbers that are not whole"]),
        (np.full(20, np.inf), (), ["labels has numbers that are not whole"]),
        (np.array(["a", ""] * 10), (), ["labels has empty texts"]),
        (np.full(20, 2**31, np.uint32).view("U1"), (), ["labels has texts that cannot be read"]),
        (np.full(20, 0xD800, np.uint32).view("U1"), (), ["labels has texts that cannot be read"]),
        (np.full(20, ""), (), ["labels has empty texts"]),
        (KINDS.astype(">U3")[np.arange(20) % 2], ("cat", "dog"), []),
        (np.full((20, 2), "a"), (), ["labels has the shape (20, 2)"]),
    ],
)
def test_kinds_of_labels(labels: np.ndarray, classes: tuple, told: list, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=stack(20), labels=labels)
    layout = NumpyImages(tmp_path / "x.npz").layout()
    assert layout.class_names == classes
    assert not classes or layout.classes["images[3]"] == classes[1]
    assert layout.remarks == [f"Labels are left out: {reason}." for reason in told]


def test_labels_that_are_left_out_are_told(tmp_path: Path) -> None:
    x, y = stack(20), np.arange(20) % 2
    for arrays, told in (
        ({"images": x, "a": y, "b": y}, "which of a, b belongs to images is not clear"),
        ({"x_train": x, "y_train": y, "x_test": x[:4]}, "x_test has none"),
        ({"images": x}, None),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        layout = NumpyImages(tmp_path / "x.npz").layout()
        assert layout.remarks == ([f"Labels are left out: {told}."] if told else [])
        assert layout.class_names == ()


def test_the_array_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=stack(4), names=np.array(["a", {}], object))
    told = r"names(\.npy)?: it holds object and not numbers.\n.*astype"
    with pytest.raises(SettingError, match=told):
        NumpyImages(tmp_path / "x.npz").layout()
    np.save(tmp_path / "names.npy", np.array(["a", {}], object))
    with pytest.raises(SettingError, match=told):
        NumpyImages(tmp_path / "names.npy").layout()


@pytest.mark.parametrize(
    "x", [np.full((2, 2), 256), np.full((2, 2), -2.0), np.full((2, 2), np.nan)]
)
def test_values_that_are_no_pixels(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="values from"):
        as_uint8(x)
