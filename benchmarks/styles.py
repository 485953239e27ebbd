"""What a trained StyleGAN2 has learned: `python -m benchmarks.styles layers|projection|copies RUN`.

    layers        which layers move what: the w of the layers of one size is replaced by that of
                  another latent, and predictors say how far each factor of the image moves, as a
                  share of how far it moves if the w of all layers is: 1 where a size alone decides.
                  Predictors are the classifier of the run's scores (attributes), and for data with
                  known factors a linear regression on its features, of which R2 is given
    projection    held-out images, each projected to w (`python -m src.sample what=projection`),
                  beside the training image nearest to it: if G can draw what it has not seen, the
                  projection is nearer
    copies        share of samples that are nearer, by pixels, to a training image than to any of as
                  many held-out ones: 1/2 of a model that has learned nothing by heart; of any GAN

The distances of `projection` are in the features that the projection looks at, and in pixels (dB).
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor
from tqdm import tqdm

from src.callbacks.neighbours import nearest
from src.data.base import DataModule
from src.data.spec import to_model
from src.errors import SettingError
from src.metrics.scorers import as_settings, choose_extractor
from src.models.base import GenerativeModel
from src.models.parts.content import shipped_content
from src.models.projection import project
from src.models.styles import find_style_generator
from src.networks.base import StyleGenerator
from src.networks.features import ClassifierFeatures
from src.pictures import grids
from src.runs.run import Run
from src.training.trained import load_data, load_model

PART = 100  # images at a time
FITTED = 10_000  # training images of the regression
LEAST = 0.3  # R2 of a predictor that is shown
CACHE = os.environ.get("SPARRING_CACHE", "~/.cache/sparring")
STRENGTHS = np.logspace(-2, 4, 7)  # of the ridge, of which generalised cross-validation chooses


def opened(run: Run, root: str | None) -> tuple[GenerativeModel, StyleGenerator, DataModule]:
    """The model of a run, its generator and its data."""
    model = load_model(run)
    generator = find_style_generator(model)
    if generator is None or model.conditional:
        raise SettingError(f"{run.folder} has no generator with styles and without classes.")
    return model, generator, load_data(run, model.spec, root, CACHE)


def layers_by_size(generator: StyleGenerator, resolution: int) -> dict[int, list[int]]:
    """Layers of each size in pixels: those of convolutions, and at the last size of its image."""
    sizes: dict[int, list[int]] = {}
    blocks = (generator.layers - 2) // 2
    for layer in range(generator.layers):
        block = min((layer + 1) // 2, blocks)
        sizes.setdefault(-(-resolution // 2 ** (blocks - block)), []).append(layer)
    return sizes


class Predictors:
    """Functions of images that tell their factors.

    Args:
        extractor: the classifier.
        data: for factors that it was not trained on.

    Attributes:
        names: of the factors.
        r2: of each predictor on held-out images; of attributes None.
    """

    def __init__(self, extractor: ClassifierFeatures, data: DataModule) -> None:
        self.network = extractor.network
        self.names: list[str] = []
        self.r2: list[float | None] = []
        self.weight: Tensor | None = None
        if extractor.about["outputs"] == "attributes":
            self.names += extractor.about["labels"]
            self.r2 += [None] * len(self.names)
        if data.factor_names:
            self._fit(data)

    def _fit(self, data: DataModule) -> None:
        x, y = data.splits["train"].x[:FITTED], data.factors["train"][:FITTED].double().numpy()
        ridge = RidgeCV(STRENGTHS, alpha_per_target=True).fit(self.embed(to_model(x))[0].numpy(), y)
        held_out = self.embed(to_model(data.splits["test"].x))[0].numpy()
        truth = data.factors["test"].double().numpy()
        error = ((ridge.predict(held_out) - truth) ** 2).mean(0) / truth.var(0).clip(1e-12)
        chosen = [i for i in range(truth.shape[1]) if 1 - error[i] >= LEAST]
        self.names += [data.factor_names[i] for i in chosen]
        self.r2 += [1 - error[i] for i in chosen]
        self.weight = torch.from_numpy(ridge.coef_[chosen].T).float()

    @torch.no_grad()
    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, d) and logits (n, k) of images in [-1, 1]."""
        parts = [self.network(self.network.adapt(part)) for part in x.split(PART)]
        features, logits = zip(*parts, strict=True)
        return torch.cat(features), torch.cat(logits)

    def __call__(self, x: Tensor) -> Tensor:
        """All factors (n, k), up to an offset of each."""
        features, logits = self.embed(x)
        known = [logits] if self.r2 and self.r2[0] is None else []
        return torch.cat(
            [*known, *([features @ self.weight] if self.weight is not None else [])], 1
        )


@torch.no_grad()
def layers(run: Run, root: str | None, n: int) -> None:
    """Print the table of which sizes move which factors."""
    model, generator, data = opened(run, root)
    extractor = choose_extractor(as_settings(run.settings["metrics"]), data)
    if not isinstance(extractor, ClassifierFeatures):
        raise SettingError("layers: the run's scores are not by a classifier of ours.")
    predict = Predictors(extractor, data)
    with model.scoring():
        first, second = (generator.styles(model.latents(n, seed)) for seed in (0, 1))

        def look(styles: Tensor) -> Tensor:
            made = [generator.synthesise(part).clamp(-1, 1) for part in styles.split(PART)]
            return predict(torch.cat(made).cpu())

        before = look(first)
        whole = (look(second) - before).square().mean(0)
        shares = {}
        for size, chosen in layers_by_size(generator, model.spec.shape[-1]).items():
            mixed = first.clone()
            mixed[:, chosen] = second[:, chosen]
            shares[size] = ((look(mixed) - before).square().mean(0) / whole).tolist()
    print(f"{n} pairs of latents; predictors: {extractor.name}\n")
    print(f"| factor | R2 | {' | '.join(f'{size} px' for size in shares)} |")
    print(f"|---|---|{'---|' * len(shares)}")
    for i, (name, r2) in enumerate(zip(predict.names, predict.r2, strict=True)):
        cells = [name, "" if r2 is None else f"{r2:.2f}"]
        cells += [f"{share[i]:.2f}" for share in shares.values()]
        print(f"| {' | '.join(cells)} |")


def projection(run: Run, root: str | None, n: int, steps: int, out: Path | None) -> None:
    """Print the distances of projections and of nearest training images, and draw both."""
    model, _, data = opened(run, root)
    content = shipped_content(model.spec.shape[0])
    network = content.load().eval()
    reals = data.splits["train"].x
    photos = to_model(data.splits["test"].x[:n])

    @torch.no_grad()
    def embed(x: Tensor) -> Tensor:
        return network(x).flatten(1)

    wanted = embed(photos)
    distances = [
        torch.cdist(wanted, embed(to_model(part))) for part in tqdm(reals.split(PART), "features")
    ]
    by_features, best = torch.cat(distances, 1).min(1)
    by_pixels = nearest(photos, reals, 1, data.flip)[1][:, 0]
    found = torch.stack(
        [project(model, x, content, steps=steps).image.cpu() for x in tqdm(photos, "projecting")]
    )
    features = (embed(found) - wanted).norm(dim=1)
    misses = (found - photos).flatten(1).norm(dim=1), by_pixels
    psnr = [10 * torch.log10(4 * photos[0].numel() / miss**2) for miss in misses]
    print(f"{n} held-out images; features of {content.identity['name']}\n")
    print("| | distance in features, mean | nearer in features | PSNR, dB | nearer in pixels |")
    print("|---|---|---|---|---|")
    nearer = [int((features < by_features).sum()), int((misses[0] < by_pixels).sum())]
    cells = [f"{features.mean():.3f}", nearer[0], f"{psnr[0].mean():.2f}", nearer[1]]
    print(f"| projection | {' | '.join(map(str, cells))} |")
    cells = [f"{by_features.mean():.3f}", "", f"{psnr[1].mean():.2f}", ""]
    print(f"| nearest training image | {' | '.join(cells)} |")
    if out:
        rows = torch.stack([photos, found, to_model(reals[best])], 1)
        grids.save(out, grids.columns(rows[:, 0], rows[:, 1:].transpose(0, 1)))
        print(
            f"\nWrote {out}: photos, their projections, and the training images nearest in features"
        )


@torch.no_grad()
def copies(run: Run, root: str | None, n: int) -> None:
    """Print the share of samples that are nearest to training images."""
    model = load_model(run)
    data = load_data(run, model.spec, root, CACHE)
    train, test = (data.splits[split].x for split in ("train", "test"))
    m = min(len(train), len(test))
    samples = model.sample(n, seed=0).cpu()
    to_train, to_test = (nearest(samples, x[:m], 1, data.flip)[1][:, 0] for x in (train, test))
    share = (to_train < to_test).double().mean()
    ratio = (to_train / to_test).median()
    print(f"{n} samples, {m} training and as many held-out images")
    print(f"nearer to a training image: {share:.3f} +- {(share * (1 - share) / n) ** 0.5:.3f}")
    print(f"median ratio of the two distances: {ratio:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["layers", "projection", "copies"])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--root", help="data.root, where it differs from the run's")
    parser.add_argument("-n", type=int, help="pairs of latents, samples (1000), or images (20)")
    parser.add_argument("--steps", type=int, default=500, help="projection: of Adam")
    parser.add_argument("--out", type=Path, help="projection: a picture")
    options = parser.parse_args()
    run = Run(options.run)
    if options.what == "layers":
        layers(run, options.root, options.n or 1_000)
    elif options.what == "copies":
        copies(run, options.root, options.n or 1_000)
    else:
        projection(run, options.root, options.n or 20, options.steps, options.out)


if __name__ == "__main__":
    try:
        main()
    except SettingError as error:
        raise SystemExit(str(error)) from error
