"""Batches, splits and the data's shape and kind; the only conversion to [-1, 1] and back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from src.errors import SettingError

Kind = Literal["points", "images", "voxels"]
MOST_NUMBERS = 2**22  # of one sample: 1024 x 1024 pixels of three channels, 160^3 voxels


class Batch(NamedTuple):
    """One batch in the form that models see.

    Attributes:
        x: images (n, c, h, w) in [-1, 1], voxels (n, 1, d, h, w) in [0, 1], or points (n, d).
        y: class indices (n,), or None for unlabelled data.
        source: the degraded or other-domain input of a translation, or None.
    """

    x: Tensor
    y: Tensor | None = None
    source: Tensor | None = None


Draw = Callable[[], Batch]  # gives the next batch of the stream


@dataclass(frozen=True)
class DataSpec:
    """Kind, shape and classes of the data; known before any file is decoded.

    Attributes:
        kind: decides which networks `auto` chooses.
        shape: shape of one sample, without the batch: (2,), (1, 28, 28).
        classes: names of the classes in the order of their indices; empty if unlabelled.
        picture_shape: height and width, where points are small pictures and are shown as such:
            their numbers are pixels, row by row, from 0 (light) to 1 (dark).
        source: the input of a translation to such samples; None if there is none.
        paired: the k-th source belongs to the k-th sample, if there are sources.
        masked: True of a source whose last channel says where the image is lost: there it is 1,
            elsewhere -1.
    """

    kind: Kind
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    picture_shape: tuple[int, int] | None = None
    source: "DataSpec | None" = None
    masked: bool = False
    paired: bool = True

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "DataSpec":
        """The spec of which `dataclasses.asdict` made a dict."""
        source = stored.get("source")
        return cls(**{**stored, "source": None if source is None else cls.read(source)})

    def __post_init__(self) -> None:
        sizes = (*self.shape, *(self.picture_shape or ()))
        whole = all(type(size) is int and size > 0 for size in sizes)
        if self.picture_shape and math.prod(self.picture_shape) != math.prod(self.shape):
            whole = False
        if not whole or not self.shape or math.prod(self.shape) > MOST_NUMBERS:
            raise SettingError(
                f"data: samples of shape {list(self.shape)} cannot be.\n"
                f"Sizes are positive, and their product is at most {MOST_NUMBERS:,}."
            )
        dimensions = {"points": 1, "images": 3, "voxels": 4}.get(self.kind)
        if dimensions is not None and len(self.shape) != dimensions:
            raise SettingError(
                f"data: {self.kind} have {dimensions} dimensions; samples of shape "
                f"{list(self.shape)} cannot be."
            )
        if dimensions is None or not all(type(n) is str for n in self.classes):
            raise SettingError(f"data: a {self.kind} with such classes cannot be.")


class Split(NamedTuple):
    """One split as it is stored.

    Images are uint8 (n, c, h, w), voxels bool (n, 1, d, h, w), points float32 (n, d).

    Attributes:
        x: may be memory-mapped; never modified.
        y: int64 (n,), or None.
    """

    x: Tensor
    y: Tensor | None = None


def to_model(x: Tensor) -> Tensor:
    """Stored values to the models' form, which is float32.

    uint8 (images) come into [-1, 1], bool (voxels) into [0, 1]; floats are in that form already.
    """
    if x.dtype == torch.bool:
        return x.float()
    return x.float().div_(127.5).sub_(1.0) if x.dtype == torch.uint8 else x


def to_uint8(x: Tensor) -> Tensor:
    """Images in [-1, 1] to uint8, rounded to the nearest value; the inverse of `to_model`."""
    return x.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_bool(x: Tensor) -> Tensor:
    """Voxels in [0, 1] to bool: occupied where the occupancy is more than 1/2."""
    return x if x.dtype == torch.bool else x > 0.5


def class_index(label: str | int, classes: tuple[str, ...]) -> int:
    """Index of a class that is given by name or index."""
    if str(label) in classes:
        return classes.index(str(label))
    if isinstance(label, int) and 0 <= label < len(classes):
        return label
    raise SettingError(
        f"label={label}: there is no such class.\nClasses: {', '.join(classes) or 'none'}"
    )


def grey(x: Tensor) -> Tensor:
    """uint8 RGB (n, 3, h, w) to grey (n, 1, h, w), by the weights of ITU-R 601."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (x * weights).sum(1, keepdim=True).round_().to(torch.uint8)
