"""Reconstruction losses: summed over a sample's dimensions, averaged over the batch.

Images arrive in [-1, 1]; the probabilistic losses are in nats, so that a VAE with beta = 1 reports
the evidence lower bound. Each maps the decoder's raw output and the target to a scalar.
"""

from torch import Tensor
from torch.nn import functional as F


def squared_error(output: Tensor, x: Tensor) -> Tensor:
    """|tanh(output) - x|^2 with both on the [0, 1] scale, the convention of published figures.

    Points have no bounded range: they are compared as they are.
    """
    difference = output - x if x.ndim == 2 else (output.tanh() - x) / 2
    return difference.float().square().flatten(1).sum(1).mean()


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) of independent Bernoulli pixels with probability sigmoid(logits), in nats.

    Grey values are taken as expected bits, as is usual for MNIST (Kingma & Welling 2014, app. C.1).
    """
    target = (x.float() + 1) / 2
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return loss.flatten(1).sum(1).mean()
