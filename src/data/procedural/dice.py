"""Random numbers as a hash: number j of sample i depends on (seed, i, j) only, on any machine."""

import torch
from torch import Tensor


def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al. 2014), int64 to int64, wrapping around."""
    x = x + (0x9E3779B97F4A7C15 - 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)):
        x = (x ^ (x >> shift & (1 << 64 - shift) - 1)) * factor
    return x ^ (x >> 31 & (1 << 33) - 1)


def uniform(n: int, k: int, seed: int) -> Tensor:
    """Float32 (k, n) in [0, 1): k numbers for each of n samples."""
    key = _mix(_mix(torch.tensor([seed])) + torch.arange(n))
    bits = _mix(key + torch.arange(k)[:, None]) >> 40 & (1 << 24) - 1
    return bits.float() * 2**-24


def choose(x: Tensor, odds: tuple[float, ...]) -> Tensor:
    """Uniform numbers to the values 0, 1, 2 ... with these probabilities."""
    edges = torch.tensor(odds).double().cumsum(0)[:-1].float()
    return torch.bucketize(x, edges, right=True)


def lerp(t: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Numbers in [0, 1] to the range from low to high."""
    return t * (high - low) + low
