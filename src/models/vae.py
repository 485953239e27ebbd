"""Variational autoencoders: encode to a distribution, sample, decode (Kingma & Welling 2014).

    -ELBO(x) = E_q(z|x) [-log p(x|z)] + beta KL(q(z|x) || N(0, I))      [nats, per sample]

q(z|x) is a diagonal Gaussian; the encoder gives its mean and the logarithm of its variance, which
may be any real number, where a variance could not. p(x|z) and the bound that is maximised are
slots. In a conditional VAE both networks get the class: p(x|z, y) and q(z|x, y) (Sohn et al.
2015).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from src.config.ranges import PositiveFloat, PositiveInt
from src.data.spec import DataSpec, Draw
from src.distributed import noise
from src.errors import SettingError
from src.losses.bounds import Objective
from src.losses.divergences import kl_to_standard_normal, log_prior_ratio
from src.losses.reconstruction import Reconstruction
from src.models.base import LatentVariableModel
from src.models.parts.conditions import Condition
from src.models.parts.schedules import Schedule
from src.networks.base import Decoder, Encoder


class VAE(LatentVariableModel):
    """Encoder, reparametrised sample, decoder.

    Args:
        spec: kind, shape and classes of the data.
        seed: seed of initialisation and noise.
        latent_dim: length of z.
        encoder: `(shape, outputs) -> network`; asked for 2 x latent_dim outputs.
        decoder: `(latent_dim, shape) -> network` with raw outputs.
        reconstruction: p(x|z), a likelihood of `src/losses/reconstruction.py`.
        objective: the bound, see `src/losses/bounds.py`.
        optimizer: `parameters -> optimiser` of both.
        condition: conditioning of both on the class, by concatenation, see
            `src/models/parts/conditions.py`.
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
        objective: Objective,
        optimizer: Callable[..., torch.optim.Optimizer],
        condition: Condition,
        schedule: Schedule | None = None,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        if not reconstruction.nats:
            raise SettingError(
                "model/reconstruction=squared_error is no likelihood, which a VAE needs.\n"
                "Use bernoulli, gaussian or gaussian_learned."
            )
        if condition and (
            condition.generator != "concatenate"
            or condition.discriminator not in ("concatenate", "flatten")
        ):
            raise SettingError(
                f"model.condition.generator={condition.generator}, discriminator="
                f"{condition.discriminator}: a VAE's decoder and encoder both get the class, by "
                "concatenation.\nUse model/condition=concatenate, or flatten for perceptrons."
            )
        self.conditional, classes = bool(condition), len(spec.classes)
        condition.check(classes)
        encoder = partial(encoder, outputs=2 * latent_dim)
        self.encoder = condition.make_discriminator(encoder, spec.shape, classes)
        self.decoder = condition.make_generator(decoder, latent_dim, spec.shape, classes)
        self.reconstruction, self.objective = reconstruction, objective
        self.latent_dim, self.schedule, self.clip = latent_dim, schedule, clip
        self._optimizer_partial = optimizer

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.make_optimizers(vae=partial(self._optimizer_partial, self.learned_parameters()))

    def iterate(self, draw: Draw) -> None:
        batch = draw()
        x, y = self.reconstruction.targets(batch.x), batch.y
        mean, log_variance = self.q(x, y)
        nll, z = self.nll(x, y, mean, log_variance, self.objective.samples)
        loss = self.objective(nll, z, mean, log_variance, self.progress).mean()
        divergence = kl_to_standard_normal(mean, log_variance).sum(1)
        self.record(**{"loss/reconstruction": nll, "loss/kl": divergence, "loss/vae": loss})
        self.record(posterior_std=(0.5 * log_variance).exp())
        self.update("vae", loss)
        self.advance(x)

    def q(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (n, d), in float32."""
        output = self.encoder(x, y) if self.conditional else self.encoder(x)
        return output.float().chunk(2, dim=1)

    def nll(
        self,
        x: Tensor,
        y: Tensor | None,
        mean: Tensor,
        log_variance: Tensor,
        k: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """-log p(x|z), (k, n), of k draws z, (k, n, d), from q(z|x)."""
        options = {"device": mean.device, "generator": generator}
        z = mean + noise.normal(k, *mean.shape, dim=1, **options) * (0.5 * log_variance).exp()
        # One pass of the decoder for all draws.
        flat = z.flatten(0, 1)
        output = self.decoder(flat, y.repeat(k)) if self.conditional else self.decoder(flat)
        return self.reconstruction.loss(output, x).view(k, -1), z

    # Measures

    def binarize(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Samples as the likelihood sees them: drawn bits if it is trained on such."""
        return self.reconstruction.targets(x, generator)

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (n, d), in scoring mode."""
        with self.scoring():
            return self.q(x.to(self.device), labels if labels is None else labels.to(self.device))

    def elbo_terms(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """-ELBO in nats: -log p(x|z) of one draw (n,), and KL per dimension (n, d)."""
        nll, _, mean, log_variance = self._draws(x, 1, labels, generator)
        return nll[0], kl_to_standard_normal(mean, log_variance)

    def log_weights(
        self,
        x: Tensor,
        k: int,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x), (k, n), of k draws from q(z|x)."""
        nll, z, mean, log_variance = self._draws(x, k, labels, generator)
        return log_prior_ratio(z, mean, log_variance) - nll

    def _draws(
        self, x: Tensor, k: int, labels: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`nll` and z of k draws in scoring mode, and the mean and log-variance they are from."""
        with self.scoring():
            x, y = x.to(self.device), labels if labels is None else labels.to(self.device)
            mean, log_variance = self.q(x, y)
            return *self.nll(x, y, mean, log_variance, k, generator), mean, log_variance

    # Sampling

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        generator = self.make_random_generator(seed)
        return torch.randn(n, self.latent_dim, generator=generator, device=self.device)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Means (n, latent_dim) of q(z|x)."""
        return self.posterior(x, labels)[0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of p(x|z) in the data's range; without labels the classes come in turn."""
        if labels is None and self.conditional:
            labels = self.classes_in_turn(len(z))
        with self.scoring():
            y = [labels.to(self.device)] if self.conditional else []
            output = self.decoder(z, *y)
            return self.reconstruction.mean(output)

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The decoder's mean at the mean of q(z|x): (n, *shape) in the data's range."""
        return self.decode(self.encode(x, labels), labels)
