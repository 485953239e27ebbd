"""A model of a few weights, its data, and callbacks that disturb its training."""

import os
import signal
from functools import partial
from types import SimpleNamespace

import lightning as L
import torch
from torch import Tensor, nn

from src.callbacks.checkpoint import Checkpoint
from src.data.base import DataModule
from src.data.spec import DataSpec, Draw, Split
from src.losses.adversarial import NonSaturating
from src.metrics.base import Sampler, SampleScorer, Scores
from src.models.base import LatentVariableModel
from src.models.parts.stages import Stage

BATCH = 7


class Tiny(LatentVariableModel):
    """Learns the mean of the data; `spoil` makes its loss NaN from that clock on."""

    def __init__(self, spec: DataSpec, seed: int = 0, spoil: float = float("inf")) -> None:
        super().__init__(spec, seed)
        torch.manual_seed(seed)
        self.mean = nn.Parameter(torch.randn(spec.shape))
        self.spoil = spoil

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.make_optimizers(mean=partial(torch.optim.SGD, self.parameters(), lr=0.1))

    def iterate(self, draw: Draw) -> None:
        x = draw().x
        self.samples_seen += len(x)
        loss = (self.mean + 0.1 * torch.randn_like(x) - x).square().mean()
        if self.samples_seen >= self.spoil:
            loss = loss * float("nan")
        self.record(**{"loss/mean": loss, "fine": torch.ones(())})
        self.update("mean", loss)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return torch.randn(n, *self.spec.shape, generator=self.make_random_generator(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (self.mean + 0.1 * z).tanh()

    @property
    def judge(self) -> SimpleNamespace:
        return SimpleNamespace(loss=NonSaturating(), packing=1)

    def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x.sum(1)


class Staged(Tiny):
    """Is in a second stage after 49 samples."""

    stages = tuple(Stage(name, "mean", 0.5, [], print) for name in ("layer 1 of 1", "fine-tuning"))

    @property
    def stage(self) -> Stage:
        return self.stages[self.samples_seen > 49]


class TinyData(DataModule):
    """Normal points, or noise images, in two classes."""

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        generator = torch.Generator().manual_seed(0)
        shape = (50, *self.spec.shape)
        if self.spec.kind == "images":
            x = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        else:
            x = torch.randn(shape, generator=generator)
        split = Split(x, torch.arange(50) % 2)
        return {"train": split, "test": Split(split.x[:9], split.y[:9])}, {"name": "tiny"}


POINTS = DataSpec("points", (2,))
IMAGES = DataSpec("images", (1, 8, 8), ("even", "odd"))


class StopAt(L.Callback):
    """Saves, and leaves the training, at a clock: what a kill after a checkpoint looks like."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def on_train_batch_end(
        self, trainer: L.Trainer, model: Tiny, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if model.samples_seen >= self.samples:
            next(c for c in trainer.callbacks if isinstance(c, Checkpoint)).save(trainer)
            raise InterruptedError


class SignalAt(L.Callback):
    """Sends this process a signal when the clock gets there, or at the end."""

    def __init__(
        self, samples: int, number: int = signal.SIGTERM, times: int = 1, at_end: bool = False
    ) -> None:
        self.samples, self.number, self.times, self.at_end = samples, number, times, at_end

    def on_train_batch_start(
        self, trainer: L.Trainer, model: Tiny, batch: object, batch_idx: int
    ) -> None:
        if not self.at_end and model.samples_seen == self.samples:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

    def on_train_end(self, trainer: L.Trainer, model: Tiny) -> None:
        if self.at_end:
            os.kill(os.getpid(), self.number)


class Spread(SampleScorer):
    """Scores by the standard deviation of 100 samples."""

    def __init__(self) -> None:
        super().__init__(None, "tiny")
        self.headline = {"fid": "fid100_tiny"}

    def size(self, metric: str) -> int:
        return 100

    def protocol(self, metric: str) -> dict[str, int]:
        return {"n_fake": 100}

    def score(self, sample: Sampler) -> Scores:
        x = sample(100, 3)
        values = {"fid100_tiny": float(x.std()), "kid100_tiny": 1.0}
        return Scores(values, {name: {"n_fake": len(x)} for name in values})
