"""Capabilities of models besides sampling, asked for by metrics, pictures and commands.

A model that draws samples is a `LatentVariableModel`; it may translate too. Each capability is a
protocol that `isinstance` checks by the names of its members. These are methods and properties,
since Python 3.12 does not find a submodule (which lies in `_modules`) by its name.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from src.models.parts.adversary import Adversary
from src.models.parts.latents import Latent
from src.networks.base import Generator, Translator


@runtime_checkable
class Encodes(Protocol):
    """Maps samples to codes."""

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (n, latent_dim) of samples x (n, *shape) in the data's range."""


@runtime_checkable
class Reconstructs(Protocol):
    """Maps samples to codes and back."""

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples (n, *shape) from the codes of samples x (n, *shape)."""


@runtime_checkable
class Translates(Protocol):
    """Maps images of another kind, such as degraded ones, to samples like the data's."""

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        """Targets (n, *shape) in the data's range of sources (n, c', h', w')."""


@runtime_checkable
class TranslatesImages(Translates, Protocol):
    """Maps images to images."""

    @property
    def used(self) -> Translator:
        """The network whose results are shown; it says which sizes it takes."""


@runtime_checkable
class TranslatesBack(TranslatesImages, Protocol):
    """Maps in both directions."""

    @property
    def used_back(self) -> Translator:
        """The network of the other direction."""

    def translate_back(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Sources (n, c', h, w) in [-1, 1] of targets (n, c, h, w)."""


@runtime_checkable
class HasLikelihood(Protocol):
    """Bounds the likelihood of samples by importance weights."""

    def log_weights(
        self,
        x: Tensor,
        k: int,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """log p(x, z) - log q(z|x), (k, n), in nats, for k draws of z for each of x (n, *shape)."""


@runtime_checkable
class Classifies(Protocol):
    """Tells classes apart, where its last layer is trained to."""

    @property
    def classifier(self) -> nn.Module | None:
        """Last layer, which is trained on the classes; None if the recipe trains none."""

    def classify(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of samples x (n, *shape)."""


@runtime_checkable
class Judges(Protocol):
    """Has a discriminator of single samples."""

    @property
    def judge(self) -> Adversary:
        """Discriminator with its losses."""

    def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """D's logits (n / packing, ...) of samples x (n, *shape), in eval mode."""


@runtime_checkable
class Generates(Protocol):
    """Draws samples by one network, from latents and classes."""

    @property
    def sampled(self) -> Generator:
        """The network whose samples are shown and scored."""


@runtime_checkable
class HasLevels(Protocol):
    """Makes an image in levels of rising resolution."""

    def images(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """Images (n, c, r, r) of all levels, from the coarsest to the samples, from latents z."""


@runtime_checkable
class HasLatent(Protocol):
    """Draws from a latent that may hold categories and continuous codes.

    Attributes:
        latent: its prior.
    """

    latent: Latent
