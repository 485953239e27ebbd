"""Divergences and densities of Gaussians with closed forms, in nats."""

from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) per dimension (Kingma & Welling 2014, app. B).

    Args:
        mean: (n, d).
        log_variance: (n, d).

    Returns:
        (n, d): sum over d for a sample's divergence.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def log_prior_ratio(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; 0, I) - log N(z; mean, exp(log_variance)).

    Args:
        z: (..., n, d).
        mean: (n, d).
        log_variance: (n, d).

    Returns:
        (..., n).
    """
    noise = (z - mean).square() / log_variance.exp()
    return 0.5 * (noise + log_variance - z.square()).sum(-1)
