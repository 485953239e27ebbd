"""Observation model of a VAE-GAN, a slot: how a reconstruction is compared with its sample.

    features    -log N(f(x); f(x'), v I)    f: D's last hidden layer     Larsen et al. 2016, eq. 7
    data        -log N(x; x', v I)          of pixels in [0, 1], or coordinates

without the constants, in nats. The features change as D learns, and an image that has the same ones
need not be the same: so theirs is no likelihood of the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from src.config.ranges import PositiveFloat
from src.losses.reconstruction import SquaredError


class Observation(ABC):
    """Base of the observation models.

    Args:
        variance: v; the smaller it is, the more a reconstruction counts beside the divergence.
    """

    def __init__(self, variance: PositiveFloat = 1.0) -> None:
        self.variance = variance

    @abstractmethod
    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) without its constant, (n,), in float32.

        Args:
            features: maps samples to D's features (n, d).
            output: reconstructions (n, ...).
            x: samples (n, ...).
        """


class FeatureObservation(Observation):
    """Compares what D sees of them."""

    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = features(x).float()
        return (features(output).float() - wanted).square().sum(1) / (2 * self.variance)


class DataObservation(Observation):
    """Compares the samples themselves."""

    def __call__(self, features: Callable[[Tensor], Tensor], output: Tensor, x: Tensor) -> Tensor:
        return SquaredError("identity").loss(output, x) / (2 * self.variance)
