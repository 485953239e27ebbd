"""StyleGAN2's networks: against the equations of the public code, sizes, statistics at first."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.errors import SettingError
from src.networks.stylegan2 import (
    HalvingConv,
    Linear,
    Mapping,
    MinibatchDeviation,
    Residual,
    StyledConv,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    normalise,
)
from tests.networks.test_resample import filtered, stuffed

SMALL = {"w_dim": 6, "channel_base": 64, "channel_max": 8}
SHAPE = (3, 16, 16)


def generator(**settings: object) -> StyleGAN2Generator:
    torch.manual_seed(0)
    return scattered(StyleGAN2Generator(5, SHAPE, **SMALL | settings))


def scattered(network: nn.Module) -> nn.Module:
    """With biases and strengths drawn, so that none is 0."""
    for parameter in network.parameters():
        if parameter.unique().numel() == 1:
            parameter.data += 0.5 * torch.randn(parameter.shape)
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("resolution", "base", "layers", "g", "d"),
    [
        (1024, 32768, 8, 30_370_060, 29_012_513),
        (256, 16384, 8, 24_767_458, 24_001_089),
        (256, 16384, 2, 23_191_522, 24_001_089),
        (128, 16384, 2, 22_949_277, 23_882_369),
        (64, 16384, 2, 22_243_608, 23_407_361),
        (32, 16384, 2, 19_947_539, 21_507_073),
    ],
)
def test_parameter_counts_are_the_public_codes(
    resolution: int, base: int, layers: int, g: int, d: int
) -> None:
    """Counted from NVlabs/stylegan2-ada-pytorch, z and w of 512, RGB."""
    shape = (3, resolution, resolution)
    with torch.device("meta"):
        made = StyleGAN2Generator(512, shape, mapping_layers=layers, channel_base=base)
        assert (count(made), count(StyleGAN2Discriminator(shape, base))) == (g, d)
        assert count(made.mapping) == {8: 2_101_248, 2: 525_312}[layers]
        assert made.layers == 2 * (resolution.bit_length() - 1) - 2


# Layers


def test_learning_rates_are_equalised() -> None:
    """The output is that of usual weights; a gradient is smaller by the scale of a weight."""
    torch.manual_seed(0)
    layer, x = Linear(4, 3, gain=2.0, bias=0.5, rate=0.01), torch.randn(50, 4)
    weight = layer.weight * 2 * 0.01 / 4**0.5
    assert_close(layer(x), x @ weight.T + 2 * 0.5)
    layer(x).sum().backward()
    assert_close(layer.weight.grad[0], x.sum(0) * 2 * 0.01 / 2)
    assert 60 < float(Linear(100, 100, rate=0.01).weight.detach().std()) < 140


def by_hand(layer: StyledConv, x: Tensor, w: Tensor, drawn: Tensor) -> Tensor:
    """The paper's form, eq. 1 and 3: the weights of each sample are scaled and normalised."""
    style = w @ layer.affine.weight.T / w.shape[1] ** 0.5 + layer.affine.bias
    weight = layer.weight.transpose(0, 1) if layer.blur else layer.weight
    out = []
    for sample, s in zip(x, style, strict=True):
        own = weight * s[:, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if layer.blur:
            size = 2 * x.shape[2]
            doubled = filtered(stuffed(sample[None], size), size, 3, 2, total=4)
            out.append(F.conv2d(doubled, own.flip(2, 3))[0])
        else:
            out.append(F.conv2d(sample[None], own, padding=1)[0])
    h = torch.stack(out) + layer.strength * drawn + layer.bias[:, None, None]
    return F.leaky_relu(h, 0.2) * 2**0.5


@pytest.mark.parametrize("up", [False, True])
def test_scaling_the_input_is_scaling_the_weights_of_each_sample(up: bool) -> None:
    torch.manual_seed(0)
    size = 10 if up else 5
    layer = scattered(StyledConv(4, 6, 3, size, up, noise=True)).double()
    x, w = torch.randn(2, 4, 5, 5).double(), torch.randn(2, 3).double()
    drawn = torch.randn(2, 1, size, size).double()
    assert_close(layer(x, w, drawn), by_hand(layer, x, w, drawn))
    assert_close(layer(x, w, None), by_hand(layer, x, w, 0 * drawn))


def test_demodulation_keeps_the_variance_whatever_the_style() -> None:
    torch.manual_seed(0)
    layer = StyledConv(64, 64, 8, 16, False, noise=False)
    x = torch.randn(4, 64, 16, 16)
    for scale in (1.0, 100.0):
        out = layer(x, scale * torch.randn(4, 8), None)
        # A leaky ReLU of N(0, 1), times sqrt 2, has the second moment 1 + 0.04.
        assert_close(float(out.square().mean()), 1.04, rtol=0.08, atol=0)


def test_a_mapping() -> None:
    torch.manual_seed(0)
    mapping, z = scattered(Mapping(5, 6, 2, 3)), torch.randn(4, 5)
    y = torch.tensor([0, 1, 2, 1])
    embedded = mapping.embedding.weight.T[y] / 3**0.5 + mapping.embedding.bias
    w = torch.cat([normalise(z), normalise(embedded)], 1)
    for layer in mapping.layers:
        w = w @ layer.weight.T * 0.01 / w.shape[1] ** 0.5 + 0.01 * layer.bias
        w = F.leaky_relu(w, 0.2) * 2**0.5
    assert_close(mapping(z, y), w)
    assert_close(normalise(z).square().mean(1), torch.ones(4), rtol=1e-5, atol=0)
    assert not torch.allclose(mapping(z, y), mapping(z, (y + 1) % 3))


def test_deviations_within_groups() -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(10, 3, 4, 4), MinibatchDeviation(4)
    out = layer(x)
    assert out.shape == (10, 4, 4, 4)
    assert out[:, :3].equal(x)
    for group in (slice(0, 4), slice(4, 8), slice(8, 10)):
        expected = x[group].std(0, correction=0).mean()
        assert_close(out[group, 3], expected.expand_as(out[group, 3]), rtol=1e-5, atol=1e-6)
    assert_close(layer(x[:3])[:, 3], x[:3].std(0, correction=0).mean().expand(3, 4, 4))
    assert float(layer(x[:1])[:, 3].max()) < 1e-3


def test_a_block_of_the_discriminator() -> None:
    torch.manual_seed(0)
    block = scattered(Residual(4, 6, 8)).double()
    x = torch.randn(2, 4, 8, 8).double()

    def conv(layer: nn.Module, x: Tensor, **options: int) -> Tensor:
        weight = layer.weight / layer.weight[0].numel() ** 0.5
        out = F.conv2d(x, weight, layer.bias, **options)
        return F.leaky_relu(out, 0.2) * 2**0.5

    assert isinstance(block.second, HalvingConv)
    h = conv(block.first, x, padding=1)
    h = conv(block.second, filtered(h, 8, 2, 2), stride=2)
    skip = filtered(x, 8, 1, 1)[..., ::2, ::2]
    skip = F.conv2d(skip, block.skip.weight / 4**0.5)
    assert_close(block(x), (h + skip) / 2**0.5)


# The generator


def test_a_synthesis() -> None:
    """Each size has two layers and an image; the image takes the next layer's style."""
    g = generator().double().eval()
    styles = torch.randn(2, g.layers, 6).double()
    noises = [noise.double() for noise in g.noises(2)]
    assert g.layers == 6
    assert [noise.shape[-1] for noise in noises] == [4, 8, 8, 16, 16]
    x, image = g.constant.expand(2, -1, -1, -1), torch.zeros(2, 3, 2, 2).double()
    layers = iter(range(g.layers))
    for i, size in enumerate((4, 8, 16)):
        for _ in range(1 if size == 4 else 2):
            k = next(layers)
            x = by_hand(g.convolutions[k], x, styles[:, k], noises[k])
        part = g.to_image[i]
        affine, w = part.affine, styles[:, k + 1]
        scale = (w @ affine.weight.T / 6**0.5 + affine.bias) / x.shape[1] ** 0.5
        added = F.conv2d(x * scale[:, :, None, None], part.weight, part.bias)
        image = filtered(stuffed(image, size), size, 2, 1, total=4) + added
    assert_close(g.synthesise(styles, noises), image)


def test_a_latent_is_one_image_in_eval_mode_only() -> None:
    g, z = generator(), torch.randn(2, 5)
    state = torch.get_rng_state()
    first = g.eval()(z)
    assert g(z).equal(first)
    assert torch.get_rng_state().equal(state)
    assert g.synthesise(g.styles(z), g.fixed_noises).equal(first)
    assert not g.synthesise(g.styles(z), g.noises(2)).equal(first)
    assert not g.train()(z).equal(g(z))


def test_without_noise_nothing_is_drawn() -> None:
    g, z = generator(noise=False, mixing=0.0), torch.randn(2, 5)
    assert g.noises(2) == g.fixed_noises == []
    assert not [name for name in g.state_dict() if "noise" in name or "strength" in name]
    state = torch.get_rng_state()
    assert_close(g(z), g(z))
    assert torch.get_rng_state().equal(state)


def test_the_average_of_w() -> None:
    """It moves in training mode, by the first latents and not by those that are mixed in."""
    g, z = generator(), torch.randn(64, 5)
    w = g.mapping(z)
    g.eval()(z)
    assert not g.average.any()
    g.train()
    for step in (1, 2):
        with torch.set_grad_enabled(step == 2):
            g(z)
        assert_close(g.average, (1 - 0.995**step) * w.detach().mean(0))


def test_mixing() -> None:
    """A second w from some layer on, for a share of the images; the crossover is anywhere."""
    g = generator(mixing=0.75).train()
    torch.manual_seed(1)
    z = torch.randn(4000, 5)
    w, styles = g.mapping(z), g.styles(z)
    own = (styles == w[:, None]).all(2)
    assert own[:, 0].all()
    changes = own[:, :-1].int() - own[:, 1:].int()
    assert set(changes.sum(1).tolist()) == {0, 1}
    assert set(changes.flatten().tolist()) == {0, 1}
    mixed = ~own[:, -1]
    assert abs(float(mixed.float().mean()) - 0.75) < 0.03  # four standard errors
    first = own[mixed].sum(1).bincount(minlength=6)[1:] / mixed.sum()
    assert_close(first, torch.full((5,), 0.2), rtol=0, atol=0.03)
    i = int(mixed.nonzero()[0])
    assert styles[i, -1].equal(styles[i, int(own[i].sum())])
    assert g.eval().styles(z[:9]).equal(w[:9, None].expand(-1, 6, -1))


@pytest.mark.parametrize("layers", [0, 65])
def test_numbers_of_layers(layers: int) -> None:
    with pytest.raises(SettingError, match=rf"mapping_layers={layers} must be from 1 to 64"):
        StyleGAN2Generator(5, SHAPE, mapping_layers=layers)


def test_classes_are_inputs_of_the_mapping() -> None:
    torch.manual_seed(0)
    g = StyleGAN2Generator(5, SHAPE, classes=3, **SMALL).eval()
    z = torch.randn(1, 5).expand(4, -1)
    out = g(z, torch.tensor([0, 1, 2, 1]))
    assert_close(out[1], out[3])
    assert not torch.allclose(out[0], out[1], atol=1e-3)


def test_styles_are_float32_under_autocast() -> None:
    """Convolutions are not."""
    g = generator(mixing=0.0).eval()
    z = torch.randn(3, 5)
    exact, expected, seen = g.styles(z), g(z), []
    for layer in g.convolutions:
        layer.affine.register_forward_hook(lambda *words: seen.append(words[2].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert g.styles(z).equal(exact)
        out = g(z)
        assert g.convolutions[0](g.constant[None], exact[:1, 0], None).dtype == torch.bfloat16
        critique = StyleGAN2Discriminator(SHAPE, 64, 8)(out)
    assert set(seen) == {torch.float32}
    assert out.dtype == critique.logits.dtype == torch.float32
    assert_close(out, expected, rtol=0.05, atol=0.05 * float(expected.std()))


def test_images_have_variance_of_one_size_at_first() -> None:
    """As demodulation is meant to do."""
    torch.manual_seed(0)
    for resolution in (16, 32):
        shape = (3, resolution, resolution)
        g = StyleGAN2Generator(32, shape, w_dim=32, channel_base=512, channel_max=32).eval()
        assert 0.3 < float(g(torch.randn(16, 32)).std()) < 5


def test_copies_draw_alike() -> None:
    g, z = generator(), torch.randn(3, 5)
    twin = copy.deepcopy(g)
    outs = []
    for network in (g, twin):
        torch.manual_seed(3)
        outs.append(network(z))
    assert outs[0].equal(outs[1])
    assert twin.average.equal(g.average)


@pytest.mark.parametrize("size", [7, 33, 48, 96, 100])
def test_sizes_that_are_no_power_of_two(size: int) -> None:
    shape = (1, size, size)
    g = StyleGAN2Generator(5, shape, **SMALL)
    d = StyleGAN2Discriminator(shape, channel_base=64, channel_max=8)
    images = g(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    logits = d(images).logits
    assert logits.shape == (2,)
    assert logits.isfinite().all()
