"""Solids as voxels, drawn: classes that can be told apart by eye, and the factors of each solid.

The data on which a 3-D GAN can be tried without files: 20,000 of 32^3 are drawn in less than a
minute on one core, once, and kept in the cache. `data.labels=[chair]` draws chairs only.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from src.config.ranges import PositiveInt
from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.drawn import Progress, drawn
from src.data.loader import Reading
from src.data.procedural import dice, solids
from src.data.spec import DataSpec, Split
from src.transforms.degradations import Degradation

TEST_SIZE = 2_000
SEEDS = {"train": 0, "test": 1}
PORTION = 500  # solids drawn and written at a time


class Solids(DataModule):
    """Drawn solids of the classes in `src/data/procedural/solids.py`.

    Args:
        name: solids.
        kind: voxels.
        resolution: 16, 32 or 64 voxels on a side.
        labels: the classes that are drawn, equally often.
        size: solids of the training split; the test split has a tenth of it, 2,000 at most.
        source: `builtin`: there are no files of them.
        root: not used.
        cache: folder of the drawn solids.
        batch_size: solids per batch.
        seed: seed of the order and of the flips. The solids are the same for all seeds.
        flip: mirror each training solid left to right with probability 1/2.
        reading: see `DataModule`.
        degradation: the same.

    Attributes:
        factors: uniform numbers (n, 9) by which each solid is drawn, but for its class; what they
            mean depends on the class.
    """

    def __init__(
        self,
        name: Literal["solids"],
        kind: Literal["voxels"],
        resolution: PositiveInt,
        labels: Sequence[str],
        size: PositiveInt,
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        solids.check_solids(resolution, labels)
        spec = DataSpec(kind, (1, *[resolution] * 3), tuple(labels))
        super().__init__(spec, batch_size, seed, flip, reading, degradation)
        self.name, self.resolution, self.cache = name, resolution, cache
        self.sizes = {"train": size, "test": min(TEST_SIZE, max(1, size // 10))}

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        names = self.spec.classes
        rows = {key: solids.sample_factors(n, SEEDS[key]) for key, n in self.sizes.items()}
        x, content = drawn(
            partial(self._draw, rows),
            self.sizes,
            self.spec.shape,
            self.cache,
            self.name,
            (solids, dice),
            [list(names), self.sizes],
        )
        splits = {key: Split(x[key], solids.find_kinds(row, names)) for key, row in rows.items()}
        self.factor_names = solids.FACTORS[1:]
        self.factors = {
            key: torch.stack([row[factor] for factor in self.factor_names], 1)
            for key, row in rows.items()
        }
        return splits, identity(
            self.name, "builtin", splits, fingerprint(content), classes=list(names)
        )

    def _draw(self, rows: dict[str, dict[str, Tensor]], progress: Progress) -> Iterator[Tensor]:
        for row in rows.values():
            for index in torch.arange(len(row["kind"])).split(PORTION):
                some = {name: column[index] for name, column in row.items()}
                yield solids.render(some, self.spec.classes, self.resolution, progress=progress)
