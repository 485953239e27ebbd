"""Penalties on the generator, each step of which is one of its own: a slot.

    none           G is free
    path_length    weight E (|J' u| - a)^2,   J = dG/dw,   u ~ N(0, I) of an image's shape,
                   a the running mean of |J' u|                  Karras et al. 2020, sec. 3.2

In many dimensions it is least where J is orthogonal, up to a number that is the same for all w
(appendix C): a step in w changes the image by as much wherever it is taken, and in whichever
direction. The authors found such generators easier to invert, and their shapes more consistent.

A penalty is taken in every k-th iteration and multiplied by k (lazy regularisation, appendix B), in
a step after the usual one. So k iterations have k + 1 steps. With c = k / (k + 1), Adam's rate is
multiplied by c and its betas become beta^c: k + 1 such steps go as far, and forget as much, as k.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from src.config.ranges import NotNegativeFloat, NotNegativeInt, PositiveInt, Share
from src.distributed import noise, ranks
from src.errors import SettingError
from src.losses.convolutions import SlopeConvolutions
from src.networks.base import StyleGenerator


class GeneratorPenalty(nn.Module, ABC):
    """Base of penalties on G.

    Attributes:
        every: iterations from one step of it to the next; 0: never.
    """

    every = 0

    def check(self, generator: nn.Module) -> None:
        """Check that a generator can have it.

        Raises:
            SettingError: if not.
        """

    @abstractmethod
    def forward(self, generator: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The loss of its step, a scalar.

        Args:
            generator: called as G(z, y).
            z: (n, latent_dim), drawn for this.
            y: classes (n,), or None.
        """

    def due(self, iteration: int) -> bool:
        """True if an iteration has a step of it."""
        return self.every > 0 and iteration % self.every == 0

    def compensate(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimiser, with its rate and betas corrected for the further steps."""
        if self.every:
            c = self.every / (self.every + 1)
            for group in (optimizer.defaults, *optimizer.param_groups):
                group["lr"] *= c
                if "betas" in group:
                    group["betas"] = tuple(beta**c for beta in group["betas"])
        return optimizer


class NoGeneratorPenalty(GeneratorPenalty):
    """G is free."""

    def forward(self, generator: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z.new_zeros(())


class PathLength(GeneratorPenalty):
    """every x weight x E (|J' u| - a)^2, in the styles of all layers (Karras et al. 2020, eq. 4).

    |J' u| is the root of the mean over layers of the squared slope's length, for u with the
    variance 1 / pixels: then it does not grow with the resolution.

    Args:
        weight: strength.
        every: iterations from one step of it to the next; 0: never.
        decay: share by which a batch moves the mean a.
        shrink: one of so many latents of a batch is looked at, since a step takes long.

    Attributes:
        mean: a, which is 0 at first.

    Raises:
        SettingError: from `check`, if G has no styles.
    """

    mean: Tensor

    def __init__(
        self,
        weight: NotNegativeFloat = 2.0,
        every: NotNegativeInt = 4,
        decay: Share = 0.01,
        shrink: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.weight, self.every, self.decay, self.shrink = weight, every, decay, shrink
        self.register_buffer("mean", torch.zeros(()))

    def check(self, generator: nn.Module) -> None:
        if not isinstance(generator, StyleGenerator):
            raise SettingError(
                "model/g_penalty=path_length: this generator has no styles.\n"
                "Use model/generator=stylegan2, with classes model/condition=projection."
            )

    def forward(self, generator: StyleGenerator, z: Tensor, y: Tensor | None = None) -> Tensor:
        y = None if y is None else y[:: self.shrink]
        lengths = path_lengths(generator, z[:: self.shrink], y)
        self.mean.lerp_(ranks.mean(lengths.detach().mean()).to(self.mean), self.decay)
        return self.every * self.weight * (lengths - self.mean).square().mean()


def path_lengths(generator: StyleGenerator, z: Tensor, y: Tensor | None = None) -> Tensor:
    """|J' u| for each of z (n, latent_dim), (n,), differentiable; without autocast."""
    with torch.autocast(z.device.type, enabled=False), SlopeConvolutions():
        styles = generator.styles(z, y)
        image = generator.synthesise(styles)
        u = noise.normal(*image.shape, dtype=image.dtype, device=image.device)
        product = (image * u).sum() / image.shape[2:].numel() ** 0.5
        (slope,) = torch.autograd.grad(product, styles, create_graph=True)
    # Not the root of a mean of squares, whose derivative is infinite where they are 0.
    return torch.linalg.vector_norm(slope, dim=(1, 2)) / generator.layers**0.5
