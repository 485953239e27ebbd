"""Two layers of units, visible and hidden, that one matrix of weights joins.

    up      h = sigmoid(W v + c)           down    v = sigmoid(W^T h + b)

Units are in [0, 1]; hidden ones can be linear, which a code wants. What is here is what networks
that learn one layer at a time put upon each other: an autoencoder of one layer in this file, which
descends its reconstruction error, and a Boltzmann machine in `rbm.py`, which has the same weights.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.transforms.corruptions import Corruption


class Shallow(nn.Module, ABC):
    """The weights and both directions; a subclass says how they start and what they learn from.

    Args:
        visible: number of visible units.
        hidden: number of hidden units.
        linear: True for linear hidden units.

    Attributes:
        weight: W, (hidden, visible).
        back: the weights of the way down, (visible, hidden); W^T unless it has its own.
    """

    def __init__(self, visible: int, hidden: int, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear
        self.weight = nn.Parameter(torch.empty(hidden, visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))

    @property
    def back(self) -> Tensor:
        return self.weight.mT

    def drive(self, v: Tensor) -> Tensor:
        """Input of the hidden units (n, hidden), before their sigmoid."""
        return F.linear(v, self.weight, self.hidden_bias)

    def hidden(self, v: Tensor) -> Tensor:
        """Means of the hidden units (n, hidden), given the visible ones."""
        return self.drive(v) if self.linear else self.drive(v).sigmoid()

    def logits(self, h: Tensor) -> Tensor:
        """Logits of the visible units (n, visible), given the hidden ones."""
        return F.linear(h, self.back, self.visible_bias)

    def visible(self, h: Tensor) -> Tensor:
        """Means of the visible units (n, visible), given the hidden ones."""
        return self.logits(h).sigmoid()

    @abstractmethod
    def learn(self, v: Tensor, corruption: Corruption) -> tuple[Tensor, Tensor]:
        """The loss to descend, and the error to show: two scalars.

        Args:
            v: visible units (n, visible) in [0, 1].
            corruption: corruption of the encoder's input.
        """


class ShallowAutoencoder(Shallow):
    """Reconstructs its visible units from a corrupted copy of them (Vincent et al. 2010, sec. 3).

    The loss is the cross-entropy of the units, summed, in nats. Weights start uniformly within
    +-4 sqrt(6 / (visible + hidden)), which is Glorot & Bengio's (2010) for sigmoids, and within a
    quarter of that for linear hidden units.

    Args:
        visible: number of visible units.
        hidden: number of hidden units.
        linear: True for linear hidden units.
        tied: True if the decoder has the encoder's weights, transposed.
    """

    def __init__(self, visible: int, hidden: int, linear: bool = False, tied: bool = True) -> None:
        super().__init__(visible, hidden, linear)
        bound = (1 if linear else 4) * math.sqrt(6 / (visible + hidden))
        nn.init.uniform_(self.weight, -bound, bound)
        self.own = None if tied else nn.Parameter(torch.empty(visible, hidden))
        if not tied:
            nn.init.uniform_(self.own, -bound, bound)

    @property
    def back(self) -> Tensor:
        return self.weight.mT if self.own is None else self.own

    def learn(self, v: Tensor, corruption: Corruption) -> tuple[Tensor, Tensor]:
        # Corruptions know pixels: they have more dimensions than points, and are in [-1, 1].
        seen = (corruption(2 * v.unsqueeze(2) - 1).squeeze(2) + 1) / 2
        logits = self.logits(self.hidden(seen)).float()
        loss = F.binary_cross_entropy_with_logits(logits, v.float(), reduction="none")
        loss = loss.sum(1).mean()
        return loss, loss
