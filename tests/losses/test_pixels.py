"""Distances of pixels against their definitions."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from src.losses.pixels import L1, L2, Charbonnier, Occupancy, PixelLoss

A, B = (torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(s)) for s in (0, 1))


def test_definitions() -> None:
    assert_close(L1()(A, B), F.l1_loss(A, B))
    assert_close(L2()(A, B), F.mse_loss(A, B))
    assert_close(Charbonnier(eps=0.1)(A, B), ((A - B) ** 2 + 0.01).sqrt().mean())


def test_charbonnier_is_between_the_two() -> None:
    """|d| far from 0, eps + d^2 / (2 eps) near to it, and smooth at 0."""
    loss = Charbonnier(eps=1e-3)
    assert_close(loss(A, B), L1()(A, B), rtol=1e-3, atol=0)
    same = A.clone().requires_grad_(True)
    loss(same, A).backward()
    assert same.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [L1(), L2(), Charbonnier()])
def test_means_in_float32(loss: PixelLoss) -> None:
    assert_close(loss(A.repeat(2, 1, 1, 1), B.repeat(2, 1, 1, 1)), loss(A, B))
    assert loss(A.bfloat16(), B).dtype == torch.float32
    assert loss(A, A) <= 1e-3 < loss(A, B)


def test_occupancy_is_cross_entropy_and_the_missing_overlap() -> None:
    p, b = A.sigmoid(), (B > 0.5).float()
    loss = Occupancy(overlap=0.0)
    assert_close(loss(p, b), F.binary_cross_entropy(p, b))
    hard = (A > 0.5).float()
    iou = ((hard + b == 2).flatten(1).sum(1) / (hard + b > 0).flatten(1).sum(1)).mean()
    assert_close(Occupancy(overlap=2.0)(hard, b) - loss(hard, b), 2 * (1 - iou))
    assert Occupancy()(b, b) < 1e-6
    empty = torch.zeros_like(b)
    assert Occupancy()(empty, empty) == 1  # and not NaN
    logits = A.clone().requires_grad_(True)
    Occupancy()(logits.sigmoid(), b).backward()
    assert (logits.grad.sign() == 1 - 2 * b).all()


def test_cross_entropy_is_never_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs PyTorch refuses it there."""
    seen, original = [], F.binary_cross_entropy

    def spy(*given: torch.Tensor, **named: str) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return original(*given, **named)

    monkeypatch.setattr(F, "binary_cross_entropy", spy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Occupancy()(A.sigmoid(), (B > 0).float()).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")
    assert seen == [False]
