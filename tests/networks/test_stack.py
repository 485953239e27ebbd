"""A stack of two layers, step by step, and the network that it is unrolled into."""

import pytest
import torch
from torch.testing import assert_close

from src.networks.rbm import RBM
from src.networks.shallow import ShallowAutoencoder
from src.networks.stack import Stack

SHAPE = (1, 2, 3)


def stack(kind: str = "tied", linear: bool = True, gain: float = 1.0) -> Stack:
    torch.manual_seed(0)
    if kind == "rbm":
        layers = [RBM(6, 4, std=1.0), RBM(4, 2, linear, std=1.0)]
    else:
        tied = kind == "tied"
        layers = [ShallowAutoencoder(6, 4, False, tied), ShallowAutoencoder(4, 2, linear, tied)]
    made = Stack(layers, SHAPE, gain)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return made


def images(n: int = 5) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_up_and_down() -> None:
    one, x = stack(), images()
    first, second = one.layers
    v = (x.flatten(1) + 1) / 2
    h = (v @ first.weight.T + first.hidden_bias).sigmoid()
    z = h @ second.weight.T + second.hidden_bias
    for n, expected in enumerate((v, h, z)):
        assert_close(one.up(x, n), expected)
    assert_close(one.up(x), z)
    back = (z @ second.weight + second.visible_bias).sigmoid()
    expected = (back @ first.weight + first.visible_bias).view(-1, *SHAPE)
    assert_close(one.down(z), expected)
    assert_close(stack(gain=0.5).down(z), expected / 2)


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("kind", ["tied", "untied", "rbm"])
def test_unrolled_it_says_the_same(kind: str, linear: bool, gain: float) -> None:
    one, x = stack(kind, linear, gain), images()
    before = torch.get_rng_state()
    encoder, decoder = one.encoder(), one.decoder()
    assert torch.get_rng_state().equal(before)
    z = one.up(x)
    assert_close(encoder(x), z)
    assert_close(decoder(z), one.down(z))
    weights = sum(p.numel() for p in [*encoder.parameters(), *decoder.parameters()])
    assert weights == 2 * (6 * 4 + 4 * 2) + 4 + 2 + 4 + 6


def test_copies_have_weights_of_their_own() -> None:
    one, x = stack(), images()
    encoder, decoder = one.encoder(), one.decoder()
    z = one.up(x)
    expected = encoder(x), decoder(z)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert_close((encoder(x), decoder(z)), expected)
    assert all(p.requires_grad for p in [*encoder.parameters(), *decoder.parameters()])
