"""Error rate of a classifier on held-out images.

error  share of the test images that get another class than their own, in percent: the measure of
       Vincent et al. 2010 and Rifai et al. 2011 for networks that were first trained layer by layer
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from src.data.base import DataModule
from src.metrics.base import PORTION, ModelScorer, Scores, batches, held_out


class ClassificationScorer(ModelScorer):
    """Asks `classify` what the test images show; "train" where there are no others.

    Args:
        data: set up, with labels.
        classify: images (n, c, h, w) in [-1, 1] to logits (n, classes); it brings its input to
            where its weights are.
    """

    def __init__(self, data: DataModule, classify: Callable[[Tensor], Tensor]) -> None:
        split, self.images = held_out(data)
        super().__init__(data, split)
        self.classify = classify
        self.headline = {"error": self.name("error")}

    def size(self, metric: str) -> int:
        return len(self.images.x)

    def score(self) -> Scores:
        """Classify all images of the split."""
        wrong = 0
        for x, y in batches(self.images, PORTION, labelled=True):
            wrong += int((self.classify(x).argmax(1).cpu() != y).sum())
        return self.report({"error": 100 * wrong / len(self.images.x)})

    def protocol(self, metric: str) -> dict[str, Any]:
        return {"n_real": len(self.images.x), "real_split": self.basis, "unit": "percent"}
