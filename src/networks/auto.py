"""Networks that follow the data: DCGAN's for images, 3D-GAN's for voxels, perceptrons for points.

So that any preset works on any data: `model=wgan_gp data=ring`.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from src.config.ranges import PositiveInt
from src.errors import SettingError
from src.networks.base import Critique, Discriminator, Generator
from src.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.voxel import VoxelDiscriminator, VoxelGenerator

VOXELS, IMAGE, POINT = 4, 3, 1  # dimensions of one sample


def _kind(shape: Sequence[int]) -> int:
    if len(shape) not in (VOXELS, IMAGE, POINT):
        raise SettingError(
            f"The auto networks are for images, voxels and points, not for shape {tuple(shape)}.\n"
            "Choose model/generator and model/discriminator."
        )
    return len(shape)


class AutoGenerator(Generator):
    """z (n, latent_dim), and y (n,) if conditional, to samples (n, *shape).

    Args:
        latent_dim: length of z.
        shape: (c, r, r) of one image, (1, r, r, r) of voxels, (d,) of a point.
        width: for images, see `DCGANGenerator`.
        voxel_width: for voxels, see `VoxelGenerator`.
        norm: for images and voxels.
        hidden: for points, see `MLPGenerator`.
        activation: for points.
        classes: for images and voxels: above 0, batch norm is conditioned on the class.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        width: PositiveInt = 64,
        voxel_width: PositiveInt = 16,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        hidden: Sequence[PositiveInt] = (128, 128, 128),
        activation: Literal["relu", "leaky_relu", "tanh", "sigmoid"] = "relu",
        classes: int = 0,
    ) -> None:
        super().__init__()
        if _kind(shape) == IMAGE:
            self.network = DCGANGenerator(latent_dim, shape, width, norm, classes)
        elif _kind(shape) == VOXELS:
            self.network = VoxelGenerator(latent_dim, shape, voxel_width, norm, classes=classes)
        else:
            self.network = MLPGenerator(
                latent_dim, shape, hidden, activation, "glorot", classes=classes
            )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.network(z, y)


class AutoDiscriminator(Discriminator):
    """Samples (n, *shape) to a `Critique`.

    Args:
        shape: (c, r, r) of one image, (1, r, r, r) of voxels, (d,) of a point.
        width: for images, see `DCGANDiscriminator`.
        voxel_width: for voxels, see `VoxelDiscriminator`.
        norm: for images and voxels; points have none.
        hidden: for points, see `MLPDiscriminator`.
        activation: for points.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 64,
        voxel_width: PositiveInt = 16,
        norm: Literal["none", "batch", "layer", "instance", "spectral"] = "batch",
        hidden: Sequence[PositiveInt] = (128, 128, 128),
        activation: Literal["relu", "leaky_relu", "tanh", "sigmoid"] = "leaky_relu",
        classes: int = 0,
    ) -> None:
        super().__init__()
        if _kind(shape) == IMAGE:
            self.network = DCGANDiscriminator(shape, width, norm, classes)
        elif _kind(shape) == VOXELS:
            self.network = VoxelDiscriminator(shape, voxel_width, norm, classes)
        else:
            self.network = MLPDiscriminator(shape, hidden, activation, "glorot", classes=classes)
        self.features = self.network.features

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        return self.network(x, y)
