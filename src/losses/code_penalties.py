"""Penalties on an autoencoder's code, added to the reconstruction loss: a slot; batch means.

none          undercomplete codes need no more
L1            sum_j |z_j|
KL            sum_j KL(target || mean activation of z_j)       Ng, CS294A lecture notes, 2011
contractive   |dz/dx|^2, the squared Frobenius norm            Rifai et al. 2011
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from src.distributed import noise, ranks
from src.errors import SettingError


class CodePenalty(ABC):
    """A term of the loss that looks at the code."""

    @abstractmethod
    def __call__(self, encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor | None:
        """The penalty, a scalar, of the codes z (n, d) of x; None where nothing is asked."""


class NoCodePenalty(CodePenalty):
    """Nothing is asked."""

    def __call__(self, encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor | None:
        return None


class L1(CodePenalty):
    """Few units that are far from 0.

    Args:
        weight: weight of the sum over the code.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor:
        """The penalty, a scalar, of the codes z (n, d) of x."""
        return self.weight * z.float().abs().sum(1).mean()


class KLSparsity(CodePenalty):
    """Each unit is active in a given share of the samples; for codes in [0, 1] (sigmoid).

    Args:
        weight: weight of the sum over the code; the reconstruction loss is a sum over pixels.
        target: mean activation.
    """

    def __init__(self, weight: float, target: float = 0.05) -> None:
        if not 0 < target < 1:
            raise SettingError(f"model.code_penalty.target={target} must be between 0 and 1.")
        self.weight, self.target = weight, target

    def __call__(self, encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor:
        """The penalty, a scalar, of the codes z (n, d) of x.

        Raises:
            SettingError: if z is no sigmoid's.
        """
        if getattr(encoder, "output", None) != "sigmoid":
            raise SettingError(
                "model/code_penalty=kl compares probabilities: the code must be in [0, 1].\n"
                "Use model.encoder.output=sigmoid, or model/code_penalty=l1."
            )
        # A unit that rounding puts at exactly 0 or 1 still has a gradient.
        mean = ranks.mean(z.float().mean(0)).clamp(1e-6, 1 - 1e-6)
        on = self.target * (self.target / mean).log()
        off = (1 - self.target) * ((1 - self.target) / (1 - mean)).log()
        return self.weight * (on + off).sum()


class Contractive(CodePenalty):
    """Codes that stand still where x moves; x on the [0, 1] scale if it is an image.

    One sigmoid layer has its norm in closed form, others by autograd.

    Args:
        weight: weight of |dz/dx|^2.
        probes: random directions v of the estimate E |v dz/dx|^2 for other encoders; None takes
            every unit of the code, which is exact and costs a backward pass for each.
    """

    def __init__(self, weight: float, probes: int | None = None) -> None:
        self.weight, self.probes = weight, probes

    def __call__(self, encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor:
        """The penalty, a scalar, of the codes z (n, d) of x."""
        layer = getattr(encoder, "sigmoid_layer", None)
        if layer is not None:
            squared = jacobian_of_sigmoid_layer(layer.weight, z)
        else:
            squared = jacobian_by_autograd(encoder, x, self.probes)
        scale = 1 if x.ndim == 2 else 4  # d/dx of x in [0, 1] is twice that of x in [-1, 1]
        return self.weight * scale * squared.mean()


def jacobian_of_sigmoid_layer(weight: Tensor, z: Tensor) -> Tensor:
    """|dz/dx|^2 of z = sigmoid(W x + b): sum_j (z_j (1 - z_j))^2 |W_j|^2 (Rifai et al., eq. 5).

    Args:
        weight: W (d, inputs).
        z: (n, d).

    Returns:
        (n,), in float32.
    """
    with torch.autocast(z.device.type, enabled=False):
        slope = (z.float() * (1 - z.float())).square()
        return slope @ weight.square().sum(1)


def jacobian_by_autograd(encoder: nn.Module, x: Tensor, probes: int | None = None) -> Tensor:
    """|dz/dx|^2 of any encoder without batch norm, and its graph.

    Args:
        encoder: from x to codes (n, d).
        x: (n, ...).
        probes: random directions; None is exact.

    Returns:
        (n,), in float32.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().requires_grad_()
        z = encoder(x)
        if probes is None:
            directions = torch.eye(z.shape[1], device=z.device)[:, None].expand(-1, *z.shape)
        else:
            directions = noise.normal(probes, *z.shape, dim=1, device=z.device)
        rows = _products(z, x, directions, batched=x.device.type != "cuda")
    total = rows.square().flatten(2).sum((0, 2))
    return total if probes is None else total / probes


def _products(z: Tensor, x: Tensor, directions: Tensor, batched: bool) -> Tensor:
    """v dz/dx (k, n, ...) of directions v (k, n, d), with its graph where gradients are recorded.

    Args:
        z: codes (n, d) of x.
        x: (n, ...).
        directions: (k, n, d).
        batched: all at once, by vmap, in which cuDNN's convolutions do not work (torch 2.11).
    """
    graph = torch.is_grad_enabled()
    if batched:
        (rows,) = torch.autograd.grad(z, x, directions, is_grads_batched=True, create_graph=graph)
        return rows
    rows = [torch.autograd.grad(z, x, v, retain_graph=True, create_graph=graph) for v in directions]
    return torch.stack([row for (row,) in rows])
