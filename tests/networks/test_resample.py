"""Resampling without zeros against the same with them, and what it keeps of images."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from src.networks.resample import Blur, Resample

SIZES = pytest.mark.parametrize(("small", "large"), [(4, 7), (4, 8), (7, 14), (13, 25)])


def stuffed(x: Tensor, size: int) -> Tensor:
    """Images with zeros between their pixels."""
    out = x.new_zeros(*x.shape[:2], size, size)
    out[..., ::2, ::2] = x
    return out


def filtered(x: Tensor, size: int, before: int, after: int, total: float = 1.0) -> Tensor:
    """Images after the filter of `size`, with zeros around them."""
    row = torch.tensor([1.0, 2.0, 1.0] if size % 2 else [1.0, 3.0, 3.0, 1.0]).double()
    kernel = torch.outer(row, row)[None, None] / row.sum() ** 2 * total
    padded = F.pad(x, (before, after, before, after))
    return F.conv2d(padded.flatten(0, 1)[:, None], kernel)[:, 0].unflatten(0, x.shape[:2])


@SIZES
def test_doubling_and_halving_are_the_zero_stuffing_ones(small: int, large: int) -> None:
    torch.manual_seed(0)
    even = 1 - large % 2
    x = torch.randn(2, 3, small, small).double()
    expected = filtered(stuffed(x, large), large, 1 + even, 1, total=4)
    assert_close(Resample(3, large, up=True).double()(x), expected)
    x = torch.randn(2, 3, large, large).double()
    expected = filtered(x, large, 1, 1)[..., ::2, ::2]
    assert_close(Resample(3, large, up=False).double()(x), expected)


@SIZES
def test_a_convolution_that_doubles_is_one_of_the_doubled_image(small: int, large: int) -> None:
    """And nothing is cut off between the two: the filtered image reaches over the border."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, small, small).double(), torch.randn(3, 5, 3, 3).double()
    out = Blur(5, large, up=True).double()(F.conv_transpose2d(x, weight, stride=2))
    doubled = filtered(stuffed(x, large), large, 3 - large % 2, 2, total=4)
    assert_close(out, F.conv2d(doubled, weight.flip(2, 3).transpose(0, 1)))
    assert out.shape == (2, 5, large, large)


@SIZES
def test_a_convolution_that_halves_leaves_out_every_second_pixel(small: int, large: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, large, large).double(), torch.randn(5, 3, 3, 3).double()
    out = F.conv2d(Blur(3, large, up=False).double()(x), weight, stride=2)
    assert_close(out, F.conv2d(filtered(x, large, 2, 2), weight)[..., ::2, ::2])
    assert out.shape == (2, 5, small, small)


@SIZES
def test_resampling_keeps_flat_images_and_ramps(small: int, large: int) -> None:
    """Away from the border, where the filter reaches outside of the image."""
    shift = 0.0 if large % 2 else 0.5
    ramp = {n: torch.arange(float(n)) + shift for n in (small, large)}
    ramp[small] = ramp[small] * 2  # the same picture: one pixel is two of the larger
    for up, source, target in ((True, small, large), (False, large, small)):
        resample = Resample(1, large, up)
        x = (3 + ramp[source]).expand(1, 1, source, source)
        out = resample(x)
        assert out.shape[-2:] == (target, target)
        expected = (3 + ramp[target]).expand(target, target)
        assert_close(out[0, 0, 1:-1, 1:-1], expected[1:-1, 1:-1])


def test_the_filter_is_no_part_of_the_state() -> None:
    assert not Resample(3, 8, up=True).state_dict()
