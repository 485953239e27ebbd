"""Restricted Boltzmann machines, learned by one step of contrastive divergence (Hinton 2002).

    p(v, h) = exp(-E(v, h)) / Z,      E = -b^T v - c^T h - h^T W v         h binary
                                      E = -b^T v - c^T h - h^T W v + |h|^2 / 2     h linear
    F(v) = -log sum_h exp(-E(v, h)) = -b^T v - sum_j log(1 + exp(c_j + W_j v))
                                   or -b^T v - |c + W v|^2 / 2 - (number of h) / 2 log(2 pi)

-log p(v) = F(v) + log Z, and the gradient of log Z is -E F(v') under the machine's own law of v'.
CD-1 takes for v' what the machine makes of the data in one step, v -> h -> v'. So the gradient of
F(v) - F(v'), with v' held fixed, is its update: W moves along <h v^T> - <h' v'^T>.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import NotNegativeFloat
from src.distributed import noise
from src.networks.shallow import Shallow
from src.transforms.corruptions import Corruption


class RBM(Shallow):
    """Binary visible units; binary hidden ones, or linear ones with noise of variance 1.

    Args:
        visible: number of visible units.
        hidden: number of hidden units.
        linear: True for linear hidden units.
        std: standard deviation of the weights' start.
        weight_cost: half of it times |W|^2 is added to the loss; biases are free.
    """

    def __init__(
        self,
        visible: int,
        hidden: int,
        linear: bool = False,
        std: NotNegativeFloat = 0.01,
        weight_cost: NotNegativeFloat = 0.0,
    ) -> None:
        super().__init__(visible, hidden, linear)
        nn.init.normal_(self.weight, 0.0, std)
        self.weight_cost = weight_cost

    def free_energy(self, v: Tensor) -> Tensor:
        """F (n,) of visible units (n, visible), in float32."""
        return self._free_energy(v, self.drive(v))

    def _free_energy(self, v: Tensor, drive: Tensor) -> Tensor:
        drive = drive.float()
        if self.linear:
            constant = drive.shape[1] / 2 * math.log(2 * math.pi)
            hidden = drive.square().sum(1) / 2 + constant
        else:
            hidden = F.softplus(drive).sum(1)
        return -(v.float() * self.visible_bias).sum(1) - hidden

    def draw_hidden(self, drive: Tensor) -> Tensor:
        """Hidden units, drawn from their law given their drive; by the global generator."""
        drive = drive.float()
        if self.linear:
            return drive + noise.normal(*drive.shape, device=drive.device)
        return noise.bits(drive.sigmoid())

    def contrast(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Mean F(v) - F(v'), a scalar, and v' (n, visible), one step away from v.

        As Hinton (2010, "A Practical Guide to Training RBMs", sec. 3) advises, hidden units are
        drawn on the way to v', so that they pass on one bit each and no more; everywhere else, and
        for v', probabilities stand for the units, with less noise.
        """
        drive = self.drive(v)
        with torch.no_grad():
            again = self.visible(self.draw_hidden(drive))
        return self._free_energy(v, drive).mean() - self.free_energy(again).mean(), again

    def learn(self, v: Tensor, corruption: Corruption) -> tuple[Tensor, Tensor]:
        """The contrast, which tells nothing of progress, and the squared error of one step."""
        contrast, again = self.contrast(v)
        cost = self.weight_cost / 2 * self.weight.square().sum() if self.weight_cost else 0
        return contrast + cost, (again.float() - v).square().sum(1).mean()
