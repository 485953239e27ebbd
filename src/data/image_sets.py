"""Sets of images that are still files or rows of an array, each image under a name.

    FileImages    a folder, zip or tar of image files (here)
    ArrayImages   .npz and .npy (`array_sets.py`)

What every kind can say is what `cache.decode` and `Folder` need: names in splits, classes, what
tells one version of an image from another, and the image itself.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from src.data.containers import open_container
from src.data.layout import Layout, arrange
from src.data.listing import Listing, list_images
from src.data.tables import apply, find_table
from src.errors import SettingError

# Not all that Pillow knows: for some it calls other programs (Ghostscript for EPS).
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "AVIF", "TIFF", "GIF", "PPM")
MOST_PIXELS = 64_000_000  # of one image
DOMAINS = {"trainA", "trainB"}  # folders of `data=domains` and `data=pairs`


class ImageSet(ABC):
    """Images by name, none of them decoded.

    Args:
        root: the file or folder.

    Raises:
        SettingError: if it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def layout(self, blocks: bool = True) -> Layout:
        """Splits and classes.

        Args:
            blocks: see `arrange`.

        Raises:
            SettingError: if there is no image.
        """

    @abstractmethod
    def identity(self, name: str) -> tuple[object, ...]:
        """Values, JSON-like, that differ between versions of an image."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[Image.Image]:
        """An image for the time of a `with` block; several threads may be in such blocks.

        Raises:
            Exception: of many kinds, if it cannot be read; Pillow's readers raise them all.
        """

    def close(self) -> None:  # noqa: B027
        """Close what is open."""


class FileImages(ImageSet):
    """Image files of a folder, zip or tar."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.container = open_container(root)

    @cached_property
    def listing(self) -> Listing:
        """The images of all files."""
        return list_images(self.container)

    def layout(self, blocks: bool = True) -> Layout:
        if {PurePosixPath(name).parent.name for name in self.listing.names} >= DOMAINS:
            raise SettingError(
                f"data.root={self.root}: trainA and trainB are two domains, and no classes.\n"
                "Choose data=domains or data=pairs, or set data.root to one of them."
            )
        layout = arrange(self.listing.names, blocks)
        if table := find_table(self.container, self.listing.names):
            layout = apply(table, layout)
        layout.left_out |= self.listing.left_out
        return layout

    def identity(self, name: str) -> tuple[object, ...]:
        return self.container.identity(name)

    def open(self, name: str) -> AbstractContextManager[Image.Image]:
        return opened(self.container.read(name))

    def close(self) -> None:
        self.container.close()


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """An image file of a stranger, for the time of a `with` block; not decoded yet.

    Raises:
        ValueError: saying what is wrong with it; Pillow's readers raise errors of many other kinds.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:  # whose text is the address of an object
        raise ValueError("is no image of a known kind") from error
    with image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"has more than 8 bits per channel ({image.mode})")
        if any(tile[0] in Image.DECODERS for tile in image.tile):
            # Pillow's decoders in Python take a minute for what others do at once: plain PPM, PPM
            # of other than 8 bits, BMP with run lengths.
            raise ValueError(f"is a {image.format} of a kind read too slowly; save it as PNG")
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"has {width} x {height} pixels, more than {MOST_PIXELS:,}")
        yield image
