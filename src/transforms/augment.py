"""Augmentation of what the discriminator sees, so that it does not memorise a small data set.

    D and G are trained on D(T(x)) and D(T(G(z))), with T random, differentiable, and for both

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv:2006.10738):
if T were for the reals only, G would learn to make augmented images. If a share of the images
passes unchanged, G can find out what the others were made of (Karras et al. 2020, "Training
Generative Adversarial Networks with Limited Data", arXiv:2006.06676): `p` is the probability of
each transformation for each image, fixed in `DiffAugment` and controlled in `ADA`.

    color         brightness x + U(-.5, .5), saturation x U(0, 2), contrast x U(.5, 1.5)
    translation   by up to 1/8 of the side either way; what comes in is 0, the middle of [-1, 1]
    cutout        a square of half the side becomes 0

Random numbers come from the global generator of the images' device. Draws do not depend on p, and
a transformation that is not applied leaves every bit as it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import NotNegativeFloat, PositiveInt, Share
from src.distributed import noise, ranks
from src.errors import SettingError

TRANSLATION = 1 / 8  # of the side, at most
CUTOUT = 1 / 2  # of the side


class Augment(nn.Module, ABC):
    """Augmentation of D's input."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Samples (n, c, ...) as D is to see them."""

    def observe(self, d_real: Tensor) -> None:
        """Take notice of D's logits (n,) of augmented reals, after each of its steps."""

    @property
    def shown(self) -> dict[str, Tensor]:
        """Scalars to be recorded, by name: those that change during the training."""
        return {}


class NoAugment(Augment):
    """D sees the images as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class DiffAugment(Augment):
    """Transformations of `policy`, one after the other, each with probability p per image.

    Args:
        policy: which of them, in which order.
        p: 1 is the published method.
    """

    def __init__(
        self, policy: Sequence[Literal["color", "translation", "cutout"]], p: Share = 1.0
    ) -> None:
        super().__init__()
        self.policy = known(policy)
        if not 0 <= p <= 1:
            raise SettingError(f"model.augment.p={p} must be from 0 to 1: a probability.")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) of any number of channels, in their own type."""
        return transformed(x, self.policy, self.p)


class InputNoise(Augment):
    """Gaussian noise on every number that D sees (Soenderby et al. 2017, sec. 2.2).

    Data that fill only a part of their space, such as voxels that are 0 or 1, are told from a
    generator's by that alone: no sample of it is as sharp. With noise on both, D must look for more
    (Arjovsky & Bottou 2017, sec. 3).

    Args:
        std: standard deviation of the noise, in the data's units.
    """

    def __init__(self, std: NotNegativeFloat) -> None:
        super().__init__()
        if std < 0:
            raise SettingError(f"model.augment.std={std} must not be negative.")
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Samples (n, ...) of any kind, in their own type."""
        return x + self.std * noise.normal(*x.shape, dtype=x.dtype, device=x.device)


class ADA(Augment):
    """Transformations with a probability that follows how much D overfits.

    r = E sign(D(x)) over the reals of the last `every` batches; p moves towards more augmentation
    if r > target, towards less if not, by (images seen) / speed (Karras et al. 2020, sec. 3.1).
    It is never below 0, nor above 1, where nothing more would change but the way back. The paper
    has 18 transformations; here they are those of `policy`.

    r speaks of overfitting only where D's logit is 0 for "cannot say": under the logistic and hinge
    losses, not under Wasserstein's, least squares, or a relativistic loss.

    Args:
        policy: see `DiffAugment`.
        target: target of r, in [-1, 1].
        speed: reals that D must see for p to go from 0 to 1.
        every: batches of reals between two changes of p.

    Attributes:
        p: the probability, a buffer: it is saved with the weights, as is the rest of the state.
    """

    def __init__(
        self,
        policy: Sequence[Literal["color", "translation", "cutout"]],
        target: Share = 0.6,
        speed: PositiveInt = 500_000,
        every: PositiveInt = 4,
    ) -> None:
        super().__init__()
        self.policy = known(policy)
        for setting, value in (("speed", speed), ("every", every)):
            if value < 1:
                raise SettingError(f"model.augment.{setting}={value} must be positive.")
        self.target, self.speed, self.every = target, speed, every
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(()))  # their sum since the last change of p
        self.register_buffer("images", torch.zeros(()))  # the same of their number
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) of any number of channels, in their own type."""
        return transformed(x, self.policy, self.p)

    @torch.no_grad()
    def observe(self, d_real: Tensor) -> None:
        """Count D's logits (n,) of augmented reals; every few batches p moves.

        All of it stays on the device: nothing waits for a number.
        """
        d_real = ranks.gather(d_real)
        self.signs += d_real.float().sign().sum()
        self.images += len(d_real)
        self.batches += 1
        due = self.batches % self.every == 0
        step = (self.signs - self.target * self.images).sign() * self.images / self.speed
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, 1), self.p))
        self.signs.mul_(~due)
        self.images.mul_(~due)

    @property
    def shown(self) -> dict[str, Tensor]:
        return {"augment/p": self.p}


def known(policy: Sequence[str]) -> tuple[str, ...]:
    """The policy, if there are such transformations; raises SettingError."""
    if unknown := [name for name in policy if name not in TRANSFORMATIONS]:
        raise SettingError(
            f"model.augment.policy={list(policy)}: there is no {unknown[0]}.\n"
            f"Transformations: {', '.join(TRANSFORMATIONS)}"
        )
    return tuple(policy)


def transformed(x: Tensor, policy: Sequence[str], p: float | Tensor) -> Tensor:
    """Images (n, c, h, w) after the transformations of `policy`, each with probability p."""
    for name in policy:
        for transformation in TRANSFORMATIONS[name]:
            x = transformation(x, p)
    return x


def brightness(x: Tensor, p: float | Tensor) -> Tensor:
    """x + b, b ~ U(-1/2, 1/2)."""
    return x + _where_chosen(_uniform(x) - 0.5, x, p)


def saturation(x: Tensor, p: float | Tensor) -> Tensor:
    """Distance of a pixel's channels to their mean, times U(0, 2). Grey images have none."""
    if x.shape[1] == 1:
        return x
    grey = x.mean(1, keepdim=True)
    # As x + (s - 1)(x - grey) and not as grey + s (x - grey), which for s = 1 is rounded.
    return x + _where_chosen(2 * _uniform(x) - 1, x, p) * (x - grey)


def contrast(x: Tensor, p: float | Tensor) -> Tensor:
    """Distance of all values to the image's mean, times U(1/2, 3/2)."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return x + _where_chosen(_uniform(x) - 0.5, x, p) * (x - mean)


def translation(x: Tensor, p: float | Tensor) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side either way; what comes in is 0."""
    n, c, h, w = x.shape
    chosen, sources, outside = _chosen(x, p), [], []
    for size in (h, w):
        reach = _share(TRANSLATION, size)
        shift = noise.integers(-reach, reach + 1, n, 1, device=x.device) * chosen
        source = torch.arange(size, device=x.device) - shift
        sources.append(source.clamp(0, size - 1))
        outside.append(source != sources[-1])
    (row, column), (above, beside) = sources, outside
    # A gather copies every bit, and can be differentiated twice, as penalties on D's gradient want.
    index = (row[:, :, None] * w + column[:, None, :]).view(n, 1, h * w).expand(n, c, -1)
    shifted = x.flatten(2).gather(2, index).view(x.shape)
    return shifted.masked_fill((above[:, :, None] | beside[:, None, :])[:, None], 0)


def cutout(x: Tensor, p: float | Tensor) -> Tensor:
    """A square of half the side, its centre anywhere in the image, becomes 0."""
    n, _, h, w = x.shape
    inside = []
    for size in (h, w):
        side = _share(CUTOUT, size)
        centre = noise.integers(0, size + 1 - side % 2, n, 1, device=x.device)
        offset = torch.arange(size, device=x.device) - (centre - side // 2)
        inside.append((offset >= 0) & (offset < side))
    square = inside[0][:, :, None] & inside[1][:, None, :] & _chosen(x, p)[:, :, None]
    return x.masked_fill(square[:, None], 0)


TRANSFORMATIONS = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}


def _share(share: float, size: int) -> int:
    """A share of a side in pixels, halves upwards."""
    return int(size * share + 0.5)


def _uniform(x: Tensor) -> Tensor:
    """One number from U(0, 1) for each image, (n, 1, 1, 1), float32 whatever the images are."""
    return noise.uniform(len(x), 1, 1, 1, device=x.device)


def _chosen(x: Tensor, p: float | Tensor) -> Tensor:
    """Choose the images that are transformed, (n, 1)."""
    return noise.uniform(len(x), 1, device=x.device) < p


def _where_chosen(strength: Tensor, x: Tensor, p: float | Tensor) -> Tensor:
    """The strength (n, 1, 1, 1) where an image is transformed, 0 where not, in x's type."""
    return (strength * _chosen(x, p)[:, :, None, None]).to(x.dtype)
