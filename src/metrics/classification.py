"""How often a classifier is wrong on images that it has not seen.

error  share of the test images that get another class than their own, in percent: the measure of
       Vincent et al. 2010 and Rifai et al. 2011 for networks that were first trained layer by layer
"""

from collections.abc import Callable

from torch import Tensor

from src.data.base import DataModule
from src.metrics.base import PORTION, Sampler, Scores, batches, count, held_out


class ClassificationScorer:
    """Asks `classify` what the test images show; "train" where there are no others.

    Args:
        data: set up, with labels.
        classify: images (n, c, h, w) in [-1, 1] to logits (n, classes); it brings its input to
            where its weights are.

    Attributes:
        headline: the short name under which dashboards find the number, and its full name.
    """

    def __init__(self, data: DataModule, classify: Callable[[Tensor], Tensor]) -> None:
        self.data, self.classify = data, classify
        self.split, self.images = held_out(data)
        self.name = f"error{count(len(self.images.x))}_{self.split}"
        self.headline = {"error": self.name}

    def score(self, sample: Sampler | None = None) -> Scores:
        """Classify all images of the split; `sample` is not used."""
        wrong = 0
        for x, y in batches(self.images, PORTION, labelled=True):
            wrong += int((self.classify(x).argmax(1).cpu() != y).sum())
        protocol = {
            "metric": "error",
            "n_real": len(self.images.x),
            "real_split": self.split,
            "unit": "percent",
            "data_id": self.data.data_id,
        }
        return Scores({self.name: 100 * wrong / len(self.images.x)}, {self.name: protocol})
