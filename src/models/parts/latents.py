"""Priors of the latent z, which InfoGAN's categorical and continuous codes can follow."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from src.config.ranges import NotNegativeInt, PositiveInt
from src.distributed import noise


class Latent:
    """z of `dim` independent entries, then one-hot categories, then codes from U(-1, 1).

    Args:
        dim: length of the unstructured part.
        prior: `normal` is N(0, 1), `uniform` is U(-1, 1), `unit` is U(0, 1).
        share: D's step and G's step of an iteration use the same z, and so the same fakes, as the
            DCGAN reference code and several course notes do. With one D step per iteration this
            saves a forward pass of G.
        categories: sizes of equally likely categorical codes (InfoGAN; Chen et al. 2016).
        continuous: number of continuous codes.

    Attributes:
        size: length of the whole.
    """

    def __init__(
        self,
        dim: PositiveInt,
        prior: Literal["normal", "uniform", "unit"] = "normal",
        share: bool = False,
        categories: Sequence[PositiveInt] = (),
        continuous: NotNegativeInt = 0,
    ) -> None:
        self.dim, self.prior, self.share = dim, prior, share
        self.categories, self.continuous = tuple(categories), continuous
        self.size = dim + sum(categories) + continuous

    def draw(
        self, n: int, device: torch.device, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw latents (n, size); by the device's global random generator if none is given."""
        options = {"device": device, "generator": generator}
        if self.prior == "normal":
            z = noise.normal(n, self.dim, **options)
        else:
            z = noise.uniform(n, self.dim, **options)
            z = z.mul_(2).sub_(1) if self.prior == "uniform" else z
        if self.size == self.dim:
            return z
        codes = [
            F.one_hot(noise.integers(0, k, n, **options), k).to(z.dtype) for k in self.categories
        ]
        return torch.cat([z, *codes, noise.uniform(n, self.continuous, **options) * 2 - 1], 1)

    def traversals(self, z: Tensor, steps: int = 10) -> Tensor:
        """One structured code after the other through its range, all else of z as it is.

        Args:
            z: (n, size).
            steps: along a continuous code, from -2 to 2 (Chen et al. 2016, fig. 2); a category with
                more values makes all rows longer, one with fewer begins again.

        Returns:
            (codes x n, columns, size).
        """
        columns = max(steps, *self.categories, 1)
        rows, position = [], self.dim
        for k in self.categories:
            row = z[:, None].repeat(1, columns, 1)
            which = torch.arange(columns, device=z.device) % k
            row[:, :, position : position + k] = F.one_hot(which, k).to(z.dtype)
            rows, position = [*rows, row], position + k
        for _ in range(self.continuous):
            row = z[:, None].repeat(1, columns, 1)
            row[:, :, position] = torch.linspace(-2, 2, columns, device=z.device)
            rows, position = [*rows, row], position + 1
        return torch.cat(rows)

    def split(self, codes: Tensor) -> list[Tensor]:
        """The structured part (n, size - dim) as its categories (n, k) and continuous codes."""
        return list(codes.split([*self.categories, self.continuous], 1))


def deviations(draws: Tensor, steps: int = 10, reach: float = 3.0) -> Iterator[Tensor]:
    """One latent dimension after the other through its range, all others at their means.

    Args:
        draws: (n, d) from the prior, of which mean and standard deviation are taken.
        steps: from one end to the other.
        reach: distance of the ends, in standard deviations.

    Yields:
        (steps, d), for each of the d dimensions.
    """
    across = torch.linspace(-reach, reach, steps, device=draws.device)
    mean = draws.mean(0)
    for i, deviation in enumerate(draws.std(0)):
        row = mean.repeat(steps, 1)
        row[:, i] += across * deviation
        yield row
