"""Models that return held-out real samples, truly or wrong in one known way."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from src.data.base import DataModule
from src.data.spec import to_model
from src.models.base import LatentVariableModel

Wrong = Callable[[Tensor], Tensor]


class Oracle(LatentVariableModel):
    """Returns test samples, of the class asked for if it is conditional.

    Args:
        data: set up, with a test split or an exact distribution.
        conditional: whether it is asked for classes.
        wrong: changes samples.
        keep: classes that it knows; samples of the others come from these in turn.
        permuted: it takes each class for the next one.
    """

    iterate = None

    def __init__(
        self,
        data: DataModule,
        conditional: bool = False,
        wrong: Wrong | None = None,
        keep: int | None = None,
        permuted: bool = False,
    ) -> None:
        super().__init__(data.spec, seed=0)
        self.data, self.conditional = data, conditional
        self.wrong, self.keep, self.permuted = wrong, keep, permuted
        x, y = data.splits.get("test", data.splits["train"])
        if keep is not None:
            x, y = x[y < keep], y[y < keep]
        self.x, self.y = x, y

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Random numbers (n, 2): one chooses the sample, one makes noise."""
        return torch.rand(n, 2, generator=self.make_random_generator(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.data.distribution is not None:
            seed = int(z[0, 0] * 2**31)
            x = self.data.distribution.sample(len(z), torch.Generator().manual_seed(seed))
        elif labels is None:
            # Without replacement within a call: otherwise a thing of many samples has repeats.
            order = z[:, 0].argsort()
            chosen = order.repeat(len(self.x) // len(z) + 1)[: len(z)]
            start = int(z[0, 1] * len(self.x))
            x = to_model(self.x[(start + chosen) % len(self.x)])
        else:
            if self.permuted:
                labels = (labels + 1) % len(self.spec.classes)
            if self.keep is not None:
                labels = labels % self.keep
            chosen = torch.empty_like(labels)
            for label in labels.unique():
                asked, known = labels == label, (self.y == label).nonzero().flatten()
                # From another place in each call, so that many calls return all of them.
                start = int(z[0, 1] * len(known))
                chosen[asked] = known[(start + torch.arange(int(asked.sum()))) % len(known)]
            x = to_model(self.x[chosen])
        return x if self.wrong is None else self.wrong(x)


def blur(x: Tensor) -> Tensor:
    """Mean over 3 x 3 pixels."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)


def add_noise(x: Tensor) -> Tensor:
    """Normal noise of standard deviation 0.5."""
    return x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def double_a_mode(x: Tensor) -> Tensor:
    """A ring's points of the right half, twice: those of the left are mirrored."""
    return torch.cat([x[:, :1].abs(), x[:, 1:]], 1)


def widen(x: Tensor) -> Tensor:
    return 1.5 * x


def shift(x: Tensor) -> Tensor:
    return x + 1.0
