"""Reconstruction losses of a decoder's raw output: a slot of autoencoders and VAEs.

    squared error   |x' - x|^2                                      x' = tanh(output), or output
    Bernoulli       -sum x log p + (1 - x) log(1 - p)               p = sigmoid(output)
    Gaussian        |x' - x|^2 / (2 v) + d / 2 log(2 pi v)          x' = tanh(output), v one number

`loss(output, x)` is summed over a sample's dimensions; `mean(output)` is the picture that is shown.
There may be k outputs for each sample, those of k draws of its code: k n of them, draw by draw.
Images arrive in [-1, 1] and are compared on the [0, 1] scale, the convention of published figures.
Points, which have no bounded range, and voxels are compared as they are. Bernoulli and Gaussian are
in nats, so that a VAE with beta = 1 reports the evidence lower bound.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import PositiveFloat
from src.distributed import noise
from src.errors import SettingError


class Reconstruction(nn.Module, ABC):
    """Base of reconstruction losses: the meaning of raw outputs, and their distance to the data.

    Attributes:
        nats: True if the loss is a negative log-likelihood.
    """

    nats: bool

    def targets(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Data as the model gets them and as its outputs are compared with them."""
        return x

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Outputs (n, *shape) as samples in the data's range."""

    @abstractmethod
    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """(k n,), in float32, of k n outputs for n samples."""


class SquaredError(Reconstruction):
    """Squared error, which is no likelihood: it has no unit.

    Args:
        output: for images, `tanh` keeps x' in the data's range and `identity` leaves it: two linear
            maps and this loss are principal component analysis.
    """

    nats = False

    def __init__(self, output: Literal["tanh", "identity"] = "tanh") -> None:
        super().__init__()
        self.output = output

    def mean(self, output: Tensor) -> Tensor:
        return output if output.ndim == 2 or self.output == "identity" else output.tanh()

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """(k n,), in float32."""
        scale = 2 if x.ndim == 4 else 1  # of images, from [-1, 1] to [0, 1]
        mean = self.mean(output.float()).unflatten(0, (-1, len(x)))
        return ((mean - x) / scale).square().sum(tuple(range(2, mean.ndim))).flatten()


class Bernoulli(Reconstruction):
    """Independent binary pixels.

    Args:
        binarize: draw the pixels anew, each 1 with the probability of its grey value, whenever an
            image is seen (Burda et al. 2016, sec. 5). False takes grey values as expected bits, as
            Kingma & Welling 2014 do; the bound is then not that of a likelihood of grey images.
    """

    nats = True

    def __init__(self, binarize: bool = False) -> None:
        super().__init__()
        self.binarize = binarize

    def targets(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images as the model sees them: -1 and 1 if they are to be binary."""
        return noise.bits((x + 1) / 2, generator) * 2 - 1 if self.binarize else x

    def mean(self, output: Tensor) -> Tensor:
        """Logits as grey values in [-1, 1]."""
        return output.sigmoid() * 2 - 1

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """(k n,), nats, in float32: log(1 + e^a) - x a for the logit a of each pixel."""
        logits, target = output.float().flatten(1), (x.float().flatten(1) + 1) / 2
        logits = logits.unflatten(0, (-1, len(x)))
        return (F.softplus(logits) - target * logits).sum(2).flatten()


class Gaussian(SquaredError):
    """Pixels, or coordinates, with independent noise of one variance; a density in nats.

    Args:
        variance: variance of pixels in [0, 1]; `learned` makes its logarithm a weight, which finds
            the mean squared error (Rybkin et al. 2021, "Simple and Effective VAE Training").
        start: the variance that a learned one starts from.
    """

    nats = True

    def __init__(
        self, variance: PositiveFloat | Literal["learned"], start: PositiveFloat = 0.1
    ) -> None:
        super().__init__()
        learned = variance == "learned"
        value = start if learned else variance
        if value <= 0:
            raise SettingError(f"model.reconstruction: a variance of {value} must be positive.")
        self.log_variance = nn.Parameter(torch.tensor(math.log(value)), requires_grad=learned)

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """(k n,), nats, in float32."""
        dimensions = x[0].numel()
        constant = dimensions / 2 * (math.log(2 * math.pi) + self.log_variance)
        return super().loss(output, x) / (2 * self.log_variance.exp()) + constant
