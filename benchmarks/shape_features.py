"""What a 3-D discriminator has learned of shapes, by a linear classifier of its features.

    python -m benchmarks.shape_features data=modelnet10 data.root=PATH data.min_piece=0 RUN ...

3D-GAN's measure (Wu et al. 2016, sec. 4.2): the outputs of D's last three convolutions on labelled
shapes, max-pooled to 2^3 places and joined, and the accuracy of a linear support vector machine on
them; published is 91.0 % on ModelNet10, with a D of 64^3 that was trained on ShapeNet. What that
says is seen beside an untrained D, the averages of the voxels over 8^3 blocks, and the nearest
training shape by IoU. Runs that differ in the seed alone are averaged. Words with an equals sign
are settings of the data; without a run there are the baselines, with untrained D of `gan3d`.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.composition import compose, plain
from src.data.spec import Split, to_model
from src.errors import SettingError
from src.metrics.voxels import flat, iou
from src.models.base import GenerativeModel
from src.networks.voxel import VoxelDiscriminator
from src.runs.run import Run
from src.training.instantiate import build_data, build_model
from src.training.trained import load_model

PART = 100  # shapes at a time
LAYERS, PLACES = 3, 2  # the last convolutions that are read, and the places on a side of each
STRENGTHS = (1e-4, 1e-3, 1e-2)  # of the SVM's fit, of which held-out training shapes choose
SEEDS = 3  # of the untrained D


@torch.no_grad()
def d_features(model: GenerativeModel, x: Tensor) -> np.ndarray:
    """Features (n, d) of shapes as stored, by the model's D."""
    found = [part for part in model.modules() if isinstance(part, VoxelDiscriminator)]
    if not found:
        raise SettingError("This model has no discriminator of voxels.")
    return np.concatenate([_features(found[0], to_model(part)) for part in x.split(PART)])


def _features(discriminator: VoxelDiscriminator, x: Tensor) -> np.ndarray:
    stages: list[Tensor] = []
    for layer in discriminator.body:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            stages.append(F.adaptive_max_pool3d(x, PLACES).flatten(1))
    return torch.cat(stages[-LAYERS:], 1).numpy()


def averages(x: Tensor) -> np.ndarray:
    """The share of occupied voxels in each of 8^3 blocks, (n, 512)."""
    pooled = [F.adaptive_avg_pool3d(part.float(), 8).flatten(1) for part in x.split(PART)]
    return torch.cat(pooled).numpy()


def svm_accuracy(embed: Callable[[Tensor], np.ndarray], train: Split, test: Split) -> float:
    """Accuracy of a linear SVM on standardised features.

    Its strength is that which is best on every fifth training shape, after a fit to the others.
    """
    x, y, fifth = embed(train.x), train.y.numpy(), np.arange(len(train.x)) % 5 == 0

    def fitted(strength: float, rows: np.ndarray) -> object:
        machine = make_pipeline(StandardScaler(), LinearSVC(C=strength, random_state=0))
        return machine.fit(x[rows], y[rows])

    best = max(STRENGTHS, key=lambda s: fitted(s, ~fifth).score(x[fifth], y[fifth]))
    return fitted(best, np.full(len(x), True)).score(embed(test.x), test.y.numpy())


def nearest_accuracy(train: Split, test: Split) -> float:
    """Share of test shapes whose nearest training shape, by IoU, is of their class."""
    shapes = flat(train.x)
    nearest = torch.cat([iou(flat(part), shapes).argmax(1) for part in test.x.split(PART)])
    return float((train.y[nearest] == test.y).double().mean())


def main(words: list[str]) -> None:
    runs = [Run(Path(word)) for word in words if (Path(word) / "config.yaml").is_file()]
    folders = {str(run.folder) for run in runs}
    settings = [word for word in words if str(Path(word)) not in folders]
    preset = plain(compose("train", ["model=gan3d", *settings]))
    data = build_data(preset)
    data.setup()
    if len(data.spec.classes) < 2 or "test" not in data.splits:
        raise SettingError("The features are judged on data of two classes or more.")
    splits = data.splits["train"], data.splits["test"]
    print(f"{len(splits[0].x):,} shapes to learn from, {len(splits[1].x):,} to be judged by\n")
    print("| features | accuracy | runs |\n|---|---|---|")

    def tell(name: str, accuracies: list[float]) -> None:
        spread = f" +- {statistics.stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
        row = f"| {name} | {statistics.mean(accuracies):.3f}{spread} | {len(accuracies)} |"
        print(row, flush=True)

    def judged(model: GenerativeModel) -> float:
        return svm_accuracy(lambda x: d_features(model.eval(), x), *splits)

    tell("nearest training shape by IoU", [nearest_accuracy(*splits)])
    tell("averages over 8^3 blocks", [svm_accuracy(averages, *splits)])
    variants: dict[str, list[Run]] = {}
    for run in runs:
        kept = {key: run.settings[key] for key in ("model", "data", "budget")}
        variants.setdefault(json.dumps(kept, sort_keys=True), []).append(run)
    architectures = [members[0].settings for members in variants.values()] or [preset]
    # An untrained D depends on its architecture alone.
    untrained = {json.dumps(each["model"]["discriminator"]): each for each in architectures}
    for each in untrained.values():
        models = [build_model({**each, "seed": seed}, data.spec) for seed in range(SEEDS)]
        tell("untrained D", [judged(model) for model in models])
    for members in variants.values():
        name = ", ".join(str(run.folder) for run in members)
        tell(f"D of {name}", [judged(load_model(run)) for run in members])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SettingError as error:
        raise SystemExit(str(error)) from error
