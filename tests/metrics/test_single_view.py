"""Shapes of one picture: the numbers by their definitions, and what is reached without a model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.testing import assert_close

from src.data.spec import DataSpec, Split, to_model
from src.metrics import single_view
from src.metrics.single_view import (
    SingleViewScorer,
    Views,
    average_precision,
    baselines,
    compare,
)
from src.transforms.views import render


def shapes(n: int, seed: int, kinds: int = 2) -> Split:
    """Boxes: of class 0 high, of class 1 wide; sizes are random."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.zeros(n, 1, 8, 8, 8, dtype=torch.bool), torch.arange(n) % kinds
    sizes = torch.randint(2, 5, (n, 2), generator=generator)
    for i, (a, b) in enumerate(sizes.tolist()):
        box = (slice(a), slice(8), slice(b)) if y[i] == 0 else (slice(a), slice(6, 8), slice(3 + b))
        x[(i, 0, *box)] = True
    return Split(x, y)


@pytest.fixture
def data() -> SimpleNamespace:
    """Test shapes, the last of which is among the training shapes."""
    splits = {"train": shapes(20, 0), "test": shapes(6, 1)}
    splits["test"].x[5] = splits["train"].x[13]

    def source_of(split: str, index: Tensor) -> Tensor:
        pictures = render(splits[split].x[index].float(), 40.0, 30.0, resolution=24)
        return to_model(((pictures + 1) * 127.5).round().byte())

    spec = DataSpec(
        "voxels", (1, 8, 8, 8), ("high", "wide"), source=DataSpec("images", (1, 24, 24))
    )
    return SimpleNamespace(
        splits=splits, spec=spec, source_of=source_of, data_id={"name": "boxes"}, backwards=False,
        source_count=lambda split: len(splits[split].x),
    )  # fmt: skip


@pytest.mark.parametrize("levels", [3, 1000])
def test_average_precision_is_that_of_scikit_learn(levels: int) -> None:
    """With few levels most voxels are tied."""
    generator = torch.Generator().manual_seed(levels)
    p = torch.randint(levels, (5, 200), generator=generator) / levels
    truth = torch.rand(5, 200, generator=generator) < 0.2 + 0.3 * p
    truth[4] = False
    expected = [average_precision_score(t, q) for t, q in zip(truth[:4], p[:4], strict=True)]
    assert_close(average_precision(p, truth), torch.tensor([*expected, 0.0], dtype=torch.float64))


def test_the_truth_is_right_and_its_half_is_half_right(data: SimpleNamespace) -> None:
    truth = data.splits["test"].x
    perfect = compare(truth, lambda i: truth[i].float())
    assert all((values == 1).all() for values in perfect.values())
    half = truth.clone()
    half[:, :, :, ::2] = False  # every other slice
    numbers = compare(truth, lambda i: half[i] * 0.6)
    assert_close(numbers["iou"], torch.full((6,), 0.5, dtype=torch.float64))
    assert (numbers["ap"] > 0.5).all()  # the others are ranked with the empty ones
    assert (numbers["whole"][::2] == 1 / 4).all()
    empty = compare(truth, lambda i: torch.zeros(len(i), 1, 8, 8, 8))
    assert float(empty["iou"].sum()) == float(empty["whole"].sum()) == 0
    assert_close(empty["ap"], truth.double().mean((1, 2, 3, 4)))
    broken = compare(truth, lambda i: torch.full((len(i), 1, 8, 8, 8), torch.nan))
    assert all(values.isnan().all() for values in broken.values())


def test_baselines(data: SimpleNamespace) -> None:
    views = Views(data, "test", 100)
    found = baselines(data, views)
    train, test = (data.splits[name].x.flatten(1).numpy() for name in ("train", "test"))
    both = (test[:, None] & train).sum(2) / (test[:, None] | train).sum(2)
    assert found["nearest training shape"]["iou"] == pytest.approx(both.max(1).mean())
    assert both.max(1).mean() > found["by picture"]["iou"] > both.mean()
    assert both.max(1).mean() > found["by silhouette"]["iou"] > both.mean()
    labels = data.splits["train"].y.numpy()
    shares = [train[labels == c].mean(0) for c in (0, 1)]
    # As many voxels as a shape of the class has, at most: those that most of them have.
    levels = [np.sort(share)[::-1][round(float(share.sum()))] for share in shares]
    means = np.stack([a > b for a, b in zip(shares, levels, strict=True)])[data.splits["test"].y]
    expected = ((test & means).sum(1) / (test | means).sum(1)).mean()
    assert found["class mean"]["iou"] == pytest.approx(expected)
    assert found["class mean"]["ap"] > found["mean shape"]["ap"]
    # The shape that is among them is found by its picture.
    views.shapes, views.pictures, views.labels = (
        values[5:] for values in (views.shapes, views.pictures, views.labels)
    )
    alone = baselines(data, views)
    assert [alone[f"by {way}"]["iou"] for way in ("picture", "silhouette")] == [1, 1]


def test_what_is_searched_does_not_depend_on_the_portions(
    data: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = baselines(data, Views(data, "test", 100))
    monkeypatch.setattr(single_view, "AT_ONCE", 3)
    monkeypatch.setattr(single_view, "MOST_VOXELS", 1)
    parts = baselines(data, Views(data, "test", 100))
    assert {k: pytest.approx(v) for k, v in whole.items()} == parts


def test_the_scorer(data: SimpleNamespace) -> None:
    """It gives the model the pictures and, in their order, the labels."""
    calls = []

    def translate(pictures: Tensor, labels: Tensor) -> Tensor:
        calls.append((pictures, labels))
        return data.splits["test"].x[::2].float()

    scorer = SingleViewScorer(data, translate, 3)
    values, protocols = scorer.score()
    assert values == {"iou3_test": 1, "ap3_test": 1, "whole3_test": 1}
    ((pictures, labels),) = calls
    assert_close(pictures, data.source_of("test", torch.tensor([0, 2, 4])))
    assert labels.tolist() == [0, 0, 0]
    record = protocols["iou3_test"]["baselines"]
    assert record["mean shape"] < record["by silhouette"] <= record["nearest training shape"] <= 1
    assert SingleViewScorer(data, translate, 50).name("iou") == "iou6_test"
