"""Objectives of VAEs: negative lower bounds of log p(x), in nats per sample.

With w_i = p(x|z_i) p(z_i) / q(z_i|x) and z_1 ... z_k drawn from q(z|x):

    ELBO    E -log p(x|z) + beta KL(q(z|x) || p(z))     Kingma & Welling 2014; beta: Higgins 2017
    IWAE    -log (1/k) sum_i w_i                        Burda et al. 2016, eq. 8
"""

import math

from torch import Tensor

from src.errors import SettingError
from src.losses.divergences import kl_to_standard_normal, log_prior_ratio


class ELBO:
    """The evidence lower bound with its divergence in closed form; beta = 1 is the bound itself.

    Args:
        beta: weight of the divergence.
        samples: k, draws of z that the reconstruction is averaged over.
    """

    def __init__(self, beta: float = 1.0, samples: int = 1) -> None:
        if beta < 0:
            raise SettingError(f"model.objective.beta={beta} must not be negative.")
        self.beta, self.samples = beta, _positive(samples)

    def __call__(self, nll: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What is minimised, (n,).

        Args:
            nll: -log p(x|z), (k, n).
            z: (k, n, d).
            mean: of q(z|x), (n, d).
            log_variance: of q(z|x), (n, d).
        """
        return nll.mean(0) + self.beta * kl_to_standard_normal(mean, log_variance).sum(1)


class IWAE:
    """The importance-weighted bound, which is tighter the larger k is.

    Args:
        samples: k.
    """

    def __init__(self, samples: int = 50) -> None:
        self.samples = _positive(samples)

    def __call__(self, nll: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What is minimised, (n,); shapes as in `ELBO`."""
        log_weights = log_prior_ratio(z, mean, log_variance) - nll
        return math.log(self.samples) - log_weights.logsumexp(0)


def _positive(samples: int) -> int:
    if samples < 1:
        raise SettingError(f"model.objective.samples={samples} must be positive.")
    return samples


Objective = ELBO | IWAE
