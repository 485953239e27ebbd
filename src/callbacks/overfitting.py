"""D's probability on training, held-out and generated samples, which show an overfitting D.

    d_prob/train        mean of D(x), as a probability, over x of the training split
    d_prob/held_out     the same over the test split, on which D was not trained
    d_prob/generated    the same over samples, by the weights that are scored

A D that generalises gives the first two the same probability. One that memorises its images takes
held-out data for fakes: the second curve leaves the first and follows the third (Karras et al.
2020, arXiv:2006.06676, fig. 1). The gradients that G gets from such a D are of no use any more. For
a loss without probabilities (least squares, Wasserstein, hinge) means of D's outputs are logged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from src.callbacks.schedule import Scheduled, regularly
from src.config.ranges import PositiveInt
from src.data.spec import Batch, to_model
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.models.capabilities import Judges

SEED = 0  # of codes and choice: the same each time, so that a curve moves with the model alone


class Overfitting(Scheduled):
    """Logs D's three probabilities. Models without a D are passed over.

    Args:
        n: samples of each kind, the same each time.
        every: samples seen between two times; None is an eighth of the budget.
    """

    def __init__(self, n: PositiveInt = 240, every: PositiveInt | None = None) -> None:
        super().__init__()
        if n < 1:
            raise SettingError(f"callbacks.overfitting.n={n} must be positive: samples for D.")
        self.n, self.every = n, every

    def points(self, budget: int) -> Sequence[int]:
        return regularly(budget, self.every, 8, "overfitting")

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if not isinstance(model, Judges):
            return
        with self.off_the_clock(model, "scoring"):
            real = some_reals(trainer, "train", self.n)
            judged = {"train": real, "generated": imitate(model, real)}
            if "test" in trainer.datamodule.splits:
                judged["held_out"] = some_reals(trainer, "test", self.n)
            means = torch.stack([judge(model, batch).mean() for batch in judged.values()])
            values = dict(zip((f"d_prob/{name}" for name in judged), means.tolist(), strict=True))
        for logger in trainer.loggers:
            logger.log_metrics(values, step=model.samples_seen)


def some_reals(trainer: L.Trainer, split: str, n: int) -> Batch:
    """At most n samples of a split, in random order: some data sets are stored class by class."""
    x, y = trainer.datamodule.reals(split)
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))[:n]
    return Batch(to_model(x[chosen]), None if y is None else y[chosen])


def imitate(model: GenerativeModel, real: Batch) -> Batch:
    """Draw as many samples as reals, with their labels if the model is conditional."""
    labels = real.y if model.conditional else None
    return Batch(model.sample(len(real.x), labels, seed=SEED), labels)


def judge(model: Judges, batch: Batch) -> Tensor:
    """Compute D(x) (n,) of a batch as in training, without a trace in D.

    Args:
        model: its loss says what a logit means.
        batch: all real or all fake; samples that do not fill a last pack are left out.
    """
    whole = len(batch.x) - len(batch.x) % model.judge.packing
    labelled = model.conditional and batch.y is not None
    columns = [batch.x, batch.y] if labelled else [batch.x]
    with batch_statistics(model):
        logits = model.critic_logits(*(column[:whole].to(model.device) for column in columns))
    return model.judge.loss.output(logits.float())


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch in eval mode too, for the time of a `with` block.

    The running averages of a D's batch norms are over reals and fakes in turn: by them it can take
    all samples, or none, for real. A layer without them takes the batch's and changes nothing.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    for layer in layers:
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer, (mean, var) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, var
