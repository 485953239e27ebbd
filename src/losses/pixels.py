"""Distances of pixels that a translation is trained by: a slot, pure functions of tensors.

    L1            mean |a - b|                                Isola et al. 2017, weight 100
    L2            mean (a - b)^2                              Ledig et al. 2017
    Charbonnier   mean sqrt((a - b)^2 + eps^2)                Lai et al. 2017 (LapSRN)

Means over samples, channels and pixels, on the models' scale of [-1, 1], in float32.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from src.config.ranges import NotNegativeFloat, PositiveFloat


class PixelLoss(ABC):
    """Base: a weight and a distance.

    Args:
        weight: factor on the distance beside an adversary and a content loss; 0 leaves it out
            there.
    """

    def __init__(self, weight: NotNegativeFloat = 1.0) -> None:
        self.weight = weight

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Distance of outputs (n, c, h, w) from targets of that shape, a scalar."""


class L1(PixelLoss):
    """Absolute error; its minimum is the median."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.float() - target).abs().mean()


class L2(PixelLoss):
    """Squared error; its minimum is the mean, which has the highest PSNR."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.float() - target).square().mean()


class Charbonnier(PixelLoss):
    """Absolute error, rounded off at 0.

    Args:
        weight: see `PixelLoss`.
        eps: where it turns from square to linear.
    """

    def __init__(self, weight: NotNegativeFloat = 1.0, eps: PositiveFloat = 1e-3) -> None:
        super().__init__(weight)
        self.eps = eps

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output.float() - target).square() + self.eps**2).sqrt().mean()
