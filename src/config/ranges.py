"""Types of numbers with a range, for the arguments of constructors: `clip: PositiveFloat | None`.

To Python they are `int` and `float`; the check of a configuration reads their names from the source
text and looks the range up here, so that type and range of a setting stand in one place. Values
that are not finite are in no range.
"""

import math
from typing import Annotated, NamedTuple, get_args


class Range(NamedTuple):
    """An interval of numbers.

    Attributes:
        low: least value.
        high: greatest value.
        above: `low` itself is not in the interval.
        below: `high` itself is not in the interval.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """True if a number is finite and in the interval."""
        inside = (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )
        return math.isfinite(value) and inside

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        begin = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        end = f"below {self.high:g}" if self.below else f"to {self.high:g}"
        return f"{begin} {end}"


PositiveInt = Annotated[int, Range(0, above=True)]
NotNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, above=True)]
NotNegativeFloat = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Percent = Annotated[int, Range(1, 100)]
Decay = Annotated[float, Range(0, 1, below=True)]

# By name: the type and the range.
RANGED: dict[str, tuple[type, Range]] = {
    name: get_args(kind)
    for name, kind in list(globals().items())
    if getattr(kind, "__metadata__", None)
}
# Arguments of torch's optimisers, whose source does not say what they may be.
OPTIMIZER = {
    "lr": "PositiveFloat",
    "betas": "tuple[Decay, Decay]",
    "eps": "NotNegativeFloat",
    "weight_decay": "NotNegativeFloat",
    "momentum": "Decay",
    "dampening": "NotNegativeFloat",
    "alpha": "Decay",
    "lr_decay": "NotNegativeFloat",
    "max_iter": "PositiveInt",
}
