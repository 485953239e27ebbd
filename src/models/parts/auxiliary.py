"""Auxiliary heads on D's features, and their terms in both players' losses.

    ClassHead   which class is it?                   ACGAN, Odena, Olah & Shlens 2017
    CodeHead    which code was it made from?         InfoGAN, Chen et al. 2016

A head's weights are stepped with D's. Its `d` and `g` return terms by name, which are recorded and
added to the loss of the player.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import NotNegativeFloat, PositiveInt
from src.errors import SettingError
from src.models.parts.latents import Latent
from src.networks.base import Critique

Terms = dict[str, Tensor]


class Auxiliary(nn.Module, ABC):
    """A further task of D, in which G may help it.

    Args:
        features: length of D's features.
        classes: number of classes of the data.
        latent: z and its prior.
    """

    def __init__(self, features: int, classes: int, latent: Latent) -> None:
        super().__init__()

    @abstractmethod
    def d(self, d_real: Critique, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        """Terms of D's loss, given what D says, the classes y (n,) and z (n, latent size)."""

    @abstractmethod
    def g(self, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        """Terms of G's loss."""


class NoAuxiliary(Auxiliary):
    """D tells real from fake, and nothing else."""

    def d(self, d_real: Critique, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        return {}

    def g(self, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        return {}


class ClassHead(Auxiliary):
    """log p(class | x), of reals and fakes in D's step and of fakes in G's (ACGAN, eq. 3).

    Args:
        features: length of D's features.
        classes: number of classes.
        latent: not used.
        weight: weight of the term in D's loss, for reals and fakes alike.
        g_weight: weight of the term in G's loss.
        fakes: D's step learns from the fakes too, as in the paper.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        latent: Latent,
        weight: NotNegativeFloat = 1.0,
        g_weight: NotNegativeFloat = 1.0,
        fakes: bool = True,
    ) -> None:
        super().__init__(features, classes, latent)
        self.head = nn.Linear(features, classes)
        self.weight, self.g_weight, self.fakes = weight, g_weight, fakes

    def d(self, d_real: Critique, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        terms = {"class_real": self.weight * self.cross_entropy(d_real, y)}
        if self.fakes:
            terms["class_fake"] = self.weight * self.cross_entropy(d_fake, y)
        return terms

    def g(self, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        return {"class_g": self.g_weight * self.cross_entropy(d_fake, y)}

    def cross_entropy(self, critique: Critique, y: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over the batch."""
        return F.cross_entropy(self.head(critique.features).float(), y)


class CodeHead(Auxiliary):
    """-log q(code | G(z)), which bounds the codes' mutual information with the sample.

    InfoGAN, eq. 5 and appendix C: a category by its logits, a continuous code by a Gaussian of
    fixed variance 1. Minimised in both steps; reals are not looked at.

    Args:
        features: length of D's features.
        classes: not used.
        latent: says which codes there are.
        weight: lambda of the categories' term.
        continuous_weight: lambda of the continuous codes' term.
        hidden: width of the head's hidden layer.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        latent: Latent,
        weight: NotNegativeFloat = 1.0,
        continuous_weight: NotNegativeFloat = 1.0,
        hidden: PositiveInt = 128,
    ) -> None:
        super().__init__(features, classes, latent)
        if latent.size == latent.dim:
            raise SettingError(
                "model.auxiliary=codes looks for codes and the latent has none.\n"
                "Set model.latent.categories=[10] or model.latent.continuous=2."
            )
        self.latent, self.weight, self.continuous_weight = latent, weight, continuous_weight
        self.head = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, latent.size - latent.dim),
        )

    def d(self, d_real: Critique, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        return self.g(d_fake, y, z)

    def g(self, d_fake: Critique, y: Tensor | None, z: Tensor) -> Terms:
        *categories, continuous = self.latent.split(self.head(d_fake.features).float())
        *wanted, place = self.latent.split(z[:, self.latent.dim :])
        terms = {}
        if categories:
            pairs = zip(categories, wanted, strict=True)
            nats = sum(F.cross_entropy(logits, code) for logits, code in pairs)
            terms["categories"] = self.weight * nats
        if self.latent.continuous:
            nats = 0.5 * (continuous - place).square().sum(1).mean()
            terms["continuous"] = self.continuous_weight * nats
        return terms

    @torch.no_grad()
    def codes(self, critique: Critique) -> list[Tensor]:
        """The most likely category (n,) of each categorical code, and means of the others."""
        *categories, continuous = self.latent.split(self.head(critique.features).float())
        return [logits.argmax(1) for logits in categories] + [continuous]
