"""VAE-GAN's iteration against a loop by hand, whom each term reaches, and what the model can do."""

import copy
import itertools
import math
from collections.abc import Callable, Collection

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from src.data.spec import Batch
from src.errors import SettingError
from src.models.capabilities import (
    Encodes,
    HasLatent,
    HasLikelihood,
    Judges,
    Reconstructs,
    Translates,
)
from src.models.parts.observations import (
    DataObservation,
    FeatureObservation,
    OccupancyObservation,
)
from src.models.vaegan import VAEGAN, EncoderGAN
from tests.models.conftest import built, noise, state, steps
from tests.models.parts.test_rests import Given

TINY = (
    *("model=vaegan", "model.latent.dim=6", "model.batch_size=8", "model.ema=null"),
    *(f"model.{network}.width=2" for network in ("encoder", "generator", "discriminator")),
)
SGD = [f"model/optimizer@model.{player}_optimizer=sgd" for player in "deg"]
SGD += [f"model.{player}_optimizer.lr=0.01" for player in "deg"]
POINTS = (
    *("model=vaegan", "model/encoder=mlp", "data=ring", "model.latent.dim=2", "model.ema=null"),
    *("model.encoder.hidden=[16]", "model.generator.hidden=[16]"),
    "model.discriminator.hidden=[16]",
)
SHAPES = (
    *("model=vaegan3d", "data=solids", "data.resolution=16", "data/degradation=view"),
    *("data.degradation.side=28", *TINY[1:], "model.observation.overlap=0.5"),
)


def distances(place: str, d: nn.Module, output: Tensor, x: Tensor) -> Tensor:
    """R of each sample."""
    if place == "data":
        return ((output - x) / 2).square().flatten(1).sum(1) / (2 * 0.02)
    if place == "features":
        return (d(output).features - d(x).features.detach()).square().sum(1) / 2
    a, b = output.flatten(1), x.flatten(1)
    entropy = -(b * a.log() + (1 - b) * (1 - a).log()).mean(1)
    return entropy + 0.5 * (1 - (a * b).sum(1) / (a + b - a * b).sum(1))


def by_hand(model: EncoderGAN, n: int, beta: float, gamma: float, place: str, both: bool) -> list:
    """The three losses, each differentiated by its own player's weights alone."""
    e, g, d = map(copy.deepcopy, (model.encoder, model.generator, model.adversary.discriminator))
    players = {"d": d, "e": e, "g": g}
    optimizers = {k: torch.optim.SGD(v.parameters(), lr=0.01) for k, v in players.items()}
    bce, batches = F.binary_cross_entropy_with_logits, noise(model)

    def step(losses: dict[str, Tensor]) -> None:
        found = {
            player: torch.autograd.grad(loss, list(players[player].parameters()), retain_graph=True)
            for player, loss in losses.items()
        }
        for player, gradients in found.items():
            for weight, gradient in zip(players[player].parameters(), gradients, strict=True):
                weight.grad = gradient
            optimizers[player].step()

    for i in range(n):
        torch.manual_seed(i)  # seed 0
        x, _, source = next(batches)
        mean, log_variance = e(x if source is None else source).chunk(2, dim=1)
        std = (log_variance / 2).exp()
        output = g(mean + std * torch.randn_like(mean))
        fakes = [g(torch.randn_like(mean)), *([output] if both else [])]
        # D's batch norm sees each kind of fake beside the other.
        real, fake = torch.cat([x] * len(fakes)), torch.cat(fakes)
        d_real, d_fake = d(real).logits, d(fake.detach()).logits
        ones = torch.ones(len(real))
        step({"d": bce(d_real, ones) + bce(d_fake, 0 * ones)})
        distance = distances(place, d, output, x).mean()
        kl = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum() / len(x)
        # From one state of the weights: E's step comes first and bears on none of G's.
        step({"e": beta * kl + distance, "g": gamma * distance + bce(d(fake).logits, ones)})
    return [e, g, d]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("place", ["features", "data", "occupancy"])
def test_the_step_by_hand(place: str, both: bool) -> None:
    """Of voxels, the encoder sees the picture."""
    words = [f"model/observation={place}", f"model.judge_both={both}", "seed=0"]
    if place == "occupancy":
        words += [*SHAPES, *SGD, "model.penalty.every=0", "model/augment=none"]
    model = built(*TINY, *SGD, *words, "model.beta=0.5", "model.gamma=0.3")
    expected = by_hand(model, 3, beta=0.5, gamma=0.3, place=place, both=both)
    start = state(model)
    steps(model, 3)
    networks = (model.encoder, model.generator, model.adversary.discriminator)
    for network, other in zip(networks, expected, strict=True):
        assert_close(dict(network.named_parameters()), dict(other.named_parameters()))
    assert not [name for name, value in state(model).items() if value.equal(start[name])]
    records = model.terms.fetch()
    assert_close(records["loss/g_reconstruction"], 0.3 * records["loss/reconstruction"])
    assert records["loss/kl"] > 0


@pytest.mark.parametrize("both", [False, True])
def test_each_step_has_gradients_of_its_player_only(both: bool, before_step: Callable) -> None:
    model = built(*TINY, f"model.judge_both={both}")
    networks = {"d": model.adversary, "e": model.encoder, "g": model.generator}
    order = []

    def spy(player: str) -> None:
        order.append(player)
        for name, network in networks.items():
            given = {parameter.grad is not None for parameter in network.parameters()}
            assert given == {name == player}, (player, name)

    before_step(model, spy)
    steps(model, 2)
    assert order == ["d", "e", "g"] * 2
    assert all(parameter.requires_grad for parameter in model.adversary.parameters())


def gradients_at(model: VAEGAN, before_step: Callable, player: str) -> list[Tensor]:
    """Those of a player's first step."""
    network, seen = {"e": model.encoder, "g": model.generator}[player], []

    def spy(name: str) -> None:
        if name == player:
            seen.extend(parameter.grad.clone() for parameter in network.parameters())

    before_step(model, spy)
    steps(model)
    return seen


def test_the_adversary_does_not_reach_the_encoder(before_step: Callable) -> None:
    """With no reconstruction and no divergence there is nothing for E, though D judges both."""
    model = built(*TINY, "model.judge_both=true", "model.beta=0")
    observation = model.observation
    model.observation = lambda *given: 0 * observation(*given)
    assert not any(gradient.abs().sum() for gradient in gradients_at(model, before_step, "e"))


def test_gamma_weighs_the_generators_reconstruction_alone(before_step: Callable) -> None:
    """g(gamma) = a + gamma r, for G; E's gradient does not depend on it."""
    found = {}
    for gamma in (0, 1, 3):
        for player in "eg":
            model = built(*TINY, *SGD, f"model.gamma={gamma}")
            found[player, gamma] = gradients_at(model, before_step, player)
    for none, one, three in zip(*(found["g", gamma] for gamma in (0, 1, 3)), strict=True):
        margin = 1e-3 * float((three - none).abs().max())  # of float32 through batch norms
        assert_close(three - none, 3 * (one - none), rtol=0, atol=margin)
    assert not all(map(torch.equal, found["g", 0], found["g", 1]))
    assert_close(found["e", 3], found["e", 0])
    assert any(gradient.abs().sum() > 0 for gradient in found["e", 0])


def test_what_d_is_shown() -> None:
    """Reals apart from fakes; with `judge_both` each sample has both of its fakes side by side."""
    for both in (False, True):
        model = built(*TINY, f"model.judge_both={both}")
        batch, seen, made = next(noise(model, seed=3)), [], []
        model.generator.register_forward_hook(lambda *args, made=made: made.append(args[2]))
        model.adversary.discriminator.register_forward_pre_hook(
            lambda _, x, seen=seen: seen.append(x[0].detach())
        )
        steps(model, 1, iter([batch]))
        output, fake = made  # one pass of G for each
        real, judged = seen[:2]
        if both:
            assert real.equal(batch.x.repeat_interleave(2, 0))
            assert [judged[0::2].equal(fake), judged[1::2].equal(output)] == [True, True]
        else:
            assert [real.equal(batch.x), judged.equal(fake)] == [True, True]
        assert (model.samples_seen, len(seen)) == (8, 5)


def test_the_encoder_never_rests() -> None:
    model = built(*TINY)
    model.rests = Given("", "d", "g")
    names = {"d": "adversary.discriminator.network.head.weight", "e": "encoder.head.weight"}
    names |= {"g": "generator.network.body.1.weight"}
    changes = []
    for _ in range(3):
        before = state(model)
        steps(model)
        after = state(model)
        changes.append(
            "".join(p for p, name in names.items() if not after[name].equal(before[name]))
        )
    assert changes == ["deg", "eg", "de"]
    assert (model.rested, model.updates) == ({"d": 1, "g": 1}, {"d": 2, "e": 3, "g": 2})


def test_what_it_can_do() -> None:
    model = built(
        *TINY, "model.ema={_target_: src.models.parts.ema.EMA, half_life: 64, _partial_: true}"
    )
    steps(model, 3)
    x, before = next(noise(model)).x, state(model)
    assert all(isinstance(model, kind) for kind in (Encodes, Reconstructs, Judges, HasLatent))
    assert not any(isinstance(model, kind) for kind in (HasLikelihood, Translates))
    code = model.encode(x)
    assert_close(code, model.encoder.eval()(x)[:, :6])
    assert_close(model.reconstruct(x), model.ema.network(code))
    assert model.sample(3, seed=0).shape == (3, 1, 28, 28)
    assert model.critic_logits(x).shape == (8,)
    assert not model.conditional
    assert all(value.equal(before[key]) for key, value in state(model).items())


def test_a_model_that_draws_and_translates() -> None:
    ema = "model.ema={_target_: src.models.parts.ema.EMA, half_life: 64, _partial_: true}"
    model = built(*SHAPES, ema)
    steps(model, 3)
    source, before = next(noise(model)).source, state(model)
    assert all(isinstance(model, kind) for kind in (Translates, Judges, HasLatent))
    assert not any(isinstance(model, kind) for kind in (Encodes, Reconstructs, HasLikelihood))
    x = model.translate(source)
    assert_close(x, model.ema.network(model.encoder.eval()(source)[:, :6]))
    assert x.shape == model.sample(8, seed=0).shape == (8, 1, 16, 16, 16)
    assert 0 <= x.min() <= x.max() <= 1
    assert all(value.equal(before[key]) for key, value in state(model).items())


def test_shapes_are_learned_of_pictures() -> None:
    """Blocks that are the thicker the lighter their picture; the mean block has the variance."""
    model = built(*SHAPES, *(f"model.{p}_optimizer.lr=0.01" for p in "eg"))
    thickness = torch.arange(1, 17, 2).view(8, 1, 1, 1, 1)
    x = (torch.arange(16).view(16, 1, 1) < thickness).float().expand(-1, -1, -1, 16, 16)
    source = (thickness / 8 - 1).squeeze(-1).expand(-1, -1, 28, 28)
    steps(model, 40, itertools.repeat(Batch(x, None, source)))
    error = (model.translate(source) - x).square().mean()
    assert error < 0.6 * x.var(0, unbiased=False).mean()


def test_points() -> None:
    model = built(*POINTS)
    start = state(model)
    steps(model, 2)
    assert not [name for name, value in state(model).items() if value.equal(start[name])]
    assert model.reconstruct(next(noise(model)).x).shape == (8, 2)


def test_faces_of_64_pixels() -> None:
    model = built(*TINY, "data=celeba", "data.resolution=64")
    steps(model)
    assert model.sample(2, seed=0).shape == (2, 3, 64, 64)
    assert model.adversary.features(model.sample(2)).shape == (2, 16 * 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model/latent=uniform"], r"divergence is from N\(0, I\)"),
        (["model.latent.categories=[10]"], r"divergence is from N\(0, I\)"),
        (["model/rests=costs", "model/loss=hinge"], "no output that means 1/2"),
        (["model.gamma=-1"], r"model\.gamma=-1"),
        (["model.observation.variance=0"], r"model\.observation\.variance=0"),
        (["model/observation=pixels"], r"model/observation=pixels"),
        (["+model.condition=x"], r"model\.condition"),
        (["model/encoder=conv", "data=ring"], r"data\.kind=points"),
        (["model=vaegan3d", "data=solids"], r"data/degradation=.* of voxels view"),
        (["model=vaegan3d", "data/degradation=noise"], r"data\.kind=images"),
        (
            ["model._target_=src.models.vaegan.TranslatingVAEGAN", "data/degradation=noise"],
            "pictures to voxels",
        ),
        (["model/observation=occupancy"], r"data\.kind=images"),
    ],
)
def test_refused(words: Collection[str], message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        built(*TINY, *words)
    assert len(str(caught.value).splitlines()) <= 3


def test_observations() -> None:
    """Half the squared distance over the variance; of pixels in [0, 1], of points as they are."""
    x, output = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[0.0, -1.0]]]])
    other = DataObservation(0.5)
    assert_close(other(torch.Tensor.flatten, output, x), torch.tensor([0.5**2 / 2 / 0.5]))
    assert_close(other(None, output.view(1, 2), x.view(1, 2)), torch.tensor([1.0]))
    voxels = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 2, 2)
    made = torch.tensor([0.5, 0.25, 0.0, 0.5]).view_as(voxels)
    assert_close(other(None, made, voxels), torch.tensor([0.5**2 + 0.75**2 + 0.5**2]))
    entropy, union = math.log(2), 0.75 / 2.5
    for overlap in (0.0, 2.0):
        expected = torch.tensor([entropy + overlap * (1 - union)])
        assert_close(OccupancyObservation(overlap)(None, made, voxels), expected)

    def features(x: Tensor) -> Tensor:
        return torch.stack([x.sum((1, 2, 3)), 3 * x[:, 0, 0, 0]], 1)

    x.requires_grad_()
    output.requires_grad_()
    value = FeatureObservation(2.0)(features, output, x)
    assert_close(value.detach(), torch.tensor([(1 + 9) / 4]))
    value.sum().backward()
    assert x.grad is None  # what is wanted is given
    assert output.grad.abs().sum() > 0
