"""Shapes made of one picture each, compared with the true ones; on held-out pictures.

iou     |a and b| / |a or b| of the occupied voxels (occupancy above 1/2)
ap      average precision of a shape's voxels, ranked by their occupancy: the mean precision at
        each voxel that is truly occupied (3D-GAN's measure of single-view reconstruction)
whole   share of the occupied voxels in their largest piece

Means over the shapes. Beside each stands what is reached from the same pictures without a model:

mean shape               mean of the training shapes, as much of it as a shape has voxels
class mean               mean of those of the true class, which is told
by silhouette            the training shape whose picture has the most similar silhouette (IoU)
by picture               the training shape whose picture has the least squared error
nearest training shape   by IoU with the truth, which is told: retrieval cannot do better

There is one picture of each training shape, taken as those of the test shapes are.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule
from src.data.spec import to_bool, to_model, to_uint8
from src.metrics.base import ModelScorer, Scores, held_out, held_out_size, stop_if_asked
from src.metrics.voxels import flat, iou, largest_piece

METRICS = ("iou", "ap", "whole")
GALLERY = 4_000  # training shapes that are searched, evenly spaced
AT_ONCE = 100  # shapes that are made and compared
MOST_VOXELS = 2**27  # of the shapes whose nearest is looked for: 0.5 GB


class SingleViewScorer(ModelScorer):
    """Compares the shapes that a model makes of held-out pictures with the true ones.

    Args:
        data: set up, of voxels with pictures as their sources.
        translate: pictures (n, c, h, w) and labels to occupancies (n, 1, d, h, w) in [0, 1].
        n: the most pictures; evenly spaced ones of the split are taken.
    """

    def __init__(self, data: DataModule, translate: Callable[..., Tensor], n: int) -> None:
        split, _ = held_out(data, 1)
        super().__init__(data, split)
        self.translate, self.n = translate, min(n, held_out_size(data))
        # Not `whole`, which is also a number of samples.
        self.headline = {metric: self.name(metric) for metric in ("iou", "ap")}
        self._views: Views | None = None
        self._baselines: dict[str, dict[str, float]] = {}

    def size(self, metric: str) -> int:
        return self.n

    def score(self) -> Scores:
        """Make the shapes and compare them; the first time, also the baselines."""
        if self._views is None:
            self._views = Views(self.data, self.basis, self.n)
            self._baselines = baselines(self.data, self._views)
        return self.report(means(compare(self._views.shapes, self._views.made_by(self.translate))))

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_real": self.n,
            "real_split": self.basis,
            "occupied": "above 1/2",
            "baselines": {name: values[metric] for name, values in self._baselines.items()},
        }


class Views:
    """Shapes of a split, evenly spaced, and their pictures.

    Args:
        data: set up.
        split: such as "test".
        n: the most shapes.

    Attributes:
        shapes: (n, 1, d, h, w), bool.
        pictures: (n, c, h, w), uint8.
        labels: classes (n,), or None.
    """

    def __init__(self, data: DataModule, split: str, n: int) -> None:
        x, y = data.splits[split]
        n = min(n, len(x))
        index = torch.arange(n) * len(x) // n
        self.shapes, self.labels = to_bool(x[index]), None if y is None else y[index]
        parts = []
        for part in index.split(AT_ONCE):
            stop_if_asked()
            parts.append(to_uint8(data.source_of(split, part)))
        self.pictures = torch.cat(parts)

    def made_by(self, translate: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        """Shapes that `translate` makes of some pictures, given their numbers (m,); on the CPU."""

        def make(index: Tensor) -> Tensor:
            labels = None if self.labels is None else self.labels[index]
            return translate(to_model(self.pictures[index]), labels).cpu()

        return make


def compare(shapes: Tensor, make: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The metrics of this file for each shape, (n,) in float64; NaN where outputs are not finite.

    Args:
        shapes: the true ones, (n, 1, d, h, w), bool.
        make: from numbers (m,) of shapes to occupancies (m, 1, d, h, w) in their place.
    """
    rows: dict[str, list[Tensor]] = {metric: [] for metric in METRICS}
    for index in torch.arange(len(shapes)).split(AT_ONCE):
        stop_if_asked()
        output, truth = make(index), shapes[index]
        finite = output.isfinite().flatten(1).all(1)
        solid = to_bool(output)
        both, either = ((solid & truth).flatten(1).sum(1), (solid | truth).flatten(1).sum(1))
        numbers = {
            "iou": both.double() / either.clamp(min=1),
            "ap": average_precision(output.flatten(1), truth.flatten(1)),
            "whole": torch.stack([largest_piece(shape) for shape in solid[:, 0]]),
        }
        for metric, values in numbers.items():
            rows[metric].append(values.where(finite, torch.nan))
    return {metric: torch.cat(values) for metric, values in rows.items()}


def means(numbers: dict[str, Tensor]) -> dict[str, float]:
    """Means over the shapes."""
    return {metric: float(values.mean()) for metric, values in numbers.items()}


def average_precision(occupancy: Tensor, truth: Tensor) -> Tensor:
    """Mean over the true voxels of the precision at their occupancy, (n,), in float64.

    Voxels of one occupancy are taken together, as by scikit-learn's `average_precision_score`.

    Args:
        occupancy: (n, voxels).
        truth: the same shape, bool; 0 for a shape without voxels.
    """
    level, order = occupancy.sort(1, descending=True)
    right = truth.gather(1, order)
    # The last place of each place's level: the next one at which the level falls.
    places = torch.arange(level.shape[1]).expand(level.shape)
    falls = torch.ones_like(right)
    falls[:, :-1] = level[:, :-1] != level[:, 1:]
    last = places.where(falls, level.shape[1]).flip(1).cummin(1).values.flip(1)
    precision = right.cumsum(1).gather(1, last).double() / (last + 1)
    return (precision * right).sum(1) / right.sum(1).clamp(min=1)


def baselines(data: DataModule, views: Views) -> dict[str, dict[str, float]]:
    """The metrics of what is made of the pictures without a model, see the top of this file."""
    gallery = Views(data, "train", GALLERY)
    chosen = {
        "by silhouette": iou(_silhouettes(views), _silhouettes(gallery)).argmax(1),
        "by picture": torch.cdist(
            *(v.pictures.flatten(1).float() for v in (views, gallery))
        ).argmin(1),
        "nearest training shape": _nearest(views.shapes, gallery.shapes),
    }
    mean = _mean(gallery.shapes)
    makers: dict[str, Callable[[Tensor], Tensor]] = {
        "mean shape": lambda i: mean.expand(len(i), *mean.shape)
    }
    if views.labels is not None:
        classes = range(max(1, len(data.spec.classes)))
        of_class = torch.stack([_mean(gallery.shapes[gallery.labels == c]) for c in classes])
        makers["class mean"] = lambda i: of_class[views.labels[i]]
    for name, index in chosen.items():
        makers[name] = lambda i, index=index: gallery.shapes[index[i]].float()
    return {name: means(compare(views.shapes, make)) for name, make in makers.items()}


def _silhouettes(views: Views) -> Tensor:
    """Silhouettes of pictures, (n, pixels): 1 where they are not white."""
    return (views.pictures < 255).any(1).flatten(1).float()


def _mean(shapes: Tensor) -> Tensor:
    """Mean (1, d, h, w) of shapes (n, 1, d, h, w), of which as much as a shape has is above 1/2.

    The order of its voxels is that of their shares of the shapes, which may all be below 1/2.
    """
    mean = shapes.sum(0) / max(1, len(shapes))  # without a copy of all as floats
    volume = min(round(float(mean.sum())), mean.numel() - 1)
    level = mean.flatten().topk(volume + 1).values[-1]
    return torch.where(mean > level, 0.5 + mean / 2, mean / 2)


def _nearest(shapes: Tensor, gallery: Tensor) -> Tensor:
    """Number (n,) of the shape of the gallery (m, 1, d, h, w) that overlaps most with each."""
    nearest = []
    for part in shapes.split(max(1, MOST_VOXELS // shapes[0].numel())):
        best, found = torch.full((len(part),), -1.0), torch.zeros(len(part)).long()
        rows = flat(part)
        for index in torch.arange(len(gallery)).split(AT_ONCE):
            stop_if_asked()
            value, place = iou(rows, flat(gallery[index])).max(1)
            found = torch.where(value > best, index[place], found)
            best = best.maximum(value)
        nearest.append(found)
    return torch.cat(nearest)
