"""Stacked MNIST: three digits drawn at random, as the colours of one image (Metz et al. 2017,
"Unrolled Generative Adversarial Networks", arXiv:1611.02163, sec. 3.3.1).

The 10^3 = 1000 triples of classes are modes that a classifier of single digits can count, so that
a generator which forgets some of them is found out (`src/metrics/modes.py`). The size is that of
PacGAN's experiments (Lin et al. 2018, arXiv:1712.04086, sec. 4.2): 128,000 images.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from src.config.ranges import PositiveInt
from src.data.base import identity
from src.data.cache import fingerprint
from src.data.loader import Reading
from src.data.mnist import MNIST
from src.data.sources import stacked_classes
from src.data.spec import Split
from src.errors import SettingError
from src.transforms.degradations import Degradation

MOST_LABELS = 30  # of single images, of which triples are the classes
TEST_SIZE = 26_000  # as many as are scored
MOST_IMAGES = 2_000_000  # 4.7 GB


class StackedMNIST(MNIST):
    """Triples of MNIST's digits (channels 0, 1, 2) with the class 100 a + 10 b + c.

    The triples are the same for all seeds: these differ in the training and not in the data. Those
    to train on are made of MNIST's training digits, those of the test split of its test digits.

    Args:
        name: set whose images are stacked: `mnist`, `fashion_mnist`, `kmnist`, or a name of your
            own for files under `root`.
        kind: images.
        channels: 3.
        resolution: see `MNIST`.
        labels: names of the classes of a single image.
        source: `real`, or `builtin` for the digits (`auto` is resolved before).
        root: folder of the single images' files, or for their download.
        cache: not used.
        size: images to train on; they take 2352 bytes of memory each, at 28 pixels.
        batch_size: samples per batch.
        seed: seed of the order and of the flips.
        flip: mirror at random; digits are not symmetric.
        reading: see `DataModule`.
        degradation: see `DataModule`.

    Attributes:
        digits: name of the single images: `mnist`, or `digits` for the stand-in.
        shares: (1000,), true probabilities of the classes: the product of the training digits'.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[3],
        resolution: PositiveInt,
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str,
        cache: str,
        size: PositiveInt,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        if not 0 < size <= MOST_IMAGES:
            raise SettingError(
                f"data.size={size} must be from 1 to {MOST_IMAGES:,}: images to train on."
            )
        if len(labels) > MOST_LABELS:
            raise SettingError(f"data.labels has {len(labels)} entries; {MOST_LABELS} can be.")
        super().__init__(
            name, kind, 1, resolution, labels, source, root, cache, batch_size, seed, flip,
            reading,
            degradation,
        )  # fmt: skip
        self.single_classes = self.spec.classes
        self.spec = replace(
            self.spec,
            shape=(channels, resolution, resolution),
            classes=stacked_classes(self.single_classes),
        )
        self.digits = "digits" if self.builtin else name
        self.size = size
        self.shares = torch.empty(0)

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        singles, single = super().load()
        digits = torch.bincount(singles["train"].y, minlength=len(self.single_classes)).double()
        share = digits / digits.sum()
        self.shares = torch.einsum("a,b,c->abc", share, share, share).flatten()
        splits, triples = {}, []
        sizes = {"train": self.size, "test": min(self.size, TEST_SIZE)}
        for i, (split, n) in enumerate(sizes.items()):
            x, y = singles[split]
            generator = torch.Generator().manual_seed(i)
            triple = torch.randint(len(x), (n, 3), generator=generator)
            splits[split] = Split(x.squeeze(1)[triple], triple_class(y[triple], len(share)))
            triples.append(triple.numpy())
        # What the images are made of, instead of 300 MB of pixels.
        content = fingerprint(single["hash"], *triples)
        name = f"stacked_{single['name']}"
        return splits, identity(name, single["source"], splits, content, resize=single["resize"])


def triple_class(y: Tensor, classes: int) -> Tensor:
    """Classes (n, 3) of the channels, each one of `classes`, to those of the images, (n,)."""
    a, b, c = y.unbind(1)
    return (a * classes + b) * classes + c
