"""Convolutional encoder and decoder, on DCGAN's plan: strided down, transposed up.

A transposed convolution restores the shape that its convolution took away, and not the values:
it has weights of its own to learn.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.networks.base import Decoder, Encoder
from src.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from src.networks.layers import ConditionalSequential


class ConvEncoder(Encoder):
    """Images (n, c, r, r) to codes (n, outputs): DCGAN's D with another head.

    Args:
        shape: (c, r, r) of one image.
        outputs: length of the code, or what the model asks for (a VAE: mean and log-variance).
        width: channels of the first stage.
        norm: after each hidden stage but the first.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        width: PositiveInt = 32,
        norm: Literal["none", "batch", "layer", "instance"] = "batch",
    ) -> None:
        super().__init__()
        network = DCGANDiscriminator(shape, width, norm)
        self.body, self.head = network.body, nn.Linear(network.features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


class ConvDecoder(Decoder):
    """Codes (n, latent_dim) to raw outputs (n, c, r, r): DCGAN's G without its tanh.

    Args:
        latent_dim: length of the code.
        shape: (c, r, r) of one image.
        width: channels of the last hidden stage.
        norm: after each hidden stage.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: PositiveInt = 32,
        norm: Literal["none", "batch", "layer", "instance"] = "batch",
    ) -> None:
        super().__init__()
        *layers, _ = DCGANGenerator(latent_dim, shape, width, norm).body
        self.body = ConditionalSequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)
