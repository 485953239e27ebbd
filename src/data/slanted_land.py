"""Slanted Land: five pictures of 2 x 2 pixels that show a dark diagonal (Serrano's "GANs in Slanted
Land", github.com/luisguiserrano/gans), the smallest data on which a GAN can be followed by hand.

Row by row, 1 is dark, 0 is light:

    1.0 0.0    0.9 0.1    0.9 0.2    0.8 0.1    0.8 0.2
    0.0 1.0    0.2 0.8    0.1 0.8    0.2 0.9    0.1 0.9

The networks see points of four numbers from 0 to 1, as the notebook's do; pictures show squares.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.spec import DataSpec, Split

PICTURES = (
    (1.0, 0.0, 0.0, 1.0),
    (0.9, 0.1, 0.2, 0.8),
    (0.9, 0.2, 0.1, 0.8),
    (0.8, 0.1, 0.2, 0.9),
    (0.8, 0.2, 0.1, 0.9),
)


class Diagonals:
    """The law of the pictures: each of them with the same probability, and no density.

    Attributes:
        pictures: (5, 4).
        mean: (4,).
        cov: (4, 4).
        modes: None: they are too near to each other to be counted.
        std: None.
    """

    modes = None
    std = None

    def __init__(self) -> None:
        self.pictures = torch.tensor(PICTURES)
        self.mean = self.pictures.mean(0)
        self.cov = self.pictures.T.cov(correction=0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n pictures (n, 4)."""
        return self.pictures[torch.randint(len(self.pictures), (n,), generator=generator)]


class SlantedLand(DataModule):
    """The five pictures. There is no test split: there are no others.

    Args:
        name: slanted_land.
        kind: points, for the networks.
        dim: 4.
        labels: empty.
        source: not used: the pictures stand in this file.
        root: not used.
        cache: not used.
        batch_size: pictures per batch; the notebook takes one at a time.
        seed: seed of the order, which differs in each epoch. (The notebook's is always the same.)

    Attributes:
        distribution: with `sample`, `mean`, `cov` and `pictures`.
    """

    def __init__(
        self,
        name: Literal["slanted_land"],
        kind: Literal["points"],
        dim: Literal[4],
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(DataSpec(kind, (dim,), picture_shape=(2, 2)), batch_size, seed)
        self.name = name
        self.distribution = Diagonals()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        splits = {"train": Split(self.distribution.pictures)}
        content = fingerprint(splits["train"].x.numpy())
        return splits, identity(self.name, "builtin", splits, content)
