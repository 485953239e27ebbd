"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32 x 32 in ten classes, 10,000 of them test.

Its two forms are read, each as a folder or in its tar.gz: `cifar-10-batches-bin`, whose records are
a label and 3 x 1024 pixels, and `cifar-10-batches-py`, whose batches are pickles. One can run any
program; these are read by an unpickler that knows numbers, texts, lists, dictionaries and arrays of
bytes, and nothing else.
"""

import io
import pickle
import pickletools
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from src.data.array_sets import ArrayImages, Part
from src.data.containers import DAMAGED, MOST_BYTES, Container, open_container
from src.data.listing import find_cifar10

KINDS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
SIDE = 32
PIXELS = 3 * SIDE * SIDE  # red, green, blue, each row by row
MOST_TUPLES = 1000  # of a pickle: deep ones could exhaust the stack when they are hashed


class CifarImages(ArrayImages):
    """The batches of CIFAR-10 in a folder or archive."""

    kinds = KINDS

    @property
    def files(self) -> list[Path]:
        place = find_cifar10(self.root)
        return sorted(place.iterdir()) if place.is_dir() else [place]

    def read(self) -> Iterable[Part]:
        with open_container(find_cifar10(self.root)) as container:
            names = {posixpath.basename(name): name for name in container.names}
            for batch in BATCHES:
                file = names.get(batch) or names.get(f"{batch}.bin")
                if file is None:
                    raise ValueError(f"it has no {batch}(.bin)")
                x, y = _read_batch(container, file)
                if x.ndim != 2 or x.shape[1] != PIXELS or y.shape != x.shape[:1] or y.max() > 9:
                    raise ValueError(f"{batch} does not hold images of CIFAR-10")
                split = "test" if batch == "test_batch" else "train"
                yield Part(batch, split, x.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), y)


def _read_batch(container: Container, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (n, 3072) and labels (n,)."""
    try:
        content = container.read(file, MOST_BYTES)
    except DAMAGED as error:
        raise ValueError(f"{file}: {error}") from error
    if file.endswith(".bin"):
        if not content or len(content) % (PIXELS + 1):
            raise ValueError(f"{file} is cut short")
        rows = np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 1)
        return rows[:, 1:], rows[:, 0]
    batch = unpickle(content)
    if not isinstance(batch, dict) or not isinstance(batch.get(b"labels"), list):
        raise ValueError(f"{file} is no batch")
    labels = batch[b"labels"]
    if not labels or not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise ValueError(f"{file} has other labels than 0 to 9")
    x = batch.get(b"data")
    if not isinstance(x, _Array) or x.values is None:
        raise ValueError(f"{file} holds no array of bytes")
    return x.values, np.array(labels)


def unpickle(content: bytes) -> Any:
    """Plain values and arrays of bytes (as `_Array`) of a pickle.

    Raises:
        ValueError: if there is anything else in it, or it is damaged.
    """
    try:
        tuples = sum("TUPLE" in code.name for code, _, _ in pickletools.genops(content))
        if tuples > MOST_TUPLES:
            raise ValueError("it holds more than numbers")
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises errors of many kinds
        raise ValueError(f"its pickle is refused: {error}") from error


class _Type:
    """The type of an array by a pickle's account; NumPy's own is not called."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, _: object) -> None:
        """Byte order and the like, which single bytes do not have."""


class _Array:
    """An array by a pickle's account: kept if its bytes are as many as its shape states.

    Attributes:
        values: uint8, or None of other arrays.
    """

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Type) or dtype.code not in (b"u1", "u1"):
            raise pickle.UnpicklingError("an array of other values than bytes")
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array without bytes")
        order = "F" if fortran else "C"
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order=order)


def _reconstruct(*_: object) -> _Array:
    """In the place of NumPy's, which would take memory for any shape that is asked for."""
    return _Array()


def _encode(text: object, _: object = None) -> bytes:
    """In the place of `_codecs.encode`, by which Python 3 writes bytes in an old pickle."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError("something encoded that is no text")
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _encode,
        **{
            (f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct
            for core in ("core", "_core")
        },
    }  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no array"[:80])
        return self.KNOWN[module, name]
