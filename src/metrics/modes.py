"""Modes of stacked MNIST: which of the 1000 triples of digits a model draws, and how often.

A classifier of single digits names each colour channel of n samples (PacGAN's protocol: 26,000;
Lin et al. 2018, arXiv:1712.04086, sec. 4.2, after Metz et al. 2017, arXiv:1611.02163).

    modes       triples with at least one sample
    kl          KL(samples' share of each triple || its true share), in nats
    kl_uniform  the same against 1/1000 each, as in PacGAN's code

The digits of MNIST are not equally frequent, so that a perfect generator's kl_uniform is 0.004 more
than its kl. And shares of a finite sample differ by chance from the true ones: its kl is not 0 but
about (1000 - 1) / 2n, which is 0.019 for 26,000 samples.
"""

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from src.data.stacked_mnist import StackedMNIST, triple_class
from src.errors import SettingError
from src.metrics.base import Sampler, SampleScorer, Scores, draw_portions
from src.metrics.toy import reverse_kl
from src.networks.features import ClassifierFeatures


class ModesScorer(SampleScorer):
    """Counts the triples among the samples.

    Args:
        data: set up. Its test split gives the value that real data get, recorded beside each
            number.
        extractor: a classifier of the single digits.
        n: samples.
        seed: seed of the samples.
        batch_size: channels classified at once; does not bear on the numbers.


    Raises:
        SettingError: if the classifier is of other classes or of colour images.
    """

    def __init__(
        self,
        data: StackedMNIST,
        extractor: ClassifierFeatures,
        n: int = 26_000,
        seed: int = 0,
        batch_size: int = 100,
    ) -> None:
        labels, channels = extractor.about["labels"], extractor.network.channels
        if channels != 1 or tuple(labels) != data.single_classes:
            raise SettingError(
                f"metrics.weights: the classifier {extractor.name} tells {', '.join(labels)} in "
                f"{channels} channels.\nNeeded is one of a single channel that tells "
                f"{', '.join(data.single_classes)}."
            )
        if n < 2:
            raise SettingError(f"metrics.n={n} must be 2 samples or more.")
        super().__init__(data, extractor.name, seed)
        self.extractor, self.n, self.batch_size = extractor, n, batch_size
        self.headline = {metric: self.name(metric) for metric in ("modes", "kl")}

    def size(self, metric: str) -> int:
        return self.n

    def score(self, sample: Sampler) -> Scores:
        """Draw n samples, in portions, and count them. Samples that are not finite give NaN."""
        hits = torch.zeros_like(self.data.shares)
        for x in draw_portions(sample, self.n, self.seed):
            if not x.isfinite().all():
                return self.report(dict.fromkeys(self._reals, math.nan))
            # Where the samples are is where the work is done.
            self.extractor.to(x.device)
            hits += self.count(x)
        return self.report(mode_metrics(hits, self.data.shares))

    def count(self, x: Tensor) -> Tensor:
        """Images (1000,) of each class among x (n, 3, h, w), in [-1, 1] or uint8."""
        channels = x.flatten(0, 1)[:, None].split(self.batch_size)
        digits = torch.cat([self.extractor(part).logits.argmax(1) for part in channels]).cpu()
        shown = triple_class(digits.unflatten(0, (-1, 3)), len(self.data.single_classes))
        return torch.bincount(shown, minlength=len(self.data.shares)).double()

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_fake": self.n,
            "compared_with": "equal shares" if metric == "kl_uniform" else "exact shares",
            "extractor": self.extractor.protocol,
            "real": self._reals[metric],
            "n_held_out": len(self._held_out),
        }

    @property
    def _held_out(self) -> Tensor:
        return self.data.splits["test"].x[: self.n]

    @cached_property
    def _reals(self) -> dict[str, float]:
        """Values of held-out real images, by the bare names of the metrics."""
        hits = sum(self.count(part) for part in self._held_out.split(1000))
        return mode_metrics(hits, self.data.shares)


def mode_metrics(hits: Tensor, shares: Tensor) -> dict[str, float]:
    """The metrics of this file, by their bare names.

    Args:
        hits: samples (k,) of each class.
        shares: true probabilities (k,) of the classes.
    """
    return {
        "modes": float((hits > 0).sum()),
        "kl": reverse_kl(hits, shares),
        "kl_uniform": reverse_kl(hits, torch.full_like(shares, 1 / len(shares))),
    }
