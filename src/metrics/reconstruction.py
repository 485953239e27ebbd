"""Reconstruction error of an autoencoder on held-out images: in pixels, and in features.

mse    squared error of an image, summed over its pixels in [0, 1], mean over the test images:
       the measure of Hinton & Salakhutdinov 2006 (deep autoencoder 3.00, PCA-30 13.87 on MNIST)
psnr   10 log10(1 / mean squared error of a pixel) in dB, mean over the images
ssim   structural similarity (Wang et al. 2004), Gaussian window of 11 pixels, mean over the images;
       1 is the same image
masked_mse  the mse of whole images, reconstructed from 70 % of their pixels: the others are black
       (Vincent et al. 2010 train denoising autoencoders so)

feature_error  E |f(x) - f(x')|^2 / E |f(x) - E f(x)|^2 of an extractor's features f: the share of
       their variance that is lost; 0 of the same image, 1 if all become the mean. Unlike a pixel's
       error it forgives a shift, and not a blur
rfid   FID of reconstructions to the images that they are of (rFID, Esser et al. 2021)
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from src.data.base import DataModule
from src.metrics.base import ModelScorer, Scores, batches, held_out
from src.metrics.quality import frechet_distance, moments
from src.networks.features import Extractor

MASKED = 0.3  # share of the pixels
EMBEDDED = 2_000  # images whose features are compared, at most


class ReconstructionScorer(ModelScorer):
    """Scores x -> reconstruct(x) on the test images; "train" where there are no others.

    Args:
        data: set up, of images.
        reconstruct: images (n, c, h, w) in [-1, 1] to images of the same shape; it brings its input
            to where its weights are.
        batch_size: images at once.
        conditional: True if `reconstruct` wants the labels (n,) too.
    """

    def __init__(
        self,
        data: DataModule,
        reconstruct: Callable[..., Tensor],
        batch_size: int = 100,
        conditional: bool = False,
    ) -> None:
        split, self.images = held_out(data)
        super().__init__(data, split)
        self.reconstruct, self.batch_size = reconstruct, batch_size
        self.conditional = conditional
        self.headline = {"mse": self.name("mse")}

    def size(self, metric: str) -> int:
        return len(self.images.x)

    def score(self) -> Scores:
        """Reconstruct all images of the split."""
        parts = batches(self.images, self.batch_size, self.conditional)
        generator = torch.Generator().manual_seed(0)  # the same pixels for every model
        compared = [self._compare(x, y, generator) for x, y in parts]
        squared, *others = map(torch.cat, zip(*compared, strict=True))
        values = {"mse": float(squared.mean())}
        if others:
            masked, similar = others
            pixels = self.images.x[0].numel()
            values |= {
                "psnr": float((-10 * (squared / pixels).log10()).mean()),
                "ssim": float(similar.mean()),
                "masked_mse": float(masked.mean()),
            }
        return self.report(values)

    @torch.no_grad()
    def _compare(
        self, x: Tensor, labels: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Squared error, and unless `brief` the same from masked images, and similarity.

        Each is (n,) in float64.
        """

        def reconstruct(x: Tensor) -> Tensor:
            y = self.reconstruct(x) if labels is None else self.reconstruct(x, labels)
            return y.to(x).clamp(-1, 1)

        def squared_error(y: Tensor) -> Tensor:
            return ((y - x).double() / 2).square().flatten(1).sum(1)

        y = reconstruct(x)
        if self.brief:
            return (squared_error(y),)
        masked = reconstruct(x.masked_fill(torch.rand(x.shape, generator=generator) < MASKED, -1.0))
        similar = structural_similarity_index_measure(
            (y + 1) / 2, (x + 1) / 2, data_range=1.0, reduction="none"
        )
        return squared_error(y), squared_error(masked), similar.double()

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_real": len(self.images.x),
            "real_split": self.basis,
            "pixels": "in [0, 1], clipped",
        }


class FeatureReconstructionScorer(ModelScorer):
    """Scores x -> reconstruct(x) by features of test images; of "train" where there are no others.

    Args:
        data: set up, of images.
        extractor: gives the features.
        reconstruct: images (n, c, h, w) in [-1, 1] to images of the same shape; it brings its input
            to where its weights are.
        batch_size: images at once.
        conditional: True if `reconstruct` wants the labels (n,) too.
        n: the most images, evenly spaced over the split.
    """

    def __init__(
        self,
        data: DataModule,
        extractor: Extractor,
        reconstruct: Callable[..., Tensor],
        batch_size: int = 100,
        conditional: bool = False,
        n: int = EMBEDDED,
    ) -> None:
        super().__init__(data, extractor.name)
        self.split, self.images = held_out(data, min(n, EMBEDDED))
        self.extractor, self.reconstruct = extractor, reconstruct
        self.batch_size, self.conditional = batch_size, conditional
        self._real: Tensor | None = None

    def size(self, metric: str) -> int:
        return len(self.images.x)

    @torch.no_grad()
    def score(self) -> Scores:
        """Embed the reconstructions, and once the images; of equal features there are no scores."""
        reals, mades = [], []
        for x, labels in batches(self.images, self.batch_size, self.conditional):
            y = self.reconstruct(x) if labels is None else self.reconstruct(x, labels)
            if not y.isfinite().all():
                return self.report({"feature_error": math.nan, "rfid": math.nan})
            self.extractor.to(y.device)
            mades.append(self._embed(y.clamp(-1, 1)))
            if self._real is None:
                reals.append(self._embed(x))
        self._real = real = torch.cat(reals) if self._real is None else self._real
        variance = (real - real.mean(0)).square().sum(1).mean()
        if not variance:
            return self.report({})
        made = torch.cat(mades)
        error = float((made - real).square().sum(1).mean() / variance)
        distance = frechet_distance(moments(real), moments(made))
        return self.report({"feature_error": error, "rfid": distance})

    def _embed(self, x: Tensor) -> Tensor:
        return self.extractor(x)[0].double().cpu()

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_real": len(self.images.x),
            "real_split": self.split,
            "extractor": self.extractor.protocol,
        }
