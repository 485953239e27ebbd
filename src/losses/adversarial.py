"""Adversarial losses: pure functions of the discriminator's logits, each a minimisation.

A loss has two sides, `d(d_real, d_fake)` and `g(d_fake, d_real)`, that map logits (n,) to a scalar;
`needs_real` says whether G's side compares with fresh reals. Batch means, in float32.
"""

from torch import Tensor
from torch.nn import functional as F


class NonSaturating:
    """The original game with the non-saturating generator loss (Goodfellow et al. 2014, sec. 3).

    D: -t log s(d_real) - (1 - t) log(1 - s(d_real)) - log(1 - s(d_fake)), G: -log s(d_fake),
    with s the sigmoid.

    Args:
        real_label: t, the target for reals; 0.9 is one-sided label smoothing
            (Salimans et al. 2016).
        d_weight: factor on D's loss; recipes that average the two halves say 0.5.
    """

    needs_real = False

    def __init__(self, real_label: float = 1.0, d_weight: float = 1.0) -> None:
        self.real_label, self.d_weight = real_label, d_weight

    def d(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        # -t log s(x) - (1 - t) log(1 - s(x)) = softplus(-x) + (1 - t) x
        real = F.softplus(-d_real) + (1 - self.real_label) * d_real
        return self.d_weight * (real.mean() + F.softplus(d_fake).mean())

    def g(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return F.softplus(-d_fake).mean()
