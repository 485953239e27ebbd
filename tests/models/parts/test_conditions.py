"""How the class enters the networks."""

import pytest
import torch
from torch.testing import assert_close

from src.config.checks import check
from src.errors import SettingError
from src.models.parts.conditions import ProjectionDiscriminator
from src.networks.mlp import MLPDiscriminator
from tests.conftest import composed
from tests.models.conftest import TINY, built, noise, steps

PERCEPTRONS = ("model=cgan", "model.generator.hidden=[8]", "model.discriminator.hidden=[8]")


@pytest.mark.parametrize(
    "words",
    [
        (*TINY, "model/condition=concatenate"),
        (*TINY, "model/condition=projection"),
        (*PERCEPTRONS, "model/condition=concatenate"),
        (*PERCEPTRONS, "model/condition=flatten"),
    ],
    ids=["concatenate", "projection", "perceptrons", "flatten"],
)
def test_both_networks_hear_of_the_class(words: tuple[str, ...]) -> None:
    model = built(*words)
    steps(model, 2)
    z, x = model.latents(4, seed=0), next(noise(model)).x
    zeros, ones = (torch.full((8,), label) for label in (0, 1))
    assert not model.decode(z, zeros[:4]).equal(model.decode(z, ones[:4]))
    assert not model.critic_logits(x, zeros).equal(model.critic_logits(x, ones))


def test_flattened_images_have_one_code_beside_them() -> None:
    d = built(*PERCEPTRONS).adversary.discriminator.network
    assert d.body[0].in_features == 28 * 28 + 10
    with pytest.raises(SettingError, match=r"condition cannot be used with .*DCGANDiscriminator"):
        check(composed("model=cdcgan", "model/condition=flatten"))


def test_only_g_hears_of_it_beside_an_auxiliary_head() -> None:
    model = built(*TINY, "model/condition=generator", "model/auxiliary=classes")
    steps(model)
    x = next(noise(model)).x
    zeros, ones = (torch.full((8,), label) for label in (0, 1))
    assert model.critic_logits(x, zeros).equal(model.critic_logits(x, ones))
    z = model.latents(8, seed=0)
    assert not model.decode(z, zeros).equal(model.decode(z, ones))


def test_classes_in_turn_where_none_is_asked_for() -> None:
    model = built(*TINY, "model/condition=concatenate")
    given = torch.arange(23) % 10
    assert_close(model.sample(23, seed=0), model.sample(23, given, seed=0))
    # In batches too, or each batch would begin with the first class again.
    assert_close(model.sample(23, seed=0, batch_size=7), model.sample(23, given, seed=0))
    z = model.latents(12, seed=0)
    assert_close(model.decode(z), model.decode(z, given[:12]))


def test_the_projection_is_an_inner_product() -> None:
    """Miyato & Koyama 2018, eq. 4."""
    torch.manual_seed(0)
    network = MLPDiscriminator(shape=(2,), hidden=[5])
    d = ProjectionDiscriminator(network, classes=3, spectral=False)
    x, y = torch.randn(6, 2), torch.tensor([0, 1, 2, 2, 1, 0])
    plain = network(x)
    expected = plain.logits + torch.einsum("nf,nf->n", d.embedding.weight[y], plain.features)
    assert_close(d(x, y).logits, expected)


def test_spectral_norm_bounds_the_embedding() -> None:
    network = MLPDiscriminator(shape=(2,), hidden=[5])
    d = ProjectionDiscriminator(network, classes=3, spectral=True).train()
    for _ in range(50):
        d(torch.randn(3, 2), torch.arange(3))
    assert_close(torch.linalg.matrix_norm(d.embedding.weight, 2).item(), 1.0, rtol=1e-3, atol=0)


def test_one_hot_planes() -> None:
    """D sees the image, and one plane of ones among planes of zeros."""
    model = built(*TINY, "model/condition=concatenate")
    seen = []
    network = model.adversary.discriminator.network
    network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].clone()))
    x, y = next(noise(model)).x, torch.arange(8)
    model.critic_logits(x, y)
    assert seen[0].shape == (8, 11, 28, 28)
    assert seen[0][:, :1].equal(x)
    planes = seen[0][:, 1:]
    assert planes.mean((2, 3)).equal(torch.eye(10)[:8])
    assert planes.unique().tolist() == [0, 1]


def test_data_without_classes_are_refused() -> None:
    with pytest.raises(SettingError, match="needs classes"):
        built("model=gan", "data=ring", "model/condition=concatenate")
