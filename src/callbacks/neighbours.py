"""Samples above the training images nearest to them: copies, if the model memorises.

Distances are Euclidean in pixels, which finds copies. It does not find a copy that was moved by a
pixel or two, and the nearest of other images need not look alike.
"""

from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.base import Callback, log_picture
from src.config.ranges import NotNegativeInt, PositiveInt
from src.data.spec import to_model
from src.models.base import GenerativeModel, LatentVariableModel
from src.pictures import grids

PORTION = 1000  # training images at a time


class Neighbours(Callback):
    """Writes samples/neighbours.png at the end of the training, of images only.

    Args:
        n: samples.
        k: nearest training images of each.
        seed: seed of the codes.
    """

    def __init__(self, n: PositiveInt = 16, k: PositiveInt = 4, seed: NotNegativeInt = 0) -> None:
        super().__init__()
        self.n, self.k, self.seed = n, k, seed

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if model.spec.kind != "images" or self.shared.interrupted_by:
            return
        if not isinstance(model, LatentVariableModel):
            return
        data = trainer.datamodule
        path = Path(trainer.default_root_dir) / "samples" / "neighbours.png"
        with self.off_the_clock(model, "pictures"):
            x = model.sample(self.n, seed=self.seed)
            grids.save(path, picture(x, data.reals("train").x, self.k, data.flip))
        log_picture(trainer, "neighbours", path, model.samples_seen)


def picture(x: Tensor, reals: Tensor, k: int = 4, flip: bool = False) -> Image.Image:
    """A row of samples, and below each its k nearest reals, the nearest first.

    Args:
        x: samples (n, c, h, w) in [-1, 1].
        reals: stored images (m, c, h, w), uint8.
        k: number of neighbours.
        flip: True if the model was trained on mirrored images too.
    """
    index, _ = nearest(x, reals, k, flip)
    shown = to_model(reals[index.T.flatten().cpu()])
    return grids.columns(x.cpu(), shown.unflatten(0, (-1, len(x))))


def nearest(x: Tensor, reals: Tensor, k: int, flip: bool = False) -> tuple[Tensor, Tensor]:
    """Indices (n, k) and distances (n, k) of the k reals nearest to each sample, in order.

    Args:
        x: samples (n, ...) in [-1, 1].
        reals: stored images (m, ...), uint8; read in portions, and only once.
        k: at most m.
        flip: take a real and its mirror image for one, at the lesser of their distances.
    """
    samples, k = x.flatten(1).float(), min(k, len(reals))
    distances, indices = samples.new_empty(len(x), 0), samples.new_empty(len(x), 0).long()
    for start in range(0, len(reals), PORTION):
        part = to_model(reals[start : start + PORTION].to(x.device))
        distance = torch.cdist(samples, part.flatten(1))
        if flip:
            distance = torch.minimum(distance, torch.cdist(samples, part.flip(-1).flatten(1)))
        index = torch.arange(start, start + len(part), device=x.device).expand(len(x), -1)
        distances, indices = torch.cat([distances, distance], 1), torch.cat([indices, index], 1)
        distances, order = distances.topk(min(k, distances.shape[1]), largest=False)
        indices = indices.gather(1, order)
    return indices, distances
