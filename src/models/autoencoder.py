"""Autoencoders: reconstruct x from a code (Goodfellow, Bengio & Courville 2016, ch. 14).

    x -> corruption -> encoder -> z -> decoder -> x',     minimise  loss(x', x) + code penalty

A slot keeps the code from being a copy of x: few latent dimensions (undercomplete), a penalty
(sparse, contractive), or a corrupted input (denoising). Two linear maps and the squared error find
the subspace of principal component analysis. A prior of z, for sampling, is fitted to the codes.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from src.config.ranges import PositiveFloat, PositiveInt
from src.data.spec import DataSpec, Draw
from src.losses.code_penalties import CodePenalty
from src.losses.reconstruction import Reconstruction
from src.models.base import LatentVariableModel
from src.models.parts.code_priors import CodePrior
from src.models.parts.schedules import Schedule
from src.networks.base import Decoder, Encoder
from src.transforms.corruptions import Corruption, NoCorruption


class Autoencoder(LatentVariableModel):
    """One encoder, one decoder, one step.

    Args:
        spec: kind, shape and classes of the data.
        seed: seed of initialisation and noise.
        latent_dim: length of the code.
        encoder: `(shape, outputs) -> network`.
        decoder: `(latent_dim, shape) -> network` with raw outputs.
        reconstruction: what they mean and how they are compared, `src/losses/reconstruction.py`.
        corruption: corruption of the encoder's input, see `src/transforms/corruptions.py`.
        code_penalty: added to the loss, see `src/losses/code_penalties.py`.
        sampler: `(latent_dim) -> prior of the code`, see `src/models/parts/code_priors.py`.
        optimizer: `parameters -> optimiser` of both.
        schedule: schedule of the learning rate on the samples seen; None keeps it.
        clip: norm to which the gradient is cut; None leaves it.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        latent_dim: PositiveInt,
        encoder: Callable[..., Encoder],
        decoder: Callable[..., Decoder],
        reconstruction: Reconstruction,
        corruption: Corruption,
        code_penalty: CodePenalty,
        sampler: Callable[..., CodePrior],
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Schedule | None = None,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        self.encoder = encoder(shape=spec.shape, outputs=latent_dim)
        self.decoder = decoder(latent_dim=latent_dim, shape=spec.shape)
        self.prior = sampler(latent_dim=latent_dim)
        self.reconstruction, self.latent_dim = reconstruction, latent_dim
        self.corruption, self.code_penalty = corruption, code_penalty
        self.schedule, self.clip = schedule, clip
        self._optimizer_partial = optimizer

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.make_optimizers(
            autoencoder=partial(self._optimizer_partial, self.learned_parameters())
        )

    def iterate(self, draw: Draw) -> None:
        x = self.reconstruction.targets(draw().x)
        seen = self.corruption(x)
        z = self.encoder(seen)
        loss = self.reconstruction.loss(self.decoder(z), x).mean()
        self.record(**{"loss/reconstruction": loss})
        penalty = self.code_penalty(self.encoder, seen, z)
        if penalty is not None:
            self.record(**{"loss/code_penalty": penalty})
            loss = loss + penalty
        self.prior.observe(z if isinstance(self.corruption, NoCorruption) else self.encode(x))
        self.update("autoencoder", loss)
        self.advance(x)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return self.prior.draw(n, self.make_random_generator(seed))

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (n, latent_dim) of samples in the data's range."""
        with self.scoring():
            return self.encoder(x.to(self.device))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            return self.reconstruction.mean(self.decoder(z))

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """decode(encode(x)): (n, *shape) in the data's range."""
        return self.decode(self.encode(x))
