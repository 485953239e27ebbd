"""Sets of images that are arrays: one row is one image.

    NumpyImages    .npz and .npy: (n, h, w), (n, h, w, c) or (n, c, h, w), and labels (n,), which
                   are numbers or texts, or one-hot (n, k)
    CifarImages    CIFAR-10's batches (`cifar.py`)
    SvhnImages     SVHN's .mat files (`svhn.py`)

Arrays of one file belong together by their names: `x_train` and `y_train`, `train_images` and
`train_labels`, `images` and `labels`, `arr_0` and `arr_1`. Where no name says "test" or the like,
every tenth image is held out.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from src.data.array_files import NUMBERS, map_npy, read_npz
from src.data.image_sets import ImageSet
from src.data.layout import Layout, hold_out, split_of_words, split_role, words_of
from src.data.listing import find_arrays
from src.data.tables import in_order
from src.errors import SettingError
from src.runs.escape import line

MOST_ARRAY, MOST_TOTAL = 2**31, 2**32  # bytes of one array of a .npz, and of all
MOST_CLASSES = 10_000
READ = f"{NUMBERS}U"
LABELS = {"y", "label", "labels", "target", "targets", "class", "classes"}  # words in their names


@dataclass
class Part:
    """Images of one split, or of no certain one.

    Attributes:
        name: begins the names of its images; no two parts share one.
        split: "train", "test", or None if that is not said.
        x: (n, h, w) or (n, h, w, c), numbers.
        y: labels (n,), whole numbers or texts, or None.
        unread: why what may be labels is none; empty if nothing may be.
    """

    name: str
    split: str | None
    x: np.ndarray
    y: np.ndarray | None = None
    unread: str = ""


class ArrayImages(ImageSet):
    """Base of these sets; a subclass reads `parts`.

    Attributes:
        kinds: names of the classes; none takes the labels as they are.
        cure: for what cannot be read.
    """

    kinds: tuple[str, ...] = ()
    cure: str = ""

    @abstractmethod
    def read(self) -> Iterable[Part]:
        """The parts.

        Raises:
            OSError, ValueError: if they cannot be read, or are no images.
        """

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts by name."""
        try:
            parts = {part.name: part for part in self.read()}
            for part in parts.values():
                _check(part)
            if not parts:
                raise ValueError("it has no array (n, h, w), (n, h, w, c) or (n, c, h, w)")
        except (OSError, ValueError) as error:
            raise SettingError(
                f"data.root={self.root} cannot be read: {line(str(error), 200)}.{self.cure}"
            ) from error
        return parts

    def layout(self, blocks: bool = True) -> Layout:
        named = {
            split: [
                f"{part.name}[{i}]"
                for part in self.parts.values()
                if (part.split or "train") == split
                for i in range(len(part.x))
            ]
            for split in ("train", "test")
        }
        if not named["test"] or not named["train"]:
            named = hold_out(named["train"] or named["test"])
        parts = self.parts.values()
        classes = {}
        without = [part for part in parts if part.y is None]
        remarks = [f"Labels are left out: {line(p.unread, 120)}." for p in without if p.unread][:1]
        if without and not remarks and len(without) < len(parts):
            remarks = [f"Labels are left out: {line(without[0].name, 60)} has none."]
        if not without:
            classes = {
                f"{part.name}[{i}]": self.kinds[k] if self.kinds else str(k)
                for part in parts
                for i, k in enumerate(part.y.tolist())
            }
        names = self.kinds if classes and self.kinds else in_order(classes.values())
        if len(names) > min(MOST_CLASSES, len(classes) // 2 + 1):
            remark = f"Its {len(names):,} different labels are no classes."
            return Layout(named, remarks=[remark])
        return Layout(named, classes, names, remarks)

    def identity(self, name: str) -> tuple[object, ...]:
        return (name, *self._version)

    @cached_property
    def _version(self) -> tuple[object, ...]:
        return tuple(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files
        )

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """The files that hold the arrays."""

    def open(self, name: str) -> AbstractContextManager[Image.Image]:
        part, _, index = name.rpartition("[")
        return Image.fromarray(as_uint8(self.parts[part].x[int(index[:-1])]))


def _check(part: Part) -> None:
    """Refuse what is no set of images, and turn (n, c, h, w) to (n, h, w, c)."""
    x, y = part.x, part.y
    if x.ndim == 4 and x.shape[3] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = x.transpose(0, 2, 3, 1)
    if x.ndim == 4 and x.shape[3] == 1:
        x = x[..., 0]
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (3, 4)) or 0 in x.shape:
        raise ValueError(f"{part.name} has the shape {x.shape}, which is that of no images")
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iuU"):
        raise ValueError(f"{part.name} has {len(x):,} images, and its labels the shape {y.shape}")
    part.x = x


def as_uint8(x: np.ndarray) -> np.ndarray:
    """One image (h, w) or (h, w, c) as uint8.

    Whole numbers are pixels from 0 to 255; floats are in [0, 1], or in [-1, 1] if one is negative,
    or from 0 to 255 if one is above 1.

    Raises:
        ValueError: for other values.
    """
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype == bool:
        return x * np.uint8(255)
    low, high = x.min(), x.max()
    if x.dtype.kind == "f" and -1 <= low <= high <= 1:
        x = (x + 1) * 127.5 if low < 0 else x * 255
    elif not 0 <= low <= high <= 255:
        raise ValueError(f"has values from {low:g} to {high:g}")
    return np.rint(x).astype(np.uint8)


class NumpyImages(ArrayImages):
    """Arrays of a .npz, of a .npy, or of all .npy in a folder."""

    cure = "\nSave it as an array of numbers; names of classes as texts, with astype(str)."

    @property
    def files(self) -> list[Path]:
        return find_arrays(self.root)

    def read(self) -> Iterable[Part]:
        arrays: dict[str, np.ndarray] = {}
        for path in self.files:
            if path.suffix.lower() == ".npy":
                try:
                    arrays[path.stem] = map_npy(path, READ)
                except ValueError as error:
                    raise ValueError(f"{path.name}: {error}") from error
            else:
                arrays |= read_npz(path, MOST_ARRAY, MOST_TOTAL, READ)
        others = {name: x for name, x in arrays.items() if x.ndim in (1, 2)}
        for name, x in arrays.items():
            if x.ndim >= 3 and x.shape[1] > 1:
                yield Part(name, split_of_words(name), x, *_find_labels(name, len(x), others))


def _find_labels(name: str, n: int, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray | None, str]:
    """The labels of an array of n images, or why there are none.

    Of the arrays of the same split and length one is left: that of the same word for the split
    (test, val), whose name says that it holds labels, and whose values can be.
    """
    role, word = split_of_words(name), _split_word(name)
    found = {k: y for k, y in arrays.items() if len(y) == n and split_of_words(k) == role}
    read = {key: read_labels(y) for key, y in found.items()}
    tests: tuple[Callable[[str], bool], ...] = (
        lambda key: _split_word(key) == word,
        lambda key: not LABELS.isdisjoint(words_of(key)),
        lambda key: not isinstance(read[key], str),
    )
    keys = list(found)
    for test in tests:
        keys = list(filter(test, keys)) or keys
    if len(keys) > 1:
        return None, f"which of {', '.join(keys)} belongs to {name} is not clear"
    if not keys:
        return None, ""
    labels = read[keys[0]]
    return (None, f"{keys[0]} {labels}") if isinstance(labels, str) else (labels, "")


def read_labels(y: np.ndarray) -> np.ndarray | str:
    """Labels (n,) as whole numbers or texts, of (n,), (n, 1) or one-hot (n, k); or what they are
    instead."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "U":
        return _check_texts(y) or y
    if y.ndim == 2:
        if ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
            return y.argmax(1)
        return "has rows that are not one-hot"
    if y.dtype.kind == "f" and not ((y == np.floor(y)) & (np.abs(y) < 2**53)).all():
        return "has numbers that are not whole"
    return y if y.dtype.kind == "u" else y.astype(np.int64)


def _check_texts(y: np.ndarray) -> str:
    """Return the reason why texts cannot be labels; empty if they can."""
    if y.ndim != 1:
        return f"has the shape {y.shape}"
    if (y == "").any():
        return "has empty texts"
    codes = np.ascontiguousarray(y, y.dtype.newbyteorder("=")).view(np.uint32)
    if ((codes >= 0xD800) & (codes <= 0xDFFF) | (codes > 0x10FFFF)).any():  # no characters
        return "has texts that cannot be read"
    return ""


def _split_word(name: str) -> str:
    """Return the first three letters of the word for a split, since `val` and `valid` are one."""
    return next((word[:3] for word in words_of(name) if split_role(word)), "")
