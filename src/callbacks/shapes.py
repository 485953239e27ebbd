"""Pictures at the end of the training of what a model of voxels makes.

samples/turntable.gif    shapes, turning: samples, or translations of a model that draws none
samples/shapes.html      the same to turn by hand
samples/shapes.png       of a translator: held-out pictures, its shapes and the true ones, from two
                         sides, from the best IoU to the worst
samples/picture.png      and one of its pictures, as `python -m src.translate` takes them
"""

from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.base import Callback, log_picture
from src.config.ranges import PositiveInt
from src.data.spec import to_model
from src.metrics.base import held_out
from src.metrics.single_view import Views, compare
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import Translates
from src.pictures import grids
from src.pictures.shape_page import page
from src.pictures.shapes import rows_of_shapes, shapes_to_turn, turntable
from src.runs.files import write_atomically

MOST = 1_000  # held-out pictures among which the best and the worst are looked for
WORST = 3  # that are shown in any case
SEED = 0


class Shapes(Callback):
    """Writes the pictures into the run folder and hands them to the loggers that take any.

    Args:
        n: shapes that are shown.
    """

    def __init__(self, n: PositiveInt = 12) -> None:
        super().__init__()
        self.n, self.columns = n, min(4, n)

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if self.shared.interrupted_by or model.spec.kind != "voxels":
            return
        folder = Path(trainer.default_root_dir) / "samples"
        draws = isinstance(model, LatentVariableModel)
        if draws:
            x = model.sample(self.n, seed=SEED).cpu()
            turntable(x, folder / "turntable.gif", self.columns)
            write_atomically(folder / "shapes.html", shapes_to_turn(x, self.columns))
        if isinstance(model, Translates):
            self._show_translations(trainer, model, folder, turning=not draws)

    def _show_translations(
        self, trainer: L.Trainer, model: Translates, folder: Path, turning: bool
    ) -> None:
        """Write the pictures of translations; those that turn only if it is asked for."""
        name, _ = held_out(trainer.datamodule, 1)
        views = Views(trainer.datamodule, name, MOST)
        make = views.made_by(model.translate)
        overlaps = compare(views.shapes, make)["iou"]
        index = best_to_worst(overlaps, self.n)
        made, truth = make(index), views.shapes[index].float()
        pictures, captions = (
            to_model(views.pictures[index]),
            [f"IoU {v:.2f}" for v in overlaps[index]],
        )
        grids.save(folder / "shapes.png", rows(pictures, made, truth, captions))
        log_picture(trainer, "shapes", folder / "shapes.png", model.samples_seen)
        grids.save(folder / "picture.png", grids.grid(pictures[:1], padding=0, scale=1))
        if not turning:
            return
        turntable(made, folder / "turntable.gif", self.columns)
        tiles = [
            tile
            for picture, shape, other, caption in zip(pictures, made, truth, captions, strict=True)
            for tile in (("picture", picture), (f"shape, {caption}", shape), ("truth", other))
        ]
        title = f"Shapes made of one picture each, {len(index)} of {len(overlaps):,}"
        write_atomically(folder / "shapes.html", page(title, tiles, 6))


def best_to_worst(values: Tensor, n: int) -> Tensor:
    """Numbers (at most n,) of values (m,), the largest first: evenly by rank, and the worst."""
    order, size = values.argsort(descending=True), len(values)
    if size <= n:
        return order
    worst = min(WORST, n)
    even = torch.linspace(0, size - 1 - worst, n - worst).long()
    return order[torch.cat([even, torch.arange(size - worst, size)])]


def rows(pictures: Tensor, made: Tensor, truth: Tensor, captions: list[str]) -> Image.Image:
    """Each picture with the shape and the truth from two sides, under them a caption."""
    parts = rows_of_shapes(pictures, made, truth)
    return grids.beside(
        [
            grids.labelled(grids.grid(row, len(row), padding=0), text)
            for row, text in zip(parts, captions, strict=True)
        ],
        2,
    )
