"""Convolutions of the slope: torch's values and derivatives, at the price of convolutions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.losses.convolutions import SlopeConvolutions

CASES = {
    "conv1d": (F.conv1d, (2, 4, 9), (6, 4, 3), {"stride": 2, "padding": 1}),
    "strided, the last column unused": (F.conv2d, (2, 3, 8, 7), (4, 3, 4, 4), {"stride": 2}),
    "padded": (F.conv2d, (2, 3, 5, 6), (4, 3, 3, 3), {"padding": (1, 2)}),
    "groups": (F.conv2d, (2, 6, 5, 5), (9, 2, 3, 3), {"groups": 3, "padding": 1}),
    "depthwise": (F.conv2d, (2, 4, 4, 4), (4, 1, 4, 4), {"groups": 4}),
    "dilated": (F.conv2d, (2, 3, 9, 9), (2, 3, 3, 3), {"dilation": 2, "stride": (1, 2)}),
    "conv3d": (F.conv3d, (1, 2, 4, 4, 4), (3, 2, 3, 3, 3), {"stride": 2, "padding": 1}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_first_and_second_derivatives(case: tuple) -> None:
    """Against torch's own, of a loss on the slope of a nonlinear function of a convolution."""
    convolve, x_shape, w_shape, options = case
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()

    x, w, bias = draw(*x_shape), draw(*w_shape), draw(w_shape[0])

    def slope() -> tuple[Tensor, Tensor]:
        y = convolve(x, w, bias, **options)
        return y, torch.autograd.grad(y.tanh().sum(), x, create_graph=True)[0]

    with SlopeConvolutions():
        y, ours = slope()
    expected_y, theirs = slope()
    assert_close(y, expected_y)
    assert_close(ours, theirs)

    def derivatives(slope: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(slope.square().sum() + y.square().sum(), (x, w, bias))

    assert_close(derivatives(ours, y), derivatives(theirs, expected_y))


def test_third_derivatives() -> None:
    """The three functions are each other's derivatives, so that there is no end to them."""
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64).requires_grad_()
    w = torch.randn(4, 1, 3, 3, dtype=torch.float64).requires_grad_()
    with SlopeConvolutions() as mode:
        mode.slopes_only = False

        def function(x: Tensor, w: Tensor) -> Tensor:
            (slope,) = torch.autograd.grad(
                F.conv2d(x, w, groups=2, padding=1).pow(3).sum(), x, create_graph=True
            )
            return slope

        assert torch.autograd.gradcheck(function, (x, w))
        assert torch.autograd.gradgradcheck(function, (x, w))


def calls(work: Callable[[], object]) -> int:
    """How often aten's kernel for adjoints is called."""
    with torch.profiler.profile() as profile:
        work()
    return sum(e.count for e in profile.key_averages() if e.key == "aten::convolution_backward")


def test_no_gradient_of_weights_within_the_block() -> None:
    """One adjoint for the slope of one layer; after it, no more than its derivatives need."""
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6).requires_grad_()
    slopes = []

    def slope() -> None:
        with SlopeConvolutions():
            y = layer(x).tanh()
            slopes.append(torch.autograd.grad(y.sum(), x, create_graph=True)[0])

    assert calls(slope) == 1
    # Through X to w, and through C (tanh is not linear) to w and to x.
    assert calls(lambda: slopes[0].square().sum().backward()) == 3
    assert layer.weight.grad is not None
    assert torch.isfinite(layer.weight.grad).all()


def test_what_it_does_not_cover_is_torchs() -> None:
    """Words for padding, images without a batch, other functions."""
    x, w = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3)
    with SlopeConvolutions():
        assert_close(F.conv2d(x, w, padding="same"), F.conv2d(x, w, padding=1))
        assert F.conv2d(x[0], w).shape == (4, 4, 4)
        assert F.conv_transpose2d(x, torch.randn(3, 2, 2, 2)).shape == (2, 2, 7, 7)
    with pytest.raises(RuntimeError), SlopeConvolutions():
        F.conv2d(x, w[:, :2])


def test_the_mode_ends_with_its_block() -> None:
    x, w = torch.randn(1, 1, 3, 3).requires_grad_(), torch.randn(1, 1, 2, 2)
    with SlopeConvolutions():
        assert "_C" in type(F.conv2d(x, w).grad_fn).__name__
    assert "_C" not in type(F.conv2d(x, w).grad_fn).__name__
