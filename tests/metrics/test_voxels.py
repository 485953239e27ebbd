"""Overlap of voxels: closed forms, and the four ways in which a generator can fail."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.data.base import DataModule
from src.data.procedural.solids import render, sample_factors
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.metrics.voxels import VoxelScorer, flat, iou, largest_piece, voxel_metrics


def chairs(n: int, seed: int) -> Tensor:
    return render(sample_factors(n, seed), ["chair", "sofa"], 16)


class Chairs(DataModule):
    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        return {"train": Split(chairs(80, 0)), "test": Split(chairs(60, 1))}, {"name": "chairs"}


@pytest.fixture(scope="module")
def data() -> Chairs:
    made = Chairs(DataSpec("voxels", (1, 16, 16, 16)), 8, 0)
    made.setup()
    return made


def test_overlap_of_blocks() -> None:
    x = torch.zeros(3, 1, 16, 16, 16)
    x[0, 0, :8], x[1, 0, 4:12] = 1, 0.6  # half of each is shared; the third is empty
    expected = torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    assert_close(iou(flat(x), flat(x)), expected)


def test_pieces() -> None:
    shape = torch.zeros(8, 8, 8, dtype=torch.bool)
    assert largest_piece(shape) == 0
    shape[0, 0, :6] = True
    assert largest_piece(shape) == 1
    shape[1, 1, 6:8] = True  # touches the other at an edge only
    assert largest_piece(shape) == 6 / 8


def test_numbers_by_hand() -> None:
    """Two samples that are one and the same held-out shape, beside another one."""
    a, b = torch.zeros(2, 1, 16, 16, 16)
    a[0, :4], b[0, 8:] = 1, 1
    numbers = voxel_metrics(torch.stack([a, a]), flat(torch.stack([a, b])))
    assert numbers["coverage"] == 0.5
    assert numbers["overlap"] == 1
    assert numbers["whole"] == 1
    # Each sample has the other; the held-out one has a sample; the last overlaps none.
    assert numbers["nna"] in (0.5, 0.75)
    assert voxel_metrics(torch.stack([a, b]), flat(torch.stack([a, b])))["overlap"] == 0


def test_reals_are_reals_and_failures_show(data: Chairs) -> None:
    reals, held = data.splits["train"].x[:60], flat(data.splits["test"].x)
    good = voxel_metrics(reals, held)
    assert 0.35 < good["coverage"] < 0.8
    assert abs(good["nna"] - 0.5) < 0.15
    assert good["whole"] > 0.99
    one = voxel_metrics(reals[:1].expand(60, -1, -1, -1, -1), held)
    assert one["coverage"] == 1 / 60
    assert one["overlap"] == 1
    assert one["nna"] > 0.9
    noise = torch.rand(60, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    speckle = voxel_metrics((noise > 0.9).float(), held)
    assert speckle["whole"] < 0.3
    assert speckle["nna"] > 0.7
    nothing = voxel_metrics(torch.zeros(60, 1, 16, 16, 16), held)
    assert nothing["coverage"] == 0
    assert (nothing["whole"], nothing["overlap"]) == (0, 0)


def test_the_record_has_names_reals_and_nan(data: Chairs) -> None:
    scorer = VoxelScorer(data, n=1000, seed=3)
    stored = data.splits["train"].x
    assert scorer.n == 60
    scores = scorer.score(lambda n, _: stored[torch.arange(n) * 80 // 60].float())
    assert set(scores.values) == {f"{m}60_iou" for m in ("coverage", "nna", "overlap", "whole")}
    for name, value in scores.values.items():
        assert_close(scores.protocols[name]["real"], value)
    bad = scorer.score(lambda n, _: torch.full((n, 1, 16, 16, 16), math.nan))
    assert all(math.isnan(value) for value in bad.values.values())
    with pytest.raises(SettingError, match=r"metrics\.n=1"):
        VoxelScorer(data, n=1)
