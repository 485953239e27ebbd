"""Corruptions of a denoising autoencoder's input (Vincent et al. 2010, sec. 3.3): a slot.

    none              x
    masking           each number is put to the lowest value with probability p
    Gaussian          x + N(0, std^2)
    salt and pepper   each number is put to the lowest or highest value with probability p

Images are in [-1, 1]: the lowest value is black. Points have no range: they are put to 0, or to
-1 and 1.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from src.config.ranges import NotNegativeFloat, Share
from src.distributed import noise
from src.errors import SettingError


class Corruption(ABC):
    """Corruption of x before the encoder gets it."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """x (n, ...) corrupted, of the same shape; noise from the global generator."""


class NoCorruption(Corruption):
    """x itself."""

    def __call__(self, x: Tensor) -> Tensor:
        return x


class Masking(Corruption):
    """Each number is lost with probability p.

    Args:
        p: share of the numbers.
    """

    def __init__(self, p: Share) -> None:
        self.p = _share(p)

    def __call__(self, x: Tensor) -> Tensor:
        return x.masked_fill(_uniform(x) < self.p, 0.0 if x.ndim == 2 else -1.0)


class GaussianNoise(Corruption):
    """Independent noise, added to each number.

    Args:
        std: standard deviation of the noise, for pixels in [0, 1] and for points as they are.
    """

    def __init__(self, std: NotNegativeFloat) -> None:
        if std < 0:
            raise SettingError(f"model.corruption.std={std} must not be negative.")
        self.std = std

    def __call__(self, x: Tensor) -> Tensor:
        drawn = noise.normal(*x.shape, dtype=x.dtype, device=x.device)
        return x + drawn * (self.std if x.ndim == 2 else 2 * self.std)


class SaltAndPepper(Corruption):
    """Each number is put to an end of the range with probability p, to either as likely.

    Args:
        p: share of the numbers.
    """

    def __init__(self, p: Share) -> None:
        self.p = _share(p)

    def __call__(self, x: Tensor) -> Tensor:
        u = _uniform(x)
        return x.masked_fill(u < self.p, 1.0).masked_fill(u < self.p / 2, -1.0)


def _uniform(x: Tensor) -> Tensor:
    """A number from U(0, 1) for each of x."""
    return noise.uniform(*x.shape, dtype=x.dtype, device=x.device)


def _share(p: float) -> float:
    if not 0 <= p <= 1:
        raise SettingError(f"model.corruption.p={p} must be from 0 to 1.")
    return p
