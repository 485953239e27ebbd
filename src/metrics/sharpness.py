"""Sharpness of samples: autoencoders trained by squared error are known to blur.

    sharpness = E Var(Laplacian of a sample) / E Var(Laplacian of a training image)

Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy": the variance over the
pixels of an image's discrete Laplacian, here of the luminance. 1 is as sharp as the data, blur is
less, noise is more.
"""

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from src.data.base import DataModule
from src.data.spec import to_uint8
from src.metrics.base import PORTION, Sampler, SampleScorer, Scores, draw_portions, held_out, spaced
from src.networks.classifier import fit_to

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
# The mean of 2,000 images is known to about 1 %; ten thousand would cost as much as FID does.
MOST = 2000
REALS = 10_000


class SharpnessScorer(SampleScorer):
    """Compares samples with the training images, and the test images with them too.

    Args:
        data: set up, of images.
        n: samples, at most 2,000 of which are drawn.
        seed: seed of the samples.
    """

    def __init__(self, data: DataModule, n: int = MOST, seed: int = 0) -> None:
        super().__init__(data, "train", seed)  # no headline: it is no number to rank models by
        self.n = min(n, MOST)

    def size(self, metric: str) -> int:
        return self.n

    def score(self, sample: Sampler) -> Scores:
        """Draw the samples, in portions. Samples that are not finite give NaN."""
        values = [laplacian_variance(x).cpu() for x in draw_portions(sample, self.n, self.seed)]
        return self.report({"sharpness": float(torch.cat(values).mean()) / self._reference})

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_fake": self.n,
            "n_real": len(spaced(self.data.splits["train"], REALS).x),
            "real_split": "train",
            "real": self._real,
        }

    @cached_property
    def _real(self) -> float | None:
        split, held = held_out(self.data, REALS)
        return _mean(held.x) / self._reference if split == "test" else None

    @cached_property
    def _reference(self) -> float:
        """NaN, and with it all values, of images of one colour."""
        return _mean(spaced(self.data.splits["train"], REALS).x) or math.nan


def _mean(stored: Tensor) -> float:
    """The mean over uint8 images."""
    return float(torch.cat([laplacian_variance(x) for x in stored.split(PORTION)]).mean())


def laplacian_variance(x: Tensor) -> Tensor:
    """Variance (n,) of the Laplacian of luminance in [0, 1], in float64; NaN where x is not finite.

    Args:
        x: images (n, 1 or 3, h, w) in [-1, 1], or as uint8.
    """
    finite = x.isfinite().flatten(1).all(1)
    pixels = (x if x.dtype == torch.uint8 else to_uint8(x)).double() / 255
    kernel = torch.tensor(LAPLACIAN, dtype=pixels.dtype, device=x.device)[None, None]
    variance = F.conv2d(fit_to(pixels, 1, x.shape[-1]), kernel).flatten(1).var(1, correction=0)
    return variance.where(finite, torch.nan)
