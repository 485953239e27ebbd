"""Images to twice or half their size by binomial filters, which keep aliases out (Zhang 2019).

An even size is reached by [1, 2, 1] * [1, 1] = [1, 3, 3, 1], which keeps pixels apart by half a
pixel, an odd one by [1, 2, 1] itself: 4, 7, 14, 28. Doubling is zeros between the pixels and then
the filter, halving the filter and then every second pixel. Zeros are never made: for the whole
step, a strided convolution with the filter does both; for a convolution that changes the size, a
strided one and a `Blur` on its larger side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Filter(nn.Module):
    """A binomial filter for images (n, c, h, w).

    Args:
        channels: c.
        size: the larger image's.
        up: double, and not halve: the filter then has the sum 4, for the zeros.
    """

    kernel: Tensor

    def __init__(self, channels: int, size: int, up: bool) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0] if size % 2 else [1.0, 3.0, 3.0, 1.0])
        row = row / row.sum() * (2 if up else 1)
        kernel = torch.outer(row, row).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)
        self.channels, self.up = channels, up


class Resample(Filter):
    """Images (n, c, h, w) to twice or half the size; arguments are those of `Filter`."""

    def forward(self, x: Tensor) -> Tensor:
        filtered = F.conv_transpose2d if self.up else F.conv2d
        return filtered(x, self.kernel, stride=2, padding=1, groups=self.channels)


class Blur(Filter):
    """A blur that makes a 3x3 convolution of stride 2 one of the doubled or to-be-halved image.

    It comes after a transposed one without padding (`up`), from 2 h + 1 to the size, or before one
    without padding, from the size to what that one wants.
    """

    def __init__(self, channels: int, size: int, up: bool) -> None:
        super().__init__(channels, size, up)
        self.padding = 1 - size % 2 if up else 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=self.padding, groups=self.channels)
