"""Autoencoders: minimise |decode(encode(x)) - x|^2 through a narrow code.

    x -> encoder -> z -> decoder -> x'

A plain autoencoder has no law of z, so it has nothing to sample from: one is fitted to the codes of
training images (a Gaussian with full covariance, kept in the checkpoint and followed during
training), as in Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", sec. 4.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from src.data.base import DataSpec
from src.losses.reconstruction import squared_error
from src.models.base import Draw, GenerativeModel


class Autoencoder(GenerativeModel):
    """Encoder, decoder, squared error.

    Args:
        spec: what the data look like.
        seed: of initialisation and noise.
        latent_dim: length of the code.
        encoder: `(shape, outputs) -> network`.
        decoder: `(latent_dim, shape) -> network` with raw outputs.
        optimizer: `parameters -> optimiser` of both.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        latent_dim: int,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        optimizer: Callable[..., torch.optim.Optimizer],
    ) -> None:
        super().__init__(spec, seed)
        self.encoder = encoder(shape=spec.shape, outputs=latent_dim)
        self.decoder = decoder(latent_dim=latent_dim, shape=spec.shape)
        self._optimizer_partial = optimizer
        # The codes' law: moments that forget as training goes on.
        self.register_buffer("code_mean", torch.zeros(latent_dim))
        self.register_buffer("code_second_moment", torch.eye(latent_dim))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.optimizers_of(autoencoder=partial(self._optimizer_partial, self.parameters()))

    def iterate(self, draw: Draw) -> None:
        x = draw().x
        z = self.encoder(x)
        loss = squared_error(self.decoder(z), x)
        self.follow_codes(z.detach().float())
        self.record(**{"loss/reconstruction": loss})
        self.update("autoencoder", loss)
        self.samples_seen += len(x)

    def follow_codes(self, z: Tensor, memory: float = 0.99) -> None:
        """Running first and second moments of the codes (n, d); early on, plain averages."""
        step = max(1 - memory, 1 / (self.iteration + 1))
        with torch.autocast(z.device.type, enabled=False):  # a covariance needs its digits
            self.code_mean.lerp_(z.mean(0), step)
            self.code_second_moment.lerp_(z.mT @ z / len(z), step)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        mean = self.code_mean.double()
        covariance = self.code_second_moment.double() - mean.outer(mean)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp(min=0).sqrt()
        noise = torch.randn(n, len(mean), generator=self.generator_of(seed), device=self.device)
        return (noise.double() @ root.mT + mean).float()

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            output = self.decoder(z)
            return output if output.ndim == 2 else output.tanh()

    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(encode(x)): (n, *shape) in the data's range."""
        with self.scoring():
            return self.decode(self.encoder(x.to(self.device)))
