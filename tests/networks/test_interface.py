"""What every network for a GAN keeps to: shapes, classes, features, gradients, copies."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.config import checks
from src.config import composition as config
from src.config.signatures import signature
from src.errors import SettingError
from src.networks.auto import AutoDiscriminator, AutoGenerator
from src.networks.base import Critique
from src.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from src.networks.resnet import ResNetDiscriminator, ResNetGenerator
from src.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

# Small ones: constructor, settings.
NETWORKS = {
    "dcgan": ((DCGANGenerator, {"width": 4}), (DCGANDiscriminator, {"width": 4})),
    "resnet": (
        (ResNetGenerator, {"width": 2, "attention": "half"}),
        (ResNetDiscriminator, {"width": 2, "attention": "half"}),
    ),
    "r3gan": (
        (R3GANGenerator, {"widths": [4, 8], "group_size": 4}),
        (R3GANDiscriminator, {"widths": [4, 8], "group_size": 4}),
    ),
    # What it draws in training mode is tested with it.
    "stylegan2": (
        (
            StyleGAN2Generator,
            {"w_dim": 6, "channel_base": 64, "channel_max": 8, "mixing": 0.0, "noise": False},
        ),
        (StyleGAN2Discriminator, {"channel_base": 64, "channel_max": 8}),
    ),
    "mlp": ((MLPGenerator, {"hidden": [4]}), (MLPDiscriminator, {"hidden": [4]})),
    "auto": ((AutoGenerator, {"width": 4}), (AutoDiscriminator, {"width": 4})),
}
NORMS = ["none", "batch", "layer", "instance", "spectral"]
CONDITIONAL = ["dcgan", "resnet", "auto"]  # by batch norm
LATENT = 5


def pair(name: str, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    (g, g_settings), (d, d_settings) = NETWORKS[name]
    torch.manual_seed(0)
    return g(latent_dim=LATENT, shape=shape, **g_settings), d(shape=shape, **d_settings)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", [28, 32, 48, 64, 100, 128])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes(name: str, resolution: int, channels: int) -> None:
    shape = (channels, resolution, resolution)
    g, d = pair(name, shape)
    fake = g(torch.randn(2, LATENT))
    assert fake.shape == (2, *shape)
    critique = d(fake)
    assert isinstance(critique, Critique)
    assert critique.logits.shape == (2,)
    assert type(d.features) is int
    assert critique.features.shape == (2, d.features)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "auto"])
def test_points(name: str, dim: int) -> None:
    g, d = pair(name, (dim,))
    fake = g(torch.randn(3, LATENT))
    assert fake.shape == (3, dim)
    critique = d(fake)
    assert critique.logits.shape == (3,)
    assert critique.features.shape == (3, d.features)


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_that_are_not_asked_for_change_nothing(name: str) -> None:
    g, d = pair(name, (1, 28, 28))
    z, y = torch.randn(2, LATENT), torch.tensor([0, 1])
    fake = g.eval()(z)
    assert_close(g(z, y), fake)
    assert_close(d.eval()(fake, y), d(fake))


def varied() -> Iterator[tuple[str, Callable[[], nn.Module], bool]]:
    """Every network for 28 px in every norm: name, constructor, whether it is a generator."""
    shape = (1, 28, 28)
    for name, ((g, g_settings), (d, d_settings)) in NETWORKS.items():
        normless = {"r3gan": [None], "stylegan2": [None]}
        g_norms = ({"mlp": ["none", "batch"]} | normless).get(name, NORMS)
        d_norms = ({"mlp": ["none", "layer", "spectral"]} | normless).get(name, NORMS)
        for make, settings, norms, extra in (
            (g, g_settings, g_norms, {"latent_dim": LATENT}),
            (d, d_settings, d_norms, {}),
        ):
            for norm in norms:
                words = settings | extra | ({} if norm is None else {"norm": norm})
                label = f"{make.__name__}-{norm}"
                yield label, lambda m=make, w=words: m(shape=shape, **w), make is g


VARIED = list(varied())
VARIANTS = pytest.mark.parametrize(
    ("make", "generates"), [case[1:] for case in VARIED], ids=[case[0] for case in VARIED]
)


def answer(network: nn.Module, generates: bool, n: int = 6) -> torch.Tensor:
    noise = torch.Generator().manual_seed(1)
    if generates:
        return network(torch.randn(n, LATENT, generator=noise))
    return network(torch.randn(n, 1, 28, 28, generator=noise)).logits


@VARIANTS
def test_every_parameter_gets_a_gradient(make: Callable, generates: bool) -> None:
    torch.manual_seed(0)
    network = make()
    # What is 0 at first (gamma of attention, R3GAN's projections) hides what lies behind it.
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.1)
    out = answer(network, generates)
    (out * torch.randn_like(out)).sum().backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@VARIANTS
def test_copies_and_state_dicts_answer_alike(make: Callable, generates: bool) -> None:
    torch.manual_seed(0)
    network = make()
    answer(network, generates)  # running statistics and power iterations have moved
    twin, loaded = copy.deepcopy(network), make()
    loaded.load_state_dict(network.state_dict())
    for mode in (True, False):
        expected = answer(network.train(mode), generates)
        for other in (twin, loaded):
            assert_close(answer(other.train(mode), generates), expected, rtol=0, atol=0)


@VARIANTS
def test_channels_last_answers_alike(make: Callable, generates: bool) -> None:
    torch.manual_seed(0)
    network = make().eval()
    expected = answer(network, generates)
    network.to(memory_format=torch.channels_last)
    assert_close(answer(network, generates), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [case[1] for case in VARIED if not case[2]],
    ids=[case[0] for case in VARIED if not case[2]],
)
def test_gradient_penalties_reach_the_weights(make: Callable) -> None:
    """Twice backward, after two more passes, as in a step of D."""
    torch.manual_seed(0)
    network, x = make(), torch.randn(4, 1, 28, 28, requires_grad=True)
    loss = network(torch.randn_like(x)).logits.sum() - network(x).logits.sum()
    (gradient,) = torch.autograd.grad(network(x).logits.sum(), x, create_graph=True)
    (loss + gradient.square().flatten(1).sum(1).mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert network.get_parameter(next(iter(dict(network.named_parameters())))).grad.any()


@pytest.mark.parametrize("norm", ["none", "layer", "instance", "spectral"])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_without_batch_norm_a_samples_logit_is_its_own(name: str, norm: str) -> None:
    d, settings = NETWORKS[name][1]
    torch.manual_seed(0)
    network, x = d(shape=(1, 28, 28), **settings | {"norm": norm}).eval(), torch.randn(3, 1, 28, 28)
    assert_close(network(x).logits[:1], network(x[:1]).logits, rtol=1e-4, atol=1e-6)


# Classes


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_generator_depends_on_the_class_alone_where_classes_differ(name: str) -> None:
    g, settings = NETWORKS[name][0]
    torch.manual_seed(0)
    network = g(latent_dim=LATENT, shape=(1, 28, 28), classes=3, **settings)
    z = torch.randn(1, LATENT).expand(4, -1)
    y = torch.tensor([0, 1, 2, 1])
    network.eval()
    first = network(z, y)
    # Gains are 1 and biases 0 for all classes at first.
    assert_close(first, first[:1].expand_as(first))
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith(("gain", "bias")) and len(parameter) == 3:
            nn.init.normal_(parameter.data[1], 1, 0.5)  # class 1 has its own way now
    out = network(z, y)
    assert_close(out[[0, 2]], first[[0, 2]])
    assert_close(out[1], out[3])
    assert not torch.allclose(out[1], out[0], atol=1e-3)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_every_parameter_of_a_conditional_generator_gets_a_gradient(name: str) -> None:
    g, settings = NETWORKS[name][0]
    torch.manual_seed(0)
    network = g(latent_dim=LATENT, shape=(1, 28, 28), classes=2, **settings)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.1)
    out = network(torch.randn(6, LATENT), torch.tensor([0, 1] * 3))
    (out * torch.randn_like(out)).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", ["mlp", "r3gan"])
def test_generators_that_cannot_be_conditional(name: str) -> None:
    g, settings = NETWORKS[name][0]
    with pytest.raises(SettingError, match=r"model\.condition\.generator=concatenate"):
        g(latent_dim=LATENT, shape=(1, 28, 28), classes=3, **settings)


@pytest.mark.parametrize("name", NETWORKS)
def test_discriminators_are_told_of_labels_from_outside(name: str) -> None:
    d, settings = NETWORKS[name][1]
    with pytest.raises(SettingError, match="no batch norm"):
        d(shape=(1, 28, 28), classes=3, **settings)


# Auto


def test_auto_is_the_network_of_the_data() -> None:
    torch.manual_seed(0)
    auto = AutoGenerator(LATENT, (1, 28, 28), width=3), AutoDiscriminator((1, 28, 28), width=3)
    torch.manual_seed(0)
    expected = DCGANGenerator(LATENT, (1, 28, 28), 3), DCGANDiscriminator((1, 28, 28), 3)
    for network, other in zip(auto, expected, strict=True):
        assert_close(network.network.state_dict(), other.state_dict())
    torch.manual_seed(0)
    auto = AutoGenerator(LATENT, (2,), hidden=[6]), AutoDiscriminator((2,), hidden=[6, 4])
    torch.manual_seed(0)
    expected = (
        MLPGenerator(LATENT, (2,), [6], "relu", "glorot"),
        MLPDiscriminator((2,), [6, 4], "leaky_relu", "glorot"),
    )
    for network, other in zip(auto, expected, strict=True):
        assert_close(network.network.state_dict(), other.state_dict())
    assert auto[1].features == 4


def test_auto_does_not_know_all_shapes() -> None:
    for make in (lambda s: AutoGenerator(LATENT, s), AutoDiscriminator):
        with pytest.raises(SettingError, match=r"not for shape \(8, 8\)"):
            make((8, 8))


# Presets


@pytest.mark.parametrize("network", ["dcgan", "auto"])
@pytest.mark.parametrize(("penalty", "norm"), [("none", "batch"), ("r1", "none")])
def test_the_penalty_chooses_the_discriminators_norm(network: str, penalty: str, norm: str) -> None:
    words = [f"model/discriminator={network}", f"model/penalty={penalty}"]
    settings = config.plain(config.compose("train", ["model=dcgan", "data=celeba", *words]))
    assert settings["model"]["discriminator"]["norm"] == norm


@pytest.mark.parametrize("name", [*NETWORKS, "r3gan_narrow", "stylegan2_narrow"])
def test_presets_spell_out_every_setting(name: str) -> None:
    words = [f"model/generator={name}", f"model/discriminator={name}", "data=celeba"]
    model = config.plain(config.compose("train", ["model=dcgan", *words]))["model"]
    given = {"latent_dim", "shape", "classes"}
    for player in ("generator", "discriminator"):
        settings = model[player]
        keys = set(settings) - checks.RESERVED
        assert keys == set(signature(settings["_target_"])) - given
