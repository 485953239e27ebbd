"""The slots of networks: what a model calls, and with which shapes. A new network is a subclass.

A model builds its networks from a part that a preset fills, for the shape of the data: so each slot
says what the constructor is handed beside the settings of the preset.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.errors import SettingError
from src.transforms.degradations import as_target


class Critique(NamedTuple):
    """Output of a discriminator for a batch.

    Attributes:
        logits: (n,), or (n, h, w) of patches; positive for "real"; no sigmoid.
        features: (n, d), the last hidden layer, for auxiliary heads.
    """

    logits: Tensor
    features: Tensor


class Generator(nn.Module, ABC):
    """Latents to samples; constructed with (latent_dim, shape, classes)."""

    @abstractmethod
    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z (n, latent_dim), and classes y (n,) if conditional, to samples (n, *shape)."""


class StyleGenerator(Generator):
    """A generator whose layers each take a style of their own, between latents and samples.

    In training mode styles may be mixed, noise is drawn and the average moves; in eval mode a
    latent is one sample.

    Attributes:
        layers: number of styles of a sample, from coarse to fine.
        average: mean of the styles over the latents of training, (d,).
        truncation: in eval mode, distance of styles from the average as a share of what it would
            be; 1 leaves them. With less, samples are better and more alike: for pictures.
        fixed_noises: noise inputs of eval mode, as `noises` gives them for one sample.
    """

    layers: int
    average: Tensor
    truncation = 1.0
    fixed_noises: Sequence[Tensor]

    @abstractmethod
    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z (n, latent_dim), and classes y (n,) if conditional, to styles (n, layers, d)."""

    @abstractmethod
    def noises(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Draw noise inputs for n samples, by the global random generator if none is given."""

    @abstractmethod
    def synthesise(self, styles: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Styles (n, layers, d) to samples (n, *shape).

        Args:
            styles: from `styles`, mixed or changed at will.
            noises: as `noises` gives them; None draws them, or takes the fixed ones in eval mode.
        """


class Discriminator(nn.Module, ABC):
    """Samples to a `Critique`; constructed with (shape, classes).

    Attributes:
        features: length of the critique's features.
    """

    features: int

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        """Samples x (n, *shape), and classes y (n,) if conditional."""


class Encoder(nn.Module, ABC):
    """Samples to codes; constructed with (shape, outputs)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Samples x (n, *shape) to codes (n, outputs)."""


class Decoder(nn.Module, ABC):
    """Codes to raw outputs, whose meaning is the loss's; constructed with (latent_dim, shape)."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Codes z (n, latent_dim) to raw outputs (n, *shape)."""


class Translator(nn.Module, ABC):
    """Sources to targets; constructed with (source, shape, classes), the shapes of both."""

    @abstractmethod
    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        """Sources (n, *source), and classes y (n,) if conditional, to targets (n, *shape)."""


class ImageTranslator(Translator):
    """Images to images, of any size that it can take.

    Args:
        source: (c', h', w').
        shape: (c, h, w), whose sides are `scale` times the source's.
        residual: the network's output is added to the source, see `add_source`.
        classes: above 0, the class is a further input.

    Attributes:
        multiple: sides of a source must be multiples of it.
        smallest: sides of a source must have as many pixels, before they are filled up to one.
        margin: pixels of the source by which what lies around a place can bear on it; None if it is
            the whole image, through a norm or for lack of a bound.
    """

    multiple: int = 1
    smallest: int = 2
    margin: int | None = None

    def __init__(
        self, source: Sequence[int], shape: Sequence[int], residual: bool, classes: int
    ) -> None:
        super().__init__()
        self.shape, self.residual, self.classes = tuple(shape), residual, classes
        self.scale = find_scale(source, shape)
        if residual and source[0] not in (1, shape[0], shape[0] + 1):
            raise SettingError(
                f"model.translator.residual: {source[0]} channels cannot be added to {shape[0]}."
            )

    def add_source(self, out: Tensor, source: Tensor) -> Tensor:
        """The sum of outputs (n, c, h, w) and their sources, as far as these are targets."""
        return out + as_target(source, (self.shape[0], *out.shape[2:]))


def find_scale(source: Sequence[int], shape: Sequence[int]) -> int:
    """How many times the sides of the target are those of the source.

    Raises:
        SettingError: if that is no whole number, the same for both sides.
    """
    if len(source) != len(shape):
        raise SettingError(
            f"model.translator makes images of images, and targets are {list(shape)}.\n"
            "Use model=single_view for voxels."
        )
    scales = {(big // small, big % small) for small, big in zip(source[1:], shape[1:], strict=True)}
    if len(scales) > 1 or min(scales)[1]:
        raise SettingError(
            f"model.translator: sides of {list(shape[1:])} are no multiple of the source's "
            f"{list(source[1:])}."
        )
    return min(scales)[0]
