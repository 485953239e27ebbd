"""An endless stream of shuffled batches that can be resumed anywhere, bit for bit.

    sample k of the stream = element perm_e[k mod n],   e = k div n

perm_e and the flips depend on (seed, e) only. So the whole state is one number, the position k; no
global random generator is touched, and batches run across the edge of an epoch. (torch's DataLoader
draws from the global generator when its iterator is made, so that a resumed run is another run.)

Data that fit are moved to the device once, as uint8; a batch is then an index, a cast and a flip.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.config.ranges import NotNegativeInt
from src.data.spec import Batch, to_model
from src.runs.stored import expect, is_count

IN_MEMORY = 4_000_000_000


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
        x: stored samples (n, ...): uint8 images, or floats that are already in the models' form.
        y: class indices (n,), or None.
        batch_size: samples per batch; may exceed n.
        seed: seed of the order and of the flips, not negative.
        flip: mirror each image left to right with probability 1/2.
        device: device of the batches.
        workers: processes that read ahead if the data do not fit; 0 reads in this process.
        in_memory: bytes up to which the data are held on the device.
        part: (k, r): of each batch only the k-th of r equal slices is handed out; its size must be
            a multiple of r.

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
    ) -> None:
        self.batch_size, self.device, self.workers = batch_size, torch.device(device), workers
        self.resident = x.nbytes <= in_memory
        if self.resident:
            x, y = x.to(self.device), None if y is None else y.to(self.device)
        self.position = 0
        self._rows = _Rows(x, y, batch_size, seed, flip, part)
        self._batches: Iterator[tuple[Tensor, Tensor | None]] | None = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = self._start()
        x, y = next(self._batches)
        self.position += self.batch_size
        if not self.resident:
            x = x.to(self.device, non_blocking=True)
            y = None if y is None else y.to(self.device, non_blocking=True)
        return Batch(to_model(x), y)

    def _start(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        positions = count(self.position, self.batch_size)
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

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        expect(state, {"position": is_count}, "the data's place")
        self.position = state["position"]
        self._batches = None


class _Rows(Dataset):
    """Stored samples (x, y) of the batch that begins at a position of the stream."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        batch_size: int,
        seed: int,
        flip: bool,
        part: tuple[int, int],
    ) -> None:
        self.x, self.y, self.batch_size, self.seed, self.flip = x, y, batch_size, seed, flip
        self.part = part
        self._epoch, self._order = -1, (torch.empty(0), torch.empty(0))

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor | None]:
        parts = []
        end = position + self.batch_size
        while position < end:
            epoch, start = divmod(position, len(self.x))
            stop = min(start + end - position, len(self.x))
            parts.append([order[start:stop] for order in self._shuffle(epoch)])
            position += stop - start
        if len(parts) == 1:
            index, mirrored = parts[0]
        else:
            index, mirrored = map(torch.cat, zip(*parts, strict=True))
        k, r = self.part
        index, mirrored = index.chunk(r)[k], mirrored.chunk(r)[k]
        x = self.x.index_select(0, index)
        if self.flip:
            x = torch.where(mirrored.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
        return x, None if self.y is None else self.y.index_select(0, index)

    def _shuffle(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Indices (n,) and flips (n,) of an epoch; batches come in order, so one is remembered."""
        if epoch != self._epoch:
            random = np.random.default_rng((self.seed, epoch))
            index = random.permutation(len(self.x))
            mirrored = random.random(len(self.x)) < 0.5
            self._order = tuple(torch.from_numpy(a).to(self.x.device) for a in (index, mirrored))
            self._epoch = epoch
        return self._order
