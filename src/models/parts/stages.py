"""Stages of a training that changes its loss on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from src.data.spec import Draw

# Loss to be minimised, value to be recorded, and the batch x (n, ...): two scalars and the samples.
StageLoss = Callable[[Draw], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage: the weights that it trains and the loss that it minimises.

    Attributes:
        name: such as "layer 2 of 4", for people.
        player: such as `layer_2`: name of its optimiser and of its loss.
        share: share of the budget, in [0, 1]; a stage of share 0 is left out.
        weights: parameters that it trains, if it trains but some.
        loss: draws a batch and computes the loss, if that is all that a stage consists of.
    """

    name: str
    player: str
    share: float
    weights: Sequence[nn.Parameter] = ()
    loss: StageLoss | None = None
