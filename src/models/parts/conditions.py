"""How the class enters the networks of a conditional GAN.

    concatenate   a one-hot code beside z, and beside x as columns (points) or constant planes
                  (images)                                          Mirza & Osindero 2014
    flatten       the same with columns for images too, for multilayer perceptrons
    batch_norm    G's batch norms have a gain and a bias per class  Dumoulin et al. 2017
    projection    D's logit gains <embedding(y), features(x)>       Miyato & Koyama 2018, eq. 4

Concatenation and projection are put around a network, so that every network can have them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from src.networks.base import Critique


class Condition:
    """Builds both networks so that they know the class, or do not.

    Args:
        generator: how G is told.
        discriminator: how D is told; `none` beside a conditional G leaves it to an auxiliary head.
        spectral: spectral norm on the projection's embedding, for a D that has it elsewhere.
    """

    def __init__(
        self,
        generator: Literal["none", "concatenate", "batch_norm"] = "none",
        discriminator: Literal["none", "concatenate", "flatten", "projection"] = "none",
        spectral: bool = False,
    ) -> None:
        self.generator, self.discriminator, self.spectral = generator, discriminator, spectral

    def __bool__(self) -> bool:
        return self.generator != "none" or self.discriminator != "none"

    def make_generator(
        self, make: Callable[..., nn.Module], latent_dim: int, shape: Sequence[int], classes: int
    ) -> nn.Module:
        """G of `make(latent_dim, shape, classes)`, called as G(z, y)."""
        if self.generator == "concatenate":
            return OneHotGenerator(make(latent_dim=latent_dim + classes, shape=shape), classes)
        if self.generator == "batch_norm":
            return make(latent_dim=latent_dim, shape=shape, classes=classes)
        return make(latent_dim=latent_dim, shape=shape)

    def make_discriminator(
        self, make: Callable[..., nn.Module], shape: Sequence[int], classes: int
    ) -> nn.Module:
        """D of `make(shape)`, called as D(x, y)."""
        if self.discriminator in ("concatenate", "flatten"):
            return with_classes(make, shape, classes, flatten=self.discriminator == "flatten")
        network = make(shape=shape)
        if self.discriminator == "projection":
            return ProjectionDiscriminator(network, classes, self.spectral)
        return network


class OneHotGenerator(nn.Module):
    """z (n, d) and classes y (n,) to samples, by a network of latent length d + classes."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.network(torch.cat([z, F.one_hot(y, self.classes).to(z)], 1))


def with_classes(
    make: Callable[..., nn.Module], shape: Sequence[int], classes: int, flatten: bool
) -> "OneHotInput":
    """A network of `make(shape)` that sees a one-hot code beside samples of that shape."""
    wide = (math.prod(shape) + classes,) if flatten else (shape[0] + classes, *shape[1:])
    return OneHotInput(make(shape=wide), classes, flatten)


class OneHotInput(nn.Module):
    """Samples x (n, c, ...) and classes y (n,) to what a network of c + classes channels says.

    Args:
        network: takes (n, c + classes, ...), or (n, c ... + classes) if they are flattened.
        classes: how many.
        flatten: samples to (n, c ...) before the code is put beside them.
    """

    def __init__(self, network: nn.Module, classes: int, flatten: bool) -> None:
        super().__init__()
        self.network, self.classes, self.flatten = network, classes, flatten
        self.features = getattr(network, "features", None)  # of a discriminator

    def forward(self, x: Tensor, y: Tensor) -> Critique | Tensor:
        x = x.flatten(1) if self.flatten else x
        code = F.one_hot(y, self.classes).to(x)
        code = code.view(*code.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, code], 1))


class ProjectionDiscriminator(nn.Module):
    """Samples x (n, ...) and classes y (n,) to a `Critique`: D(x) + <embedding(y), features(x)>."""

    def __init__(self, network: nn.Module, classes: int, spectral: bool) -> None:
        super().__init__()
        self.network, self.features = network, network.features
        embedding = nn.Embedding(classes, network.features)
        # The projection begins at the size of a linear layer's output.
        nn.init.normal_(embedding.weight, 0, network.features**-0.5)
        self.embedding = spectral_norm(embedding) if spectral else embedding

    def forward(self, x: Tensor, y: Tensor) -> Critique:
        critique = self.network(x)
        projection = (self.embedding(y) * critique.features).sum(1)
        return Critique(critique.logits + projection, critique.features)
