"""Penalties on the discriminator: a penalty is where to look x which norm to ask.

    penalty = strength x E f(grad_x D(x)),  x from `where(real, fake)`,  f from `ask`

             where                               f                       strength
    R1       reals                               |grad|^2                gamma / 2
    R2       fakes                               |grad|^2                gamma / 2
    R1R2     reals, and fakes                    |grad|^2                gamma / 2
    WGAN-GP  between a real and a fake           (|grad| - 1)^2          weight
    WGAN-LP  between a real and a fake           max(0, |grad| - 1)^2    weight
    DRAGAN   between a real and its noisy self   (|grad| - 1)^2          weight

`d` is added to D's loss. The critic runs in float32 (or float64, if the samples have it) and
without autocast: squared gradient norms do not fit bfloat16's eight bits. With `every = k` it is
computed in every k-th D step and multiplied by k (lazy regularisation, Karras et al. 2020).
Schedules set `scale`, which multiplies the strength. Where D has a logit per patch, the gradient is
that of their sum, so that it grows with their number, while the loss is their mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import NotNegativeFloat, NotNegativeInt, PositiveFloat
from src.distributed import noise, ranks
from src.errors import SettingError
from src.losses.convolutions import SlopeConvolutions

Critic = Callable[[Tensor], Tensor]


class Penalty(ABC):
    """Base of penalties: a term added to D's loss, or a change of D after its step.

    Attributes:
        every: D steps from one `d` to the next; 0: never.
        scale: factor on the strength.
    """

    every = 0
    scale = 1.0

    @abstractmethod
    def d(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        d_real: Tensor | None = None,
        d_fake: Tensor | None = None,
    ) -> Tensor:
        """The term for D's loss.

        Args:
            critic: maps samples (n, ...) to logits (n,), or (n, h, w) of patches; holds the batch's
                labels.
            real: (n, ...).
            fake: (n, ...).
            d_real: the logits (n,) of D's loss, for penalties on them.
            d_fake: the same of the fakes.
        """

    def after_step(self, discriminator: nn.Module) -> None:  # noqa: B027  most have nothing to do
        """Called after each of D's steps."""


class NoPenalty(Penalty):
    """D is free."""

    def d(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        d_real: Tensor | None = None,
        d_fake: Tensor | None = None,
    ) -> Tensor:
        return real.new_zeros(())


class WeightClipping(NoPenalty):
    """Every weight of D is kept within [-limit, limit] (WGAN, Arjovsky et al. 2017, algorithm 1).

    D is then Lipschitz with some constant, which is seldom 1: distances are known up to a factor.

    Args:
        limit: the paper's c.

    Raises:
        SettingError: if it is not positive.
    """

    def __init__(self, limit: PositiveFloat = 0.01) -> None:
        if limit <= 0:
            raise SettingError(f"model.penalty.limit={limit} must be positive: D's largest weight.")
        self.limit = limit

    @torch.no_grad()
    def after_step(self, discriminator: nn.Module) -> None:
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.limit, self.limit)


class GradientPenalty(Penalty):
    """every x scale x strength x E f(grad_x D(x)); a subclass says where, f and strength."""

    @abstractmethod
    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        """Batches (n, ...) of points to look at; what is asked there is summed."""

    @abstractmethod
    def ask(self, critic: Critic, x: Tensor) -> Tensor:
        """f of the gradient at each point: (n,)."""

    @abstractmethod
    def strength(self, real: Tensor) -> float:
        """Strength for this batch, before `scale` and `every`."""

    def d(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        d_real: Tensor | None = None,
        d_fake: Tensor | None = None,
    ) -> Tensor:
        points = self.where(exact(real), exact(fake))
        asked = torch.stack([self.ask(critic, x).mean() for x in points]).sum()
        return self.every * self.scale * self.strength(real) * asked


class R1(GradientPenalty):
    """Zero-centred gradient penalty on reals: (gamma / 2) E |grad_x D(x)|^2.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", eq. 9. The
    authors' code leaves out the 1/2: its `reg_param` 10 is a gamma of 20 here.

    Args:
        gamma: strength; grows with the number of pixels, see the presets. `auto` is StyleGAN2-ADA's
            rule 0.0002 r^2 / n for a batch of n images of r x r pixels (Karras et al. 2020).
        every: computed in every k-th D step, times k; 0: never.

    Raises:
        SettingError: if one is negative; from `d`, for `auto` with other data than images.
    """

    def __init__(
        self, gamma: NotNegativeFloat | Literal["auto"], every: NotNegativeInt = 1
    ) -> None:
        if gamma != "auto":
            _refuse_negative(gamma=gamma)
        _refuse_negative(every=every)
        self.gamma, self.every = gamma, every

    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        return (real,)

    def ask(self, critic: Critic, x: Tensor) -> Tensor:
        return squared_gradient_norm(critic, x)

    def strength(self, real: Tensor) -> float:
        if self.gamma != "auto":
            return self.gamma / 2
        if real.ndim != 4:
            raise SettingError(
                "model.penalty.gamma=auto is a rule for images: 0.0002 resolution^2 / batch.\n"
                "For these data give a number, such as model.penalty.gamma=0.1"
            )
        n, _, height, width = real.shape
        return 0.0002 * height * width / (ranks.count() * n) / 2


class R2(R1):
    """R1 on fakes: (gamma / 2) E |grad D(G(z))|^2 (Mescheder et al. 2018, eq. 10)."""

    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        return (fake,)


class R1R2(R1):
    """Both: (gamma / 2) E (|grad D(x)|^2 + |grad D(G(z))|^2) (R3GAN, Huang et al. 2024).

    At equal gamma it is twice as strong as either when G is good.
    """

    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        return (real, fake)


class WGANGP(GradientPenalty):
    """weight E (|grad D(x)| - 1)^2, x uniform between a real and a fake (Gulrajani et al. 2017).

    A slope below 1 is penalised too, although a critic of the Wasserstein distance must only not
    exceed 1: see WGAN-LP. Being soft, both let slopes exceed it a little, and the distance that the
    critic tells is too large by about 1 / weight of itself (8 % at 10, between two Gaussians).

    Args:
        weight: the paper's lambda.
        every: computed in every k-th D step, times k; 0: never.

    Raises:
        SettingError: if one is negative.
    """

    def __init__(self, weight: NotNegativeFloat = 10.0, every: NotNegativeInt = 1) -> None:
        _refuse_negative(weight=weight, every=every)
        self.weight, self.every = weight, every

    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        return (between(real, fake),)

    def ask(self, critic: Critic, x: Tensor) -> Tensor:
        return (gradient_norm(critic, x) - 1).square()

    def strength(self, real: Tensor) -> float:
        return self.weight


class WGANLP(WGANGP):
    """WGAN-GP with only slopes above 1 penalised: weight E max(0, |grad D(x)| - 1)^2.

    Petzka et al. 2018, "On the regularization of Wasserstein GANs".
    """

    def ask(self, critic: Critic, x: Tensor) -> Tensor:
        return (gradient_norm(critic, x) - 1).relu().square()


class DRAGAN(WGANGP):
    """WGAN-GP around the reals: x uniform between a real and the same real with noise.

    The noise is `noise` std(reals) U[0, 1] in every dimension, one std for the whole batch: the
    form of the authors' code (kodalinaveen3/DRAGAN: DRAGAN.ipynb). Their paper, Kodali et al. 2017,
    "On Convergence and Stability of GANs", has Gaussian noise.

    Args:
        weight: the paper's lambda.
        noise: size of the perturbation, in standard deviations of the reals.
        every: computed in every k-th D step, times k; 0: never.

    Raises:
        SettingError: if one is negative.
    """

    def __init__(
        self,
        weight: NotNegativeFloat = 10.0,
        noise: NotNegativeFloat = 0.5,
        every: NotNegativeInt = 1,
    ) -> None:
        super().__init__(weight, every)
        _refuse_negative(noise=noise)
        self.noise = noise

    def where(self, real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        reach = self.noise * ranks.gather(real).std(correction=0)
        around = noise.uniform(*real.shape, dtype=real.dtype, device=real.device)
        return (between(real, real + reach * around),)


def between(a: Tensor, b: Tensor) -> Tensor:
    """One point per sample, uniform on the line from a (n, ...) to b (n, ...)."""
    share = noise.uniform(len(a), *[1] * (a.ndim - 1), dtype=a.dtype, device=a.device)
    return torch.lerp(a, b, share)


def squared_gradient_norm(critic: Critic, x: Tensor) -> Tensor:
    """|grad_x critic(x)|^2 per sample, differentiable with respect to the critic.

    Args:
        critic: maps (n, ...) to logits (n,).
        x: (n, ...), the points to look at.

    Returns:
        (n,), summed over all of a sample's dimensions.
    """
    return gradient(critic, x).square().sum(1)


def gradient_norm(critic: Critic, x: Tensor) -> Tensor:
    """|grad_x critic(x)| per sample (n,), differentiable, with derivative 0 where it is 0.

    There the root of the squared norm would have an infinite one, and one such sample would make
    all of D's weights NaN.
    """
    return torch.linalg.vector_norm(gradient(critic, x), dim=1)


def gradient(critic: Critic, x: Tensor) -> Tensor:
    """grad_x critic(x) per sample (n, d), without autocast."""
    with torch.autocast(x.device.type, enabled=False), SlopeConvolutions():
        x = exact(x.detach()).requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.flatten(1)


def exact(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _refuse_negative(**settings: float) -> None:
    for name, value in settings.items():
        if value < 0:
            raise SettingError(f"model.penalty.{name}={value} must not be negative.")
