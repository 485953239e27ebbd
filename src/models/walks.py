"""Rows of samples along a path: between latents, along one dimension, through levels or styles.

Each function gives samples (rows x columns, *shape), row by row, and the number of columns.
"""

import heapq
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from src.errors import SettingError
from src.models.base import LatentVariableModel
from src.models.capabilities import HasLatent, HasLevels, Reconstructs, Translates
from src.models.parts.latents import deviations
from src.models.styles import find_style_generator
from src.pictures.styles import exchanged, mixed, with_noise

STEPS = 10  # samples from one end of a path to the other
DRAWS = 10_000  # of a code's prior, which say where it lies
MOST_DRAWN = 10**7  # numbers of all these
MOST_NUMBERS = 2**28  # of a traversal: 1 GB of samples


def interpolation(
    model: LatentVariableModel, n: int, seed: int, labels: Tensor | None
) -> tuple[Tensor, int]:
    """Samples between two codes each.

    Styles are interpolated in their place, of one class along a row: their space is straighter.

    Args:
        model: draws the samples.
        n: rows.
        seed: seed of the codes.
        labels: classes (n,) of the rows; None takes those of a conditional model in turn.
    """
    share = torch.linspace(0, 1, STEPS, device=model.device)[:, None]
    if labels is None and model.conditional:
        labels = model.classes_in_turn(n)
    labels = [None] * n if labels is None else labels.to(model.device)[:, None]
    rows, generator = [], find_style_generator(model)
    pairs = model.latents(2 * n, seed).view(n, 2, -1)
    for ends, y in zip(pairs, labels, strict=True):
        if generator:
            with model.scoring():
                first, last = generator.styles(ends, y if y is None else y.repeat(2))
                rows.append(generator.synthesise(torch.lerp(first, last, share[:, None])))
            continue
        z = torch.lerp(*ends, share)
        # A point between two Gaussian codes is too near the middle: keep the codes' own length.
        z = z / z.norm(dim=-1, keepdim=True) * torch.lerp(*ends.norm(dim=-1, keepdim=True), share)
        rows.append(model.decode(z, y if y is None else y.repeat(STEPS)))
    return torch.cat(rows), STEPS


def traversal(
    model: LatentVariableModel, n: int, seed: int, labels: Tensor | None
) -> tuple[Tensor, int]:
    """Samples along latent dimensions.

    InfoGAN has dimensions that are meant to say something. Those of an autoencoder are all
    followed; the rows whose pictures change most come first, since a VAE leaves many unused though
    all have the same prior. A conditional one shows one class, the first if none is asked for.

    Args:
        model: has codes to follow.
        n: InfoGAN's codes that are followed, in a row for each dimension; of others the most rows.
        seed: seed of the codes.
        labels: classes, of which the first is taken; or None.

    Raises:
        SettingError: if the model has no such codes, or the samples would be too many.
    """
    if isinstance(model, HasLatent) and model.latent.size > model.latent.dim:
        latent = model.latent
        columns = max(STEPS, *latent.categories)
        rows = (len(latent.categories) + latent.continuous) * n
        if rows * columns * max(latent.size, math.prod(model.spec.shape)) > MOST_NUMBERS:
            raise SettingError(
                f"what=traversal: {rows:,} rows of {columns:,} samples are too many.\n"
                "Pass a smaller n: codes that are followed."
            )
        z = latent.traversals(model.latents(n, seed), STEPS)
        return torch.cat([model.decode(row) for row in z]), columns
    if not isinstance(model, Reconstructs | Translates):  # of codes that an encoder has to fill
        raise SettingError(
            "what=traversal: the model has no codes to follow.\n"
            "Autoencoders have, and GANs with structured codes, such as model=infogan."
        )
    if labels is None and model.conditional:
        labels = torch.zeros(1, dtype=torch.long)
    labels = None if labels is None else labels[:1].to(model.device).repeat(STEPS)
    dimensions = model.latents(1, seed).shape[1]
    draws = model.latents(max(100, min(DRAWS, MOST_DRAWN // dimensions)), seed)
    rows = (model.decode(z, labels) for z in deviations(draws, STEPS))
    # The pictures of the others are forgotten: there may be thousands.
    changes = ((float(x.flatten(1).var(0).sum()), -i, x) for i, x in enumerate(rows, 1))
    chosen = heapq.nlargest(n, changes, key=lambda row: row[:2])
    print(f"Latent dimensions, from the top: {', '.join(str(-i) for _, i, _ in chosen)}")
    return torch.cat([x for *_, x in chosen]), STEPS


def levels(
    model: LatentVariableModel, n: int, seed: int, labels: Tensor | None
) -> tuple[Tensor, int]:
    """Each sample in a row, from its coarsest level to itself.

    Args:
        model: makes its images in levels.
        n: samples.
        seed: seed of the codes.
        labels: classes (n,); None takes those of a conditional model in turn.

    Raises:
        SettingError: if the model has no levels.
    """
    if not isinstance(model, HasLevels):
        raise SettingError(
            "what=levels: the model makes its images in one piece.\n"
            "Pyramids have levels: model=lapgan."
        )
    if labels is None and model.conditional:
        labels = model.classes_in_turn(n)
    made = model.images(model.latents(n, seed), labels)
    size = made[-1].shape[2:]
    rows = torch.stack([F.interpolate(x, size, mode="nearest") for x in made], 1)
    return rows.flatten(0, 1), len(made)


def styles(
    model: LatentVariableModel,
    what: Literal["mixing", "layers", "noise"],
    n: int,
    seed: int,
    labels: Tensor | None,
    crossover: int | None,
) -> tuple[Tensor, int]:
    """Samples in which styles or noise change, see `src/pictures/styles.py`.

    Args:
        model: has a generator with styles.
        what: which picture.
        n: samples that are changed.
        seed: seed of the codes.
        labels: classes, of which the first is taken; None takes those of a conditional model in
            turn.
        crossover: the first layer with the other style, of `mixing`; None is half-way.

    Raises:
        SettingError: if the model has no styles, or no such layer.
    """
    generator = find_style_generator(model)
    if not generator:
        raise SettingError(
            f"what={what}: the generator has no styles.\nStyleGAN2's has: model=stylegan2_narrow."
        )
    crossover = crossover or generator.layers // 2
    if crossover >= generator.layers:
        raise SettingError(
            f"crossover={crossover}: there are {generator.layers} layers.\n"
            f"Use 1 to {generator.layers - 1}."
        )
    others = {"mixing": STEPS, "layers": n, "noise": 0}[what]
    if labels is not None:
        labels = labels[:1].repeat(n + others).to(model.device)
    elif model.conditional:
        labels = model.classes_in_turn(n + others)
    with model.scoring():
        own, other = generator.styles(model.latents(n + others, seed), labels).split([n, others])
        if what == "mixing":
            return mixed(generator, own, other, crossover), 1 + others
        if what == "layers":
            return exchanged(generator, own, other), generator.layers + 2
        return with_noise(generator, own, model.make_random_generator(seed)), 6
