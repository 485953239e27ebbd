"""Exponential moving average of a network, on the clock of samples seen.

After an iteration of n samples the average keeps the share beta = 0.5^(n / half_life)
(Karras et al. 2018, sec. F). Batch-norm statistics are averaged like the weights.
"""

import copy

import torch
from torch import nn

from src.config.ranges import NotNegativeFloat, PositiveFloat


class EMA(nn.Module):
    """Holds the average of `network` as `self.network`.

    Args:
        network: network whose average is taken; it is copied.
        half_life: samples after which a weight's influence has halved; 0 follows at once.
        ramp: the half-life is at most `ramp` x samples seen, so that the average forgets the
            random start quickly; None turns this off.
    """

    def __init__(
        self, network: nn.Module, half_life: NotNegativeFloat, ramp: PositiveFloat | None = 0.05
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life, self.ramp = half_life, ramp
        self._known: tuple[nn.Module, _Pairs] | None = None

    def train(self, mode: bool = True) -> "EMA":
        """Stay in eval mode: the average is only ever sampled from."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module, n: int, samples_seen: int) -> None:
        """Move towards `network` after an iteration of n samples."""
        half_life = self.half_life
        if self.ramp is not None:
            half_life = min(half_life, self.ramp * samples_seen)
        step = 1 - 0.5 ** (n / half_life) if half_life > 0 else 1.0
        if self._known is None or self._known[0] is not network:
            self._known = network, _Pairs(self.network, network)
        pairs = self._known[1]
        torch._foreach_lerp_(pairs.averages, pairs.weights, step)
        for averages, buffers, name, averaged in pairs.buffers:
            if averaged:
                averages[name].lerp_(buffers[name], step)
            else:
                averages[name].copy_(buffers[name])


class _Pairs:
    """Weights of an average and of its network; finding them takes longer than averaging them.

    Attributes:
        averages: parameters of the average.
        weights: those of the network, in the same order.
        buffers: the dictionaries of both modules, in which moves to a device put new tensors, the
            name of a buffer, and whether it is averaged.
    """

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        self.averages, self.weights = list(average.parameters()), list(network.parameters())
        self.buffers: list[tuple[dict, dict, str, bool]] = []
        for place, buffer in network.named_buffers():
            module, _, name = place.rpartition(".")
            both = (each.get_submodule(module)._buffers for each in (average, network))
            # The unit vectors of spectral norm's power iteration would shrink in an average.
            averaged = buffer.is_floating_point() and name not in ("_u", "_v")
            self.buffers.append((*both, name, averaged))
