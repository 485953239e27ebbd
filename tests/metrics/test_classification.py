"""The error of a classifier that is wrong in known cases."""

import torch
from torch import Tensor
from torch.nn import functional as F

from src.data.spec import Split
from src.metrics.classification import ClassificationScorer

from .conftest import InMemory, noise_images


def test_the_share_of_wrong_answers_in_percent() -> None:
    labels = torch.arange(40) % 10
    data = InMemory(
        "noise", {"train": Split(noise_images(4, 1)), "test": Split(noise_images(40, 0), labels)}
    )

    def classify(x: Tensor) -> Tensor:
        wrong = torch.arange(len(x)) < 3
        return F.one_hot((labels + wrong) % 10).float() - 5

    scorer = ClassificationScorer(data, classify)
    assert scorer.headline == {"error": "error40_test"}
    scores = scorer.score()
    assert scores.values == {"error40_test": 7.5}
    assert scores.protocols["error40_test"]["unit"] == "percent"
