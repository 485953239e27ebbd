"""DCGAN's networks: the paper's sizes and parameter counts, and other resolutions."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.errors import SettingError
from src.networks.dcgan import DCGANDiscriminator, DCGANGenerator, sizes


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_of_the_reference_code() -> None:
    """64 px, 3 channels, z of 100, width 64: pytorch/examples' dcgan."""
    assert count(DCGANGenerator(100, (3, 64, 64))) == 3_576_704
    assert count(DCGANDiscriminator((3, 64, 64))) == 2_765_568


@pytest.mark.parametrize("resolution", [8, 28, 32, 56, 64, 112, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(resolution: int, channels: int) -> None:
    shape = (channels, resolution, resolution)
    fake = DCGANGenerator(5, shape, width=1)(torch.randn(3, 5))
    assert fake.shape == (3, *shape)
    assert fake.abs().max() <= 1
    critique = DCGANDiscriminator(shape, width=1)(fake)
    assert critique.logits.shape == (3,)
    assert critique.features.shape == (3, 16 << (len(sizes(resolution)) - 2))


def test_chains() -> None:
    assert sizes(64) == [4, 8, 16, 32, 64]
    assert sizes(28) == [4, 7, 14, 28]
    assert sizes(25) == [4, 7, 13, 25]
    assert sizes(48) == [6, 12, 24, 48]
    assert sizes(100) == [4, 7, 13, 25, 50, 100]
    assert all(sizes(r)[0] in (4, 5, 6) for r in range(7, 300))


@pytest.mark.parametrize("resolution", [1, 4, 6])
def test_resolutions_that_are_too_small(resolution: int) -> None:
    for build in (lambda s: DCGANGenerator(5, s, 2), lambda s: DCGANDiscriminator(s, 2)):
        with pytest.raises(SettingError, match=f"data.resolution={resolution}.*\nUse at least 7"):
            build((3, resolution, resolution))


@pytest.mark.parametrize("resolution", [25, 28, 48, 64])
def test_every_pixel_counts_and_every_pixel_is_reached(resolution: int) -> None:
    """The kernels lose no border: D looks at all pixels, and G's last layer reaches all."""
    shape = (1, resolution, resolution)
    torch.manual_seed(0)
    x = torch.randn(2, *shape, requires_grad=True)
    DCGANDiscriminator(shape, width=2, norm="none")(x).logits.sum().backward()
    assert (x.grad != 0).all()
    fake = DCGANGenerator(5, shape, width=2)(torch.randn(64, 5))
    assert (fake.std(0) > 0).all()


def test_initialisation() -> None:
    """Weights N(0, 0.02^2), batch-norm gains N(1, 0.02^2); bounds of 6 standard errors."""
    torch.manual_seed(0)
    for network in (DCGANGenerator(100, (3, 64, 64)), DCGANDiscriminator((3, 64, 64))):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                weight, n = module.weight.detach(), module.weight.numel()
                assert module.bias is None
                assert abs(float(weight.mean())) < 6 * 0.02 / n**0.5
                assert abs(float(weight.std()) - 0.02) < 6 * 0.02 / (2 * n) ** 0.5
            elif isinstance(module, nn.BatchNorm2d):
                assert abs(float(module.weight.mean()) - 1) < 6 * 0.02 / len(module.weight) ** 0.5
                assert 0 < float(module.weight.std()) < 0.04
                assert_close(module.bias, torch.zeros_like(module.bias))


def test_batch_norm_where_the_paper_has_it() -> None:
    """Not at G's output, nor at D's input and output."""
    kinds = [type(layer).__name__ for layer in DCGANGenerator(5, (3, 32, 32), 2).body]
    assert kinds[-2:] == ["ConvTranspose2d", "Tanh"]
    assert kinds.count("BatchNorm2d") == kinds.count("ConvTranspose2d") - 1
    network = DCGANDiscriminator((3, 32, 32), 2)
    kinds = [type(layer).__name__ for layer in network.body]
    assert kinds[:3] == ["Conv2d", "LeakyReLU", "Conv2d"]
    assert kinds.count("BatchNorm2d") == kinds.count("Conv2d") - 1
    assert isinstance(network.head, nn.Conv2d)


def test_without_batch_norm_a_samples_logit_is_its_own() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 1, 28, 28)
    network = DCGANDiscriminator((1, 28, 28), 4, norm="none")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert_close(network(x).logits[:1], network(x[:1]).logits)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "spectral"])
def test_biases_where_no_norm_brings_one(norm: str) -> None:
    """In the hidden layers; the output layers have none, as published."""
    g, d = DCGANGenerator(5, (3, 32, 32), 2, norm), DCGANDiscriminator((3, 32, 32), 2, norm)
    wanted = norm in ("none", "spectral")
    *hidden, output = (m for m in g.modules() if isinstance(m, nn.ConvTranspose2d))
    assert [layer.bias is not None for layer in hidden] == [wanted] * 3
    assert output.bias is None
    *hidden, output = (m for m in d.modules() if isinstance(m, nn.Conv2d))
    assert [layer.bias is not None for layer in hidden] == [wanted] * 3
    assert output is d.head
    assert output.bias is None


def test_spectral_norm_divides_what_was_initialised() -> None:
    torch.manual_seed(0)
    network = DCGANDiscriminator((3, 32, 32), 8, norm="spectral")
    x = torch.randn(1, 3, 32, 32)
    for _ in range(100):
        network(x)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            original = module.parametrizations.weight.original.detach()
            assert_close(float(original.std()), 0.02, rtol=0.1, atol=0)
            largest = torch.linalg.svdvals(module.weight.detach().flatten(1))[0]
            assert_close(float(largest), 1.0, rtol=0.01, atol=0)
            if module.bias is not None:
                assert not module.bias.any()
