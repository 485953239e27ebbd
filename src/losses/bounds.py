"""Objectives of VAEs: negative lower bounds of log p(x), in nats per sample.

With w_i = p(x|z_i) p(z_i) / q(z_i|x) and z_1 ... z_k drawn from q(z|x):

    ELBO    E -log p(x|z) + beta KL(q(z|x) || p(z))     Kingma & Welling 2014; beta: Higgins 2017
    IWAE    -log (1/k) sum_i w_i                        Burda et al. 2016, eq. 8
"""

import math
from abc import ABC, abstractmethod

from torch import Tensor

from src.config.ranges import NotNegativeFloat, PositiveInt, Share
from src.errors import SettingError
from src.losses.divergences import kl_to_standard_normal, log_prior_ratio


class Objective(ABC):
    """A negative lower bound of log p(x).

    Attributes:
        samples: draws of z for each x.
    """

    samples: int

    @abstractmethod
    def __call__(
        self,
        nll: Tensor,
        z: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        progress: float = 1.0,
    ) -> Tensor:
        """Loss of each sample, (n,), to be minimised.

        Args:
            nll: -log p(x|z), (k, n).
            z: (k, n, d).
            mean: mean of q(z|x), (n, d).
            log_variance: log-variance of q(z|x), (n, d).
            progress: share of the budget that is done.
        """


class ELBO(Objective):
    """The evidence lower bound with its divergence in closed form; beta = 1 is the bound itself.

    Args:
        beta: weight of the divergence.
        samples: k, draws of z that the reconstruction is averaged over.
        warm_up: share of the budget in which the weight rises from 0 to beta, so that fewer units
            of the code are given up before they are of use (Bowman et al. 2016; Sonderby et al.
            2016).
    """

    def __init__(
        self, beta: NotNegativeFloat = 1.0, samples: PositiveInt = 1, warm_up: Share = 0.0
    ) -> None:
        if beta < 0:
            raise SettingError(f"model.objective.beta={beta} must not be negative.")
        if not 0 <= warm_up <= 1:
            raise SettingError(
                f"model.objective.warm_up={warm_up} is a share of the budget: 0 to 1."
            )
        self.beta, self.samples, self.warm_up = beta, _positive(samples), warm_up

    def __call__(
        self,
        nll: Tensor,
        z: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        progress: float = 1.0,
    ) -> Tensor:
        beta = self.beta * (min(progress / self.warm_up, 1.0) if self.warm_up else 1.0)
        return nll.mean(0) + beta * kl_to_standard_normal(mean, log_variance).sum(1)


class IWAE(Objective):
    """The importance-weighted bound, which is tighter the larger k is.

    Args:
        samples: k.
    """

    def __init__(self, samples: PositiveInt = 50) -> None:
        self.samples = _positive(samples)

    def __call__(
        self,
        nll: Tensor,
        z: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        progress: float = 1.0,
    ) -> Tensor:
        log_weights = log_prior_ratio(z, mean, log_variance) - nll
        return math.log(self.samples) - log_weights.logsumexp(0)


def _positive(samples: int) -> int:
    if samples < 1:
        raise SettingError(f"model.objective.samples={samples} must be positive.")
    return samples
