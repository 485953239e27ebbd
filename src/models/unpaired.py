"""Translation between two domains of images, without pairs: CycleGAN and its relatives.

With T from sources s to targets x, and S back, an iteration minimises

    T, S:  u (loss.g(D(T(s))) + loss.g(E(S(x))))
           + w (distance(S(T(s)), s) + distance(T(S(x)), x))            the cycles
           + v (distance(T(x), x) + distance(S(s), s))                  the identities
           + c (content(T(s), s) + content(S(x), x))                    what stays, CyCADA
    D, E:  loss.d(D(x), D(pool of T(s))) + loss.d(E(s), E(pool of S(x))) + penalties

    CycleGAN    Zhu et al. 2017, arXiv:1703.10593
    DiscoGAN    Kim et al. 2017, arXiv:1703.05192
    DualGAN     Yi et al. 2017, arXiv:1704.02510
    CyCADA      Hoffman et al. 2018, arXiv:1711.03213

Sources and targets of a batch do not belong together, whether or not the data have pairs. Both
translators take one step, and then both discriminators take one.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from src.config.checks import NO_SOURCE
from src.config.ranges import NotNegativeFloat, NotNegativeInt, PositiveFloat
from src.data.spec import DataSpec, Draw
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.penalties import Penalty
from src.losses.pixels import PixelLoss
from src.models.base import freeze
from src.models.parts.adversary import Adversary
from src.models.parts.auxiliary import NoAuxiliary
from src.models.parts.content import Content
from src.models.parts.ema import EMA
from src.models.parts.pool import ImagePool
from src.models.parts.schedules import Schedule
from src.models.translation import Translation
from src.networks.base import Discriminator, ImageTranslator
from src.transforms.augment import Augment

Optimizer = Callable[..., torch.optim.Optimizer]


class UnpairedTranslation(Translation):
    """Two translators and two discriminators.

    Args:
        spec: kind and shape of the targets, and of the sources.
        seed: seed of initialisation and noise.
        translator: `(source, shape) -> network`; one is made for each direction.
        discriminator: `(shape) -> network`, from images to a `Critique`; one for each domain.
        pixels: distance of the cycles and identities, see `src/losses/pixels.py`.
        content: distance of a translation from its source, see `src/models/parts/content.py`; its
            weight is c.
        loss: the adversarial loss, see `src/losses/adversarial.py`.
        penalty: added to the discriminators' losses.
        augment: augmentation of the discriminators' input.
        g_optimizer: `parameters -> optimiser` of both translators.
        d_optimizer: the same of both discriminators.
        schedule: changes of strengths; None keeps them.
        ema: `network -> EMA`, the average of both translators that is used; None takes themselves.
        adversarial: u.
        cycle: w.
        identity: v; above 0 both domains must have the same number of channels.
        pool: earlier translations that each discriminator may be shown again; 0 shows the new ones.
        clip: norm to which each player's gradient is cut; None leaves it.
    """

    unpaired = True

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        translator: Callable[..., ImageTranslator],
        discriminator: Callable[..., Discriminator],
        pixels: PixelLoss,
        content: Content,
        loss: AdversarialLoss,
        penalty: Penalty,
        augment: Augment,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        schedule: Schedule | None = None,
        ema: Callable[..., EMA] | None = None,
        adversarial: NotNegativeFloat = 1.0,
        cycle: NotNegativeFloat = 10.0,
        identity: NotNegativeFloat = 5.0,
        pool: NotNegativeInt = 50,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        if spec.source is None:
            raise SettingError(NO_SOURCE)
        if spec.source.masked:
            raise SettingError(
                "model: nothing translates back to sources with a mask.\nUse model=restorer."
            )
        here, there = spec.source.shape, spec.shape
        if here[1:] != there[1:]:
            raise SettingError(
                f"model: sources of {here[1]} x {here[2]} pixels and targets of {there[1]} x "
                f"{there[2]} cannot be translated both ways.\nUse model=srresnet or srgan."
            )
        if identity and here[0] != there[0]:
            raise SettingError(
                f"model.identity={identity} needs domains of as many channels, and these have "
                f"{here[0]} and {there[0]}.\nSet model.identity=0."
            )
        self.translators = nn.ModuleDict(
            {
                "target": translator(source=here, shape=there, classes=0),
                "source": translator(source=there, shape=here, classes=0),
            }
        )
        self.adversaries = nn.ModuleDict(
            {
                domain: Adversary(
                    discriminator(shape=shape),
                    NoAuxiliary(0, 0, None),
                    deepcopy(loss),
                    deepcopy(penalty),
                    deepcopy(augment),
                )
                for domain, shape in (("target", there), ("source", here))
            }
        )
        self.pools = nn.ModuleDict(
            {"target": ImagePool(pool, there), "source": ImagePool(pool, here)}
        )
        self.ema = ema(self.translators) if ema else None
        self.pixels, self.content, self.schedule, self.clip = pixels, content, schedule, clip
        self.adversarial, self.cycle, self.identity = adversarial, cycle, identity
        self._optimizer_partials = (d_optimizer, g_optimizer)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        return self.make_optimizers(
            d=partial(d, list(self.adversaries.parameters())),
            g=partial(g, self.translators.parameters()),
        )

    @property
    def strengths(self) -> dict[str, tuple[Sequence[object], str]]:
        adversaries = self.adversaries.values()
        return {
            "penalty": ([adversary.penalty for adversary in adversaries], "scale"),
            "half_life": ([self.ema], "half_life"),
            "augment": ([adversary.augment for adversary in adversaries], "p"),
        }

    @property
    def networks(self) -> dict[str, nn.Module]:
        named = {f"translator_{domain}": each for domain, each in self.translators.items()}
        return named | {
            f"discriminator_{domain}": each.discriminator
            for domain, each in self.adversaries.items()
        }

    # The iteration

    def iterate(self, draw: Draw) -> None:
        batch = draw()
        real = {"target": batch.x, "source": batch.source}
        start = self.samples_seen
        fake = self.translators_step(real)
        self.adversaries_step(real, fake)
        self.advance(batch.x)
        if self.ema:
            self.ema.update(self.translators, self.samples_seen - start, self.samples_seen)

    def translators_step(self, real: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step of both translators; their translations, detached."""
        other = {"target": "source", "source": "target"}
        fake = {domain: self.translators[domain](real[other[domain]]) for domain in real}
        terms = {}
        with freeze(self.weights["d"]):
            for domain, adversary in self.adversaries.items():
                judged = adversary.g_terms(fake[domain], real[domain])
                terms |= {f"{n}_{domain}": self.adversarial * term for n, term in judged.items()}
            for domain, translator in self.translators.items():
                if self.cycle:
                    back = translator(fake[other[domain]])
                    terms[f"cycle_{domain}"] = self.cycle * self.distance(back, real[domain])
                if self.identity:
                    same = translator(real[domain])
                    terms[f"identity_{domain}"] = self.identity * self.distance(same, real[domain])
                if self.content.weight:
                    kept = self.content(fake[domain], real[other[domain]])
                    terms[f"content_{domain}"] = self.content.weight * kept
            self.update("g", self.total(terms))
        return {domain: image.detach().to(real[domain]) for domain, image in fake.items()}

    def distance(self, output: Tensor, target: Tensor) -> Tensor:
        """The slot's distance with its weight."""
        return self.pixels.weight * self.pixels(output, target)

    def adversaries_step(self, real: dict[str, Tensor], fake: dict[str, Tensor]) -> None:
        """One step of both discriminators, on translations from the pools."""
        terms, shown = {}, {}
        for domain, adversary in self.adversaries.items():
            older = self.pools[domain](fake[domain])
            own, seen = adversary.d_terms(real[domain], older, step=self.updates["d"])
            terms |= {f"{name}_{domain}": term for name, term in own.items()}
            shown |= {f"{name}_{domain}": term for name, term in seen.items()}
        self.update("d", self.total(terms, shown))
        for adversary in self.adversaries.values():
            adversary.after_d_step()

    # Translation

    @property
    def used_translators(self) -> nn.ModuleDict:
        """The translators whose results are scored and shown, by the domain that they make."""
        return self.ema.network if self.ema else self.translators

    @property
    def used(self) -> ImageTranslator:
        return self.used_translators["target"]

    @property
    def used_back(self) -> ImageTranslator:
        return self.used_translators["source"]

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        """Targets (n, c, h, w) in [-1, 1], float32, of sources of any size that the network takes.

        Args:
            source: (n, c', h, w) in [-1, 1].
            labels: not used.
        """
        with self.scoring():
            return self.used(source.to(self.device)).float().clamp(-1, 1)

    def translate_back(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Sources (n, c', h, w) in [-1, 1], float32, of targets (n, c, h, w)."""
        with self.scoring():
            return self.used_back(x.to(self.device)).float().clamp(-1, 1)
