"""The Laplacian pyramid: an image as its smallest version and what each enlargement lacks.

    l_0 = x,  l_{k+1} = halve(l_k),  h_k = l_k - double(l_{k+1})       Burt & Adelson 1983
    x = l_0:  l_k = double(l_{k+1}) + h_k,  from the smallest l on

`halve` takes means of 2 x 2 pixels and `double` interpolates linearly. Whatever they are, the sum
gives x back, up to rounding.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor
from torch.nn import functional as F


def halve(x: Tensor) -> Tensor:
    """Images (n, c, 2 h, 2 w) to (n, c, h, w)."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Images (n, c, h, w) to (n, c, 2 h, 2 w)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def shrink(x: Tensor, times: int) -> list[Tensor]:
    """Versions of images (n, c, h, w), from the one halved `times` times to the images themselves.

    Args:
        x: sides must be multiples of 2^times.
        times: of halving.
    """
    versions = [x]
    for _ in range(times):
        versions.append(halve(versions[-1]))
    return versions[::-1]


def build(x: Tensor, times: int) -> list[Tensor]:
    """The pyramid of images (n, c, h, w): the smallest version, then residuals, coarse to fine."""
    versions = shrink(x, times)
    residuals = [fine - double(coarse) for coarse, fine in pairwise(versions)]
    return [versions[0], *residuals]


def expand(pyramid: Sequence[Tensor]) -> Tensor:
    """Images (n, c, h, w) of their pyramid, the inverse of `build`."""
    x, *residuals = pyramid
    for residual in residuals:
        x = double(x) + residual
    return x


def sides(resolution: int, smallest: int) -> list[int] | None:
    """Sides of all versions, small to large: [7, 14, 28]; None if halving misses `smallest`."""
    chain = [resolution]
    while chain[-1] > smallest and chain[-1] % 2 == 0:
        chain.append(chain[-1] // 2)
    return chain[::-1] if chain[-1] == smallest else None
