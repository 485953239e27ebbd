"""Blocks and conventions shared by the networks: sizes, normalisation, initialisation."""

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from src.config.ranges import Decay
from src.distributed import noise
from src.errors import SettingError

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
Module = TypeVar("Module", bound=nn.Module)
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}  # by the dimensions of space
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
# Their weight is what spectral norm divides.
WEIGHTED = (nn.Linear, nn.Embedding, nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d)


LARGEST_FIRST = 6  # px: what is larger is halved


def sizes(resolution: int) -> list[int]:
    """Resolutions up to the image's, each half of the next, rounded up, from 4, 5 or 6 on.

    [4, 7, 14, 28] of 28 px, [6, 12, 24, 48, 96] of 96.

    Raises:
        SettingError: if it is too small to be halved.
    """
    chain = [resolution]
    while chain[-1] > LARGEST_FIRST:
        chain.append((chain[-1] + 1) // 2)
    if len(chain) == 1:
        raise SettingError(
            f"data.resolution={resolution} is too small for these networks.\nUse at least 7."
        )
    return chain[::-1]


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and a bias per class (Dumoulin et al. 2017; Miyato & Koyama 2018).

        out = gain[y] * (x - mean) / sqrt(var + eps) + bias[y]

    The statistics are those of the whole batch; gains start at 1 and biases at 0.

    Args:
        channels: c of the samples (n, c, ...).
        classes: labels are from 0 to classes - 1.
        dims: 2 for images (n, c, h, w), 3 for voxels (n, c, d, h, w).
    """

    takes_class = True

    def __init__(self, channels: int, classes: int, dims: int = 2) -> None:
        super().__init__()
        self.norm = BATCH_NORM[dims](channels, affine=False)
        self.dims = dims
        self.gain = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        # F.embedding and not gain[y]: its backward is deterministic, and quicker on a CPU.
        gain, bias = (
            F.embedding(y, table).to(x.dtype)[(..., *[None] * self.dims)]
            for table in (self.gain, self.bias)
        )
        return torch.addcmul(bias, self.norm(x), gain)


class ConditionalSequential(nn.Sequential):
    """Layers in turn; those that can depend on the class (`takes_class`) get y as well."""

    takes_class = True

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, y) if getattr(layer, "takes_class", False) else layer(x)
        return x


def append_classes(x: Tensor, y: Tensor | None, classes: int) -> Tensor:
    """Images (n, c, h, w) with their classes y (n,) as further channels, one-hot; none if 0."""
    if not classes:
        return x
    planes = F.one_hot(y, classes).to(x)[:, :, None, None]
    return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)


def norm_layer(norm: Norm, channels: int, classes: int = 0, dims: int = 2) -> nn.Module:
    """The layer that normalises samples (n, channels, ...); see `spectral` for spectral norm.

    Args:
        norm: `layer` is over all of a sample's channels and places, with a gain per channel.
        channels: c.
        classes: above 0, batch norm has a gain and a bias per class and is called with (x, y).
        dims: 2 for images, 3 for voxels.

    Raises:
        SettingError: if classes are asked of another norm than batch norm.
    """
    if classes and norm != "batch":
        raise SettingError(
            f"model.generator.norm={norm}: only batch norm can be conditioned on the class.\n"
            "Use model.generator.norm=batch, or model.condition.generator=concatenate."
        )
    if norm == "batch":
        return (
            ConditionalBatchNorm(channels, classes, dims) if classes else BATCH_NORM[dims](channels)
        )
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm == "instance":
        return INSTANCE_NORM[dims](channels, affine=True)
    return nn.Identity()


def biased(norm: Norm) -> bool:
    """True if a convolution needs a bias: no norm with a bias follows it."""
    return norm in ("none", "spectral")


def spectral(network: Module, norm: Norm = "spectral") -> Module:
    """Divide every weight in a network, or in one layer, by its largest singular value.

    The singular value is followed by one power iteration per pass in training mode (Miyato et al.
    2018, algorithm 1). To be called after initialisation: from then on `weight` is computed.

    Args:
        network: changed in place.
        norm: unless `spectral`, nothing is done.

    Returns:
        The same network.
    """
    if norm == "spectral":
        for layer in [module for module in network.modules() if isinstance(module, WEIGHTED)]:
            spectral_norm(layer, n_power_iterations=1, eps=1e-12)
    return network


class Dropout(nn.Module):
    """Dropout in training; each sample has the mask that it would have on one rank.

    Args:
        p: probability.
    """

    def __init__(self, p: Decay) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, noise.uniform(*x.shape, device=x.device), self.p) if self.training else x


def drop(x: Tensor, draws: Tensor, p: float) -> Tensor:
    """x, without the numbers whose draws from U(0, 1) are below p, and scaled to the same mean."""
    return x * (draws >= p).to(x) / (1 - p)


def refuse_classes(classes: int, network: str) -> None:
    """For networks that have no layer which could depend on the class.

    Raises:
        SettingError: if `classes` is above 0.
    """
    if classes:
        raise SettingError(
            f"{network} have no batch norm that could be conditioned on the class.\n"
            "Use model.condition.generator=concatenate."
        )


def init_normal_(module: nn.Module, std: float = 0.02) -> None:
    """DCGAN's initialisation: weights N(0, std^2), batch-norm gains N(1, std^2), biases 0.

    Use with `network.apply(init_normal_)` (Radford et al. 2016, sec. 4).
    """
    if isinstance(module, (nn.Linear, *CONVOLUTION.values(), *TRANSPOSED.values())):
        nn.init.normal_(module.weight, 0.0, std)
    elif isinstance(module, (nn.BatchNorm1d, *BATCH_NORM.values())) and module.affine:
        nn.init.normal_(module.weight, 1.0, std)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
