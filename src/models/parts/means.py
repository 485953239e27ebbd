"""Means of the terms that a model records, such as losses; on the device until fetched."""

from collections.abc import Mapping

import torch
from torch import Tensor

from src.runs.stored import is_name

MOST = 500  # names of terms, of which a run has some ten


class Means:
    """Means by name since the last fetch. To add to them does not wait for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, list] = {}  # by name: the sum on the device, and the number of terms

    def add(self, name: str, value: Tensor) -> None:
        """Add a detached scalar."""
        if name in self._sums:
            self._sums[name][0] += value
            self._sums[name][1] += 1
        else:
            self._sums[name] = [value.clone(), 1]

    def fetch(self) -> dict[str, float]:
        """Return the means and start anew, with one wait for the device."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        # The names stay, in the order in which the first iteration recorded them.
        self._sums = {k: [torch.zeros_like(total), 0] for k, (total, _) in self._sums.items()}
        if not means:
            return {}
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))

    def sums(self) -> tuple[list[str], Tensor]:
        """Names and sums since the last fetch, which stay on the device."""
        totals = [total for total, _ in self._sums.values()]
        return list(self._sums), torch.stack(totals) if totals else torch.zeros(0)

    def to(self, device: torch.device) -> None:
        """Move the sums to a device."""
        for entry in self._sums.values():
            entry[0] = entry[0].to(device)

    def state_dict(self) -> dict[str, tuple[float, int]]:
        """Sum and number of terms by name, for a checkpoint."""
        return {name: (float(total), count) for name, (total, count) in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, tuple[float, int]]) -> None:
        """Take what `state_dict` returned; `to` brings it to the device.

        Raises:
            ValueError: if there are too many names, or some are none.
        """
        if len(state) > MOST or not all(map(is_name, state)):
            raise ValueError("names of its records are none, or too many")
        self._sums = {name: [torch.tensor(total), count] for name, (total, count) in state.items()}
