"""SNGAN's residual networks: the published sizes, blocks by hand, attention and its place."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.errors import SettingError
from src.networks.attention import SelfAttention
from src.networks.layers import ConditionalBatchNorm
from src.networks.resnet import (
    DiscriminatorBlock,
    GeneratorBlock,
    ResNetDiscriminator,
    ResNetGenerator,
)


def count(make: type, *arguments: object, **settings: object) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make(*arguments, **settings).parameters())


@pytest.mark.parametrize(
    ("resolution", "g", "d"),
    [
        (32, 4_276_739, 1_053_825),
        (64, 12_220_675, 10_141_441),
        (128, 32_150_787, 29_017_857),
    ],
)
def test_parameter_counts_of_the_reference_code(resolution: int, g: int, d: int) -> None:
    """kwotsin/mimicry, torch_mimicry/nets/sngan: summed over its layers' shapes by hand."""
    shape = (3, resolution, resolution)
    assert count(ResNetGenerator, 128, shape) == g
    assert count(ResNetDiscriminator, shape, norm="none") == d


def test_a_block_of_g() -> None:
    torch.manual_seed(0)
    block, x = GeneratorBlock(3, 5, 8, "batch", 0), torch.randn(4, 3, 4, 4)
    conv1, conv2 = (layer for layer in block.residual if isinstance(layer, nn.Conv2d))

    def double(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    h = conv1(double(F.batch_norm(x, None, None, training=True).relu()))
    h = conv2(F.batch_norm(h, None, None, training=True).relu())
    # Published: the shortcut is interpolated, then convolved.
    assert_close(block(x), h + block.shortcut[0](double(x)))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("halve", [False, True])
@pytest.mark.parametrize("fan_out", [3, 5])
def test_a_block_of_d(fan_out: int, halve: bool, first: bool) -> None:
    torch.manual_seed(0)
    block, x = DiscriminatorBlock(3, fan_out, halve, "none", first), torch.randn(4, 3, 4, 4)
    conv1, conv2 = (layer for layer in block.residual if isinstance(layer, nn.Conv2d))
    assert conv1.out_channels == (fan_out if first else 3)
    h = conv2(conv1(x if first else x.relu()).relu())
    # Published: the shortcut is convolved, then pooled; of x itself, not of its ReLU.
    shortcut = [layer for layer in block.shortcut if isinstance(layer, nn.Conv2d)]
    assert len(shortcut) == (halve or fan_out != 3)
    out = h + (shortcut[0](x) if shortcut else x)
    assert_close(block(x), F.avg_pool2d(out, 2) if halve else out)


@pytest.mark.parametrize(
    ("resolution", "sizes"),
    [
        (28, [14, 7, 7, 7]),
        (32, [16, 8, 8, 8]),
        (64, [32, 16, 8, 4, 2]),
        (128, [64, 32, 16, 8, 4, 4]),
    ],
)
def test_sizes_of_d(resolution: int, sizes: list[int]) -> None:
    network, found = ResNetDiscriminator((1, resolution, resolution), width=1), []
    for block in network.body[:-1]:
        block.register_forward_hook(lambda *hook: found.append(hook[-1].shape[-1]))
    network(torch.randn(1, 1, resolution, resolution))
    assert found == sizes


def test_features_are_summed_over_space() -> None:
    network, x = ResNetDiscriminator((1, 28, 28), width=4, norm="none"), torch.randn(3, 1, 28, 28)
    last = network.body(x)
    assert last.shape == (3, 4, 7, 7)
    critique = network(x)
    assert_close(critique.features, last.sum((2, 3)))
    assert_close(critique.logits, critique.features @ network.head.weight[0] + network.head.bias)


def test_initialisation() -> None:
    """Xavier-uniform, gain sqrt(2) in the residual branches; biases 0."""
    torch.manual_seed(0)
    g = ResNetGenerator(128, (3, 32, 32), width=32)
    d = ResNetDiscriminator((3, 32, 32), width=64, norm="none")
    for network in (g, d):
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                space = module.weight[0, 0].numel()
                fans = (module.weight.shape[0] + module.weight.shape[1]) * space
                bound = (6 / fans) ** 0.5 * (2**0.5 if "residual" in name else 1)
                assert 0.9 * bound < module.weight.detach().abs().max() <= bound
                assert not module.bias.any()


@pytest.mark.parametrize("attention", [None, 7, 14, "half"])
def test_attention_sits_where_it_is_asked(attention: int | str | None) -> None:
    shape, size = (1, 28, 28), 14 if attention == "half" else attention
    g = ResNetGenerator(5, shape, width=2, attention=attention)
    d = ResNetDiscriminator(shape, width=2, attention=attention)
    seen: list[list[int]] = [[], []]
    for network, sizes in zip((g, d), seen, strict=True):
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_hook(lambda *h, s=sizes: s.append(h[-1].shape[-1]))
    d(g(torch.randn(2, 5)))
    assert seen == [[] if size is None else [size]] * 2


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda size: ResNetGenerator(5, (1, 28, 28), 2, attention=size), "7, 14, 28"),
        (lambda size: ResNetDiscriminator((1, 28, 28), 2, attention=size), "7, 14"),
    ],
)
def test_attention_at_a_size_that_does_not_occur(make: type, allowed: str) -> None:
    with pytest.raises(SettingError, match=rf"attention=10 .*28\.\nUse {allowed} or null"):
        make(10)


@pytest.mark.parametrize("resolution", [7, 40, 56])
def test_other_resolutions(resolution: int) -> None:
    shape = (3, resolution, resolution)
    fake = ResNetGenerator(5, shape, 1)(torch.randn(2, 5))
    assert fake.shape == (2, *shape)
    assert ResNetDiscriminator(shape, 1)(fake).logits.shape == (2,)


def test_the_widths_of_48_px_are_those_published_for_stl_10() -> None:
    """Miyato et al. 2018, table 5: 512 channels of 6 x 6 px, then blocks of 256, 128 and 64."""
    body = ResNetGenerator(128, (3, 48, 48)).body
    blocks = [layer for layer in body if isinstance(layer, GeneratorBlock)]
    widths = [next(x for x in b.residual if isinstance(x, nn.Conv2d)).out_channels for b in blocks]
    assert body[0].out_features == 6 * 6 * 512
    assert widths == [256, 128, 64]


def test_spectral_norm_is_everywhere_or_beside_batch_norm() -> None:
    def parametrised(network: nn.Module) -> list[bool]:
        weighted = (nn.Linear, nn.Conv2d)
        modules = [module for module in network.modules() if isinstance(module, weighted)]
        return [hasattr(module, "parametrizations") for module in modules]

    shape = (1, 28, 28)
    assert all(parametrised(ResNetDiscriminator(shape, 2, attention=14)))
    assert not any(parametrised(ResNetDiscriminator(shape, 2, norm="layer")))
    alone = ResNetGenerator(5, shape, 2, norm="spectral")
    beside = ResNetGenerator(5, shape, 2, spectral_norm=True, classes=3)
    assert all(parametrised(alone))
    assert all(parametrised(beside))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in alone.modules())
    norms = [module for module in beside.modules() if isinstance(module, ConditionalBatchNorm)]
    assert len(norms) == 7  # two in each of three blocks, one before the last convolution
