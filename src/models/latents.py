"""Laws of the latent code z."""

from typing import Literal

import torch
from torch import Tensor


class Latent:
    """z of `dim` independent entries.

    Args:
        dim: length of z.
        law: `normal` is N(0, 1), `uniform` is U(-1, 1).
        share: D's step and G's step of an iteration use the same z, and so the same fakes, as the
            DCGAN reference code and several course notes do. With one D step per iteration this
            saves a forward pass of G.
    """

    def __init__(
        self, dim: int, law: Literal["normal", "uniform"] = "normal", share: bool = False
    ) -> None:
        self.dim, self.law, self.share = dim, law, share

    def draw(
        self, n: int, device: torch.device, generator: torch.Generator | None = None
    ) -> Tensor:
        """(n, dim) from the law; from the global generator of the device if none is given."""
        if self.law == "normal":
            return torch.randn(n, self.dim, device=device, generator=generator)
        return torch.rand(n, self.dim, device=device, generator=generator).mul_(2).sub_(1)
