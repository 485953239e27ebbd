"""Shapes compared by the overlap of their voxels: coverage, two-sample accuracy, variety, pieces.

With IoU(a, b) = |a and b| / |a or b| of occupied voxels, n samples and n held-out shapes,

    coverage   share of the held-out shapes that are the nearest to at least one sample
               (Achlioptas et al. 2018, sec. 4)
    nna        accuracy of the 1-nearest-neighbour classifier "sample or held-out", leaving out the
               shape itself: 1/2 if it cannot tell, 1 if it always can (Lopez-Paz & Oquab 2017)
    overlap    mean IoU of two samples: what all have in common; 1 if they are all the same
    whole      mean share of a sample's voxels that lie in its largest piece (of voxels that share
               a face)

A sample is occupied where its value is more than 1/2; an empty one overlaps nothing. Beside each
number stands what n training shapes get in the place of the samples.
"""

import math
from functools import cached_property
from typing import Any

import torch
from scipy.ndimage import label
from torch import Tensor

from src.data.base import DataModule
from src.data.spec import to_bool
from src.errors import SettingError
from src.metrics.base import Sampler, SampleScorer, Scores, draw_portions, held_out, spaced

METRICS = ("coverage", "nna", "overlap", "whole")


class VoxelScorer(SampleScorer):
    """Compares samples with as many held-out shapes.

    Args:
        data: set up.
        n: samples, and held-out shapes: as many as there are, if there are fewer. The numbers
            depend on it.
        seed: seed of the samples.

    Raises:
        SettingError: if n is below 2, or there are no two held-out shapes.
    """

    def __init__(self, data: DataModule, n: int = 100, seed: int = 0) -> None:
        super().__init__(data, "iou", seed)
        name, split = held_out(data, n)
        self.n = min(n, len(split.x), len(data.splits["train"].x))
        if self.n < 2:
            raise SettingError(f"metrics.n={n}: at least 2 samples and held-out shapes are needed.")
        self.compared, self.split = flat(split.x[: self.n]), name
        self.headline = {metric: self.name(metric) for metric in METRICS}

    def size(self, metric: str) -> int:
        return self.n

    def score(self, sample: Sampler) -> Scores:
        """Draw n samples and compare them. Samples that are not finite give NaN."""
        x = torch.cat([part.cpu() for part in draw_portions(sample, self.n, self.seed)])
        if not x.isfinite().all():
            return self.report(dict.fromkeys(METRICS, math.nan))
        return self.report(voxel_metrics(x, self.compared))

    def protocol(self, metric: str) -> dict[str, Any]:
        compares = metric in ("coverage", "nna")
        return {
            "n_fake": self.n,
            "compared_with": f"{self.n} shapes of the {self.split} split" if compares else None,
            "real": self._reals[metric],
        }

    @cached_property
    def _reals(self) -> dict[str, float]:
        """The numbers of training shapes in the place of the samples."""
        return voxel_metrics(spaced(self.data.splits["train"], self.n).x, self.compared)


def voxel_metrics(x: Tensor, held_out: Tensor) -> dict[str, float]:
    """The metrics of this file, by their bare names.

    Args:
        x: samples (n, 1, d, h, w), in [0, 1] or bool.
        held_out: as many held-out shapes (n, voxels), see `flat`.
    """
    samples, n = flat(x), len(x)
    across, among, others = (
        iou(a, b) for a, b in ((samples, held_out), (samples, samples), (held_out, held_out))
    )
    every = torch.cat([torch.cat([among, across], 1), torch.cat([across.T, others], 1)])
    nearest = every.fill_diagonal_(-1).argmax(1)  # a shape is not its own neighbour
    is_sample = torch.arange(2 * n) < n
    pairs = ~torch.eye(n, dtype=torch.bool)
    return {
        "coverage": len(across.argmax(1)[across.amax(1) > 0].unique()) / n,
        "nna": float((is_sample[nearest] == is_sample).double().mean()),
        "overlap": float(among[pairs].double().mean()),
        "whole": float(torch.stack([largest_piece(shape) for shape in to_bool(x)[:, 0]]).mean()),
    }


def flat(x: Tensor) -> Tensor:
    """Voxels (n, 1, d, h, w), in [0, 1] or bool, to rows of 0 and 1, float32."""
    return to_bool(x).flatten(1).float()


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (n, m) of rows a (n, voxels) and b (m, voxels); of empty ones 0."""
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return both / either.clamp(min=1)


def largest_piece(shape: Tensor) -> Tensor:
    """Share of the occupied voxels (d, h, w) that lie in the largest piece; 0 of an empty shape."""
    pieces, count = label(shape.numpy())
    if not count:
        return torch.zeros((), dtype=torch.float64)
    sizes = torch.from_numpy(pieces).flatten().bincount()[1:].double()
    return sizes.max() / sizes.sum()
