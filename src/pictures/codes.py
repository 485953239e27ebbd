"""Pictures of what an autoencoder has learnt: its codes, first weights, and ways between images.

Tensors in, PIL images out, as in `src.pictures.grids`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from src.pictures import grids
from src.runs.escape import plot

Decode = Callable[[Tensor], Tensor]
ROWS_OF_LEGEND = 20


def class_colours(n: int) -> list[str]:
    """n colours such as "#1f77b4"; up to 20 of Matplotlib's categories, more from a scale."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if n <= 20:
        return [to_hex(colour) for colour in colormaps["tab10" if n <= 10 else "tab20"].colors[:n]]
    return [to_hex(colour) for colour in colormaps["turbo"](torch.linspace(0, 1, n).numpy())]


def principal_components(z: Tensor, k: int = 2) -> tuple[Tensor, float]:
    """Points by their first k principal components, and the share of the variance in these.

    Args:
        z: (n, d), d >= k.
        k: number of classes.

    Returns:
        (n, k), centred, float64, each component's largest entry positive; a share in [0, 1].
    """
    centred = z.double() - z.double().mean(0)
    values, vectors = torch.linalg.eigh(centred.mT @ centred)
    first = vectors[:, -k:].flip(1)
    # An eigenvector has two signs, of which machines choose differently.
    largest = first.gather(0, first.abs().argmax(0, keepdim=True))
    total = values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return centred @ (first * largest.sign()), float(values[-k:].sum() / total)


def scatter(
    codes: Tensor, labels: Tensor | None = None, classes: Sequence[str] = ()
) -> Image.Image:
    """Codes as points, coloured by class; up to 60 classes have a legend.

    Two or three numbers are drawn as they are, wider codes by their first two principal components,
    a single number against the class.

    Args:
        codes: (n, d).
        labels: (n,), indices of classes; None draws all in one colour.
        classes: names of the classes.
    """
    codes, dim = codes.detach().double().cpu(), codes.shape[1]
    labels = torch.zeros(len(codes)).long() if labels is None else labels.cpu()
    names, title = [f"z{i + 1}" for i in range(dim)], f"{len(codes):,} codes"
    if dim == 1:
        # Spread within a class's row, the same way each time, or the points would hide each other.
        spread = torch.rand(len(codes), 1, generator=torch.Generator().manual_seed(0))
        codes, names = torch.cat([codes, labels[:, None] + 0.8 * spread], 1), ["z1", "class"]
    elif dim > 3:
        codes, share = principal_components(codes)
        title += f" of {dim} numbers: two principal components, {share:.0%} of the variance"
        names = ["first component", "second component"]
    figure, axes = grids.new_figure(7, 5.6, projection="3d" if dim == 3 else None)
    colours = class_colours(max(1, len(classes)))
    chosen = [colours[label] for label in labels.tolist()]
    size = min(25, max(6, 8000 / len(codes)))
    # Shading by depth would make half of the points too pale to tell their colours.
    options = {"depthshade": False} if dim == 3 else {}
    axes.scatter(*codes.T, s=size, c=chosen, lw=0, alpha=0.75, **options)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel=names[0], ylabel=names[1])
    if dim == 3:
        axes.set_zlabel(names[2])
    elif dim == 1:
        axes.set_yticks([])
    axes.tick_params(labelsize=8)
    if 0 < len(classes) <= 3 * ROWS_OF_LEGEND:
        _legend(figure, classes, colours)
    return grids.rendered(figure)


def _legend(figure: "Figure", classes: Sequence[str], colours: Sequence[str]) -> None:  # noqa: F821
    from matplotlib.lines import Line2D

    dots = [Line2D([], [], marker="o", ls="", color=colour) for colour in colours]
    columns = math.ceil(len(classes) / ROWS_OF_LEGEND)
    figure.legend(
        dots, [*map(plot, classes)], loc="outside right center", fontsize=9, ncols=columns
    )


def divergences(kl: Tensor, active: Tensor) -> Image.Image:
    """Bars of what each number of a VAE's code costs, in nats, the dearest first.

    Args:
        kl: KL(q(z_j|x) || N(0, 1)) of each number, (d,), a mean over images.
        active: (d,), whether it tells images apart (Burda et al. 2016); others are grey.
    """
    order = kl.argsort(descending=True, stable=True)
    colours = ["#1f77b4" if on else "#bbbbbb" for on in active[order].tolist()]
    figure, axes = grids.new_figure(7, 3.2)
    axes.bar(range(len(kl)), kl[order].tolist(), width=0.85, color=colours)
    axes.set_title(
        f"{float(kl.sum()):.1f} nats in {len(kl)} numbers, {int(active.sum())} of them active",
        fontsize=9,
    )
    axes.set(xlabel="latent dimensions, in order of their divergence", ylabel="KL in nats")
    axes.set_xlim(-0.6, len(kl) - 0.4)
    axes.set_xticks([])
    axes.tick_params(labelsize=8)
    return grids.rendered(figure)


def first_weights(encoder: nn.Module, shape: Sequence[int]) -> Tensor | None:
    """The first layer's weights as pictures (k, c, h, w); None if they are none.

    They are where a linear layer sees the whole image and nothing else, or where a convolution sees
    its channels through windows of more than one pixel.

    Args:
        encoder: its layers are taken in the order in which they were made.
        shape: shape of an image, (c, h, w); c is 1 or 3.
    """
    layers = (m for m in encoder.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    layer = next(layers, None)
    if layer is None or shape[0] not in (1, 3):
        return None
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        whole = weight.shape[1] == math.prod(shape)
        return weight.unflatten(1, tuple(shape)) if whole else None
    return weight if weight.shape[1] == shape[0] and weight[0, 0].numel() > 1 else None


def filters(weights: Tensor, most: int = 100) -> Image.Image:
    """The filters of largest norm, largest first, on one scale.

    0 is middle grey, the largest absolute weight of all is black or white (in colour: a channel is
    empty or full). So filters that have learnt nothing stay pale.

    Args:
        weights: (k, 1 or 3, h, w).
        most: largest number.
    """
    order = weights.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:most]
    shown = weights[order].float()
    return grids.grid(shown / shown.abs().max().clamp(min=1e-12))


def latent_grid(decode: Decode, across: Tensor, up: Tensor) -> Image.Image:
    """Draw images decoded over a plane of codes, without gaps (Kingma & Welling 2014, fig. 4).

    Args:
        decode: (n, 2) to images (n, 1 or 3, h, w) in [-1, 1].
        across: (k,), values of the first number, from left to right.
        up: (m,), values of the second, from bottom to top, as in a plot.
    """
    z = torch.cartesian_prod(up.flip(0), across).flip(1)
    return grids.grid(decode(z), len(across), padding=0)


def interpolations(x: Tensor, codes: Tensor, decode: Decode, steps: int = 10) -> Image.Image:
    """Rows of decoded codes on the line between two, with the images themselves at the ends.

    Args:
        x: (n, 2, 1 or 3, h, w) in [-1, 1].
        codes: codes of these, (n, 2, d).
        decode: (n x steps, d), row by row, to images (n x steps, 1 or 3, h, w).
        steps: from the first code to the second, both included.
    """
    share = torch.linspace(0, 1, steps, device=codes.device).view(1, -1, 1)
    between = decode(torch.lerp(codes[:, :1], codes[:, 1:], share).flatten(0, 1))
    parts = [grids.grid(x[:, 0], 1), grids.grid(between, steps), grids.grid(x[:, 1], 1)]
    return grids.beside(parts)
