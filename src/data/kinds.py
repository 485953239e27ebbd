"""Which kind of set lies at a place: the kinds are asked in turn."""

from collections.abc import Callable
from pathlib import Path

from src.data.array_sets import NumpyImages
from src.data.cifar import CifarImages
from src.data.image_sets import FileImages, ImageSet
from src.data.listing import (
    find_arrays,
    find_cifar10,
    find_parquet,
    has_images,
    has_svhn,
    image_root,
)
from src.data.parquet import ParquetImages
from src.data.svhn import SvhnImages

KINDS: tuple[tuple[Callable[[Path], object], type[ImageSet]], ...] = (
    (find_cifar10, CifarImages),
    (has_svhn, SvhnImages),
    (find_arrays, NumpyImages),
    (find_parquet, ParquetImages),
)


BESIDE = (NumpyImages, ParquetImages)  # what may lie beside image files that are meant


def open_set(root: Path) -> ImageSet:
    """The set of images at a place.

    Raises:
        SettingError: if there is none, or it cannot be read.
    """
    for lies_at, kind in KINDS:
        if lies_at(root) and not (root.is_dir() and kind in BESIDE and has_images(root)):
            return kind(root)
    return FileImages(image_root(root))
