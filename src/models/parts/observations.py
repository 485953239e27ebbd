"""Observation model of a VAE-GAN, a slot: how a reconstruction is compared with its sample.

    features    -log N(f(x); f(x'), v I)    f: D's last hidden layer     Larsen et al. 2016, eq. 7
    data        -log N(x; x', v I)          of pixels in [0, 1], voxels or coordinates
    occupancy   -log B(x; x') / d + w (1 - soft IoU)    of d voxels, see `src/losses/pixels.py`

without the constants, the first two in nats; of voxels it is a mean, so that the weights beside it
are those of all resolutions. The features change as D learns, and an image that has the same ones
need not be the same: so theirs is no likelihood of the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from src.config.ranges import NotNegativeFloat, PositiveFloat
from src.losses.pixels import occupancy_distances
from src.losses.reconstruction import SquaredError


class Observation(ABC):
    """Base of the observation models."""

    @abstractmethod
    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        """Distance of each reconstruction from its sample, (n,), in float32.

        Args:
            features: maps samples to D's features (n, d).
            output: reconstructions (n, ...).
            x: samples (n, ...).
        """


class GaussianObservation(Observation):
    """Base of those with one variance.

    Args:
        variance: v; the smaller it is, the more a reconstruction counts beside the divergence.
    """

    def __init__(self, variance: PositiveFloat = 1.0) -> None:
        self.variance = variance


class FeatureObservation(GaussianObservation):
    """Compares what D sees of them."""

    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = features(x).float()
        return (features(output).float() - wanted).square().sum(1) / (2 * self.variance)


class DataObservation(GaussianObservation):
    """Compares the samples themselves."""

    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        return SquaredError("identity").loss(output, x) / (2 * self.variance)


class OccupancyObservation(Observation):
    """Compares voxels in [0, 1].

    Args:
        overlap: w, factor on 1 - soft IoU beside the cross-entropy of a voxel.
    """

    def __init__(self, overlap: NotNegativeFloat = 1.0) -> None:
        self.overlap = overlap

    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        return occupancy_distances(output, x, self.overlap)
