"""MNIST (LeCun et al. 1998) and sets of the same format: Fashion-MNIST (Xiao et al. 2017), KMNIST
(Clanuwat et al. 2018).

70,000 grey images of 28 x 28 in four IDX files: two zero bytes, the type (8: uint8), the number of
dimensions, the dimensions as big-endian uint32, then the values. They may be gzipped, and have a
dot in their names, as Kaggle's `train-images.idx3-ubyte`.

The stand-in without files is UCI's digits as scikit-learn ships them: 1,797 of 8 x 8, enlarged.
"""

import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.config.ranges import PositiveInt
from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.downloads import downloading
from src.data.loader import Reading
from src.data.sources import IDX, IDX_FOLDERS, idx_file, idx_folder
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.runs.escape import line
from src.runs.stored import read_bytes
from src.transforms.degradations import Degradation

SIDE = 28
LARGEST = 128  # pixels that digits are enlarged to: 1.1 GB of MNIST
DIGITS = tuple("0123456789")
CLASSES = {
    "mnist": DIGITS,
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
MOST_BYTES = 256 * 2**20  # of a file, decompressed or not: MNIST's largest has 47 million


class MNIST(DataModule):
    """Grey images of 10 classes in MNIST's format.

    Args:
        name: `mnist`, `fashion_mnist`, `kmnist`, or a name of your own for files under `root`.
        kind: images.
        channels: 1.
        resolution: 28 as stored; 32 pads with black; others are resized bilinearly.
        labels: of the three sets the classes that are taken, in this order, and of the stand-in the
            digits in their places; empty takes all. Other names, as many as there are classes, are
            given to them.
        source: `real`, or `builtin` for the digits (`auto` is resolved before).
        root: folder of the files, or for their download.
        cache: not used: these files are read within a second.
        batch_size: samples per batch.
        seed: seed of the order and of the flips.
        flip: mirror at random; digits are not symmetric.
        reading: see `DataModule`.
        degradation: see `DataModule`.
    """

    needed = "a folder with train-images-idx3-ubyte(.gz) and its three companions"
    looks_for = "src.data.sources.no_idx"
    mirrors = "src.data.sources.idx_mirrors"
    stands_in = "scikit-learn's 1,797 handwritten digits, enlarged"

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1],
        resolution: PositiveInt,
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str,
        cache: str,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        builtin = source == "builtin"
        self.taken, names = choose_classes(name, labels)
        classes = names
        if builtin:
            classes = tuple(DIGITS[k] for k in self.taken) if self.taken else DIGITS
        spec = DataSpec(kind, (channels, resolution, resolution), classes)
        super().__init__(spec, batch_size, seed, flip, reading, degradation)
        check_resolution(resolution)
        self.name, self.builtin, self.resolution = name, builtin, resolution
        self.root = Path(root).expanduser()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        if self.builtin:
            stored, name = digits(), "digits"
        else:
            stored, name = self._read(), self.name
        if self.taken:
            stored = {key: self._take(key, split) for key, split in stored.items()}
        splits = {key: Split(resized(x, self.resolution), y) for key, (x, y) in stored.items()}
        content = fingerprint(*(part.numpy() for split in splits.values() for part in split))
        source = "builtin" if self.builtin else "real"
        return splits, identity(name, source, splits, content, resize=_resize(self.resolution))

    def _take(self, key: str, split: Split) -> Split:
        taken = take(split, self.taken)
        there = taken.y.unique().tolist()
        for k, label in enumerate(self.spec.classes):
            if not there or (key == "train" and k not in there):
                raise SettingError(f"data.labels: there is no {label} in {self.root}, split {key}.")
        return taken

    def _read(self) -> dict[str, Split]:
        folder = idx_folder(self.root, self.name)
        if folder is None:
            download(self.root, self.name)
            folder = idx_folder(self.root, self.name)
        return read_splits(folder, 10 if self.taken else len(self.spec.classes))


def choose_classes(
    name: str, labels: Sequence[str]
) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """Find out which classes are wanted.

    Args:
        name: of the set.
        labels: `data.labels`.

    Returns:
        The labels that are taken, in their new order, or None for all as they are; and their names.

    Raises:
        SettingError: if there is no such class.
    """
    names, known = tuple(map(str, labels)), CLASSES.get(name, DIGITS)
    if not names or names == known:
        return None, known
    new = not set(names) & set(known) and len(names) >= len(known)
    if name not in CLASSES or new:
        return None, names
    for label in names:
        if label not in known or names.count(label) > 1:
            what = "is named twice" if label in known else f"is no class of {name}"
            raise SettingError(f"data.labels: {line(label, 40)} {what}.\nAll: {', '.join(known)}")
    return tuple(map(known.index, names)), names


def take(split: Split, labels: Sequence[int]) -> Split:
    """The samples of some classes, which become classes 0, 1 ... in this order."""
    place = torch.full((256,), -1)
    place[list(labels)] = torch.arange(len(labels))
    y = place[split.y]
    return Split(split.x[y >= 0], y[y >= 0])


def check_resolution(resolution: int) -> None:
    """Refuse sizes that digits are not resized to."""
    if not 8 <= resolution <= LARGEST:
        raise SettingError(f"data.resolution={resolution} must be from 8 to {LARGEST} pixels.")


def read_splits(folder: Path, classes: int) -> dict[str, Split]:
    """Images (n, 1, 28, 28) and labels of the four files in a folder.

    Args:
        folder: their folder.
        classes: number of the classes.

    Raises:
        SettingError: if a file is missing, damaged or of another kind.
    """
    splits = {}
    for split, (images, labels) in IDX.items():
        x, y = read_idx(folder, images, 3), read_idx(folder, labels, 1)
        if len(x) != len(y):
            raise SettingError(
                f"data.root={folder}: {len(x):,} images in {images}, but {len(y):,} labels in "
                f"{labels}.\nGet both files anew from the same place."
            )
        if (top := int(y.max())) >= classes:
            raise SettingError(
                f"data.root={folder}: {labels} has the label {top}, but data.labels names "
                f"{classes} classes."
            )
        splits[split] = Split(torch.from_numpy(x)[:, None], torch.from_numpy(y).long())
    return splits


def read_idx(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """Read an IDX file of uint8, gzipped or not.

    Args:
        folder: its folder.
        name: without `.gz`.
        dimensions: that it must have.

    Returns:
        uint8, writable, of the shape that the file states.

    Raises:
        SettingError: if it is missing, damaged, cut short, or of another kind.
    """
    path = idx_file(folder, name)
    if path is None:
        raise SettingError(f"data.root: {folder} has no {name}(.gz).\nPut it there.")
    header = 4 + 4 * dimensions
    # Unlike gzip.open, this gives what could be read of a file that was cut short.
    packer = zlib.decompressobj(wbits=31) if path.suffix == ".gz" else None
    try:
        data = packed = read_bytes(path, MOST_BYTES)
        if packer:
            data = packer.decompress(packed, header)
    except (OSError, ValueError, zlib.error) as error:
        raise SettingError(f"data.root: {path} is damaged ({error}). Get it anew.") from error
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise SettingError(
            f"data.root: {path} is no IDX file of {dimensions}-dimensional bytes: it begins with "
            f"{data[:4].hex() or 'nothing'}, not 000008{dimensions:02x}. Get it anew."
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = header + math.prod(shape)
    if expected > MOST_BYTES:
        raise SettingError(
            f"data.root: {path} says that it has {expected:,} bytes, more than {MOST_BYTES:,}."
        )
    if packer:
        try:  # one byte more than is stated is enough to know
            data += packer.decompress(packer.unconsumed_tail, expected - header + 1)
        except zlib.error as error:
            raise SettingError(f"data.root: {path} is damaged ({error}). Get it anew.") from error
    if len(data) != expected:
        raise SettingError(
            f"data.root: {path} is {'cut short' if len(data) < expected else 'too long'}: "
            f"{expected:,} bytes expected, {len(data):,} found. Get it anew."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def download(root: Path, name: str) -> None:
    """Download a set with torchvision into its layout; a download that breaks off leaves nothing.

    Raises:
        SettingError: if it does not succeed.
    """
    from torchvision import datasets

    kind = IDX_FOLDERS[name]
    cure = ", or set data.source=builtin to use the stand-in"
    with downloading(root, name, cure) as temporary:
        if idx_folder(root, name) is None:  # else another process has done it
            getattr(datasets, kind)(str(temporary), download=True)
            os.replace(temporary / kind, root / kind)


def resized(x: Tensor, resolution: int) -> Tensor:
    """uint8 (n, 1, 28, 28) to another resolution, see `MNIST`."""
    if resolution == x.shape[-1]:
        return x
    if _resize(resolution) == "pad":
        return F.pad(x, [(resolution - x.shape[-1]) // 2] * 4)
    out = torch.empty(len(x), 1, resolution, resolution, dtype=torch.uint8)
    for part, target in zip(x.split(1000), out.split(1000), strict=True):
        large = F.interpolate(part.float(), size=(resolution,) * 2, mode="bilinear", antialias=True)
        target.copy_(large.round_().clamp_(0, 255))
    return out


def _resize(resolution: int) -> str:
    return {SIDE: "none", 32: "pad"}.get(resolution, "bilinear")


def digits() -> dict[str, Split]:
    """UCI's digits made to look like MNIST: 1,498 train, 299 test, uint8 (n, 1, 28, 28).

    As in MNIST the digit is 20 pixels high, in the middle, with strokes that end within a pixel or
    two: enlarged bicubically, and the contrast around the middle grey raised.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.from_numpy(data.images).float()[:, None] / 16
    x = F.interpolate(x, size=(20, 20), mode="bicubic", align_corners=False)
    x = F.pad((x - 0.5).mul_(2).add_(0.5).clamp_(0, 1), [(SIDE - 20) // 2] * 4)
    x, y = x.mul_(255).round_().to(torch.uint8), torch.from_numpy(data.target).long()
    test = torch.arange(len(x)) % 6 == 5
    return {"train": Split(x[~test], y[~test]), "test": Split(x[test], y[test])}
