"""One model on several devices: each rank, a process, has all of it and a slice of every batch.

    batch of n samples = the ranks' slices of n / R, one after the other
    gradient           = mean of the ranks' gradients, since a batch's loss is a mean over samples
    noise              = drawn for the whole batch on each rank, see `src/distributed/noise.py`

So R ranks do what one does with the whole batch, up to rounding; statistics of samples other than
their mean go through `mean` or `gather`. With a single rank these functions return their argument.
Lightning does not know of the ranks: it would wrap a whole GAN into one DistributedDataParallel,
which breaks on players without gradients and on penalties that are differentiated twice.

Rank 0 leads: only it scores, draws, logs, saves, and decides when the training ends.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from src.errors import SettingError

# Others wait while rank 0 scores. `src/distributed/processes.py` notices a rank that dies.
PATIENCE = datetime.timedelta(days=7)


def count() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among the ranks, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def place() -> tuple[int, int]:
    """`rank` of `count`."""
    return rank(), count()


@contextmanager
def joined(rank: int, count: int, meeting: Path, device: torch.device) -> Iterator[None]:
    """Be one of the ranks for the time of a `with` block, which they leave together.

    Args:
        rank: number of this process.
        count: number of ranks, all on this machine.
        meeting: file that does not exist, the same for all; they find each other by it.
        device: `cuda` stands for the GPU of the rank's number.

    Raises:
        SettingError: if there are fewer GPUs.
    """
    backend = "gloo"
    if device.type == "cuda":
        if torch.cuda.device_count() < count:
            raise SettingError(f"trainer.devices={count}: {torch.cuda.device_count()} GPUs here.")
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=PATIENCE
    )
    # Not in a `finally`: after an error nobody else may come.
    yield
    agree(True)
    dist.destroy_process_group()


@contextmanager
def in_turn() -> Iterator[None]:
    """Rank 0 goes through the `with` block first, then the others: it may fill a cache for them."""
    if rank() > 0:
        agree(True)
    yield
    if rank() == 0:
        agree(True)


@torch.no_grad()
def average_(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the ranks, in one exchange."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    parts = flat.div_(count()).split([tensor.numel() for tensor in tensors])
    pairs = zip(parts, tensors, strict=True)
    torch._foreach_copy_(list(tensors), [part.view(tensor.shape) for part, tensor in pairs])


def mean(x: Tensor) -> Tensor:
    """The mean of a tensor over the ranks, which it is differentiated through.

    Each rank computes a loss of its own from it, so its gradient is the mean of theirs. All ranks
    must go back through it, in the same order.
    """
    return x if count() == 1 else _Mean.apply(x)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        whole = x.detach().clone()
        average_([whole])
        return whole

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Mean.apply(gradient)


def gather(x: Tensor) -> Tensor:
    """The whole batch (n, ...) of the ranks' slices (n / R, ...); without a gradient."""
    if count() == 1:
        return x
    x = x.detach().contiguous()
    slices = [torch.empty_like(x) for _ in range(count())]
    dist.all_gather(slices, x)
    return torch.cat(slices)


def equalise(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by rank 0's."""
    for tensor in tensors:
        whole = tensor.detach().contiguous()  # the same one if it is
        dist.broadcast(whole, 0)
        tensor.detach().copy_(whole)


def agree(value: bool) -> bool:
    """Wait for rank 0's value and return it. It travels over the CPU: no GPU is waited for."""
    if count() == 1:
        return value
    said = torch.tensor(value)
    dist.broadcast(said, 0)
    return bool(said)
