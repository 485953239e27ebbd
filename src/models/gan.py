"""Generative adversarial networks: D steps, then a G step (Goodfellow et al. 2014, algorithm 1).

    repeat:  d_steps times:  draw x from the data and z from the prior,
                             minimise over D  loss.d(D(x), D(G(z))) + auxiliary + penalty
             once:           draw z,
                             minimise over G  loss.g(D(G(z))) + auxiliary
             now and then:   draw z,
                             minimise over G  g_penalty
    a step is left out      while its player rests, by a rule on D's losses or accuracy

Everything that distinguishes one GAN from another is a slot of this module: networks, condition,
prior, loss, penalty, auxiliary head, augmentation, optimisers, schedule, average. A variant is a
preset that fills them (`conf/model/`).
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from src.config.ranges import PositiveFloat, PositiveInt
from src.data.spec import DataSpec, Draw
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.penalties import Penalty
from src.models.base import GenerativeModel, LatentVariableModel, freeze
from src.models.parts.adversary import Adversary
from src.models.parts.auxiliary import Auxiliary
from src.models.parts.conditions import Condition
from src.models.parts.ema import EMA
from src.models.parts.generator_penalties import GeneratorPenalty, NoGeneratorPenalty
from src.models.parts.latents import Latent
from src.models.parts.rests import NoRests, Rests
from src.models.parts.schedules import Schedule
from src.networks.base import Discriminator, Generator
from src.transforms.augment import Augment

Optimizer = Callable[..., torch.optim.Optimizer]


class Burst:
    """Iterations in which D takes more steps: at the start, and now and then (WGAN's code).

    Args:
        steps: D's steps in such an iteration.
        share: share of the budget, from the start, in which every iteration has more steps.
        every: later one in so many iterations has them; 0 is never.
    """

    def __init__(self, steps: int, share: float, every: int = 0) -> None:
        self.steps, self.share, self.every = steps, share, every

    def now(self, model: GenerativeModel) -> bool:
        """True if D takes more steps in the coming iteration."""
        periodic = self.every > 0 and model.iteration % self.every == 0
        return model.progress < self.share or periodic


class GAN(LatentVariableModel):
    """One generator, one discriminator, alternating steps.

    Args:
        spec: kind, shape and classes of the data.
        seed: seed of initialisation and noise.
        generator: `(latent_dim, shape) -> network`, from z (n, latent_dim) to samples.
        discriminator: `(shape) -> network`, from samples to a `Critique`.
        condition: conditioning of both on the class, see `src/models/parts/conditions.py`.
        latent: z and its prior.
        loss: the adversarial loss, see `src/losses/adversarial.py`.
        penalty: added to D's loss, see `src/losses/penalties.py`.
        auxiliary: `(features, classes, latent) -> heads`, see `src/models/parts/auxiliary.py`.
        augment: augmentation of D's input, see `src/transforms/augment.py`.
        g_optimizer: `parameters -> optimiser` of G.
        d_optimizer: the same of D.
        schedule: changes of learning rates and other strengths; None keeps them.
        ema: `network -> EMA`, the average of G that is sampled; None samples G itself.
        g_penalty: steps of G for a penalty, see `src/models/parts/generator_penalties.py`; None is
            never.
        d_steps: D's steps per iteration.
        burst: iterations with more of them.
        rests: when a player leaves its step out, see `src/models/parts/rests.py`; None is never.
        packing: samples that D classifies together, stacked along the channels
            (PacGAN, Lin et al. 2018); d_steps, batch and clock stay in single samples.
        clip: norm to which each player's gradient is cut; None leaves it.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        generator: Callable[..., Generator],
        discriminator: Callable[..., Discriminator],
        condition: Condition,
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty,
        auxiliary: Callable[..., Auxiliary],
        augment: Augment,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        schedule: Schedule | None = None,
        ema: Callable[..., EMA] | None = None,
        g_penalty: GeneratorPenalty | None = None,
        d_steps: PositiveInt = 1,
        burst: Burst | None = None,
        rests: Rests | None = None,
        packing: PositiveInt = 1,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        for setting, value in (("d_steps", d_steps), ("packing", packing)):
            if value < 1:
                raise SettingError(f"model.{setting}={value} must be positive.")
        self.conditional, classes = bool(condition), len(spec.classes)
        condition.check(classes)
        if packing > 1 and self.conditional:
            raise SettingError(
                f"model.packing={packing} stacks samples, which one class cannot serve.\n"
                "Use it with model/condition=none."
            )
        packed = (packing * spec.shape[0], *spec.shape[1:])
        self.generator = condition.make_generator(generator, latent.size, spec.shape, classes)
        d = condition.make_discriminator(discriminator, packed, classes)
        head = auxiliary(d.features, classes, latent)
        self.adversary = Adversary(d, head, loss, penalty, augment, packing)
        self.ema = ema(self.generator) if ema else None
        self.g_penalty = g_penalty or NoGeneratorPenalty()
        self.g_penalty.check(self.generator)
        self.latent, self.schedule = latent, schedule
        self.d_steps, self.burst, self.clip = d_steps, burst, clip
        self.rests = rests or NoRests()
        self.rests.check(loss)
        self._optimizer_partials = (d_optimizer, g_optimizer)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        return self.make_optimizers(
            d=partial(d, list(self.adversary.parameters())),
            g=lambda: self.g_penalty.compensate(g(self.generator.parameters())),
        )

    @property
    def strengths(self) -> dict[str, tuple[Sequence[object], str]]:
        return {
            "penalty": ([self.adversary.penalty], "scale"),
            "half_life": ([self.ema], "half_life"),
            "augment": ([self.adversary.augment], "p"),
        }

    @property
    def networks(self) -> dict[str, nn.Module]:
        d = self.adversary
        return {
            "generator": self.generator, "discriminator": d.discriminator, "auxiliary": d.auxiliary
        }  # fmt: skip

    def iterate(self, draw: Draw) -> None:
        start = self.samples_seen
        # A loss that compares with reals gets fresh ones, and so fakes of their classes; the clock
        # counts only the reals that D is trained on.
        needs_real = self.adversary.loss.needs_real
        share = self.latent.share and not needs_real
        for _ in range(self.burst.steps if self.burst and self.burst.now(self) else self.d_steps):
            real, y = self.reals(draw)
            # Shared fakes are made once, with the graph that G's step needs.
            with torch.set_grad_enabled(share):
                fake, z = self.fakes(len(real), y)
            resting = self.d_step(real, fake.detach(), y, z)
            self.advance(real)
        if self.takes_step("g", resting):
            if not share:
                real, y = self.reals(draw) if needs_real else (real, y)
                fake, z = self.fakes(len(real), y)
            self.g_step(real, fake, y, z)
            self.g_penalty_step(len(real), y)
        if self.ema:
            self.ema.update(self.generator, self.samples_seen - start, self.samples_seen)

    def reals(self, draw: Draw) -> tuple[Tensor, Tensor | None]:
        """Draw samples of the data, and their classes for a conditional model."""
        batch = draw()
        return batch.x, batch.y if self.conditional else None

    def fakes(self, n: int, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Draw samples of G and their latents."""
        z = self.latent.draw(n, self.device)
        return self.generator(z, y), z

    def d_step(
        self, real: Tensor, fake: Tensor, y: Tensor | None = None, z: Tensor | None = None
    ) -> Collection[str]:
        """Take one step of D, unless it rests; the players that rest."""
        terms, shown = self.adversary.d_terms(real, fake, y, z, step=self.updates["d"])
        loss = self.total(terms, shown)
        resting = self.rests(shown, self.adversary.loss)
        if self.takes_step("d", resting):
            self.update("d", loss)
            self.adversary.after_d_step()
        return resting

    def takes_step(self, player: str, resting: Collection[str]) -> bool:
        """True unless a player rests, which is counted and recorded."""
        rests = player in resting
        if player in self.rests.players:
            self.rested[player] += rests
            self.record(**{f"rests/{player}": torch.full((), float(rests), device=self.device)})
        return not rests

    def g_step(self, real: Tensor, fake: Tensor, y: Tensor | None, z: Tensor) -> None:
        """Take one step of G, with D frozen."""
        with freeze(self.weights["d"]):
            self.update("g", self.total(self.adversary.g_terms(fake, real, y, z)))

    def g_penalty_step(self, n: int, y: Tensor | None) -> None:
        """Take a further step of G for its penalty where it is due, with latents of its own."""
        if self.g_penalty.due(self.iteration):
            z = self.latent.draw(n, self.device)
            self.update("g", self.total({"g_penalty": self.g_penalty(self.generator, z, y)}))

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return self.latent.draw(n, self.device, self.make_random_generator(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents to samples, by the average of G where there is one.

        Args:
            z: (n, latent size).
            labels: (n,); None takes the classes in turn if the model is conditional.
        """
        if labels is None and self.conditional:
            labels = self.classes_in_turn(len(z))
        with self.scoring():
            return self.sampled(z, labels)

    @property
    def sampled(self) -> Generator:
        return self.ema.network if self.ema else self.generator

    @property
    def judge(self) -> Adversary:
        return self.adversary

    def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """D's logits (n / packing, ...) of samples x in the data's range, in eval mode."""
        with self.scoring():
            return self.adversary.logits(x, labels)
