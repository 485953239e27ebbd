"""Draws samples/curves.png, all columns of metrics.csv, at the end of the training."""

from pathlib import Path

import lightning as L

from src.callbacks.base import Callback, Kind
from src.models.base import GenerativeModel
from src.pictures import grids
from src.runs.metrics_file import read_metrics


class Curves(Callback):
    """Draws the curves after the final scores, which are their last points."""

    kind = Kind.REPORT

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        folder = Path(trainer.default_root_dir)
        metrics = folder / "metrics.csv"
        if metrics.exists() and not self.shared.interrupted_by:
            with self.off_the_clock(model, "pictures"):
                grids.save(folder / "samples" / "curves.png", grids.curves(read_metrics(metrics)))
