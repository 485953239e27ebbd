"""Which kind of set lies at a place: the kinds are asked in turn."""

from collections.abc import Callable
from pathlib import Path

from src.data.array_sets import NumpyImages
from src.data.cifar import CifarImages
from src.data.image_sets import FileImages, ImageSet
from src.data.listing import find_arrays, find_cifar10, has_images, has_svhn, image_root
from src.data.svhn import SvhnImages

KINDS: tuple[tuple[Callable[[Path], object], type[ImageSet]], ...] = (
    (find_cifar10, CifarImages),
    (has_svhn, SvhnImages),
    (find_arrays, NumpyImages),
)


def open_set(root: Path) -> ImageSet:
    """The set of images at a place; a folder of image files may have arrays beside them.

    Raises:
        SettingError: if there is none, or it cannot be read.
    """
    for lies_at, kind in KINDS:
        if lies_at(root) and not (root.is_dir() and kind is NumpyImages and has_images(root)):
            return kind(root)
    return FileImages(image_root(root))
