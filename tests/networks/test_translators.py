"""Translators and the discriminators beside them: shapes, sizes, how far they look."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from src.data.spec import to_model, to_uint8
from src.errors import SettingError
from src.networks.base import Discriminator, Translator
from src.networks.image_translation import (
    NoDiscriminator,
    Noise,
    PatchGAN,
    ResNetTranslator,
    SRGANDiscriminator,
    UNet,
    seeds_of,
)
from src.networks.lapgan import LAPGANDiscriminator, LAPGANGenerator
from src.networks.super_resolution import RRDB, SRResNet
from src.transforms.degradations import as_target

SMALL = {
    "srresnet": (SRResNet, {"width": 4, "blocks": 2}),
    "rrdb": (RRDB, {"width": 4, "blocks": 1, "growth": 2}),
    "unet": (UNet, {"width": 4}),
    "unet resized": (UNet, {"width": 4, "upsampling": "resize", "norm": "none"}),
    "resnet": (ResNetTranslator, {"width": 4, "blocks": 1}),
    "lapgan": (LAPGANGenerator, {"width": 4}),
    "resnet resized": (ResNetTranslator, {"width": 4, "blocks": 1, "upsampling": "resize"}),
}
LARGE = {  # weights of MSRResNet and RRDBNet for x4, as BasicSR's networks have them
    "srresnet": (SRResNet, {}, (3, 24, 24), (3, 96, 96), 1_517_571),
    "rrdb": (RRDB, {}, (3, 32, 32), (3, 128, 128), 16_697_987),
}


def make(name: str, source: tuple[int, ...], shape: tuple[int, ...], **more: object) -> Translator:
    torch.manual_seed(0)
    kind, settings = SMALL[name]
    return kind(source=source, shape=shape, **settings | more)


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (4, 3), (6, 1)])
@pytest.mark.parametrize(("small", "large"), [(32, 32), (16, 32), (7, 28), (8, 64)])
@pytest.mark.parametrize("name", SMALL)
def test_shapes(name: str, small: int, large: int, channels: tuple[int, int]) -> None:
    source, shape = (channels[0], small, small), (channels[1], large, large)
    residual = channels != (6, 1)
    network = make(name, source, shape, residual=residual)
    x = torch.rand(2, *source) * 2 - 1
    out = network(x)
    assert out.shape == (2, *shape)
    assert out.isfinite().all()
    loss = out.square().mean()
    loss.backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_other_sizes(name: str, scale: int) -> None:
    """Any that `multiple` divides, sides of different lengths too."""
    network = make(name, (3, 16, 16), (3, 16 * scale, 16 * scale))
    m = network.multiple
    out = network(torch.rand(1, 3, 3 * m, 5 * m))
    assert out.shape[2:] == (3 * m * scale, 5 * m * scale)


@pytest.mark.parametrize("name", [n for n in SMALL if "unet" not in n])
def test_how_far_they_look(name: str) -> None:
    """The gradient of one place ends within `margin`."""
    network = make(name, (3, 96, 96), (3, 96, 96), **({"norm": "none"} if "resnet" in name else {}))
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    network.eval()(x)[0, :, 48, 48].sum().backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero(as_tuple=True)
    reach = max(int((rows - 48).abs().max()), int((columns - 48).abs().max()))
    assert 0 < reach <= network.margin <= reach + 12


@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_norms_over_the_image_look_everywhere(name: str) -> None:
    assert make(name, (3, 32, 32), (3, 32, 32)).margin is None


@pytest.mark.parametrize("name", ["srresnet", "rrdb"])
def test_an_untrained_residual_is_near_the_enlarged_source(name: str) -> None:
    network = make(name, (3, 16, 16), (3, 32, 32))
    nn.init.zeros_(network.last[-1].weight)
    nn.init.zeros_(network.last[-1].bias)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    assert_close(network(x), as_target(x, (3, 32, 32)))


@pytest.mark.parametrize("name", LARGE)
def test_numbers_of_weights(name: str) -> None:
    kind, settings, source, shape, expected = LARGE[name]
    with torch.device("meta"):
        network = kind(source=source, shape=shape, **settings)
    assert sum(weight.numel() for weight in network.parameters()) == expected


def test_noise_is_new_in_training_and_then_follows_from_the_source() -> None:
    network = make("unet", (3, 32, 32), (3, 32, 32))
    x = torch.rand(3, 3, 32, 32)
    assert not network(x).equal(network(x))
    network.eval()
    torch.manual_seed(7)  # no global generator bears on it
    out = network(x)
    assert out.equal(network(x))
    assert_close(network(x[1:2]), out[1:2], atol=1e-5, rtol=1e-4)
    for part in network.modules():
        if isinstance(part, Noise):
            part.p = 0.0
    assert not torch.allclose(network(x), out, atol=1e-3)


def test_noise_drops_its_share_and_keeps_the_mean() -> None:
    noise = Noise(0.5, number=1)
    noise.seeds = seeds_of(torch.rand(2, 3, 8, 8))
    x = torch.ones(2, 50, 8, 8)
    for out in (noise(x), noise.eval()(x)):
        assert sorted(set(out.flatten().tolist())) == [0.0, 2.0]
        assert float(out.mean()) == pytest.approx(1.0, abs=0.1)  # six standard deviations
    assert not out[0].equal(out[1])
    noise.number = 2
    assert not out.equal(noise(x))


def test_seeds_tell_images_apart_and_not_devices_roundings() -> None:
    x = torch.rand(500, 3, 8, 8) * 2 - 1
    seeds = seeds_of(x)
    assert len(set(seeds)) == 500
    exact = to_model(to_uint8(x))
    assert seeds_of(exact + 1e-4) == seeds_of(exact)
    assert seeds_of(x.flip(-1)) != seeds


@pytest.mark.parametrize("name", SMALL)
def test_samples_do_not_know_of_each_other(name: str) -> None:
    """No norm over the batch, so that a batch of one is the same in training and afterwards."""
    network = make(name, (3, 32, 32), (3, 32, 32), **({"dropout": 0.0} if "unet" in name else {}))
    x = torch.rand(3, 3, 32, 32)
    assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=1e-4)
    assert_close(network(x), network.eval()(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("srresnet", (3, 12, 12), (3, 32, 32)), "no multiple of the source's"),
        (lambda: make("srresnet", (3, 16, 32), (3, 32, 32)), "no multiple of the source's"),
        (lambda: make("unet", (3, 64, 64), (3, 32, 32)), "no multiple of the source's"),
        (lambda: make("unet", (3, 32, 32), (3, 32, 32), depth=6), "too often"),
        (lambda: make("unet", (3, 32, 32), (3, 32, 32), depth=3), None),
        (lambda: make("unet", (5, 32, 32), (3, 32, 32), residual=True), "cannot be added"),
        (lambda: make("srresnet", (5, 32, 32), (3, 32, 32)), "cannot be added"),
        (lambda: make("unet", (3, 16, 32), (3, 32, 32)), "no multiple of the source's"),
        (lambda: make("resnet", (3, 30, 30), (3, 30, 30)), "halved twice"),
        (lambda: PatchGAN((3, 16, 16)), "needs at least 32 pixels"),
        (lambda: SRGANDiscriminator((3, 8, 8)), "too many"),
        (lambda: make("lapgan", (3, 32, 32), (3, 32, 32), kernel=4), "must be odd"),
        (lambda: LAPGANDiscriminator((3, 32, 32), kernel=2), "must be odd"),
    ],
)
def test_refused(call: Callable, message: str | None) -> None:
    if message is None:
        assert call().depth == 3
        return
    with pytest.raises(SettingError, match=message):
        call()


# Discriminators

D = {
    "patchgan": lambda **more: PatchGAN((6, 64, 64), 4, **more),
    "pixels": lambda **more: PatchGAN((6, 64, 64), 4, 0, **more),
    "srgan": lambda **more: SRGANDiscriminator((6, 64, 64), 4, hidden=8, **more),
}


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "spectral"])
@pytest.mark.parametrize("name", D)
def test_discriminators(name: str, norm: str) -> None:
    d = D[name](norm=norm)
    assert isinstance(d, Discriminator)
    critique = d(torch.rand(2, 6, 64, 64))
    assert (
        critique.logits.shape == {"patchgan": (2, 6, 6), "pixels": (2, 64, 64), "srgan": (2,)}[name]
    )
    assert critique.features.shape == (2, d.features)


@pytest.mark.parametrize(("shape", "features"), [((4, 14, 14), 196), ((2, 7, 28), 224)])
def test_a_level_of_lapgan(shape: tuple[int, ...], features: int) -> None:
    """Half of the sides, rounded up, times 4 channels; dropout in training alone."""
    d = LAPGANDiscriminator(shape, 4)
    x = torch.rand(2, *shape)
    critique = d(x)
    assert critique.logits.shape == (2,)
    assert critique.features.shape == (2, d.features) == (2, features)
    assert not d(x).logits.equal(critique.logits)
    d.eval()
    assert d(x).logits.equal(d(x).logits)


def test_lapgan_has_the_published_weights() -> None:
    """16 -> 32 px of CIFAR-10, with D's convolutions padded."""
    g = LAPGANGenerator((4, 32, 32), (3, 32, 32))
    assert sum(weight.numel() for weight in g.parameters()) == (
        64 * (4 * 49 + 1) + 64 * (64 * 49 + 1) + 3 * (64 * 25 + 1)
    )
    d = LAPGANDiscriminator((3, 32, 32))
    convolutions = 64 * (3 * 25 + 1) + 64 * (64 * 25 + 1)
    assert sum(weight.numel() for weight in d.parameters()) == convolutions + 64 * 16 * 16 + 1


@pytest.mark.parametrize(("depth", "patch"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_patches(depth: int, patch: int) -> None:
    """The side of what a logit depends on, as Isola et al. 2017 state it."""
    d = PatchGAN((3, 128, 128), 4, depth, norm="none")
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    logits: Tensor = d(x).logits
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    rows = x.grad[0].abs().sum((0, 2)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == patch


def test_no_discriminator_judges_nothing() -> None:
    d = NoDiscriminator((3, 8, 8))
    assert not list(d.parameters())
    with pytest.raises(NotImplementedError):
        d(torch.zeros(1, 3, 8, 8))
