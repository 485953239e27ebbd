"""Distances of pixels, or voxels, that a translation is trained by: a slot of pure functions.

    L1            mean |a - b|                                Isola et al. 2017, weight 100
    L2            mean (a - b)^2                              Ledig et al. 2017
    Charbonnier   mean sqrt((a - b)^2 + eps^2)                Lai et al. 2017 (LapSRN)
    occupancy     -mean b log a + (1 - b) log(1 - a), of voxels; and beside it
                  1 - sum a b / sum (a + b - a b)             Rahman & Wang 2016 (soft IoU)

Means over samples, channels and pixels, on the models' scale, in float32; the soft IoU is of each
sample's voxels.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

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
        """Distance of outputs (n, *shape) from targets of that shape, a scalar."""


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


class Occupancy(PixelLoss):
    """Binary cross-entropy of occupancies in [0, 1], and how little they overlap with the target.

    Most voxels are empty and easy; the overlap, which is what the result is judged by, is of the
    occupied ones alone.

    Args:
        weight: see `PixelLoss`.
        overlap: factor on 1 - IoU beside the cross-entropy.
    """

    def __init__(self, weight: NotNegativeFloat = 1.0, overlap: NotNegativeFloat = 1.0) -> None:
        super().__init__(weight)
        self.overlap = overlap

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return occupancy_distances(output, target, self.overlap).mean()


def occupancy_distances(output: Tensor, target: Tensor, overlap: float) -> Tensor:
    """Cross-entropy of a voxel, and overlap (1 - soft IoU), of each sample: (n,), in float32.

    Args:
        output: occupancies (n, ...) in [0, 1].
        target: the same shape.
        overlap: factor.
    """
    a, b = output.float().flatten(1), target.flatten(1)
    both = (a * b).sum(1)
    either = (a + b).sum(1) - both
    with torch.autocast(a.device.type, enabled=False):  # which refuses it on GPUs, even in float32
        entropy = F.binary_cross_entropy(a, b, reduction="none").mean(1)
    return entropy + overlap * (1 - both / either.clamp(min=1e-6))
