"""The adversary of a generator: a discriminator and the losses of its outputs.

With T the augmentation, D's step and G's step minimise

    D:  loss.d(D(T(x)), D(T(fake)))  +  auxiliary.d  +  penalty        (the fake detached)
    G:  loss.g(D(T(fake)))           +  auxiliary.g                    (D's weights frozen)

A procedure has one (GAN), two (CycleGAN) or a list of them (LAPGAN), and each step is a few lines:

    terms, shown = adversary.d_terms(real, fake.detach(), y, z)
    model.update("d", model.total(terms, shown))
    adversary.after_d_step()
    with freeze(model.weights["d"]):
        model.update("g", model.total(adversary.g_terms(fake, y=y, z=z)))

D has one logit per sample or per patch, of single samples or packs (PacGAN), and may also get a
given input.
"""

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss
from src.losses.penalties import Penalty
from src.models.parts.auxiliary import Auxiliary
from src.networks.base import Critique, Discriminator
from src.networks.image_translation import NoDiscriminator
from src.transforms.augment import Augment, NoAugment

Terms = dict[str, Tensor]  # of a loss, by name


class Adversary(nn.Module):
    """One discriminator with its loss, penalty, auxiliary head and augmentation.

    Args:
        discriminator: D, for packed samples and the given input, if there is one.
        auxiliary: a further task on D's features.
        loss: the adversarial loss.
        penalty: added to D's loss.
        augment: T, the augmentation of D's input.
        packing: samples that D classifies together, stacked along the channels.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        auxiliary: Auxiliary,
        loss: AdversarialLoss,
        penalty: Penalty,
        augment: Augment,
        packing: PositiveInt = 1,
    ) -> None:
        super().__init__()
        if isinstance(discriminator, NoDiscriminator):
            raise SettingError(
                "model/discriminator=none: this model learns from its discriminator.\n"
                "Choose another; only a translation with pairs can do without one."
            )
        if packing > 1 and not isinstance(augment, NoAugment):
            raise SettingError(
                f"model.packing={packing} stacks samples, which one augmentation cannot serve.\n"
                "Use it with model/augment=none."
            )
        self.discriminator, self.auxiliary, self.augment = discriminator, auxiliary, augment
        self.loss, self.penalty, self.packing = loss, penalty, packing

    def forward(self, x: Tensor, y: Tensor | None = None, given: Tensor | None = None) -> Critique:
        """Apply the augmentation T and D to samples; logits are float32.

        Args:
            x: samples (n, ...), packed already.
            y: classes (n,) of a conditional D.
            given: images (n, c, h, w) that D gets with x, such as the source of a translation.

        Raises:
            SettingError: if D's logits have a shape that losses would misunderstand.
        """
        x = x if given is None else torch.cat([x, given], 1)
        logits, features = self.discriminator(self.augment(x), y)
        if logits.shape[:1] != x.shape[:1] or logits.shape[1:] == (1,):
            # (n, 1) beside (n,) would broadcast to (n, n).
            raise SettingError(
                f"model.discriminator: logits of shape {list(logits.shape)} for {len(x)} samples.\n"
                f"They must be [{len(x)}], or [{len(x)}, h, w] for patches."
            )
        return Critique(logits.float(), features)

    def pack(self, x: Tensor) -> Tensor:
        """Samples (n, c, ...) in packs of m: (n / m, m c, ...)."""
        return x.unflatten(0, (-1, self.packing)).flatten(1, 2) if self.packing > 1 else x

    def d_terms(
        self,
        real: Tensor,
        fake: Tensor,
        y: Tensor | None = None,
        z: Tensor | None = None,
        given: Tensor | None = None,
        step: int = 0,
    ) -> tuple[Terms, Terms]:
        """Terms of D's loss on reals and fakes; two passes, so that batch norm never mixes them.

        Args:
            real: (n, ...).
            fake: (n, ...), detached.
            y: their classes (n,), or None.
            z: latents (n, d) of the fakes, for heads that predict codes.
            given: (n, c, h, w), or None.
            step: number of D's steps so far, for lazy penalties.

        Returns:
            The terms, and further values to be recorded.
        """
        real, fake = self.pack(real), self.pack(fake)
        d_real, d_fake = self(real, y, given), self(fake, y, given)
        sides = self.loss.d_sides(d_real.logits, d_fake.logits)
        terms = {"d": reduce(add, sides.values())}
        shown = {f"loss/d_{name}": term for name, term in sides.items() if len(sides) > 1}
        shown |= {name: self.loss.output(critique.logits) for name, critique in
                  (("d_real", d_real), ("d_fake", d_fake))}  # fmt: skip
        terms |= self.auxiliary.d(d_real, d_fake, y, z)
        if self.penalty.every and step % self.penalty.every == 0:
            terms["penalty"] = self.penalty.d(
                lambda x: self(x, y, given).logits, real, fake, d_real.logits, d_fake.logits
            )
        self.augment.observe(d_real.logits)
        return terms, shown | self.augment.shown

    def after_d_step(self) -> None:
        """Change D after its step, as weight clipping does."""
        self.penalty.after_step(self.discriminator)

    def g_terms(
        self,
        fake: Tensor,
        real: Tensor | None = None,
        y: Tensor | None = None,
        z: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Terms:
        """Terms of G's loss, for a D whose weights are frozen.

        Args:
            fake: (n, ...), with G's graph.
            real: (n, ...), for losses that compare with reals.
            y: classes (n,), or None.
            z: the fakes' latents (n, d).
            given: (n, c, h, w), or None.
        """
        d_real = self(self.pack(real), y, given).logits if self.loss.needs_real else None
        d_fake = self(self.pack(fake), y, given)
        return {"g": self.loss.g(d_fake.logits, d_real)} | self.auxiliary.g(d_fake, y, z)

    def features(self, x: Tensor) -> Tensor:
        """D's features (n, d) of samples, without augmentation; of an unconditional D."""
        return self.discriminator(x).features

    def logits(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """D's logits (n / packing, ...) of samples, without augmentation."""
        return self.discriminator(self.pack(x), y).logits
