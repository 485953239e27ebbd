"""Networks of voxels: sizes, the occupancy at the start, and penalties through 3-D convolutions."""

import copy
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.errors import SettingError
from src.losses.penalties import R1, WGANGP, Penalty
from src.networks.auto import AutoDiscriminator, AutoGenerator
from src.networks.conv import ConvEncoder
from src.networks.image_translation import UNet
from src.networks.voxel import VoxelDiscriminator, VoxelGenerator, VoxelTranslator

NORMS = ["none", "batch", "layer", "instance", "spectral"]


def voxels(n: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 1, side, side, side, generator=generator) > 0.9).float()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("side", [16, 32, 64])
def test_sizes(side: int) -> None:
    shape = (1, side, side, side)
    fake = VoxelGenerator(5, shape, width=1)(torch.randn(2, 5))
    assert fake.shape == (2, *shape)
    assert fake.min() >= 0
    assert fake.max() <= 1
    d = VoxelDiscriminator(shape, width=1)
    critique = d(fake)
    assert critique.logits.shape == (2,)
    assert critique.features.shape == (2, d.features)


def test_parameter_counts_of_the_paper() -> None:
    """64^3, z of 200, width 64 (Wu et al. 2016, fig. 1): kernels of 4^3 and batch norms."""
    widths = [200, 512, 256, 128, 64, 1]
    kernels = sum(64 * a * b for a, b in pairwise(widths))
    g = VoxelGenerator(200, (1, 64, 64, 64), width=64)
    assert count(g) == kernels + 2 * (512 + 256 + 128 + 64) + 1  # the occupancy
    d = VoxelDiscriminator((1, 64, 64, 64), width=64)
    kernels = sum(64 * a * b for a, b in ((1, 64), (64, 128), (128, 256), (256, 512), (512, 1)))
    assert count(d) == kernels + 2 * (128 + 256 + 512)


@pytest.mark.parametrize("norm", NORMS)
def test_it_begins_with_the_occupancy(norm: str) -> None:
    torch.manual_seed(0)
    g = VoxelGenerator(8, (1, 16, 16, 16), width=4, norm=norm, occupancy=0.07)
    x = g(torch.randn(20, 8))
    assert 0.05 < x.mean() < 0.09
    assert_close(g.body[-2].bias, torch.full((1,), math.log(0.07 / 0.93)))


@pytest.mark.parametrize("norm", NORMS)
def test_every_weight_gets_a_gradient(norm: str) -> None:
    torch.manual_seed(0)
    g, d = VoxelGenerator(5, (1, 16, 16, 16), 2, norm), VoxelDiscriminator((1, 16, 16, 16), 2, norm)
    d(g(torch.randn(4, 5))).logits.square().sum().backward()
    for network in (g, d):
        assert all(p.grad.abs().sum() > 0 for p in network.parameters())
        twin = copy.deepcopy(network)
        twin.load_state_dict(network.state_dict())


def test_a_class_conditions_the_generator() -> None:
    torch.manual_seed(0)
    g = VoxelGenerator(5, (1, 16, 16, 16), 2, classes=3)
    z = torch.randn(4, 5)
    with torch.no_grad():
        g.body[2].bias[1] += 1
    assert not torch.equal(g(z, torch.zeros(4).long()), g(z, torch.ones(4).long()))
    with pytest.raises(SettingError, match="concatenate"):
        VoxelDiscriminator((1, 16, 16, 16), 2, classes=3)


@pytest.mark.parametrize("penalty", [R1(5.0), WGANGP(10.0)], ids=["r1", "wgan_gp"])
def test_penalties_have_the_derivatives_of_finite_differences(penalty: Penalty) -> None:
    """The second derivatives of 3-D convolutions, by a step along the gradient itself."""
    torch.manual_seed(0)
    d = VoxelDiscriminator((1, 16, 16, 16), 2, "none").double()
    with torch.no_grad():
        for weight in d.parameters():
            weight.mul_(5)  # slopes near 1
    real, fake = voxels(3).double(), torch.rand(3, 1, 16, 16, 16).double()

    def value() -> torch.Tensor:
        torch.manual_seed(1)  # the points between
        return penalty.d(lambda x: d(x).logits, real, fake)

    weights = [p for p in d.parameters() if p.ndim > 1]
    slopes = torch.autograd.grad(value(), weights)
    length = sum(slope.square().sum() for slope in slopes).sqrt()
    assert length > 0
    ends, step = [], 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight.add_(slope, alpha=float(sign * step / length))
        ends.append(value().detach())
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight.sub_(slope, alpha=float(sign * step / length))
    assert_close((ends[0] - ends[1]) / (2 * step), length, rtol=1e-4, atol=0)


def test_auto_takes_them_for_voxels() -> None:
    shape = (1, 16, 16, 16)
    torch.manual_seed(0)
    auto = AutoGenerator(5, shape, voxel_width=2), AutoDiscriminator(shape, voxel_width=2)
    torch.manual_seed(0)
    expected = VoxelGenerator(5, shape, 2), VoxelDiscriminator(shape, 2)
    for network, other in zip(auto, expected, strict=True):
        assert_close(network.network.state_dict(), other.state_dict())


@pytest.mark.parametrize("shape", [(1, 30, 30, 30), (1, 8, 8, 8), (1, 32, 32, 16), (1, 32, 32)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    for make in (lambda: VoxelGenerator(5, shape), lambda: VoxelDiscriminator(shape)):
        with pytest.raises(SettingError, match="16, 32 or 64"):
            make()
    with pytest.raises(SettingError, match="occupancy=0"):
        VoxelGenerator(5, (1, 16, 16, 16), occupancy=0.0)


def translator(source: tuple[int, ...], shape: tuple[int, ...], **more: int) -> VoxelTranslator:
    networks = {
        "encoder": partial(ConvEncoder, width=2),
        "generator": partial(VoxelGenerator, width=1),
    }
    return VoxelTranslator(source, shape, **networks, latent_dim=6, **more)


@pytest.mark.parametrize(("source", "side"), [((1, 64, 64), 32), ((3, 28, 28), 16)])
def test_a_translator_from_pictures(source: tuple[int, ...], side: int) -> None:
    network = translator(source, (1, side, side, side))
    x = torch.randn(3, *source)
    out = network(x)
    assert out.shape == (3, 1, side, side, side)
    assert 0 <= out.min() <= out.max() <= 1
    out.sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())
    # Nothing reaches the voxels but through the code.
    code = network.encoder(x)
    assert code.shape == (3, 6)
    assert_close(network.generator(code), out)


def test_a_translator_that_knows_the_class() -> None:
    network = translator((1, 28, 28), (1, 16, 16, 16), classes=2)
    nn.init.normal_(network.generator.body[2].bias)
    x = torch.randn(1, 1, 28, 28).expand(2, -1, -1, -1)
    a, b = network.eval()(x, torch.tensor([0, 1]))
    assert not a.equal(b)


def test_each_translator_has_its_targets() -> None:
    with pytest.raises(SettingError, match="cubes of 16, 32 or 64"):
        translator((1, 64, 64), (1, 64, 64))
    with pytest.raises(SettingError, match="images of images"):
        UNet((1, 64, 64), (1, 32, 32, 32))
