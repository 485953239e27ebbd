"""Variational autoencoders: encode to a distribution, sample, decode (Kingma & Welling 2014).

    -ELBO(x) = E_q(z|x) [-log p(x|z)] + beta KL(q(z|x) || N(0, I))      [nats, per sample]

q(z|x) is a diagonal Gaussian; the encoder gives its mean and the logarithm of its variance, which
may be any real number, where a variance could not. beta = 1 is the bound itself.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from src.data.base import DataSpec
from src.losses.divergences import kl_to_standard_normal
from src.losses.reconstruction import bernoulli_nll
from src.models.base import Draw, GenerativeModel


class VAE(GenerativeModel):
    """Encoder, reparametrised sample, decoder; Bernoulli pixels.

    Args:
        spec: what the data look like; images.
        seed: of initialisation and noise.
        latent_dim: length of z.
        encoder: `(shape, outputs) -> network`; asked for 2 x latent_dim outputs.
        decoder: `(latent_dim, shape) -> network` with logits of the pixels.
        optimizer: `parameters -> optimiser` of both.
        beta: weight of the divergence (Higgins et al. 2017).
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        latent_dim: int,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        optimizer: Callable[..., torch.optim.Optimizer],
        beta: float = 1.0,
    ) -> None:
        super().__init__(spec, seed)
        self.encoder = encoder(shape=spec.shape, outputs=2 * latent_dim)
        self.decoder = decoder(latent_dim=latent_dim, shape=spec.shape)
        self.latent_dim, self.beta = latent_dim, beta
        self._optimizer_partial = optimizer

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.optimizers_of(vae=partial(self._optimizer_partial, self.parameters()))

    def iterate(self, draw: Draw) -> None:
        x = draw().x
        reconstruction, divergence = self.negative_elbo(x)
        loss = reconstruction + self.beta * divergence
        self.record(**{"loss/reconstruction": reconstruction, "loss/kl": divergence})
        self.update("vae", loss)
        self.samples_seen += len(x)

    def negative_elbo(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence of a batch, in nats per sample; beta is not applied."""
        mean, log_variance = self.encoder(x).float().chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return bernoulli_nll(self.decoder(z), x), kl_to_standard_normal(mean, log_variance).sum(
            1
        ).mean()

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        generator = self.generator_of(seed)
        return torch.randn(n, self.latent_dim, generator=generator, device=self.device)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The pixels' means, which lie in [0, 1], on the [-1, 1] scale."""
        with self.scoring():
            return self.decoder(z).sigmoid() * 2 - 1

    def reconstruct(self, x: Tensor) -> Tensor:
        """The decoder's mean at the mean of q(z|x): (n, *shape) in the data's range."""
        with self.scoring():
            return self.decode(self.encoder(x.to(self.device)).chunk(2, dim=1)[0])
