"""Pictures at the end of the training of what an autoencoder of images has learnt.

samples/codes.png            codes of test images, coloured by class
samples/codes.html           the same to turn, zoom and ask, of codes of two or three numbers
samples/divergences.png      of VAEs: the divergence of each number of the code
samples/filters.png          the encoder's first weights, where they are pictures
samples/latent_grid.png      what is decoded over the plane, of codes of two numbers
samples/interpolation.png    test images, and what is decoded on the line between their codes

They are for every model with `encode(x, labels)`; see `src.pictures.codes` for what they show.
"""

from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch import Tensor

from src.callbacks.base import Callback, log_page, log_picture
from src.config.ranges import PositiveInt
from src.data.spec import Split, to_model
from src.errors import SettingError
from src.losses.divergences import kl_to_standard_normal
from src.metrics.base import PORTION, batches
from src.metrics.codes import encode_split
from src.metrics.likelihood import ACTIVE
from src.models.base import GenerativeModel
from src.models.capabilities import Encodes
from src.models.vae import VAE
from src.pictures import grids
from src.pictures.code_page import page
from src.pictures.codes import (
    Decode,
    divergences,
    filters,
    first_weights,
    interpolations,
    latent_grid,
    scatter,
)
from src.runs.files import write_atomically

SEED = 0  # of the choice of images: the same ones, in the same order, whichever model looks at them
ROWS = 8  # of interpolations


class Codes(Callback):
    """Writes the pictures into the run folder and hands them to the loggers that take any.

    Args:
        n: test images whose codes are drawn; training images where there is no test split.
    """

    def __init__(self, n: PositiveInt = 5000) -> None:
        if n < 2:
            raise SettingError(f"callbacks.codes.n={n} must be at least 2: images to encode.")
        super().__init__()
        self.n = n

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if self.shared.interrupted_by:
            return
        if model.spec.kind != "images" or not isinstance(model, Encodes):
            return
        with self.off_the_clock(model, "pictures"):
            self._draw(trainer, model)

    def _draw(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        folder = Path(trainer.default_root_dir) / "samples"
        images = choose(trainer.datamodule.reals("test"), self.n)
        codes, labels = encode_split(model, images), images.y if model.spec.classes else None
        for name, picture in draw_codes(model, images, codes, labels).items():
            path = folder / f"{name}.png"
            grids.save(path, picture)
            log_picture(trainer, name, path, model.samples_seen)
        if codes.shape[1] in (2, 3):
            text = page(codes, labels, model.spec.classes, images.x)
            path = folder / "codes.html"
            write_atomically(path, text)
            log_page(trainer, "codes_page", path, model.samples_seen)


def choose(split: Split, n: int) -> Split:
    """At most n samples in random order: some data sets are stored class by class."""
    order = torch.randperm(len(split.x), generator=torch.Generator().manual_seed(SEED))[:n]
    return Split(split.x[order], None if split.y is None else split.y[order])


def draw_codes(
    model: GenerativeModel, images: Split, codes: Tensor, labels: Tensor | None
) -> dict[str, Image.Image]:
    """All pictures that can be drawn of a model, by name.

    Args:
        model: with `encode` and `decode`.
        images: stored ones (n, c, h, w), with their classes if the model is conditional.
        codes: codes of these, (n, d), on the CPU.
        labels: (n,), by which codes are coloured.
    """
    drawn = {"codes": scatter(codes, labels, model.spec.classes)}
    weights = first_weights(model.encoder, model.spec.shape)
    if weights is not None:
        drawn["filters"] = filters(weights)
    if isinstance(model, VAE):
        drawn["divergences"] = divergences(*_divergences(model, images))
    if codes.shape[1] == 2:
        drawn["latent_grid"] = _latent_grid(model, codes)
    ends = choose_ends(images.y if model.conditional else None, len(codes))
    if len(ends):
        decode = _decoder(model, images.y[ends[:, 0]] if model.conditional else None)
        x = to_model(images.x[ends])
        drawn["interpolation"] = interpolations(x, codes[ends], decode)
    return drawn


def _divergences(model: VAE, images: Split) -> tuple[Tensor, Tensor]:
    """Mean KL in nats of each latent dimension, (d,), and whether it is active."""
    kl, means = [], []
    generator = torch.Generator().manual_seed(SEED)
    for x, y in batches(images, PORTION, model.conditional):
        mean, log_variance = model.posterior(model.binarize(x, generator), y)
        kl.append(kl_to_standard_normal(mean, log_variance))
        means.append(mean)
    return torch.cat(kl).mean(0), torch.cat(means).var(0) > ACTIVE


def choose_ends(labels: Tensor | None, n: int) -> Tensor:
    """Indices (at most 8, 2) of the images that a row of interpolations connects.

    Args:
        labels: (n,), where both ends of a row must be of one class; None takes the first images.
        n: images there are.
    """
    if labels is None:
        return torch.arange(min(2 * ROWS, n // 2 * 2)).view(-1, 2)
    pairs = [(labels == c).nonzero().flatten()[:2] for c in labels.unique()]
    pairs = [pair for pair in pairs if len(pair) == 2][:ROWS]
    return torch.stack(pairs) if pairs else torch.empty(0, 2).long()


def _latent_grid(model: GenerativeModel, codes: Tensor) -> Image.Image:
    """20 x 20 codes; of a conditional model 10 x 10 for each class (the first 10).

    A VAE's law is known: equal shares of N(0, 1) lie between neighbours. An autoencoder's is only
    fitted, and its numbers are not independent: equal steps over the middle 98 % of each.
    """
    side = 10 if model.conditional else 20
    if isinstance(model, VAE):
        axis = torch.special.ndtri((torch.arange(side) + 0.5) / side)
        across, up = axis, axis
    else:
        low, high = codes.quantile(torch.tensor([0.01, 0.99]), 0)
        across, up = torch.lerp(low, high, torch.linspace(0, 1, side)[:, None]).T
    if not model.conditional:
        return latent_grid(_decoder(model), across, up)
    classes = torch.arange(min(10, len(model.spec.classes)))
    planes = [latent_grid(_decoder(model, c[None]), across, up) for c in classes]
    return grids.beside(planes, 5)


def _decoder(model: GenerativeModel, labels: Tensor | None = None) -> Decode:
    """Codes (n k, d) to images; labels (n,) hold for k codes each."""

    def decode(z: Tensor) -> Tensor:
        y = None if labels is None else labels.repeat_interleave(len(z) // len(labels))
        return model.decode(z.to(model.device), None if y is None else y.to(model.device))

    return decode
