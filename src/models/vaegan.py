"""VAE-GAN: a variational autoencoder whose decoder is a GAN's generator (Larsen et al. 2016).

    repeat:  draw x from the data, z' from N(0, I), z from q(z|s) = N(E(s));  x' = G(z)

             minimise over D   loss.d(D(x), D(G(z'))) + penalty           x' and G(z') detached
             minimise over E   beta KL(q(z|s) || N(0, I)) + R                       D, G frozen
             minimise over G   gamma R + loss.g(D(G(z')))                        D frozen, z given

    VAE-GAN       s is x itself            encode, reconstruct       Larsen et al. 2016
    3D-VAE-GAN    s is a picture of x      translate                 Wu et al. 2016, sec. 3.3

    R, a -log p(x|z) or a distance, compares x' with x, in D's features or in the data; with
    `judge_both`, D judges x' beside G(z'). D and G may rest, E never does.

A VAE's squared error of pixels blurs, since it has no notion of a shift; D's features have. And the
encoder gives a GAN what it lacks, the code of a given image. The adversary's term does not reach
E, and R does not reach D, which would make the features of all samples alike. As in the paper's
algorithm 1 (arXiv:1512.09300) R is computed once, for E and G; unlike there, D's step comes first,
as in `gan.py`. The paper lets D judge x' too, the authors' code does not.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from src.config.checks import NO_SOURCE
from src.config.ranges import NotNegativeFloat, PositiveFloat
from src.data.spec import Batch, DataSpec, Draw
from src.distributed import noise
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.divergences import kl_to_standard_normal
from src.losses.penalties import Penalty
from src.models.base import freeze
from src.models.gan import GAN
from src.models.parts.auxiliary import NoAuxiliary
from src.models.parts.conditions import Condition
from src.models.parts.ema import EMA
from src.models.parts.latents import Latent
from src.models.parts.observations import Observation
from src.models.parts.rests import Rests
from src.models.parts.schedules import Schedule
from src.networks.base import Discriminator, Encoder, Generator
from src.transforms.augment import Augment

Optimizer = Callable[..., torch.optim.Optimizer]


class EncoderGAN(GAN):
    """One encoder, one generator, one discriminator, each with its own step.

    A subclass says what the encoder sees, and so what the model can do beside sampling. There is no
    likelihood: G's outputs have no density, and R in D's features is none of the data.

    Args:
        spec: kind and shape of the data.
        seed: seed of initialisation and noise.
        encoder: `(shape, outputs) -> network`, of what it sees; asked for 2 x latent size outputs.
        generator: `(latent_dim, shape) -> network`, from z (n, latent size) to samples.
        discriminator: `(shape) -> network`, from samples to a `Critique`.
        latent: z and its prior, which must be N(0, I).
        observation: R, see `src/models/parts/observations.py`.
        loss: the adversarial loss, see `src/losses/adversarial.py`.
        penalty: added to D's loss, see `src/losses/penalties.py`.
        augment: augmentation of D's input; R is of samples without it.
        e_optimizer: `parameters -> optimiser` of E.
        g_optimizer: the same of G.
        d_optimizer: the same of D.
        rests: when D or G leaves its step out, see `src/models/parts/rests.py`; None is never.
        schedule: changes of learning rates and other strengths; None keeps them.
        ema: `network -> EMA`, the average of G that is sampled; None samples G itself.
        beta: factor on the divergence in E's loss.
        gamma: factor on R in G's loss.
        judge_both: D and G's adversarial term get reconstructions beside samples, in equal parts.
        clip: norm to which each player's gradient is cut; None leaves it.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        encoder: Callable[..., Encoder],
        generator: Callable[..., Generator],
        discriminator: Callable[..., Discriminator],
        latent: Latent,
        observation: Observation,
        loss: AdversarialLoss,
        penalty: Penalty,
        augment: Augment,
        e_optimizer: Optimizer,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        rests: Rests | None = None,
        schedule: Schedule | None = None,
        ema: Callable[..., EMA] | None = None,
        beta: NotNegativeFloat = 1.0,
        gamma: NotNegativeFloat = 0.1,
        judge_both: bool = False,
        clip: PositiveFloat | None = None,
    ) -> None:
        if latent.prior != "normal" or latent.size != latent.dim:
            raise SettingError(
                "model.latent: the encoder's divergence is from N(0, I).\nUse model/latent=normal."
            )
        super().__init__(
            spec, seed, generator, discriminator, Condition(), latent, loss, penalty, NoAuxiliary,
            augment, g_optimizer, d_optimizer, schedule, ema, rests=rests, clip=clip,
        )  # fmt: skip
        self.encoder = encoder(shape=self.seen_spec(spec).shape, outputs=2 * latent.dim)
        self.observation, self.judge_both = observation, judge_both
        self.beta, self.gamma = beta, gamma
        self._encoder_optimizer = e_optimizer

    @abstractmethod
    def seen_spec(self, spec: DataSpec) -> DataSpec:
        """Kind and shape of what the encoder sees, for data of this kind and shape.

        Raises:
            SettingError: if these data have none.
        """

    @abstractmethod
    def seen(self, batch: Batch) -> Tensor:
        """The encoder's input of a batch, (n, ...)."""

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        return self.make_optimizers(
            d=partial(d, list(self.adversary.parameters())),
            e=partial(self._encoder_optimizer, self.encoder.parameters()),
            g=partial(g, self.generator.parameters()),
        )

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder} | super().networks

    def iterate(self, draw: Draw) -> None:
        batch = draw()
        x, start = batch.x, self.samples_seen
        mean, log_variance = self.q(self.seen(batch))
        z = mean + noise.normal(*mean.shape, device=mean.device) * (0.5 * log_variance).exp()
        # E's graph and G's meet in a leaf, so that each player's step goes back through its own.
        code = z.detach().requires_grad_()
        output, (fake, _) = self.generator(code), self.fakes(len(x), None)
        real = x
        if self.judge_both:  # in pairs, so that the ranks' slices are those of the whole
            fake = torch.stack([fake, output], 1).flatten(0, 1)
            real = x.repeat_interleave(2, 0)
        resting = self.d_step(real, fake.detach())
        with freeze(self.weights["d"]):
            distance = self.observation(self.adversary.features, output, x)
            self.e_step(mean, log_variance, z, code, distance)
            if self.takes_step("g", resting):
                terms = self.adversary.g_terms(fake, real)
                reconstruction = {"g_reconstruction": self.gamma * distance.mean()}
                self.update("g", self.total(reconstruction | terms))
        self.advance(x)
        if self.ema:
            self.ema.update(self.generator, self.samples_seen - start, self.samples_seen)

    def e_step(
        self, mean: Tensor, log_variance: Tensor, z: Tensor, code: Tensor, distance: Tensor
    ) -> None:
        """Take one step of E.

        Args:
            mean: mean of q(z|s), (n, d).
            log_variance: its log-variance.
            z: draws from it, with E's graph.
            code: the same numbers as a leaf, from which G decoded.
            distance: R of each sample, (n,).
        """
        kl = kl_to_standard_normal(mean, log_variance).sum(1)
        self.record(**{"loss/kl": kl, "loss/reconstruction": distance})
        self.record(posterior_std=(0.5 * log_variance).exp())
        with torch.autocast(self.device.type, enabled=False):  # as `update` does
            (slope,) = torch.autograd.grad(distance.mean(), code, retain_graph=True)
        # Its gradient in E's weights is that of R: the chain rule at z.
        self.update("e", self.beta * kl.mean() + (slope * z).sum())

    def q(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|s), each (n, d), in float32, of what the encoder sees."""
        return self.encoder(seen).float().chunk(2, dim=1)


class VAEGAN(EncoderGAN):
    """The encoder sees the sample, which G reconstructs."""

    def seen_spec(self, spec: DataSpec) -> DataSpec:
        return spec

    def seen(self, batch: Batch) -> Tensor:
        return batch.x

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Means (n, latent size) of q(z|x)."""
        with self.scoring():
            return self.q(x.to(self.device))[0]

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """G's samples (n, *shape) at the means of q(z|x), by the weights that are scored."""
        return self.decode(self.encode(x))


class TranslatingVAEGAN(EncoderGAN):
    """The encoder sees a picture of the shape that G makes of its code: 3D-VAE-GAN."""

    needs_source = True

    def seen_spec(self, spec: DataSpec) -> DataSpec:
        if spec.source is None:
            raise SettingError(NO_SOURCE)
        if spec.kind == "images":
            raise SettingError(
                "model translates pictures to voxels, and these data are images.\n"
                "Use data=solids data/degradation=view, or model=pix2pix for images."
            )
        return spec.source

    def seen(self, batch: Batch) -> Tensor:
        return batch.source

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        """Voxels (n, *shape) in [0, 1] at the means of q(z|s), by the weights that are scored.

        Args:
            source: s, pictures (n, c', h, w) in [-1, 1].
            labels: none; for the protocol.
        """
        with self.scoring():
            mean, _ = self.q(source.to(self.device))
        return self.decode(mean)
