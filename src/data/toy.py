"""Points from distributions that are known exactly: density, mean, covariance, modes.

    gaussian  x = z A + b, z ~ N(0, I)              the course notes' affine Gaussian (d2l)
    ring      8 equal Gaussians on a circle
    grid      5^d equal Gaussians on a lattice

"8 Gaussians" means different things in different papers, so each has the name of its source:

    ring  wgan_gp   radius 2, std 0.02, all over 1.414   Gulrajani et al. 2017, gan_toy.py
          pacgan    radius 1, std 0.01                   Lin et al. 2018
          unrolled  radius 1, std 0.01                   Metz et al. 2017, the published notebook:
                    its angles go from 0 to 2 pi inclusive, so that two of the 8 coincide
    grid  wgan_gp   spacing 2, std 0.05, all over 2.828  Gulrajani et al. 2017, gan_toy.py
          veegan    spacing 2, std 0.05                  Srivastava et al. 2017

Beyond two dimensions the gaussian repeats its block A along the diagonal, the grid gets more axes,
and the ring stays in the first two axes with noise in the others.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from src.config.ranges import PositiveInt
from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.spec import DataSpec, Split
from src.errors import SettingError

TEST_SIZE = 10_000
MOST_DIMENSIONS, MOST_VALUES = 1000, 2**25


class Gaussian:
    """x = z A + b with z ~ N(0, I).

    Args:
        a: (d, d), of full rank.
        b: (d,).

    Attributes:
        mean: (d,).
        cov: (d, d), A^T A.
        modes: None: one mode is no question of coverage.
        std: None: it differs by direction.
        pictures: None: points are no pictures.
    """

    modes = None
    std = None
    pictures = None

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.mean, self.cov = a, b, a.T @ a

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points (n, d)."""
        return torch.randn(n, len(self.mean), generator=generator) @ self.a + self.mean

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,) in nats at points x (n, d)."""
        a, mean = self.a.to(x), self.mean.to(x)
        z = torch.linalg.solve(a, x - mean, left=False)
        log_volume = torch.linalg.slogdet(a).logabsdet
        return -0.5 * (z.square().sum(1) + x.shape[1] * math.log(2 * math.pi)) - log_volume


class Mixture:
    """Isotropic Gaussians of one standard deviation around several centres.

    Args:
        centres: (k, d), all different.
        std: standard deviation of each coordinate around its centre.
        weights: (k,), of the centres, with sum 1; None makes them equal.

    Attributes:
        modes: the centres.
        std: as given.
        mean: (d,).
        cov: (d, d), std^2 I + sum_k w_k (c_k - mean)(c_k - mean)^T.
        pictures: None: points are no pictures.
    """

    pictures = None

    def __init__(self, centres: Tensor, std: float, weights: Tensor | None = None) -> None:
        k, d = centres.shape
        self.modes, self.std = centres, std
        self.weights = torch.full((k,), 1 / k) if weights is None else weights
        self.mean = self.weights @ centres
        spread = centres - self.mean
        self.cov = std**2 * torch.eye(d) + spread.T @ (self.weights[:, None] * spread)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points (n, d)."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.modes.shape[1], generator=generator)
        return self.modes[which] + self.std * noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,) in nats at points x (n, d)."""
        squares = (x[:, None] - self.modes.to(x)).square().sum(2) / self.std**2
        log_volume = x.shape[1] * math.log(self.std * math.sqrt(2 * math.pi))
        return torch.logsumexp(self.weights.to(x).log() - 0.5 * squares, 1) - log_volume


def gaussian(dim: int) -> Gaussian:
    """The notes' Gaussian: A = [[1, 2], [-0.1, 0.5]], b = [1, 2], repeated if dim > 2."""
    blocks = math.ceil(dim / 2)
    a = torch.block_diag(*[torch.tensor([[1.0, 2.0], [-0.1, 0.5]])] * blocks)
    return Gaussian(a[:dim, :dim], torch.tensor([1.0, 2.0]).repeat(blocks)[:dim])


def ring(dim: int, radius: float, std: float, modes: int = 8) -> Mixture:
    """Gaussians on a circle in the first two of `dim` dimensions; the first has what 8 lack."""
    if dim < 2:
        raise SettingError(f"data.dim={dim}: a ring needs 2 dimensions or more.")
    angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    centres = torch.zeros(modes, dim)
    centres[:, :2] = radius * torch.stack([angles.cos(), angles.sin()], 1).float()
    weights = torch.ones(modes)
    weights[0] += 8 - modes
    return Mixture(centres, std, weights / 8)


def grid(dim: int, scale: float = 1.0) -> Mixture:
    """5^dim Gaussians of std 0.05 at all points with coordinates -4, -2, 0, 2, 4; all scaled."""
    if dim > 5:
        raise SettingError(f"data.dim={dim}: a grid of 5^{dim} modes is too large. Use 5 at most.")
    axis = torch.arange(-4.0, 5.0, 2.0) * scale
    return Mixture(torch.cartesian_prod(*[axis] * dim).view(-1, dim), 0.05 * scale)


DEFINITIONS: dict[str, dict[str, Callable[[int], Gaussian | Mixture]]] = {
    "gaussian": {"d2l": gaussian},
    "ring": {
        "wgan_gp": partial(ring, radius=2 / 1.414, std=0.02 / 1.414),
        "pacgan": partial(ring, radius=1.0, std=0.01),
        # linspace(0, 2 pi, 8) meets its first angle again: 7 places, the first twice as likely.
        "unrolled": partial(ring, radius=1.0, std=0.01, modes=7),
    },
    "grid": {"wgan_gp": partial(grid, scale=1 / 2.828), "veegan": grid},
}


class Toy(DataModule):
    """A fixed sample from a known distribution, and another of 10,000 points to test with.

    The sample is the same for all seeds: these differ in the training and not in the data.

    Args:
        name: gaussian, ring or grid.
        kind: points.
        dim: coordinates of a point.
        labels: empty: points have no classes.
        source: not used: the points are always drawn.
        root: not used.
        cache: not used.
        definition: whose parameters, see the top of this file.
        size: points to train on.
        batch_size: samples per batch.
        seed: seed of the order.

    Attributes:
        distribution: with `sample`, `log_prob`, `mean`, `cov`, `modes` and `std`.
    """

    def __init__(
        self,
        name: Literal["gaussian", "ring", "grid"],
        kind: Literal["points"],
        dim: PositiveInt,
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        definition: Literal["d2l", "wgan_gp", "pacgan", "unrolled", "veegan"],
        size: PositiveInt,
        batch_size: int,
        seed: int,
    ) -> None:
        known = DEFINITIONS[name]
        if definition not in known:
            raise SettingError(
                f"data.definition={definition}: data={name} knows {' and '.join(known)}."
            )
        for setting, value in (("dim", dim), ("size", size)):
            if value <= 0:
                raise SettingError(f"data.{setting}={value} must be positive.")
        if dim > MOST_DIMENSIONS or size * dim > MOST_VALUES:
            raise SettingError(f"data.size={size} points of data.dim={dim} are too many numbers.")
        super().__init__(DataSpec(kind, (dim,)), batch_size, seed)
        self.name, self.definition, self.size = name, definition, size
        self.distribution = known[definition](dim)

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        sizes = {"train": self.size, "test": TEST_SIZE}
        splits = {
            split: Split(self.distribution.sample(n, torch.Generator().manual_seed(i)))
            for i, (split, n) in enumerate(sizes.items())
        }
        content = fingerprint(*(split.x.numpy() for split in splits.values()))
        return splits, identity(self.name, "builtin", splits, content, definition=self.definition)
