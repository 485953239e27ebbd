"""A pyramid of conditional GANs, each of which adds detail (Denton et al. 2015, arXiv:1506.05751).

With l_0 the smallest version of an image x, and l_k twice as large as l_{k-1}:

    training    level 0:  a GAN of the images l_0
                level k:  real l_k = u + h, with u = double(l_{k-1}) of the real image and h what
                          it lacks; fake u + G_k(z_k, u);  D_k judges either, beside u if asked
    sampling    x_0 = G_0(z_0),  x_k = double(x_{k-1}) + G_k(z_k, double(x_{k-1}))

All levels are independent in training, since each is given real coarse images. In sampling, a level
is given what the one below it made, and errors add up: `drift` follows the colours, and
`condition_noise` makes each level see imperfect images. G_k adds the residual itself, so that any
translator of images can stand in its place.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import NotNegativeFloat, PositiveFloat, PositiveInt
from src.data.spec import DataSpec, Draw
from src.distributed import noise
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.penalties import Penalty
from src.models.base import LatentVariableModel, freeze
from src.models.parts.adversary import Adversary
from src.models.parts.auxiliary import NoAuxiliary
from src.models.parts.conditions import Condition, OneHotInput
from src.models.parts.ema import EMA
from src.models.parts.latents import Latent
from src.models.parts.schedules import Schedule
from src.models.parts.stages import Stage
from src.networks.base import Discriminator, Generator, ImageTranslator
from src.transforms.augment import Augment
from src.transforms.pyramid import double, shrink, sides

DRIFT_EVERY = 16  # iterations, since it takes another pass of all generators

Optimizer = Callable[..., torch.optim.Optimizer]


class LAPGAN(LatentVariableModel):
    """One generator and one adversary per level.

    Args:
        spec: kind, shape and classes of the data.
        seed: seed of initialisation and noise.
        generator: `(latent_dim, shape) -> network`, G_0.
        discriminator: `(shape) -> network`, D_0.
        level_generator: `(source, shape, classes) -> network`, each further G: from the enlarged
            coarse image, with a plane of noise as its last channel, to the image.
        level_discriminator: `(shape) -> network`, each further D.
        latent: z of level 0; the planes of noise have the same prior.
        loss: the adversarial loss of all levels, see `src/losses/adversarial.py`.
        penalty: added to each D's loss.
        augment: augmentation of D's input; each level has a copy.
        g_optimizer: `parameters -> optimiser` of each G.
        d_optimizer: the same of each D.
        schedule: changes of strengths, within each stage if there are any; None keeps them.
        ema: `network -> EMA`, the average of all G that is sampled; None samples themselves.
        coarsest: side of the smallest images in pixels; doubling it must lead to the data's.
        levels: `together`: each iteration has a step of each level; `in_turn`: one level after the
            other has an equal share of the budget, the coarsest first.
        sees_coarse: D_k gets the enlarged coarse image beside the one that it judges; as published
            it sees their sum alone.
        condition_noise: standard deviation of noise on the coarse images, in training.
        conditional: the class is a further input of all networks.
        clip: norm to which each player's gradient is cut; None leaves it.

    Attributes:
        resolutions: sides of the levels' images, from the coarsest on.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        generator: Callable[..., Generator],
        discriminator: Callable[..., Discriminator],
        level_generator: Callable[..., ImageTranslator],
        level_discriminator: Callable[..., Discriminator],
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty,
        augment: Augment,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        schedule: Schedule | None = None,
        ema: Callable[..., EMA] | None = None,
        coarsest: PositiveInt = 8,
        levels: Literal["together", "in_turn"] = "together",
        sees_coarse: bool = True,
        condition_noise: NotNegativeFloat = 0.0,
        conditional: bool = False,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        if conditional and not spec.classes:
            raise SettingError("model.conditional=true needs classes and the data have none.")
        if latent.size > latent.dim:
            raise SettingError(
                "model/latent=codes: no head of this model would learn the codes.\n"
                "Use normal or uniform."
            )
        self.conditional, classes = conditional, len(spec.classes) if conditional else 0
        self.resolutions = _resolutions(spec.shape, coarsest)
        channels = spec.shape[0]

        condition = Condition("concatenate", "concatenate") if conditional else Condition()
        small = (channels, coarsest, coarsest)
        generators = [condition.make_generator(generator, latent.dim, small, classes)]
        discriminators = [condition.make_discriminator(discriminator, small, classes)]
        for r in self.resolutions[1:]:
            source, shape = (channels + 1, r, r), (channels, r, r)
            generators.append(level_generator(source=source, shape=shape, classes=classes))
            seen = channels * (2 if sees_coarse else 1) + classes
            d = level_discriminator(shape=(seen, r, r))
            discriminators.append(OneHotInput(d, classes) if conditional else d)
        self.generators = nn.ModuleList(generators)
        self.adversaries = nn.ModuleList(
            Adversary(d, NoAuxiliary(0, 0, latent), loss, penalty, copy.deepcopy(augment))
            for d in discriminators
        )
        self.ema = ema(self.generators) if ema else None
        planes = [Latent(r * r, latent.prior) for r in self.resolutions[1:]]
        self.priors, self.share = [latent, *planes], latent.share
        self.penalty, self.schedule, self.clip = penalty, schedule, clip
        self.sees_coarse, self.condition_noise = sees_coarse, condition_noise
        self._optimizer_partials = (d_optimizer, g_optimizer)
        if levels == "in_turn":
            part = 1 / len(self.resolutions)
            self.stages = [Stage(f"level of {r} px", f"g_{r}", part) for r in self.resolutions]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        players = {}
        for r, adversary, network in zip(
            self.resolutions, self.adversaries, self.generators, strict=True
        ):
            players[f"d_{r}"] = partial(d, list(adversary.parameters()))
            players[f"g_{r}"] = partial(g, list(network.parameters()))
        return self.make_optimizers(**players)

    @property
    def strengths(self) -> dict[str, tuple[Sequence[object], str]]:
        return {
            "penalty": ([self.penalty], "scale"),
            "half_life": ([self.ema], "half_life"),
            "augment": ([adversary.augment for adversary in self.adversaries], "p"),
        }

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generators, "discriminator": self.adversaries}

    # Stages

    @property
    def stage(self) -> Stage | None:
        if not self.stages:
            return None
        begun = [stage for stage in self.stages if self.updates[stage.player]]
        return begun[-1] if begun else self.stages[self.due]

    @property
    def due(self) -> int:
        """Level of the coming iteration, in turn; it never falls, even if the budget grows."""
        begun = [k for k, stage in enumerate(self.stages) if self.updates[stage.player]]
        done = int(self.progress * len(self.stages) + 1e-9)  # progress is a rounded share
        return max(min(done, len(self.stages) - 1), *begun[-1:], 0)

    @property
    def stage_progress(self) -> float:
        if not self.stages:
            return self.progress
        return min(max(self.progress * len(self.stages) - self.due, 0.0), 1.0)

    # The iteration

    def iterate(self, draw: Draw) -> None:
        batch, start = draw(), self.samples_seen
        y = batch.y if self.conditional else None
        reals = shrink(batch.x, len(self.resolutions) - 1)
        if self.iteration % DRIFT_EVERY == 0:  # before an update, which averages it over the ranks
            self.record_drift(reals, y)
        for k in [self.due] if self.stages else range(len(reals)):
            self.train_level(k, reals, y)
        self.advance(batch.x)
        if self.ema:
            self.ema.update(self.generators, self.samples_seen - start, self.samples_seen)

    def train_level(self, k: int, reals: list[Tensor], y: Tensor | None) -> None:
        """Take a step of D_k and one of G_k.

        Args:
            k: from 0, the coarsest.
            reals: real images of all levels.
            y: their classes (n,), for a conditional model.
        """
        real, adversary, r = reals[k], self.adversaries[k], self.resolutions[k]
        source = self.enlarge(reals[k - 1]) if k else None
        given = source if self.sees_coarse else None
        with torch.set_grad_enabled(self.share):
            fake = self.fakes(k, len(real), source, y)
        terms, shown = adversary.d_terms(
            real, fake.detach().to(real), y, given=given, step=self.updates[f"d_{r}"]
        )
        self.update(f"d_{r}", self.total(_named(terms, r), _named(shown, r)))
        adversary.after_d_step()
        if not self.share:
            fake = self.fakes(k, len(real), source, y)
        with freeze(self.weights[f"d_{r}"]):
            terms = adversary.g_terms(fake, real, y, given=given)
            self.update(f"g_{r}", self.total(_named(terms, r)))

    def enlarge(self, coarse: Tensor) -> Tensor:
        """Coarse images (n, c, r, r) as the next level gets them in training: (n, c, 2 r, 2 r)."""
        if self.condition_noise:
            error = noise.normal(*coarse.shape, device=coarse.device)
            coarse = coarse + self.condition_noise * error
        return double(coarse)

    def fakes(self, k: int, n: int, source: Tensor | None, y: Tensor | None) -> Tensor:
        """n fakes of level k, given enlarged coarse images if k > 0."""
        return _generate(self.generators[k], self.priors[k].draw(n, self.device), source, y)

    def record_drift(self, reals: list[Tensor], y: Tensor | None) -> None:
        """Record how much brighter than the data samples are: per level and channel, in [-2, 2]."""
        z = torch.cat([prior.draw(len(reals[0]), self.device) for prior in self.priors], 1)
        for r, real, image in zip(self.resolutions, reals, self.images(z, y), strict=True):
            gaps = (image - real).mean((2, 3)).unbind(1)
            names = [f"_{channel}" for channel in range(len(gaps))] if len(gaps) > 1 else [""]
            self.record(
                **{f"drift/level_{r}{name}": gap for name, gap in zip(names, gaps, strict=True)}
            )

    # Use

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        generator = self.make_random_generator(seed)
        return torch.cat([prior.draw(n, self.device, generator) for prior in self.priors], 1)

    def images(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """Map latents to the images of all levels, from the coarsest to the samples.

        Args:
            z: (n, latent size): z of level 0, then the planes of noise, coarse to fine.
            labels: (n,), for a conditional model.

        Returns:
            (n, c, r, r) in [-1, 1], for each resolution r.
        """
        images: list[Tensor] = []
        generators = self.ema.network if self.ema else self.generators
        parts = z.split([prior.size for prior in self.priors], 1)
        with self.scoring():
            for network, part in zip(generators, parts, strict=True):
                source = double(images[-1]) if images else None
                # No level has learned what to do with an image beyond the data's range.
                images.append(_generate(network, part, source, labels).clamp(-1, 1))
        return images

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents to samples, by the average of G where there is one.

        Args:
            z: (n, latent size).
            labels: (n,); None takes the classes in turn if the model is conditional.
        """
        if labels is None and self.conditional:
            labels = self.classes_in_turn(len(z))
        return self.images(z, labels)[-1]


def _generate(network: nn.Module, z: Tensor, source: Tensor | None, y: Tensor | None) -> Tensor:
    """Images of one level, of z (n, d) and, but for the coarsest, sources (n, c, r, r)."""
    if source is None:
        return network(z, y)
    return network(torch.cat([source, z.view(-1, 1, *source.shape[2:])], 1), y)


def _named(terms: Mapping[str, Tensor], resolution: int) -> dict[str, Tensor]:
    """Terms by the names that they have at a level."""
    return {f"{name}_{resolution}": term for name, term in terms.items()}


def _cure(resolution: int) -> str:
    halves = [side for side in range(2, resolution) if sides(resolution, side)]
    if not halves:
        return "Use an even data.resolution."
    return f"From {resolution} px it leads to {', '.join(map(str, reversed(halves)))}."


def _resolutions(shape: tuple[int, ...], coarsest: int) -> list[int]:
    """Sides of the levels' images.

    Raises:
        SettingError: if the data's cannot be halved, once or more, to the coarsest.
    """
    if len(shape) != 3 or shape[1] != shape[2]:
        raise SettingError(f"LAPGAN is for square images, not for data of shape {tuple(shape)}.")
    chain = sides(shape[1], coarsest)
    if chain is None or len(chain) == 1:
        raise SettingError(
            f"model.coarsest={coarsest}: halving {shape[1]} px does not lead there.\n"
            f"{_cure(shape[1])}"
        )
    return chain
