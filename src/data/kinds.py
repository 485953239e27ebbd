"""Which kind of set lies at a place: the kinds are asked in turn."""

from pathlib import Path

from src.data.image_sets import FileImages, ImageSet
from src.data.listing import image_root


def open_set(root: Path) -> ImageSet:
    """The set of images at a place.

    Raises:
        SettingError: if there is none, or it cannot be read.
    """
    return FileImages(image_root(root))
