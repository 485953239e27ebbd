"""Path lengths against G's Jacobian and finite differences; who is stepped when, and how fast."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.errors import SettingError
from src.losses.convolutions import SlopeConvolutions
from src.models.parts import generator_penalties
from src.models.parts.generator_penalties import NoGeneratorPenalty, PathLength, path_lengths
from src.networks.stylegan2 import StyleGAN2Generator
from tests.models.conftest import TINY, built, noise, state, steps

STYLE = (
    *("model=stylegan2_narrow", "model.batch_size=8", "model.latent.dim=6"),
    *(f"model.{player}.channel_base=56" for player in ("generator", "discriminator")),
    "model.generator.w_dim=6",
)


def tiny(**settings: object) -> StyleGAN2Generator:
    """A generator of 8 px in float64."""
    torch.manual_seed(0)
    widths = {"w_dim": 3, "channel_base": 16, "channel_max": 4}
    return StyleGAN2Generator(2, (1, 8, 8), **widths | settings).double()


def test_lengths_are_those_of_the_jacobian() -> None:
    g, z = tiny().eval(), torch.randn(2, 2).double()
    torch.manual_seed(1)
    lengths = path_lengths(g, z)
    torch.manual_seed(1)
    u = torch.randn(2, 1, 8, 8, dtype=torch.double)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(g.synthesise, g.styles(z[i : i + 1]))
        product = torch.einsum("nchw,nchwmld->ld", u[i : i + 1], jacobian) / 8
        assert_close(lengths[i], product.square().sum(1).mean().sqrt())


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_finite_differences(training: bool) -> None:
    """In all weights, styles mixed and noise drawn or not; the mean is held for it."""
    g, penalty = tiny().train(training), PathLength(every=2, decay=0.0, shrink=1)
    penalty.mean.fill_(0.3)
    z = torch.randn(3, 2).double()
    names, weights = zip(*g.named_parameters(prefix="0"), strict=True)
    game = nn.ModuleList([g])
    game.forward = lambda z: penalty(g, z)
    flat = torch.cat([weight.detach().flatten() for weight in weights]).requires_grad_()

    def value(flat: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        parts = flat.split([weight.numel() for weight in weights])
        own = {k: x.view_as(w) for k, x, w in zip(names, parts, weights, strict=True)}
        return torch.func.functional_call(game, own, (z,))

    assert torch.autograd.gradcheck(value, flat, fast_mode=True)
    (gradient,) = torch.autograd.grad(value(flat), flat)
    parts = gradient.split([weight.numel() for weight in weights])
    # A shift of the image changes no slope.
    silent = {name for name, part in zip(names, parts, strict=True) if not part.any()}
    assert silent == {f"0.to_image.{i}.bias" for i in range(2)}


def test_quicker_convolutions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for block in (SlopeConvolutions, nullcontext):
        monkeypatch.setattr(generator_penalties, "SlopeConvolutions", block)
        g = tiny()
        PathLength()(g, torch.randn(4, 2).double()).backward()
        gradients.append([p.grad for p in g.parameters() if p.grad is not None])
    assert_close(*gradients)


def test_the_mean_and_the_strength() -> None:
    g, z = tiny().eval(), torch.randn(6, 2).double()
    penalty = PathLength(weight=3.0, every=5, decay=0.25, shrink=2)
    mean = 0.0
    for _ in range(2):
        torch.manual_seed(1)
        lengths = path_lengths(g, z[::2])
        mean += 0.25 * (float(lengths.detach().mean()) - mean)
        torch.manual_seed(1)
        term = penalty(g, z)
        assert_close(float(penalty.mean), mean, rtol=1e-6, atol=0)
        assert_close(term, 5 * 3 * (lengths - mean).square().mean())
    assert list(penalty.state_dict()) == ["mean"]


def test_a_flat_generator_has_finite_gradients() -> None:
    """The root of a sum of squares would have an infinite derivative there."""
    g = tiny()
    for layer in g.to_image:
        nn.init.zeros_(layer.weight)
    PathLength()(g, torch.randn(4, 2).double()).backward()
    assert all(p.grad.isfinite().all() for p in g.parameters() if p.grad is not None)


# In the game


def test_its_steps_are_further_ones_of_g(before_step: Callable) -> None:
    model, order = built(*STYLE, "model.g_penalty.every=3"), []

    def spy(player: str) -> None:
        order.append(player)
        if order[-2:] == ["g", "g"]:
            assert all(p.grad is None for p in model.adversary.parameters())
            assert model.generator.constant.grad.any()

    before_step(model, spy)
    steps(model, 4)
    assert "".join(order) == "dggdgdgdgg"
    assert model.updates == {"d": 4, "g": 6}
    assert float(model.g_penalty.mean) > 0
    assert model.terms.fetch()["loss/g_penalty"] > 0
    assert "g_penalty.mean" in model.state_dict()


def test_a_checkpoint_holds_all_that_outlives_an_iteration() -> None:
    """Path lengths' mean, the average of w and ADA's p: bit for bit as if it had gone on."""
    words = (*STYLE, "model/augment=ada", "model.augment.every=1", "model.augment.speed=400")
    models = [built(*words, "model.g_penalty.every=2") for _ in range(2)]
    models[0].adversary.augment.p.fill_(0.5)
    batches = list(islice(noise(models[0]), 6))
    steps(models[0], 3, iter(batches[:3]))
    saved: dict = {}
    models[0].on_save_checkpoint(saved)
    models[1].on_load_checkpoint(copy.deepcopy(saved))
    models[1].load_state_dict(copy.deepcopy(models[0].state_dict()))
    for player, optimizer in models[1]._optimizers.items():
        optimizer.load_state_dict(copy.deepcopy(models[0]._optimizers[player].state_dict()))
    for model in models:
        steps(model, 3, iter(batches[3:]))
    first, second = map(state, models)
    assert all(second[name].equal(value) for name, value in first.items())
    moved = ("g_penalty.mean", "generator.mapping.average", "adversary.augment.p")
    assert all(first[name].any() for name in moved)
    assert first["adversary.augment.p"] != 0.5


def test_its_latents_and_classes_are_its_own() -> None:
    model = built(*STYLE, "model/condition=projection", "model.g_penalty.shrink=4")
    drawn, seen = [], []
    original = model.latent.draw
    model.latent.draw = lambda *words: drawn.append(original(*words)) or drawn[-1]
    penalty = model.g_penalty.forward
    model.g_penalty.forward = lambda *words: seen.append(words[1:]) or penalty(*words)
    batch = next(noise(model))
    steps(model, 1, iter([batch]))
    assert len(drawn) == 2  # of D's and G's step, and of this
    (z, y), *more = seen
    assert not more
    assert z.equal(drawn[-1])
    assert y.equal(batch.y)


def test_rates_are_those_of_as_many_usual_steps() -> None:
    """With c = k / (k + 1): k + 1 steps of c lr, and memories of beta^c, are k of the usual."""
    model = built(*STYLE, "model.g_optimizer.lr=0.1", "model.g_optimizer.betas=[0.5,0.9]")
    d, g = (model._optimizers[player] for player in "dg")
    for settings in (g.defaults, g.param_groups[0]):
        assert settings["lr"] == pytest.approx(0.1 * 4 / 5)
        assert settings["betas"] == pytest.approx((0.5**0.8, 0.9**0.8))
        assert settings["betas"][1] ** 5 == pytest.approx(0.9**4)
    assert (d.defaults["lr"], d.defaults["betas"]) == (0.0025, (0.0, 0.99))
    plain = built(*STYLE, "model/g_penalty=none", "model.g_optimizer.lr=0.1")
    assert plain._optimizers["g"].defaults["lr"] == 0.1
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    assert PathLength(every=1).compensate(sgd).param_groups[0]["lr"] == 0.25
    assert PathLength(every=0).compensate(sgd).param_groups[0]["lr"] == 0.25


def test_without_it_nothing_changes() -> None:
    """The weights of a model whose preset knows nothing of it."""
    ends = []
    for chosen in ("model/g_penalty=none", "model.g_penalty=null"):
        model = built(*TINY, chosen)
        steps(model, 2)
        ends.append(state(model))
        assert isinstance(model.g_penalty, NoGeneratorPenalty)
        assert model.updates == {"d": 2, "g": 2}
    assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize("words", [TINY, (*STYLE, "model/condition=concatenate")])
def test_generators_without_styles_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="this generator has no styles"):
        built(*words, "model/g_penalty=path_length")
