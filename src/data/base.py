"""The base of all data sets, and how one says what it is."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from src.config.checks import NO_SOURCE
from src.data.loader import Reading, Stream, degrade
from src.data.spec import DataSpec, Split, to_model
from src.distributed import ranks
from src.distributed.noise import SampleDraws
from src.errors import SettingError
from src.runs.escape import line
from src.transforms.degradations import Degradation, NoDegradation

SHOWN = 12  # classes that are named


class DataModule(L.LightningDataModule, ABC):
    """Base of all data sets: splits in memory, an endless training stream, an identity.

    A subclass sets `spec` in its constructor and fills `splits` and `data_id` in `load`. If it
    reads files, four class attributes say which; `data.source=auto` is decided by them before the
    class is imported (`src/data/sources.py`), so they must be written out.

    Args:
        spec: kind, shape and classes of the data.
        batch_size: samples per batch of the training stream, over all ranks.
        seed: seed of the order and of the flips.
        flip: mirror each training sample left to right with probability 1/2.
        reading: memory and processes for the training split; None takes the defaults.
        degradation: makes the source of a translation; None makes none.

    Attributes:
        needed: what has to lie under `data.root`, in words; empty if the data are drawn and there
            are no files of them.
        looks_for: glob patterns of which one has to match below `data.root`; or the dotted name of
            a function that is given root and configuration and returns what is missing, or None.
        mirrors: addresses of which one has to answer, so that `load` can download what is missing;
            or the dotted name of a function that is given the data's name and returns them.
        stands_in: what `load` makes in the place of real data, in words; empty if nothing.
        splits: "train", and "test" and "val" where they exist.
        data_id: identity of the data, in values that JSON can hold.
        attributes: per split all labels that are known, (n, k), whichever of them is `y`.
        attribute_names: names of the k columns.
        factors: per split the numbers (n, k) that the samples were drawn by, where they are known;
            0 or 1, or continuous.
        factor_names: names of the k columns.
        distribution: exact distribution of toy data, see `src/data/toy.py`; None of all others.
        sources: per split the stored sources (m, ...) of translations; empty where a degradation
            makes them. m is the number of samples, unless the two are not paired.
        source_labels: per split the classes (m,) of the sources, where they are known.
        remarks: sentences on what was understood of files and what was left out.
        repeat: batches after which the training stream begins again; None, if it never does.
        backwards: True of a view of the data in which sources and samples change places.
    """

    needed: ClassVar[str] = ""
    looks_for: ClassVar[tuple[str, ...] | str] = ("*",)
    mirrors: ClassVar[tuple[str, ...] | str] = ()
    stands_in: ClassVar[str] = ""
    backwards = False
    repeat: int | None = None

    def __init__(
        self,
        spec: DataSpec,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        super().__init__()
        if degradation is None or isinstance(degradation, NoDegradation):
            self.degradation = None
        else:
            if degradation.takes != spec.kind:
                raise SettingError(
                    f"data/degradation: {type(degradation).__name__} is made of "
                    f"{degradation.takes}, and these data are {spec.kind}."
                )
            self.degradation = degradation
            source = DataSpec("images", degradation.shape(spec.shape), masked=degradation.masked)
            spec = replace(spec, source=source)
        self.spec, self.batch_size, self.seed, self.flip = spec, batch_size, seed, flip
        self.reading = reading or Reading()
        self.splits: dict[str, Split] = {}
        self.data_id: dict[str, object] = {}
        self.attributes: dict[str, Tensor] = {}
        self.attribute_names: tuple[str, ...] = ()
        self.factors: dict[str, Tensor] = {}
        self.factor_names: tuple[str, ...] = ()
        self.distribution: Any = None
        self.sources: dict[str, Tensor] = {}
        self.source_labels: dict[str, Tensor] = {}
        self.remarks: list[str] = []

    @abstractmethod
    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        """Read, download or draw the data.

        Returns:
            The splits ("train", and "test" where there is one) and the data's identity: `name`,
            `source` ("real" or "builtin"), `size` and `shape` of the training split, sizes of all
            `splits`, `hash` (content of all splits) and whatever else made them (crop, label ...).

        Raises:
            SettingError: if the data are missing or damaged.
        """

    def setup(self, stage: str | None = None) -> None:
        """Load once; Lightning calls this before each stage."""
        if not self.splits:
            self.splits, self.data_id = self.load()
            if self.degradation:
                self.data_id["degradation"] = self.degradation.identity

    def describe(self) -> str:
        """A line on what was read: samples and classes, what is held out, what left out and why."""
        unit = "shapes" if self.spec.kind == "voxels" else self.spec.kind
        n = len(self.splits["train"].x)
        known = self.spec.classes
        shown = ", ".join(known[:SHOWN]) + (" ..." if known[SHOWN:] else "")
        several = "es" if len(known) > 1 else ""
        kind = (
            f" in {len(known):,} class{several} ({line(shown, 200)})" if known else ", unlabelled"
        )
        held_out = [
            f"{len(split.x):,} ({name})" for name, split in self.splits.items() if name != "train"
        ]
        name = line(str(self.data_id["name"]), 60)
        text = f"Data: {name}, {n:,} {unit}{kind}, {' and '.join(held_out) or 'none'} held out."
        return " ".join([text, *self.remarks])

    def train_dataloader(self) -> Stream:
        """Endless batches in the models' form, on the trainer's device where they fit."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        model = self.trainer.lightning_module if self.trainer else None
        return Stream(
            *self.splits["train"],
            batch_size=self.batch_size,
            seed=self.seed,
            flip=self.flip,
            device=device,
            workers=self.reading.workers,
            in_memory=self.reading.in_memory,
            part=ranks.place(),
            sources=self.sources.get("train"),
            degradation=self.degradation,
            paired=self.spec.paired and not (model and model.unpaired),
            repeat=self.repeat,
        )

    def reals(self, split: str = "train") -> Split:
        """The stored split that metrics compare with; "train" where there is no such split."""
        return self.splits.get(split, self.splits["train"])

    def source_count(self, split: str) -> int:
        """Number of sources of a split."""
        return len(self.sources[split] if self.sources else self.splits[split].x)

    def source_of(self, split: str, index: Tensor) -> Tensor:
        """Sources (n, ...) of some samples of a split, in the models' form: always the same ones.

        Args:
            split: as in `splits`.
            index: (n,), on the CPU.

        Raises:
            SettingError: if these data have no sources.
        """
        if split in self.sources:
            return to_model(self.sources[split][index])
        if not self.degradation:
            raise SettingError(NO_SOURCE)
        draws = SampleDraws(index.tolist())  # by the image's number, see `Stream` for the others
        return degrade(self.degradation, to_model(self.splits[split].x[index]), draws)


def identity(
    name: str, source: str, splits: dict[str, Split], content: str, **made_by: object
) -> dict[str, object]:
    """A `data_id`: which data these are, the same wherever and whenever they are read.

    Args:
        name: name of the data themselves: "digits" where these stand in for MNIST.
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
