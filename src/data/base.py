"""What every data set says of itself, and the one place of the [-1, 1] convention."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import lightning as L
import torch
from torch import Tensor

from src.errors import SettingError

if TYPE_CHECKING:
    from src.data.loader import Stream

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


@dataclass(frozen=True)
class DataSpec:
    """What a network must know of the data; available before any file is decoded.

    Attributes:
        kind: decides which networks `auto` chooses.
        shape: of one sample, without the batch: (2,), (1, 28, 28).
        classes: names of the classes in the order of their indices; empty if unlabelled.
        picture_shape: height and width, where points are small pictures and are shown as such:
            their numbers are pixels, row by row, from 0 (light) to 1 (dark).
    """

    kind: Kind
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    picture_shape: tuple[int, int] | None = None

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
        if self.kind not in get_args(Kind) or not all(type(n) is str for n in self.classes):
            raise SettingError(f"data: a {self.kind} with such classes cannot be.")


class Split(NamedTuple):
    """One split as it is stored: images as uint8 (n, c, h, w), points as float32 (n, d).

    Attributes:
        x: may be memory-mapped; never modified.
        y: int64 (n,), or None.
    """

    x: Tensor
    y: Tensor | None = None


def to_model(x: Tensor) -> Tensor:
    """Stored values to the models' form: uint8 images become float32 in [-1, 1]."""
    return x.float().div_(127.5).sub_(1.0) if x.dtype == torch.uint8 else x


def to_uint8(x: Tensor) -> Tensor:
    """Images in [-1, 1] to uint8, rounded to the nearest value; the inverse of `to_model`."""
    return x.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


class DataModule(L.LightningDataModule):
    """Base of all data sets: splits in memory, an endless training stream, an identity.

    A subclass sets `spec` in its constructor and fills `splits` and `data_id` in `load`.

    Args:
        spec: what the networks must know.
        batch_size: samples per batch of the training stream, over all ranks.
        seed: of the order and of the flips.
        flip: mirror each training image with probability 1/2.
        workers: processes that read ahead if the data are not held in memory.
        in_memory: bytes up to which the training split is held on the device.

    Attributes:
        splits: "train", and "test" and "val" where they exist.
        data_id: what the data are, in values that JSON can hold.
        attributes: per split all labels that are known, (n, k), whichever of them is `y`.
        attribute_names: of the k columns.
        factors: per split the numbers (n, k) that the samples were drawn by, where they are known;
            0 or 1, or continuous.
        factor_names: of the k columns.
    """

    def __init__(
        self,
        spec: DataSpec,
        batch_size: int,
        seed: int,
        flip: bool = False,
        workers: int = 2,
        in_memory: int = 4_000_000_000,
    ) -> None:
        super().__init__()
        self.spec, self.batch_size, self.seed, self.flip = spec, batch_size, seed, flip
        self.workers, self.in_memory = workers, in_memory
        self.splits: dict[str, Split] = {}
        self.data_id: dict[str, object] = {}
        self.attributes: dict[str, Tensor] = {}
        self.attribute_names: tuple[str, ...] = ()
        self.factors: dict[str, Tensor] = {}
        self.factor_names: tuple[str, ...] = ()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        """Read, download or draw the data.

        Returns:
            The splits ("train", and "test" where there is one) and the data's identity: `name`,
            `source` ("real" or "builtin"), `size` and `shape` of the training split, sizes of all
            `splits`, `hash` (content of all splits) and whatever else made them (crop, label ...).

        Raises:
            SettingError: if the data are missing or damaged.
        """
        raise NotImplementedError  # abstract

    def setup(self, stage: str | None = None) -> None:
        """Load once; Lightning calls this before each stage."""
        if not self.splits:
            self.splits, self.data_id = self.load()

    def train_dataloader(self) -> "Stream":
        """Endless batches in the models' form, on the trainer's device where they fit."""
        from src import ranks
        from src.data.loader import Stream  # which needs `Batch` and `to_model` from here

        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return Stream(
            *self.splits["train"],
            batch_size=self.batch_size,
            seed=self.seed,
            flip=self.flip,
            device=device,
            workers=self.workers,
            in_memory=self.in_memory,
            part=ranks.place(),
        )

    def reals(self, split: str = "train") -> Split:
        """The stored split that metrics compare with; "train" where there is no such split."""
        return self.splits.get(split, self.splits["train"])


def identity(
    name: str, source: str, splits: dict[str, Split], content: str, **made_by: object
) -> dict[str, object]:
    """A `data_id`: which data these are, the same wherever and whenever they are read.

    Args:
        name: of the data themselves: "digits" where these stand in for MNIST.
        source: "real" or "builtin".
        splits: as loaded.
        content: hash of all splits, labels included.
        made_by: the settings that made them.
    """
    train = splits["train"].x
    return {
        "name": name,
        "source": source,
        "size": len(train),
        "shape": list(train.shape[1:]),
        "splits": {key: len(split.x) for key, split in splits.items()},
        "hash": content,
        **made_by,
    }
