"""Penalties on the discriminator: a penalty is where to look x which norm to ask.

A penalty's `d(critic, real, fake)` is added to D's loss. Its samples are float32 and the critic
runs without autocast: squared gradient norms do not fit bfloat16's eight bits. With `every = k` it
is computed in every k-th D step and multiplied by k (lazy regularisation, Karras et al. 2020).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


class NoPenalty:
    """D is free."""

    every = 0

    def d(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return real.new_zeros(())


class R1:
    """Zero-centred gradient penalty on reals: (gamma / 2) E |grad_x D(x)|^2.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", eq. 9.

    Args:
        gamma: strength; grows with the number of pixels, see the presets.
        every: computed in every k-th D step, times k.
    """

    def __init__(self, gamma: float, every: int = 1) -> None:
        self.gamma, self.every = gamma, every

    def d(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return self.every * self.gamma / 2 * squared_gradient_norm(critic, real).mean()


def squared_gradient_norm(critic: Critic, x: Tensor) -> Tensor:
    """|grad_x critic(x)|^2 per sample, differentiable with respect to the critic.

    Args:
        critic: maps (n, ...) to logits (n,).
        x: (n, ...), the points to look at.

    Returns:
        (n,), summed over all of a sample's dimensions.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().float().requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(x).float().sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1)
