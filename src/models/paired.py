"""Translation learned from pairs: a source image and the target that belongs to it.

    alone:    T minimises  distance(T(s), x)
    then   D: loss.d(D(x | s), D(T(s) | s)) + penalty                        (T(s) detached)
           T: w distance(T(s), x) + v content(T(s), x) + u loss.g(D(T(s) | s))  (D frozen)

    SRResNet, SRGAN    Ledig et al. 2017, arXiv:1609.04802; ESRGAN, Wang et al. 2018
    pix2pix            Isola et al. 2017, arXiv:1611.07004

Which source belongs to a target is a matter of the data: a degradation makes it (super-resolution,
inpainting, colouring, views of voxels ...), or both are files. Where a part of the target is known,
under a mask, T fills in the rest. A variant is a preset: translator, distance, content, D, and the
share of the budget that T learns alone.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from src.config.checks import NO_SOURCE
from src.config.ranges import NotNegativeFloat, PositiveFloat, Share
from src.data.spec import Batch, DataSpec, Draw
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.penalties import Penalty
from src.losses.pixels import PixelLoss
from src.models.base import freeze
from src.models.parts.adversary import Adversary
from src.models.parts.auxiliary import NoAuxiliary
from src.models.parts.conditions import OneHotInput
from src.models.parts.content import Content
from src.models.parts.ema import EMA
from src.models.parts.schedules import Schedule
from src.models.parts.stages import Stage
from src.models.translation import Translation
from src.networks.base import Discriminator, Translator
from src.networks.image_translation import NoDiscriminator
from src.transforms.augment import Augment
from src.transforms.degradations import resize

Optimizer = Callable[..., torch.optim.Optimizer]


class PairedTranslation(Translation):
    """One translator, and a discriminator or none.

    Args:
        spec: kind and shape of the targets, and of their sources.
        seed: seed of initialisation and noise.
        translator: `(source, shape) -> network`, from sources to targets.
        pixels: their distance, see `src/losses/pixels.py`.
        content: a further distance, of features, see `src/models/parts/content.py`.
        discriminator: `(shape) -> network`, from targets to a `Critique`; NoDiscriminator: none.
        loss: the adversarial loss, see `src/losses/adversarial.py`.
        penalty: added to D's loss.
        augment: augmentation of D's input, pairs of target and source.
        g_optimizer: `parameters -> optimiser` of the translator.
        d_optimizer: the same of D.
        schedule: changes of strengths, within each of the two stages; None keeps them.
        ema: `network -> EMA`, the average of the translator that is used; None takes itself.
        adversarial: u, factor on the adversarial loss.
        sees_source: D gets the source beside the target, enlarged if it is smaller.
        alone: share of the budget, from its start, without content loss and adversary.
        conditional: the class is a further input of translator and D.
        clip: norm to which each player's gradient is cut; None leaves it.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        translator: Callable[..., Translator],
        pixels: PixelLoss,
        content: Content,
        discriminator: Callable[..., Discriminator],
        loss: AdversarialLoss,
        penalty: Penalty,
        augment: Augment,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        schedule: Schedule | None = None,
        ema: Callable[..., EMA] | None = None,
        adversarial: NotNegativeFloat = 1.0,
        sees_source: bool = True,
        alone: Share = 0.0,
        conditional: bool = False,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        if spec.source is None:
            raise SettingError(NO_SOURCE)
        if not spec.paired:
            raise SettingError(
                "model: these data have no pairs to learn from.\n"
                "Use model=cyclegan, or data=pairs if each source has its target."
            )
        classes = len(spec.classes) if conditional else 0
        if conditional and not classes:
            raise SettingError("model.conditional=true needs classes and the data have none.")
        self.conditional = conditional
        if sees_source and len(spec.source.shape) != len(spec.shape):
            raise SettingError(
                "model.sees_source=true: D cannot see a picture beside voxels.\n"
                "Use model.sees_source=false."
            )
        channels, *size = spec.source.shape
        self.translator = translator(source=(channels, *size), shape=spec.shape, classes=classes)
        seen = spec.shape[0] + (channels if sees_source else 0)
        d = discriminator(shape=(seen + classes, *spec.shape[1:]))
        if isinstance(d, NoDiscriminator) or adversarial == 0:
            self.adversary = None
        else:
            d = OneHotInput(d, classes) if conditional else d
            self.adversary = Adversary(d, NoAuxiliary(0, 0, None), loss, penalty, augment)
        if not (pixels.weight or content.weight or self.adversary):
            raise SettingError(
                "model.pixels.weight=0 leaves nothing to learn from.\n"
                "Set it above 0, or choose a content loss or an adversary."
            )
        self.ema = ema(self.translator) if ema else None
        self.pixels, self.content, self.adversarial = pixels, content, adversarial
        self.sees_source, self.schedule, self.clip = sees_source, schedule, clip
        self._optimizer_partials = (d_optimizer, g_optimizer)
        self.alone = alone if self.adversary or content.weight else 0.0
        if self.alone:
            self.stages = [
                Stage("pixels alone", "g", self.alone), Stage("all terms", "g", 1 - self.alone)
            ]  # fmt: skip
        self._all_terms = False  # an iteration of the second stage has been done

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        d, g = self._optimizer_partials
        players = {"d": partial(d, list(self.adversary.parameters()))} if self.adversary else {}
        return self.make_optimizers(**players, g=partial(g, self.translator.parameters()))

    @property
    def strengths(self) -> dict[str, tuple[Sequence[object], str]]:
        d = self.adversary
        judged = {"penalty": ([d.penalty], "scale"), "augment": ([d.augment], "p")} if d else {}
        return judged | {"half_life": ([self.ema], "half_life")}

    @property
    def networks(self) -> dict[str, nn.Module]:
        d = {"discriminator": self.adversary.discriminator} if self.adversary else {}
        return {"translator": self.translator} | d

    # Stages

    @property
    def is_alone(self) -> bool:
        """True if the distance of pixels alone counts in the coming iteration.

        It never comes back, even if the budget grows.
        """
        return self.progress + 1e-9 < self.alone and not self._all_terms

    @property
    def stage(self) -> Stage | None:
        return self.stages[self._all_terms] if self.stages else None

    @property
    def stage_progress(self) -> float:
        if not self.stages:
            return self.progress
        start, share = (0.0, self.alone) if self.is_alone else (self.alone, 1 - self.alone)
        return min(max((self.progress - start) / share, 0.0), 1.0) if share else 1.0

    # The iteration

    def iterate(self, draw: Draw) -> None:
        batch = draw()
        x, source, y = batch.x, batch.source, batch.y if self.conditional else None
        start = self.samples_seen
        output = self.complete(self.translator(source, y), source)
        if self.is_alone:
            self.update("g", self.total({"pixels": self.pixels(output, x)}))
        else:
            self._all_terms = True
            self.adversarial_step(output, Batch(x, y, source))
        self.advance(x)
        if self.ema:
            self.ema.update(self.translator, self.samples_seen - start, self.samples_seen)

    def adversarial_step(self, output: Tensor, batch: Batch) -> None:
        """A step of D, if there is one, and one of the translator with all terms."""
        x, y, d = batch.x, batch.y, self.adversary
        given = self.given(batch.source) if d and self.sees_source else None
        if d:
            fake = output.detach().to(x)
            terms, shown = d.d_terms(x, fake, y, given=given, step=self.updates["d"])
            self.update("d", self.total(terms, shown))
            d.after_d_step()
        terms = {}
        if self.pixels.weight:
            terms["pixels"] = self.pixels.weight * self.pixels(output, x)
        if self.content.weight:
            terms["content"] = self.content.weight * self.content(output, x)
        with freeze(self.weights.get("d", [])):
            if d:
                judged = d.g_terms(output, x, y, given=given)
                terms |= {name: self.adversarial * term for name, term in judged.items()}
            self.update("g", self.total(terms))

    def given(self, source: Tensor) -> Tensor:
        """Sources (n, c', h', w') as D gets them: of the targets' size."""
        return resize(source, self.spec.shape[1:])

    def complete(self, output: Tensor, source: Tensor) -> Tensor:
        """Outputs (n, c, h, w) with what a masked source knows put in its place."""
        if not self.spec.source.masked:
            return output
        return torch.where(source[:, -1:] > 0, output, source[:, :-1].to(output))

    # Translation

    @property
    def used(self) -> Translator:
        """The translator whose results are scored and shown."""
        return self.ema.network if self.ema else self.translator

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        """Targets (n, *shape), float32, of sources of any size that the network takes.

        Args:
            source: (n, c', h', w') in [-1, 1].
            labels: classes (n,), for a conditional model.
        """
        source = source.to(self.device)
        labels = None if labels is None else labels.to(self.device)
        with self.scoring():
            output = self.used(source, labels if self.conditional else None)
            return self.complete(output.float(), source).clamp(-1, 1)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sparring"]["all_terms"] = self._all_terms

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        self._all_terms = checkpoint["sparring"].get("all_terms", self.updates["d"] > 0) is True
