"""Generative adversarial networks: D steps, then a G step (Goodfellow et al. 2014, algorithm 1).

    repeat:  d_steps times:  draw x from the data and z from the prior,
                             step D down  loss.d(D(x), D(G(z))) + penalty
             once:           draw z,  step G down  loss.g(D(G(z)))

Everything that distinguishes one GAN from another is a slot of this module: networks, latent law,
loss, penalty, optimisers, average. A variant is a preset that fills them (`conf/model/`).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from src.data.base import Batch, DataSpec
from src.errors import SettingError
from src.losses.adversarial import NonSaturating
from src.losses.penalties import NoPenalty
from src.models.base import Draw, GenerativeModel, freeze
from src.models.ema import EMA
from src.models.latents import Latent

Optimizer = Callable[..., torch.optim.Optimizer]


class GAN(GenerativeModel):
    """One generator, one discriminator, alternating steps.

    Args:
        spec: what the data look like.
        seed: of initialisation and noise.
        generator: `(latent_dim, shape) -> network`, from z (n, latent_dim) to samples.
        discriminator: `(shape) -> network`, from samples to a `Critique`.
        latent: the law of z.
        loss: the adversarial loss, see `src/losses/adversarial.py`.
        penalty: added to D's loss, see `src/losses/penalties.py`.
        g_optimizer: `parameters -> optimiser` of G.
        d_optimizer: the same of D.
        ema: `network -> EMA`, the average of G that is sampled; None samples G itself.
        d_steps: D's steps per iteration.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: Latent,
        loss: NonSaturating,
        penalty: NoPenalty,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        ema: Callable[[nn.Module], EMA] | None = None,
        d_steps: int = 1,
    ) -> None:
        super().__init__(spec, seed)
        if d_steps < 1:
            raise SettingError(f"model.d_steps={d_steps} must be positive.")
        self.generator = generator(latent_dim=latent.dim, shape=spec.shape)
        self.discriminator = discriminator(shape=spec.shape)
        self.ema = ema(self.generator) if ema else None
        self.latent, self.loss, self.penalty, self.d_steps = latent, loss, penalty, d_steps
        self._optimizer_partials = (d_optimizer, g_optimizer)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        return self.optimizers_of(
            d=partial(d, self.discriminator.parameters()), g=partial(g, self.generator.parameters())
        )

    def iterate(self, draw: Draw) -> None:
        for _ in range(self.d_steps):
            batch = draw()
            n = len(batch.x)
            # Shared fakes are made once, with the graph that G's step needs.
            with torch.set_grad_enabled(self.latent.share):
                fake = self.generator(self.latent.draw(n, self.device))
            self.d_step(batch, fake.detach())
            self.samples_seen += n
        self.g_step(fake if self.latent.share else self.generator(self.latent.draw(n, self.device)))
        if self.ema:
            self.ema.update(self.generator, n * self.d_steps, self.samples_seen)

    def d_step(self, batch: Batch, fake: Tensor) -> None:
        """Step D on a batch of reals and fakes; two passes, so that batch norm never mixes them."""
        d_real = self.discriminator(batch.x).logits.float()
        d_fake = self.discriminator(fake).logits.float()
        loss = self.loss.d(d_real, d_fake)
        self.record(**{"loss/d": loss, "d_real": d_real.sigmoid(), "d_fake": d_fake.sigmoid()})
        if self.penalty.every and self.updates["d"] % self.penalty.every == 0:
            penalty = self.penalty.d(lambda x: self.discriminator(x).logits, batch.x, fake)
            self.record(**{"loss/penalty": penalty})
            loss = loss + penalty
        self.update("d", loss)

    def g_step(self, fake: Tensor) -> None:
        """Step G through a frozen D."""
        with freeze(self.discriminator):
            loss = self.loss.g(self.discriminator(fake).logits.float())
            self.record(**{"loss/g": loss})
            self.update("g", loss)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return self.latent.draw(n, self.device, self.generator_of(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            return (self.ema.network if self.ema else self.generator)(z)

    def critic_logits(self, x: Tensor) -> Tensor:
        """D's logits (n,) of samples x in the data's range, in eval mode."""
        with self.scoring():
            return self.discriminator(x).logits
