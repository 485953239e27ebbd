"""Random numbers for the samples of a batch; all noise in training comes from here.

On several ranks each sample gets the noise that it would get on one: every rank draws for the whole
batch, from generators that are seeded alike, and takes its slice. A generator that is given is
another matter, such as scoring by one rank, and is left to draw what is asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from src.distributed import ranks


def normal(*shape: int, dim: int = 0, **options: Any) -> Tensor:
    """N(0, 1), by `torch.randn`.

    Args:
        shape: shape of this rank's slice.
        dim: which dimension counts the samples.
        options: device, dtype, generator; the global one if none is given.
    """
    return _slice(torch.randn, shape, dim, **options)


def uniform(*shape: int, dim: int = 0, **options: Any) -> Tensor:
    """U(0, 1), by `torch.rand`; see `normal`."""
    return _slice(torch.rand, shape, dim, **options)


def integers(low: int, high: int, *shape: int, dim: int = 0, **options: Any) -> Tensor:
    """Equally likely from low to high - 1, by `torch.randint`; see `normal`."""
    return _slice(partial(torch.randint, low, high), shape, dim, **options)


def bits(p: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """0 or 1, the latter with probability p (n, ...), by `torch.bernoulli`."""

    def draw(shape: list[int], **options: Any) -> Tensor:
        # Each number takes as much from the generator, whatever its probability.
        return torch.bernoulli(p.repeat(shape[0] // len(p), *[1] * (p.ndim - 1)), **options)

    if ranks.count() == 1:
        return torch.bernoulli(p, generator=generator)
    return _slice(draw, p.shape, 0, generator=generator)


def _slice(draw: Callable[..., Tensor], shape: tuple[int, ...], dim: int, **options: Any) -> Tensor:
    if ranks.count() == 1 or options.get("generator") is not None:
        return draw(shape, **options)
    n = shape[dim]
    whole = [*shape[:dim], ranks.count() * n, *shape[dim + 1 :]]
    return draw(whole, **options).narrow(dim, ranks.rank() * n, n)


class Draws(ABC):
    """Random numbers for each of some samples, whose generator is not the global one.

    Attributes:
        device: where the numbers are.
    """

    device: torch.device

    @abstractmethod
    def uniform(self, *shape: int) -> Tensor:
        """(n, *shape) from U(0, 1)."""

    @abstractmethod
    def normal(self, *shape: int) -> Tensor:
        """(n, *shape) from N(0, 1)."""


class BatchDraws(Draws):
    """For a slice of a batch, drawn for the whole of it: slices have the numbers of the whole.

    Args:
        n: samples of the whole batch.
        seed: seed of the batch, not negative.
        device: where the numbers are.
        part: (k, r): the k-th of r equal slices.
    """

    def __init__(
        self, n: int, seed: int, device: torch.device | str = "cpu", part: tuple[int, int] = (0, 1)
    ) -> None:
        self.n, self.part, self.device = n, part, torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        return self._draw(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        return self._draw(torch.randn, shape)

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        k, r = self.part
        drawn = draw(self.n, *shape, generator=self.generator, device=self.device)
        return drawn.chunk(r)[k]


class SampleDraws(Draws):
    """For samples that have a seed each: the same numbers in whichever batch they are.

    Args:
        seeds: not negative.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.device = torch.device("cpu")
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators])
