"""Earlier translations that a discriminator is shown again (Shrivastava et al. 2017, CycleGAN)."""

import torch
from torch import Tensor, nn

from src.config.ranges import NotNegativeInt
from src.distributed import ranks


class ImagePool(nn.Module):
    """Keeps up to `size` images; a new one is handed on, or with probability 1/2 an older one.

    While the pool is filling, the new images are stored and handed on. Afterwards each is exchanged
    with probability 1/2 for a stored one, and takes its place. Images of one batch are not
    exchanged for each other. All ranks have the same pool, of the images of them all. What it holds
    is in the checkpoint.

    Args:
        size: images kept; 0 hands on what it gets.
        shape: (c, h, w) of an image.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: NotNegativeInt, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self._full = False  # so that a full pool on a GPU need not be asked each time

    def forward(self, new: Tensor) -> Tensor:
        """Images (n, c, h, w) to be shown in the place of these; draws from the global generator.

        Args:
            new: this rank's part of the batch, detached.
        """
        if not self.size:
            return new
        whole = ranks.gather(new)
        stored = 0
        if not self._full:
            begin = int(self.filled)
            stored = min(self.size - begin, len(whole))
            self.images[begin : begin + stored] = whole[:stored].to(self.images)
            self.filled += stored
            self._full = begin + stored == self.size
        out = torch.cat([whole[:stored], self._exchange(whole[stored:])])
        return out.chunk(ranks.count())[ranks.rank()]

    def _exchange(self, new: Tensor) -> Tensor:
        """Swap images of a full pool; those beyond its size are handed on."""
        n = min(len(new), self.size)
        places = torch.randperm(self.size)[:n]
        swapped = torch.rand(n) < 0.5
        places, taken = places[swapped].to(new.device), swapped.nonzero()[:, 0].to(new.device)
        old, out = self.images[places].to(new), new.clone()
        self.images[places] = new[taken].to(self.images)
        out[taken] = old
        return out

    def _load_from_state_dict(self, *arguments: object, **named: object) -> None:
        self._full = False
        super()._load_from_state_dict(*arguments, **named)
