"""Blocks and conventions shared by the networks."""

from typing import NamedTuple

from torch import Tensor, nn


class Critique(NamedTuple):
    """What a discriminator says of a batch.

    Attributes:
        logits: (n,), positive for "real"; no sigmoid.
        features: (n, d), the last hidden layer, for auxiliary heads.
    """

    logits: Tensor
    features: Tensor


def init_normal_(module: nn.Module, std: float = 0.02) -> None:
    """DCGAN's initialisation: weights N(0, std^2), batch-norm gains N(1, std^2), biases 0.

    Use with `network.apply(init_normal_)` (Radford et al. 2016, sec. 4).
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, std)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, std)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
