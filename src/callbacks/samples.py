"""Pictures of what the model makes, from the same codes each time, at fixed times.

samples/reals.png               data, once
samples/<samples seen>.png      the model, dense at first and then regular; of a translator held-out
                                sources, their translations and the targets, side by side; of one
                                that goes both ways sources, there and back, targets, back and there
samples/reconstructions_*.png   held-out data above their reconstructions, by autoencoders
samples/translations_*.png      what a translator shows, by a model that draws samples too
samples/final.png, progress.gif     at the end
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.base import log_page, log_picture
from src.callbacks.schedule import Scheduled, at_fractions, at_multiples
from src.config.ranges import NotNegativeInt, PositiveInt
from src.data.base import DataModule
from src.data.spec import Split, to_model
from src.metrics.base import held_out_pairs, held_out_size
from src.metrics.translation import compare
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import Judges, Reconstructs, Translates, TranslatesBack
from src.pictures import grids
from src.pictures.shapes import rows_of_shapes
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.run import Run, evenly
from src.runs.stored import read_png

FRAMES, FRAME = 200, 800  # of an animation, and the longest side in pixels
MAX_COLUMNS = 16  # of a picture with one class per column
ROWS = 8  # of a translator


class Samples(Scheduled):
    """Writes pictures into the run folder and hands them to the loggers that take any.

    Conditional models show one class per column (the first 16), each row from one code.

    Args:
        n: samples in a picture; None is 64 images or voxels, 1,000 points of a scatter plot, or 8
            rows of a translator.
        every: samples seen between two pictures; None is at 1/64, 1/32, 1/16 and then at each
            eighth of the budget. Untrained models are shown too.
        seed: seed of the codes.
    """

    def __init__(
        self,
        n: PositiveInt | None = None,
        every: PositiveInt | None = None,
        seed: NotNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.n, self.every, self.seed = n, every, seed

    def points(self, budget: int) -> Sequence[int]:
        if self.every is not None:
            return at_multiples(budget, self.every, "callbacks.samples.every")
        early = [Fraction(1, k) for k in (64, 32, 16)]
        return at_fractions(budget, early + [Fraction(k, 8) for k in range(1, 9)])

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        super().on_train_start(trainer, model)
        with self.off_the_clock(model, "pictures"):
            self._reals = self._choose(trainer, "train", self._n(model)).x.to(model.device)
            path = _folder(trainer) / "reals.png"
            if not path.exists():
                self._write(trainer, model, path, self._draw_reals(model))
        if model.samples_seen == 0:
            self.act(trainer, model)

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        with self.off_the_clock(model, "pictures"):
            picture = self._draw(trainer, model)
            self._write(trainer, model, _picture_path(trainer, model), picture, "samples")
            if isinstance(model, Reconstructs) and model.spec.kind == "images":
                n = max(1, self._n(model) // 2)
                x, y = self._choose(trainer, "test", n)
                x = x.to(model.device)
                picture = grids.pairs(x, model.reconstruct(x, y if model.conditional else None))
                path = _folder(trainer) / f"reconstructions_{model.samples_seen:010d}.png"
                self._write(trainer, model, path, picture, "reconstructions")
            if isinstance(model, Translates) and isinstance(model, LatentVariableModel):
                picture = translated(model, trainer.datamodule, self.n or ROWS)
                path = _folder(trainer) / f"translations_{model.samples_seen:010d}.png"
                self._write(trainer, model, path, picture, "translations")

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if self.shared.interrupted_by:
            return
        if not _picture_path(trainer, model).exists():
            self.act(trainer, model)
        with self.off_the_clock(model, "pictures"):
            folder = _folder(trainer)
            last = _picture_path(trainer, model)
            write_atomically(folder / "final.png", last.read_bytes())
            wide = _scattered(model) or isinstance(model, Translates) or model.spec.kind == "voxels"
            width = 400 if wide else 256
            path = folder / "progress.gif"
            grids.animate(list(read_frames(Run(folder.parent))), path, width)
            log_page(trainer, "progress", path, model.samples_seen)

    def _n(self, model: GenerativeModel) -> int:
        if not isinstance(model, LatentVariableModel):
            return self.n or ROWS
        return self.n or (1000 if _scattered(model) else 64)

    def _choose(self, trainer: L.Trainer, split: str, n: int) -> Split:
        """Samples from all over a split, since some data sets are stored class by class."""
        x, y = trainer.datamodule.reals(split)
        index = torch.linspace(0, len(x) - 1, min(n, len(x))).long()
        return Split(to_model(x[index]), None if y is None else y[index])

    def _draw_reals(self, model: GenerativeModel) -> Image.Image:
        if _scattered(model):
            return grids.scatter(self._reals[:0], self._reals)
        return grids.sheet(self._reals, None, model.spec.picture_shape)

    def _draw(self, trainer: L.Trainer, model: GenerativeModel) -> Image.Image:
        n, classes = self._n(model), len(model.spec.classes)
        if not isinstance(model, LatentVariableModel):
            return translated(model, trainer.datamodule, n)
        if _scattered(model):
            # A discriminator of packs has no opinion of a point.
            alone = isinstance(model, Judges) and model.judge.packing == 1
            critic, device = model.critic_logits if alone else None, model.device
            return grids.scatter(
                model.sample(n, seed=self.seed),
                self._reals,
                critic and (lambda x: critic(x.to(device))),
            )
        if model.conditional:
            columns = min(classes, MAX_COLUMNS)
            rows = math.ceil(n / columns)
            codes = model.latents(rows, self.seed).repeat_interleave(columns, 0)
            labels = torch.arange(columns, device=model.device).repeat(rows)
            return grids.sheet(model.decode(codes, labels), columns)
        return grids.sheet(model.sample(n, seed=self.seed), None, model.spec.picture_shape)

    def _write(
        self,
        trainer: L.Trainer,
        model: GenerativeModel,
        path: Path,
        picture: Image.Image,
        key: str = "reals",
    ) -> None:
        grids.save(path, picture)
        log_picture(trainer, key, path, model.samples_seen)


def read_frames(run: Run) -> Iterator[tuple[str, Image.Image]]:
    """Labels and pictures of a run, in the order of training; at most `FRAMES`."""
    for seen, path in evenly(run.frames(), FRAMES):
        try:
            picture = read_png(path)
            picture.thumbnail((FRAME, FRAME))
            yield f"{seen:,} samples", picture
        except (OSError, ValueError) as error:
            print(line(f"Left out: {path}: {error}", 400))


def translated(model: Translates, data: DataModule, n: int) -> Image.Image:
    """Rows of source, translation and target of n held-out images, the same ones each time.

    Voxels are shown from two sides.

    Of a model that translates both ways: the source, its translation, that back again, and the same
    of the target.
    """
    rows = [
        _row(model, x, source, model.translate(source, y))
        for x, source, y in held_out_pairs(data, min(n, held_out_size(data)))
    ]
    return _sheet(torch.cat(rows))


def worst(model: Translates, data: DataModule, n: int) -> Image.Image:
    """The same rows of the n held-out images whose translations have the lowest SSIM, from the top.

    Args:
        data: with pairs, of images.
    """
    found: list[tuple[float, Tensor]] = []
    for x, source, y in held_out_pairs(data, held_out_size(data)):
        there = model.translate(source, y)
        ssim = compare(there.cpu(), x)["ssim"].nan_to_num(nan=-1.0).tolist()
        found += zip(ssim, _row(model, x, source, there), strict=True)
        found = sorted(found, key=lambda row: row[0])[:n]
    return _sheet(torch.stack([row for _, row in found]))


def _row(model: Translates, x: Tensor, source: Tensor, there: Tensor) -> Tensor:
    """Rows of `translated`, of targets, sources and translations: (n, columns, c, h, w)."""
    if model.spec.kind == "voxels":
        return rows_of_shapes(source, there.cpu(), x)
    parts = [shown(source, x.shape[2:]), there.cpu(), x]
    if isinstance(model, TranslatesBack):
        back = model.translate_back(x)
        parts.insert(2, model.translate_back(there).cpu())
        parts += [back.cpu(), model.translate(back).cpu()]
    channels = max(part.shape[1] for part in parts)
    return torch.stack([part.expand(-1, channels, -1, -1) for part in parts], 1)


def _sheet(rows: Tensor) -> Image.Image:
    """Rows (n, columns, c, h, w), eight below each other."""
    return grids.grid(rows.flatten(0, 1), rows.shape[1] * math.ceil(len(rows) / 8))


def shown(source: Tensor, size: Sequence[int]) -> Tensor:
    """Sources (n, c, h, w) as pictures of a size (h', w'): three channels, or the first alone.

    Enlarged pixels stay squares: a smooth picture would look better than what the model gets.
    """
    picture = source[:, : 3 if source.shape[1] >= 3 else 1]
    factors = [big // small for big, small in zip(size, source.shape[2:], strict=True)]
    return picture.repeat_interleave(factors[0], 2).repeat_interleave(factors[1], 3)


def _scattered(model: GenerativeModel) -> bool:
    """True if samples are shown as points of a scatter plot."""
    return model.spec.kind == "points" and model.spec.picture_shape is None


def _folder(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "samples"


def _picture_path(trainer: L.Trainer, model: GenerativeModel) -> Path:
    return _folder(trainer) / f"{model.samples_seen:010d}.png"
