"""An endless stream of shuffled batches that can be resumed anywhere, bit for bit.

    sample k of the stream = element perm_e[k mod n],   e = k div n

perm_e and the flips depend on (seed, e) only; those of sources that belong to no target, on
(seed, e, 1). So the whole state is one number, the position k; no global random generator is
touched, and batches run across the edge of an epoch. (torch's DataLoader draws from the global
generator when its iterator is made, so that a resumed run is another run.)

Data that fit are moved to the device once, as they are stored; a batch is then an index, a cast
and a flip.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.config.ranges import NotNegativeInt
from src.data.spec import Batch, to_model, to_uint8
from src.distributed.noise import BatchDraws, Draws
from src.runs.stored import expect, is_count
from src.transforms.degradations import Degradation

IN_MEMORY = 4_000_000_000
OTHER = 1  # part of the seed of unpaired sources' order


class Reading:
    """Settings of how a training split is read; they do not bear on the result.

    Args:
        workers: processes that read ahead if the split does not fit; 0 reads in this process.
        in_memory: bytes up to which the split is held on the device.
    """

    def __init__(self, workers: NotNegativeInt = 2, in_memory: NotNegativeInt = IN_MEMORY) -> None:
        self.workers, self.in_memory = workers, in_memory


class Stream:
    """Endless iterator of batches in the models' form.

    Args:
        x: stored samples (n, ...): uint8 images, bool voxels, or floats in the models' form.
        y: class indices (n,), or None.
        batch_size: samples per batch; may exceed n.
        seed: seed of the order and of the flips, not negative.
        flip: mirror each sample left to right, along its last axis, with probability 1/2.
        device: device of the batches.
        workers: processes that read ahead if the data do not fit; 0 reads in this process.
        in_memory: bytes up to which the data are held on the device.
        part: (k, r): of each batch only the k-th of r equal slices is handed out; its size must be
            a multiple of r.
        sources: stored inputs (m, ...) of translations to x, or None.
        paired: m is n, and each source belongs to its x, and is flipped with it; otherwise sources
            have an order and flips of their own.
        degradation: makes them instead, of x, or if they are not paired of others of these samples;
            or None.
        repeat: begin again after so many batches; None never does.

    Attributes:
        position: samples handed out so far, other parts included. What workers have read ahead
            does not count.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        batch_size: int,
        seed: int,
        flip: bool = False,
        device: torch.device | str = "cpu",
        workers: int = 0,
        in_memory: int = IN_MEMORY,
        part: tuple[int, int] = (0, 1),
        sources: Tensor | None = None,
        degradation: Degradation | None = None,
        paired: bool = True,
        repeat: int | None = None,
    ) -> None:
        self._period = math.inf if repeat is None else repeat * batch_size
        self.batch_size, self.device, self.workers = batch_size, torch.device(device), workers
        self.seed, self.part, self.degradation, self.paired = seed, part, degradation, paired
        stored = (x, y, sources)
        self.resident = sum(t.nbytes for t in (x, sources) if t is not None) <= in_memory
        if self.resident:
            stored = tuple(None if t is None else t.to(self.device) for t in stored)
        if degradation and not paired:
            stored = (*stored[:2], stored[0])  # held once
        self.position = 0
        self._rows = _Rows(*stored, batch_size, seed, flip, part, paired)
        self._batches: Iterator[tuple[Tensor | None, ...]] | None = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = self._start()
        x, y, source = next(self._batches)
        position = self._wrap(self.position)
        self.position += self.batch_size
        if not self.resident:
            x, y, source = (
                None if t is None else t.to(self.device, non_blocking=True) for t in (x, y, source)
            )
        x = to_model(x)
        if self.degradation:
            # Positions differ, so no two batches of a run share their draws, and with bit 31 none
            # has those of a fixed source. A CPU's generator takes no more than 32 bits.
            seed = 2**31 + (self.seed * 0x9E3779B97F4A7C15 + position) % 2**31
            draws = BatchDraws(self.batch_size, seed, self.device, self.part)
            whole = x if self.paired else to_model(source)
            return Batch(x, y, degrade(self.degradation, whole, draws))
        return Batch(x, y, None if source is None else to_model(source))

    def _start(self) -> Iterator[tuple[Tensor | None, ...]]:
        positions = map(self._wrap, count(self.position, self.batch_size))
        if self.resident:
            return map(self._rows.__getitem__, positions)
        return iter(
            DataLoader(
                self._rows,
                sampler=positions,
                batch_size=None,  # an item is a whole batch
                num_workers=self.workers,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator(),  # its own, or it would draw from the global one
            )
        )

    def _wrap(self, position: int) -> int:
        return position if self._period == math.inf else position % self._period

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        expect(state, {"position": is_count}, "the data's place")
        self.position = state["position"]
        self._batches = None


def degrade(degradation: Degradation, x: Tensor, draws: Draws) -> Tensor:
    """Sources of targets x (n, c, h, w) in [-1, 1], rounded to 8 bits as files of them are."""
    return to_model(to_uint8(degradation(x, draws)))


class _Rows(Dataset):
    """Stored samples (x, y, source) of the batch that begins at a position of the stream."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        sources: Tensor | None,
        batch_size: int,
        seed: int,
        flip: bool,
        part: tuple[int, int],
        paired: bool,
    ) -> None:
        self.x, self.y, self.sources = x, y, sources
        self.batch_size, self.flip, self.part = batch_size, flip, part
        self.order = _Order(len(x), x.device, seed)
        self.source_order = None
        if sources is not None:
            own = _Order(len(sources), sources.device, seed, OTHER)
            self.source_order = self.order if paired else own

    def __getitem__(self, position: int) -> tuple[Tensor | None, ...]:
        chosen = self._choose(self.order, position)
        x = self._images(self.x, *chosen)
        y = None if self.y is None else self.y.index_select(0, chosen[0])
        if self.source_order is None:
            return x, y, None
        if self.source_order is not self.order:
            chosen = self._choose(self.source_order, position)
        return x, y, self._images(self.sources, *chosen)

    def _choose(self, order: "_Order", position: int) -> Sequence[Tensor]:
        """Indices and flips (m,) of this rank's part of a batch."""
        k, r = self.part
        chosen = order(position, self.batch_size)
        return chosen if r == 1 else [each.chunk(r)[k] for each in chosen]

    def _images(self, stored: Tensor, index: Tensor, mirrored: Tensor) -> Tensor:
        x = stored.index_select(0, index)
        if self.flip:
            x = torch.where(mirrored.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
        return x


class _Order:
    """An endless order of n samples, shuffled anew in each epoch."""

    def __init__(self, n: int, device: torch.device, seed: int, *more: int) -> None:
        self.n, self.device, self.seed, self.more = n, device, seed, more
        self._epoch, self._shuffled = -1, (torch.empty(0), torch.empty(0))

    def __call__(self, position: int, size: int) -> tuple[Tensor, Tensor]:
        """Indices and flips (size,) of the samples from a position on."""
        parts, end = [], position + size
        while position < end:
            epoch, start = divmod(position, self.n)
            stop = min(start + end - position, self.n)
            parts.append([each[start:stop] for each in self._shuffle(epoch)])
            position += stop - start
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def _shuffle(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Indices (n,) and flips (n,) of an epoch; batches come in order, so one is remembered."""
        if epoch != self._epoch:
            random = np.random.default_rng((self.seed, epoch, *self.more))
            index = random.permutation(self.n)
            mirrored = random.random(self.n) < 0.5
            self._shuffled = tuple(
                torch.from_numpy(each).to(self.device) for each in (index, mirrored)
            )
            self._epoch = epoch
        return self._shuffled
