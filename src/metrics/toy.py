"""Toy data have an exact density, so that samples are compared with the truth and not by features.

    mean_error    |mean of samples - mean|_2
    cov_error     |covariance of samples - covariance|_F
    frechet       Frechet distance of the two Gaussians with these moments
    log_prob      mean log density of the samples in nats: likely ones score high, spread ones not
    modes         modes with at least one sample of high quality: within 3 std of its centre
    high_quality  share of such samples; a perfect sampler in 2-D gets 1 - exp(-9/2) = 98.9 %
    reverse_kl    KL(samples' share of each mode || its true share), over high-quality samples
    sliced_wasserstein   to as many points of the law, in the points' unit (Bonneel et al. 2015)

The last four are for mixtures only; three of them are PacGAN's (Lin et al. 2018, arXiv:1712.04086).
More samples find more modes, so the number of samples is in the name: `modes10k_exact`. What a
mixture is ranked by is the distance, to which stray points, lost modes and uneven
shares all add; two moments are as well those of a haze.

Pictures of 2 x 2 pixels (data=slanted_land) have no density. They have instead

    diagonal       share of samples that show it: above 0.5 on it, below elsewhere
    nearest_error  mean absolute difference of a sample to the nearest real picture, per pixel
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule
from src.errors import SettingError
from src.metrics.base import Sampler, SampleScorer, Scores, draw_portions
from src.metrics.quality import Moments, frechet_distance, moments

RADIUS = 3.0  # standard deviations
DIRECTIONS = 128
REFERENCE = 0xB0  # seed of the law's points and of the directions, and nobody else's


class ToyScorer(SampleScorer):
    """Scores points against the distribution of a toy data set.

    Args:
        data: with a `distribution`: `mean`, `cov`, `sample`, `modes`, `std`, and `log_prob` or
            `pictures`.
        n: samples.
        seed: seed of the samples, and of the real ones that are scored for comparison.
    """

    def __init__(self, data: DataModule, n: int = 10_000, seed: int = 0) -> None:
        if n < 2:
            raise SettingError(f"metrics.n={n} must be 2 samples or more.")
        super().__init__(data, "exact", seed)
        self.n = n
        headline = "frechet" if data.distribution.modes is None else "sliced_wasserstein"
        if data.distribution.pictures is not None:
            headline = "diagonal"
        self.headline = {headline: self.name(headline)}

    def size(self, metric: str) -> int:
        return self.n

    def score(self, sample: Sampler) -> Scores:
        """Draw n points and compare them."""
        x = torch.cat(list(draw_portions(sample, self.n, self.seed))).cpu()
        return self.report(toy_metrics(self.data, x))

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_fake": self.n,
            "compared_with": "exact density",
            "real": self._reals[metric],
        }

    @cached_property
    def _reals(self) -> dict[str, float]:
        """Values of as many real samples, by the bare names of the metrics."""
        generator = torch.Generator().manual_seed(self.seed)
        return toy_metrics(self.data, self.data.distribution.sample(self.n, generator))


def toy_metrics(data: DataModule, x: Tensor) -> dict[str, float]:
    """The metrics of this file for points x (n, d), by their bare names.

    Points that are not finite give NaN in all of them.
    """
    truth = data.distribution
    x = x.double()
    finite = bool(x.isfinite().all())
    mean, cov = truth.mean.double(), truth.cov.double()
    sampled = moments(x) if finite else Moments(mean * torch.nan, factor=cov * torch.nan)
    root = sampled.factored()
    values = {
        "mean_error": float((sampled.mean - mean).norm()),
        "cov_error": float((root.T @ root - cov).norm()),
        "frechet": frechet_distance(Moments(mean, cov), sampled) if finite else float("nan"),
    }
    if truth.pictures is not None:
        values |= picture_metrics(x, truth.pictures.double())
    else:
        values["log_prob"] = float(truth.log_prob(x).mean()) if finite else float("nan")
    if truth.modes is not None:
        values |= mode_metrics(x, truth.modes.double(), truth.std, truth.weights.double())
        law = truth.sample(len(x), torch.Generator().manual_seed(REFERENCE)).double()
        values["sliced_wasserstein"] = sliced_wasserstein(x, law)
    return values if finite else dict.fromkeys(values, float("nan"))


def picture_metrics(x: Tensor, pictures: Tensor) -> dict[str, float]:
    """Share of samples with a dark diagonal, and their distance to the nearest real picture.

    Args:
        x: samples (n, 4), 2 x 2 pixels row by row, from 0 (light) to 1 (dark).
        pictures: the real ones (k, 4).
    """
    dark, light = x[:, [0, 3]] > 0.5, x[:, [1, 2]] < 0.5
    nearest = torch.cdist(x, pictures, p=1).amin(1) / x.shape[1]
    return {
        "diagonal": float((dark & light).all(1).double().mean()),
        "nearest_error": float(nearest.mean()),
    }


def mode_metrics(x: Tensor, modes: Tensor, std: float, weights: Tensor) -> dict[str, float]:
    """Modes covered, share of high-quality samples, and reverse KL over the modes.

    Args:
        x: points (n, d).
        modes: centres (k, d).
        std: standard deviation of each coordinate around a centre.
        weights: true shares (k,) of the modes.
    """
    distance, nearest = torch.cdist(x, modes).min(1)
    good = nearest[distance < RADIUS * std]
    hits = torch.bincount(good, minlength=len(modes)).double()
    return {
        "modes": float((hits > 0).sum()),
        "high_quality": len(good) / len(x),
        "reverse_kl": reverse_kl(hits, weights),
    }


def sliced_wasserstein(x: Tensor, y: Tensor) -> float:
    """Mean, over directions, of the 1-Wasserstein distances of the projected points.

    On a line the optimal transport goes in order (Bonneel et al. 2015, sec. 3). Of two samples it
    is less noisy than the 2-Wasserstein distance, where the modes' shares are never quite equal.

    Args:
        x: points (n, d).
        y: points (n, d).
    """
    generator = torch.Generator().manual_seed(REFERENCE)
    directions = torch.randn(x.shape[1], DIRECTIONS, generator=generator, dtype=x.dtype)
    directions = directions / directions.norm(dim=0)
    gaps = (x @ directions).sort(0).values - (y @ directions).sort(0).values
    return float(gaps.abs().mean())


def reverse_kl(hits: Tensor, shares: Tensor) -> float:
    """KL(samples' share of each mode || its true share), in nats; NaN if there is no sample.

    Args:
        hits: samples (k,) of each mode.
        shares: true ones (k,), with sum 1.
    """
    share = hits / hits.sum()
    kl = torch.where(hits > 0, share * (share / shares).log(), 0.0).sum()
    return float(kl) if hits.any() else float("nan")
