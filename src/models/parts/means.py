"""Means of the terms that a model records, such as losses; on the device until they are read."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from src.runs.stored import is_name

MOST = 500  # names of terms, of which a run has some ten
AT_ONCE = 1000  # additions that are read together


class Means:
    """Means by name since the last fetch.

    What is added is kept as it is and read later, many at a time, since each operation on a tensor
    costs as much as a small network's layer. It is then summed one after the other: the sums do not
    depend on when that is.

    Attributes:
        broken: name and value of the first term read that was not finite; None if all were.
    """

    def __init__(self) -> None:
        self.broken: tuple[str, float] | None = None
        self._sums: dict[str, tuple[float, int]] = {}  # by name, with the number of terms
        self._added: list[tuple[tuple[str, ...], Tensor]] = []

    def add(self, names: Iterable[str], values: Tensor) -> None:
        """Add detached values (k,), which nobody changes later, of k names.

        Only one in `AT_ONCE` additions waits for the device.
        """
        self._added.append((tuple(names), values))
        if len(self._added) == AT_ONCE:
            self._read()

    def fetch(self) -> dict[str, float]:
        """Return the means and start anew, with one wait for the device."""
        self._read()
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        # The names stay, in the order in which the first iteration recorded them.
        self._sums = dict.fromkeys(self._sums, (0.0, 0))
        return means

    def _read(self) -> None:
        if not self._added:
            return
        values = torch.cat([values for _, values in self._added]).tolist()
        names = [name for names, _ in self._added for name in names]
        self._added = []
        for name, value in zip(names, values, strict=True):
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)
            if self.broken is None and not math.isfinite(value):
                self.broken = (name, value)

    def state_dict(self) -> dict[str, tuple[float, int]]:
        """Sum and number of terms by name, for a checkpoint."""
        self._read()
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, tuple[float, int]]) -> None:
        """Take what `state_dict` returned.

        Raises:
            ValueError: if there are too many names, or some are none.
        """
        if len(state) > MOST or not all(map(is_name, state)):
            raise ValueError("names of its records are none, or too many")
        self._sums, self._added = dict(state), []
