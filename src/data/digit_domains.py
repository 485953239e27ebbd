"""Two sets of digits, or of other small grey pictures, as two domains without pairs.

Both have labels, so that a translation can be judged by whether it keeps the class: a classifier
that was trained on the translated images of one domain reads the other one
(`benchmarks/adaptation.py`). A model that translates never sees the labels.

The stand-in without files are scikit-learn's digits and, as B, their negatives.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from src.config.ranges import PositiveInt
from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.loader import Reading
from src.data.mnist import check_resolution, digits, read_splits, resized
from src.data.sources import own_idx_folder
from src.data.spec import DataSpec, Split
from src.errors import SettingError

BUILTIN = ("digits", "negatives")
Set = Literal["digits", "mnist", "fashion_mnist", "kmnist"]


class DigitDomains(DataModule):
    """Images of two sets: scikit-learn's digits, MNIST and its like.

    Args:
        name: not used: the set is called after its targets.
        kind: images.
        channels: 1.
        resolution: see `MNIST`; both are brought to it.
        a: the one set.
        b: the other.
        direction: `a_to_b`: A is the source and B the target; or the other way round.
        labels: names of the classes.
        source: `real`, or `builtin` for digits and their negatives (`auto` is resolved before).
        root: folder with a folder for each set, as `data=mnist` downloads them.
        cache: not used.
        batch_size: images of each domain per batch.
        seed: seed of the orders and of the flips.
        flip: mirror at random; digits are not symmetric.
        reading: see `DataModule`.
    """

    needed = "a folder with a folder for each set, such as mnist/, as data=mnist downloads it"
    looks_for = "src.data.sources.no_digits"
    stands_in = "scikit-learn's 1,797 handwritten digits and their negatives"

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1],
        resolution: PositiveInt,
        a: Set,
        b: Set,
        direction: Literal["a_to_b", "b_to_a"],
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str,
        cache: str,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
    ) -> None:
        check_resolution(resolution)
        shape = (channels, resolution, resolution)
        spec = DataSpec(
            kind, shape, tuple(labels), source=DataSpec(kind, shape, tuple(labels)), paired=False
        )
        super().__init__(spec, batch_size, seed, flip, reading)
        if source == "builtin":
            a, b = "digits", "negatives"
        self.sets = (a, b) if direction == "a_to_b" else (b, a)
        self.root, self.resolution = Path(root).expanduser(), resolution

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        sources, targets = map(self._read, self.sets)
        self.sources = {split: x for split, (x, _) in sources.items()}
        self.source_labels = {split: y for split, (_, y) in sources.items()}
        hashes = [
            fingerprint(*(part.numpy() for split in own.values() for part in split))
            for own in (targets, sources)
        ]
        origin = "builtin" if self.sets[1] in BUILTIN else "real"
        made_by = {"sources": self.sets[0], "source_hash": hashes[1]}
        return targets, identity(self.sets[1], origin, targets, hashes[0], **made_by)

    def _read(self, name: str) -> dict[str, Split]:
        if name in BUILTIN:
            stored = digits()
        else:
            folder = own_idx_folder(self.root, name)
            if folder is None:
                raise SettingError(
                    f"data.root={self.root}: no {name} files there.\n"
                    f"Set data.root to {self.needed}."
                )
            stored = read_splits(folder, len(self.spec.classes))
        splits = {key: Split(resized(x, self.resolution), y) for key, (x, y) in stored.items()}
        if name == "negatives":
            return {key: Split(255 - x, y) for key, (x, y) in splits.items()}
        return splits
