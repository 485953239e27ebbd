"""Random numbers for the samples of a batch; all noise in training comes from here.

On several ranks each sample gets the noise that it would get on one: every rank draws for the whole
batch, from generators that are seeded alike, and takes its slice. A generator that is given is
another matter, such as scoring by one rank, and is left to draw what is asked for.
"""

from collections.abc import Callable
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
