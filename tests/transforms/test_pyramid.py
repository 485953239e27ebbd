"""The Laplacian pyramid: it gives the image back, and its parts are what they should be."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from src.transforms.pyramid import build, double, expand, halve, shrink, sides


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 128)])
@pytest.mark.parametrize("times", [1, 2])
def test_it_is_inverted_exactly(shape: tuple[int, ...], times: int) -> None:
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pyramid = build(x, times)
    assert [part.shape[-1] for part in pyramid] == [shape[-1] >> i for i in range(times, -1, -1)]
    assert (expand(pyramid) - x).abs().max() < 1e-6
    pyramid[-1] = pyramid[-1] + 0.1  # and a change is not lost
    assert_close(expand(pyramid), x + 0.1)


def test_residuals_are_details() -> None:
    """Of a constant image there are none; of a chequered one all is in the finest."""
    assert all(not part.any() for part in build(torch.full((1, 1, 16, 16), 0.3), 2)[1:])
    chequered = torch.ones(1, 1, 16, 16)
    chequered[..., ::2, 1::2] = chequered[..., 1::2, ::2] = -1
    coarsest, middle, fine = build(chequered, 2)
    assert not coarsest.any()
    assert not middle.any()
    assert fine.equal(chequered)


def test_halving_takes_means() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert halve(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert [part.shape[-1] for part in shrink(x, 2)] == [1, 2, 4]
    assert shrink(x, 2)[0].item() == 7.5


def test_doubling_interpolates() -> None:
    """A new pixel's centre is a quarter of the way from one old centre to the next."""
    x = torch.tensor([0.0, 4.0])[None, None, None].expand(1, 1, 2, 2)
    assert double(x)[0, 0].tolist() == [[0.0, 1.0, 3.0, 4.0]] * 4
    assert_close(double(x), F.interpolate(x, (4, 4), mode="bilinear"))


@pytest.mark.parametrize(
    ("resolution", "smallest", "expected"),
    [
        (28, 7, [7, 14, 28]),
        (64, 8, [8, 16, 32, 64]),
        (8, 8, [8]),
        (28, 8, None),
        (30, 7, None),
        (4, 8, None),
    ],
)
def test_sides(resolution: int, smallest: int, expected: list[int] | None) -> None:
    assert sides(resolution, smallest) == expected
