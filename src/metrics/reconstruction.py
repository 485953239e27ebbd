"""How well an autoencoder gives back images that it has not seen.

mse    squared error of an image, summed over its pixels in [0, 1], mean over the test images:
       the measure of Hinton & Salakhutdinov 2006 (deep autoencoder 3.00, PCA-30 13.87 on MNIST)
psnr   10 log10(1 / mean squared error of a pixel) in dB, mean over the images
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule, to_model
from src.metrics.base import Sampler, Scores, count


class ReconstructionScorer:
    """Scores x -> reconstruct(x) on the test images; "train" where there are no others.

    Args:
        data: set up, of images.
        reconstruct: images (n, c, h, w) in [-1, 1] to images of the same shape; it brings its input
            to where its weights are.
        batch_size: images at once.

    Attributes:
        headline: the short name under which dashboards find the number, and its full name.
    """

    def __init__(
        self, data: DataModule, reconstruct: Callable[[Tensor], Tensor], batch_size: int = 100
    ) -> None:
        self.data, self.reconstruct, self.batch_size = data, reconstruct, batch_size
        self.split = "test" if "test" in data.splits else "train"
        self.images = data.splits[self.split].x
        self.headline = {"mse": self.name("mse")}

    def name(self, metric: str) -> str:
        """The metric's name with its protocol: `mse10k_test`."""
        return f"{metric}{count(len(self.images))}_{self.split}"

    def score(self, sample: Sampler | None = None) -> Scores:
        """Reconstruct all images of the split; `sample` is not used."""
        squared = torch.cat([self._errors(x) for x in self.images.split(self.batch_size)])
        pixels = self.images[0].numel()
        values = {
            "mse": float(squared.mean()),
            "psnr": float((-10 * (squared / pixels).log10()).mean()),
        }
        return Scores(
            {self.name(metric): value for metric, value in values.items()},
            {self.name(metric): self._protocol(metric) for metric in values},
        )

    @torch.no_grad()
    def _errors(self, stored: Tensor) -> Tensor:
        """Squared error (n,) of each image, in float64."""
        x = to_model(stored)
        y = self.reconstruct(x).to(x).clamp(-1, 1)
        return ((y - x).double() / 2).square().flatten(1).sum(1)

    def _protocol(self, metric: str) -> dict[str, Any]:
        return {
            "metric": metric,
            "n_real": len(self.images),
            "real_split": self.split,
            "pixels": "in [0, 1], clipped",
            "data_id": self.data.data_id,
        }
