"""Networks of voxels: DCGAN's plan in three dimensions, as in 3D-GAN (Wu et al. 2016).

    G: z -> 4^3 -> 8^3 -> 16^3 -> 32^3, widths 4w, 2w, w, 1, transposed convolutions of 4^3, sigmoid
    D: the way back, and a logit from all of the 4^3 places

Of the paper's networks (64^3, w = 64) these are the halves and quarters: 3-D convolutions are dear.
Most voxels are empty. A generator that begins with an occupancy of 1/2 everywhere is told from the
data at a glance, and what D then teaches it is no shape; so its last bias is set to the logit of
the occupancy of the data.

A picture becomes voxels through a code, as in 3D-VAE-GAN (Wu et al. 2016, sec. 3.3).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from src.config.ranges import PositiveInt, Share
from src.errors import SettingError
from src.networks.base import Critique, Discriminator, Encoder, Generator, Translator
from src.networks.dcgan import downward, upward
from src.networks.layers import ConditionalSequential, init_normal_, refuse_classes, spectral


def _check(shape: Sequence[int]) -> None:
    """Refuse what is not a cube of 16, 32 or 64."""
    if len(shape) != 4 or len(set(shape[1:])) > 1 or shape[-1] not in (16, 32, 64):
        raise SettingError(
            f"The voxel networks are for cubes of 16, 32 or 64, not for shape {tuple(shape)}.\n"
            "Set data.resolution to one of these."
        )


class VoxelGenerator(Generator):
    """z (n, latent_dim), and y (n,) if conditional, to voxels (n, 1, r, r, r) in [0, 1].

    Args:
        latent_dim: length of z.
        shape: (1, r, r, r), with r of 16, 32 or 64.
        width: channels of the last hidden stage (the paper's 64).
        norm: after each hidden stage.
        occupancy: share of occupied voxels that it begins with, about that of the data.
        classes: above 0, batch norm is conditioned on the class.

    Raises:
        SettingError: for another shape, or an occupancy that is 0 or 1.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: PositiveInt = 16,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        occupancy: Share = 0.05,
        classes: int = 0,
    ) -> None:
        super().__init__()
        _check(shape)
        if not 0 < occupancy < 1:
            raise SettingError(
                f"model.generator.occupancy={occupancy} must be between 0 and 1: a share of voxels."
            )
        layers = upward(latent_dim, shape, width, norm, classes, last_bias=True)
        self.body = ConditionalSequential(*layers, nn.Sigmoid())
        self.apply(init_normal_)
        nn.init.constant_(layers[-1].bias, math.log(occupancy / (1 - occupancy)))
        spectral(self, norm)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(z, y)


class VoxelDiscriminator(Discriminator):
    """Voxels (n, c, r, r, r) to a `Critique`.

    Args:
        shape: (c, r, r, r), with r of 16, 32 or 64.
        width: channels of the first stage (the paper's 64).
        norm: between the stages; for a gradient penalty another than batch norm.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: 4^3 places of the last stage.

    Raises:
        SettingError: for another shape.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 16,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        classes: int = 0,
    ) -> None:
        super().__init__()
        _check(shape)
        refuse_classes(classes, "The discriminators of voxels")
        layers, last = downward(shape, width, norm)
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv3d(last, 1, 4, 1, 0, bias=False)
        self.features = 64 * last
        self.apply(init_normal_)
        spectral(self, norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        features = self.body(x)
        return Critique(self.head(features).flatten(), features.flatten(1))


class VoxelTranslator(Translator):
    """Pictures to voxels (n, 1, r, r, r) in [0, 1]: an encoder, and a generator of its code.

    Args:
        source: (c', h, w) of a picture.
        shape: (1, r, r, r).
        encoder: `(shape, outputs) -> network`, from pictures to codes.
        generator: `(latent_dim, shape, classes) -> network`, from codes to voxels.
        latent_dim: length of the code.
        classes: above 0, the generator is conditioned on the class.

    Raises:
        SettingError: if the target is no cube of voxels.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        encoder: Callable[..., Encoder],
        generator: Callable[..., Generator],
        latent_dim: PositiveInt = 128,
        classes: int = 0,
    ) -> None:
        super().__init__()
        _check(shape)
        self.encoder = encoder(shape=source, outputs=latent_dim)
        self.generator = generator(latent_dim=latent_dim, shape=shape, classes=classes)

    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        return self.generator(self.encoder(source), y)
