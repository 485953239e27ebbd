"""R3GAN's networks: against the equations of the public code, sizes, identity at first."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.errors import SettingError
from src.networks.r3gan import Block, R3GANDiscriminator, R3GANGenerator, _widths


def count(make: type, *arguments: object, **settings: object) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make(*arguments, **settings).parameters())


def block_size(width: int) -> int:
    """1x1 to twice the width, 3x3 in groups of 16, 1x1 back, two biases."""
    return 2 * (2 * width * width) + 2 * width * 16 * 9 + 2 * (2 * width)


def test_parameter_counts_of_the_published_widths() -> None:
    """CIFAR-10: 768 x 4; FFHQ-64: and 384; FFHQ-256: and 192, 96. Two blocks per stage."""
    for resolution, widths in ((32, [768]), (64, [768, 384]), (256, [768, 384, 192, 96])):
        blocks = sum(2 * block_size(width) for width in [768] * 3 + widths)
        mixes = sum(a * b for a, b in pairwise(widths))
        shape = (3, resolution, resolution)
        ends = 3 * widths[-1]
        g = 64 * 768 + 768 * 16 + blocks + mixes + ends
        d = ends + blocks + mixes + 768 * 16 + 768
        assert count(R3GANGenerator, 64, shape) == g
        assert count(R3GANDiscriminator, shape) == d
    assert (g, d) == (23_057_952, 23_009_568)


def test_widths() -> None:
    assert _widths(None, 4, "generator") == [768, 768, 768, 768]
    assert _widths(None, 5, "generator") == [384, 768, 768, 768, 768]
    assert _widths([8, 16], 4, "generator") == [8, 16, 16, 16]
    assert _widths([8, 16, 32], 2, "generator") == [8, 16]
    with pytest.raises(SettingError, match=r"model\.generator\.widths=\[\]"):
        R3GANGenerator(5, (1, 28, 28), [])


@pytest.mark.parametrize("blocks", [0, -1, 65])
def test_numbers_of_blocks(blocks: int) -> None:
    with pytest.raises(SettingError, match=rf"model\.generator\.blocks={blocks} must be"):
        R3GANGenerator(5, (1, 8, 8), [16], blocks=blocks)
    with pytest.raises(SettingError, match=rf"model\.discriminator\.blocks={blocks} must be"):
        R3GANDiscriminator((1, 8, 8), [16], blocks=blocks)


def test_groups_that_do_not_divide() -> None:
    with pytest.raises(SettingError, match="group_size=5 does not divide 2 x 8"):
        R3GANDiscriminator((1, 28, 28), [8], group_size=5)


# Blocks and networks


def test_a_block_is_the_identity_at_first() -> None:
    x = torch.randn(2, 8, 5, 5)
    assert Block(8, 2, 4, 10)(x).equal(x)


def scattered(network: nn.Module) -> nn.Module:
    """With all parameters drawn, so that no branch is 0."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.2)
    return network


def by_hand(block: Block, x: Tensor) -> Tensor:
    def activation(x: Tensor, bias: Tensor) -> Tensor:
        return F.leaky_relu(x + bias[:, None, None], 0.2)

    groups = len(block.spatial.weight) // block.spatial.weight.shape[1]
    h = activation(F.conv2d(x, block.expand.weight), block.expand.bias)
    h = F.conv2d(h, block.spatial.weight, padding=1, groups=groups)
    h = activation(h, block.spatial.bias)
    return x + F.conv2d(h, block.project.weight)


def test_a_block() -> None:
    torch.manual_seed(0)
    block, x = scattered(Block(8, 2, 4, 10)), torch.randn(2, 8, 5, 5)
    assert block.expand.weight.shape == (16, 8, 1, 1)
    assert block.spatial.weight.shape == (16, 4, 3, 3)
    assert_close(block(x), by_hand(block, x))


def test_the_generator() -> None:
    """Stage by stage: mix at the smaller size, double, blocks; no tanh at the end."""
    torch.manual_seed(0)
    g = scattered(R3GANGenerator(5, (3, 8, 8), [4, 8], blocks=1, group_size=4))
    z = torch.randn(2, 5)
    x = g.basis * (z @ g.linear.weight.T)[:, :, None, None]
    mix, resample, block, out = g.body
    x = resample(F.conv2d(by_hand(g.first[0], x), mix.weight))
    assert_close(g(z), F.conv2d(by_hand(block, x), out.weight))
    assert mix.bias is out.bias is g.linear.bias is None


def test_the_discriminator() -> None:
    torch.manual_seed(0)
    d = scattered(R3GANDiscriminator((3, 8, 8), [4, 8], blocks=1, group_size=4))
    x = torch.randn(2, 3, 8, 8)
    first, block, resample, mix = d.body
    h = F.conv2d(resample(by_hand(block, F.conv2d(x, first.weight))), mix.weight)
    features = (by_hand(d.last[0], h) * d.last[1].weight[:, 0]).sum((2, 3))
    critique = d(x)
    assert_close(critique.features, features)
    assert_close(critique.logits, features @ d.head.weight[0])


def test_initialisation() -> None:
    """He-normal for a leaky ReLU, in the blocks times L^(-1/4); L = 2 x 4 blocks here."""
    torch.manual_seed(0)
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    for network in (R3GANGenerator(64, (3, 32, 32), [64]), R3GANDiscriminator((3, 32, 32), [64])):
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in, expected = module.weight[0].numel(), 1.0
                if name.endswith("project"):
                    assert not module.weight.any()
                    continue
                if name.endswith(("expand", "spatial")):
                    expected = gain
                    assert not module.bias.any()
                std, n = float(module.weight.detach().std()), module.weight.numel()
                assert_close(std * fan_in**0.5, expected, rtol=6 / (2 * n) ** 0.5, atol=0)


def test_the_stages_of_4_px_are_float32_under_autocast() -> None:
    """The logits too: eight bits are few for their differences."""
    g = R3GANGenerator(5, (1, 28, 28), [8], group_size=4)
    d = R3GANDiscriminator((1, 28, 28), [8], group_size=4)
    with torch.autocast("cpu", torch.bfloat16):
        fake = g(torch.randn(2, 5))
        critique = d(fake)
    assert fake.dtype == torch.bfloat16
    assert critique.logits.dtype == critique.features.dtype == torch.float32
