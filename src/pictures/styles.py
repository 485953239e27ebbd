"""Pictures of what a generator's styles do: mixed, exchanged layer by layer, with other noise.

Styles in, rows of samples out, for `src.pictures.grids` and arrays. The generator is in eval mode.
"""

import torch
from torch import Tensor

from src.networks.base import StyleGenerator

DRAWS = 20  # of the noise, over which a deviation is taken


def mixed(generator: StyleGenerator, coarse: Tensor, fine: Tensor, crossover: int) -> Tensor:
    """A table of styles that are mixed: its rows give the coarse layers, its columns the fine.

    Args:
        generator: makes the samples.
        coarse: styles (n, layers, d); their samples stand at the left.
        fine: (m, layers, d); their samples stand on top.
        crossover: the first layer that takes a column's style.

    Returns:
        ((n + 1) (m + 1), *shape), row by row, the first one white.
    """
    heads = generator.synthesise(fine)
    rows = [torch.cat([torch.ones_like(heads[:1]), heads])]
    for style in coarse:
        own = style[:crossover].expand(len(fine), -1, -1)
        styles = torch.cat([own, fine[:, crossover:]], 1)
        rows.append(generator.synthesise(torch.cat([style[None], styles])))
    return torch.cat(rows)


def exchanged(generator: StyleGenerator, styles: Tensor, others: Tensor) -> Tensor:
    """The effect of each layer: rows of samples in which one layer has another sample's style.

    Args:
        generator: makes the samples.
        styles: (n, layers, d).
        others: those of which one layer is taken, of the same shape.

    Returns:
        (n (layers + 2), *shape): in a row the sample, layers from coarse to fine, the other sample.
    """
    rows = []
    for own, other in zip(styles, others, strict=True):
        one_layer = torch.eye(len(own), device=own.device)[:, :, None] > 0
        row = torch.where(one_layer, other, own)
        rows.append(generator.synthesise(torch.cat([own[None], row, other[None]])))
    return torch.cat(rows)


def with_noise(
    generator: StyleGenerator, styles: Tensor, random: torch.Generator | None = None
) -> Tensor:
    """The effect of the noise inputs: rows of samples with fixed, three drawn, and without noise.

    Args:
        generator: makes the samples.
        styles: (n, layers, d).
        random: draws the noise; the global random generator if None.

    Returns:
        (n 6, *shape). At the end of a row is the standard deviation over drawn noise, averaged over
        channels: black is none, white the greatest of all rows.
    """
    rows, deviations = [], []
    for style in styles:
        drawn = generator.synthesise(style.expand(DRAWS, -1, -1), generator.noises(DRAWS, random))
        without = [torch.zeros_like(noise) for noise in generator.fixed_noises]
        plain = [generator.synthesise(style[None], noises) for noises in (None, without)]
        rows.append([plain[0], drawn[:3], plain[1]])
        deviations.append(drawn.std(0).mean(0, keepdim=True).expand_as(drawn[:1]))
    most = torch.stack(deviations).max().clamp(min=torch.finfo(styles.dtype).tiny)
    return torch.cat([
        part for row, deviation in zip(rows, deviations, strict=True)
        for part in (*row, 2 * deviation / most - 1)
    ])  # fmt: skip
