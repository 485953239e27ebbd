"""What a score is: values with their protocols, and which samples and images it is made of."""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.base import DataModule
from src.data.spec import Split, to_model

# sample(n, seed) gives n samples in the data's form, on any device.
Sampler = Callable[[int, int], Tensor]

# Fakes are drawn in portions of this size whatever a scorer's batch size is, so that it cannot
# change which fakes are scored.
PORTION = 500


class Scores(NamedTuple):
    """Numbers and what they mean; both have the same keys.

    Attributes:
        values: by names that carry the protocol: `fid10k_mnist` says metric, number of fakes, and
            extractor.
        protocols: all that a value depends on, and as `real` the value that held-out real data get
            in the place of the fakes.
    """

    values: dict[str, float]
    protocols: dict[str, dict[str, Any]]


class Scorer(Protocol):
    """What gives numbers; `headline` says which of them are known by a short name too."""

    headline: dict[str, str]

    def score(self, sample: Sampler) -> Scores: ...


def count(n: int) -> str:
    """The number of samples as names carry it: 10000 is "10k", 500 stays "500"."""
    return f"{n // 1000}k" if n % 1000 == 0 else str(n)


def draw(sample: Sampler, n: int, seed: int) -> Iterator[Tensor]:
    """n samples in portions, with a progress bar; the seed of each follows from `seed`."""
    portions = [min(PORTION, n - start) for start in range(0, n, PORTION)]
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**31, (len(portions),), generator=generator).tolist()
    with tqdm(total=n, desc="scoring", delay=3, leave=False, disable=None) as bar:
        for size, part in zip(portions, seeds, strict=True):
            yield sample(size, part)
            bar.update(size)


def held_out(data: DataModule, n: int | None = None) -> tuple[str, Split]:
    """Name and images of the split that models are judged on: "test", or "train" without one.

    Args:
        data: set up.
        n: the most images, see `spaced`; None takes all.
    """
    name = "test" if "test" in data.splits else "train"
    return name, spaced(data.splits[name], n)


def spaced(split: Split, n: int | None) -> Split:
    """At most n images, evenly spaced: splits may be sorted, and the halves of MNIST differ."""
    size = len(split.x)
    if n is None or n >= size:
        return split
    index = torch.arange(n) * size // n
    return Split(split.x[index], None if split.y is None else split.y[index])


def batches(split: Split, size: int, labelled: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images (m, c, h, w) in the models' form, m <= size, and labels (m,), None if not `labelled`.

    Args:
        split: stored images, or images in the models' form already.
        size: images at once.
        labelled: whether the model that will see them needs the labels.
    """
    labels = split.y.split(size) if labelled else repeat(None)
    for x, y in zip(split.x.split(size), labels, strict=False):
        yield to_model(x), y
