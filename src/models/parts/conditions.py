"""The class as an input of both networks of a conditional GAN or VAE.

    concatenate   a one-hot vector is appended to z, and to x as columns (points) or constant
                  planes (images)                    Mirza & Osindero 2014; Sohn et al. 2015
    flatten       the same with columns for images too, for multilayer perceptrons
    batch_norm    G's batch norms have a gain and a bias per class  Dumoulin et al. 2017
                  (StyleGAN2's G has none: its mapping gets an embedding of the class)
    projection    D's logit gains <embedding(y), features(x)>       Miyato & Koyama 2018, eq. 4

Concatenation and projection wrap a network, so that every network can have them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from src.errors import SettingError
from src.networks.base import Critique


class Condition:
    """Builds networks that are, or are not, conditioned on the class.

    Args:
        generator: conditioning of G, or of a VAE's decoder.
        discriminator: conditioning of D, or of a VAE's encoder; `none` with a conditional G leaves
            the class to an auxiliary head.
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

    def check(self, classes: int) -> None:
        """Check that there are classes to be conditioned on, if they are needed.

        Raises:
            SettingError: if the data have none.
        """
        if self and not classes:
            raise SettingError(
                "model/condition needs classes and the data have none.\n"
                "Choose data with labels (data.label=... for attributes) or model/condition=none."
            )

    def make_generator(
        self, make: Callable[..., nn.Module], latent_dim: int, shape: Sequence[int], classes: int
    ) -> nn.Module:
        """Build G by `make(latent_dim, shape, classes)`; it is called as G(z, y)."""
        if self.generator == "concatenate":
            return OneHotInput(make(latent_dim=latent_dim + classes, shape=shape), classes)
        if self.generator == "batch_norm":
            return make(latent_dim=latent_dim, shape=shape, classes=classes)
        return make(latent_dim=latent_dim, shape=shape)

    def make_discriminator(
        self, make: Callable[..., nn.Module], shape: Sequence[int], classes: int
    ) -> nn.Module:
        """Build D by `make(shape)`; it is called as D(x, y)."""
        if self.discriminator == "flatten":
            return OneHotInput(make(shape=(math.prod(shape) + classes,)), classes, flatten=True)
        if self.discriminator == "concatenate":
            return OneHotInput(make(shape=(shape[0] + classes, *shape[1:])), classes)
        network = make(shape=shape)
        if self.discriminator == "projection":
            return ProjectionDiscriminator(network, classes, self.spectral)
        return network


class OneHotInput(nn.Module):
    """A network whose input x (n, c, ...) has the classes y (n,) as further channels, one-hot.

    Args:
        network: takes (n, c + classes, ...), or (n, d + classes) if inputs are flattened.
        classes: number of classes.
        flatten: reshape inputs to (n, d) first.
    """

    def __init__(self, network: nn.Module, classes: int, flatten: bool = False) -> None:
        super().__init__()
        self.network, self.classes, self.flatten = network, classes, flatten
        self.features = getattr(network, "features", None)  # of a discriminator

    def forward(self, x: Tensor, y: Tensor) -> Critique | Tensor:
        x = x.flatten(1) if self.flatten else x
        label = F.one_hot(y, self.classes).to(x)
        label = label.view(*label.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, label], 1))


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
