"""The GAN's iteration against the plain loop of a textbook, and who is stepped when."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.data.spec import Batch
from src.errors import SettingError
from src.models.base import GenerativeModel, freeze
from src.models.gan import GAN
from tests.models.conftest import PRESETS, TINY, TOY, built, noise, preset_of, state, steps

ADAM = {"lr": 0.01, "betas": (0.5, 0.9)}
PLAIN = (
    *(f"model.{player}_optimizer.lr=0.01" for player in "gd"),
    *(f"model.{player}_optimizer.betas=[0.5,0.9]" for player in "gd"),
    *("model.ema=null", "model.loss.real_label=0.9", "model/penalty=none"),
)


def textbook(model: GAN, batches: Iterator[Batch], n: int, d_steps: int, share: bool) -> None:
    """The loop that a good engineer would write by hand, on copies of the networks.

    Noise is drawn as the model draws it: from a generator that each iteration seeds anew.
    """
    g, d = copy.deepcopy(model.generator), copy.deepcopy(model.adversary.discriminator)
    g_optimizer = torch.optim.Adam(g.parameters(), **ADAM)
    d_optimizer = torch.optim.Adam(d.parameters(), **ADAM)
    bce = F.binary_cross_entropy_with_logits
    for i in range(n):
        torch.manual_seed((model.seed * 0x9E3779B1 + i) % 2**32)
        for _ in range(d_steps):
            x = next(batches).x
            ones = torch.ones(len(x))
            fake = g(torch.randn(len(x), model.latent.dim))
            d_optimizer.zero_grad()
            real_loss = bce(d(x).logits, 0.9 * ones)
            (real_loss + bce(d(fake.detach()).logits, 0 * ones)).backward()
            d_optimizer.step()
        if not share:
            fake = g(torch.randn(len(x), model.latent.dim))
        g_optimizer.zero_grad()
        bce(d(fake).logits, ones).backward()
        g_optimizer.step()
    model.expected = [g.state_dict(), d.state_dict()]


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("d_steps", [1, 3])
@pytest.mark.parametrize("preset", [TINY, TOY])
def test_the_textbooks_loop(preset: tuple[str, ...], d_steps: int, share: bool) -> None:
    weight = "model.loss.d_weight=1"
    words = [f"model.d_steps={d_steps}", f"model.latent.share={share}", weight, "seed=5"]
    model = built(*preset, *PLAIN, *words)
    textbook(model, noise(model), 3, d_steps, share)
    steps(model, 3)
    for network, expected in zip(
        (model.generator, model.adversary.discriminator), model.expected, strict=True
    ):
        assert_close(network.state_dict(), expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_gets_a_gradient(preset: str, before_step: Callable) -> None:
    """In a few iterations: what begins at 0 passes none on in the first."""
    model = preset_of(preset)
    assert isinstance(model, GenerativeModel)
    reached = set()

    def spy(_: str) -> None:
        reached.update(
            name
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().sum() > 0
        )

    before_step(model, spy)
    steps(model, 3)
    missed = {n for n, p in model.named_parameters() if p.requires_grad} - reached
    if preset in ("esrgan", "dualgan"):  # a difference: what D adds to all logits is of no account
        missed = {name for name in missed if not name.endswith("discriminator.head.bias")}
    assert missed == set()


@pytest.mark.parametrize("share", [False, True])
def test_each_step_has_gradients_of_its_player_only(share: bool, before_step: Callable) -> None:
    model = built(*TINY, f"model.latent.share={share}", "model.d_steps=2")
    order = []

    def spy(player: str) -> None:
        order.append(player)
        other = {"d": model.generator, "g": model.adversary.discriminator}[player]
        own = {"d": model.adversary.discriminator, "g": model.generator}[player]
        assert all(parameter.grad is None for parameter in other.parameters())
        assert all(parameter.grad is not None for parameter in own.parameters())
        # None are computed either: D's weights are no part of G's graph.
        assert all(
            p.requires_grad == (player == "d") for p in model.adversary.discriminator.parameters()
        )

    before_step(model, spy)
    before = state(model)
    steps(model, 2)
    assert order == ["d", "d", "g"] * 2
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.adversary.discriminator.parameters())
    assert {key for key, value in state(model).items() if value.equal(before[key])} == set()


def test_freeze_lasts_no_longer_than_its_block() -> None:
    network = nn.Linear(2, 2)

    def fail() -> None:
        with freeze(list(network.parameters())):
            assert not any(parameter.requires_grad for parameter in network.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(parameter.requires_grad for parameter in network.parameters())


def seen_by_d(model: GAN) -> list[Tensor]:
    """Batches that D will be shown."""
    seen = []
    model.adversary.discriminator.register_forward_pre_hook(
        lambda _, x: seen.append(x[0].detach().clone())
    )
    return seen


@pytest.mark.parametrize("share", [False, True])
def test_shared_codes_make_the_same_fakes(share: bool) -> None:
    model = built(*TINY, f"model.latent.share={share}")
    seen, calls = seen_by_d(model), []
    model.generator.register_forward_hook(lambda *_: calls.append(1))
    steps(model)
    _, for_d, for_g = seen
    assert for_d.equal(for_g) == share
    assert len(calls) == (1 if share else 2)


def test_reals_and_fakes_go_through_d_apart() -> None:
    """Batch norm must not mix them: one pass is all real, the other all fake."""
    model = built(*TINY)
    batches = [next(noise(model, seed=3))]
    seen = seen_by_d(model)
    steps(model, 1, iter(batches))
    assert seen[0].equal(batches[0].x)
    assert [len(x) for x in seen] == [8, 8, 8]


@pytest.mark.parametrize("d_steps", [1, 4])
def test_the_clock_counts_reals(d_steps: int) -> None:
    model = built(*TINY, f"model.d_steps={d_steps}")
    steps(model, 3)
    assert model.samples_seen == 3 * d_steps * 8
    assert model.iteration == 3
    assert model.updates == {"d": 3 * d_steps, "g": 3}


def test_no_d_steps_are_refused() -> None:
    with pytest.raises(SettingError, match=r"model\.d_steps=0"):
        built(*TINY, "model.d_steps=0")


def test_the_penalty_is_lazy() -> None:
    model = built(*TINY, "model/penalty=r1", "model.penalty.every=3", "model.d_steps=2")
    model.adversary.penalty.d = lambda *_: torch.tensor(float(model.updates["d"]))
    given = []
    for _ in range(4):
        steps(model)
        given.append(model.terms.fetch().get("loss/penalty"))
    assert given == [0, 3, None, 6]  # D's steps 0 1, 2 3, 4 5, 6 7


def test_the_penalty_is_added_to_ds_loss() -> None:
    """With R1 the weights differ, and the recorded loss/d is that without it."""
    records = []
    for overrides in ([], ["model/penalty=r1", "model.penalty.gamma=100"]):
        model = built(*TINY, "model.discriminator.norm=none", *overrides)
        steps(model)
        records.append((model.terms.fetch(), state(model)))
    (plain, weights), (penalised, others) = records
    assert plain["loss/d"] == penalised["loss/d"]
    assert penalised["loss/penalty"] > 0
    assert "loss/penalty" not in plain
    key = "adversary.discriminator.head.weight"
    assert not weights[key].equal(others[key])


def test_records() -> None:
    model = built(*TINY, *PLAIN)
    batch = next(noise(model))
    critic, seen = copy.deepcopy(model.adversary.discriminator), seen_by_d(model)
    steps(model, 1, iter([batch]))
    d_real, d_fake = critic(seen[0]).logits, critic(seen[1]).logits
    records = model.terms.fetch()
    assert_close(records["loss/d"], model.adversary.loss.d(d_real, d_fake).item())
    assert_close(records["d_real"], d_real.sigmoid().mean().item())
    assert_close(records["d_fake"], d_fake.sigmoid().mean().item())
    sides = {"loss/d_real", "loss/d_fake"}
    assert records.keys() == {"loss/d", "loss/g", "d_real", "d_fake"} | sides
    assert_close(sum(records[side] for side in sides), records["loss/d"])


def test_the_probability_of_an_augmentation_is_recorded() -> None:
    model = built(*TINY, "model/augment=ada", "model.augment.speed=100", "model.augment.every=1")
    model.adversary.augment.p.fill_(0.5)
    steps(model, 1)
    recorded = model.terms.fetch()["augment/p"]
    assert recorded == pytest.approx(float(model.adversary.augment.p))
    assert abs(recorded - 0.5) == pytest.approx(8 / 100)  # it has moved, by a batch of 8


def test_critic_logits() -> None:
    model = built(*TINY)
    steps(model, 2)
    before, x = state(model), next(noise(model)).x
    logits = model.critic_logits(x)
    assert logits.shape == (8,)
    assert not logits.requires_grad
    # By running statistics: a sample's logit is its own, and its sight leaves no trace.
    assert_close(model.critic_logits(x[:1]), logits[:1])
    assert all(value.equal(before[key]) for key, value in state(model).items())


def test_samples_come_from_the_average() -> None:
    model = built(*TINY)
    steps(model, 3)
    z = model.latents(4, seed=1)
    assert_close(model.decode(z), model.ema.network(z))
    assert not model.decode(z).equal(model.generator.eval()(z))
    raw = built(*TINY, "model.ema=null")
    steps(raw, 3)
    assert_close(raw.decode(z), raw.generator.eval()(z))


def test_bursts_of_d_steps() -> None:
    """In the first share of the budget, and at every third iteration later."""
    burst = "model.burst={_target_: src.models.gan.Burst, steps: 4, share: 0.5, every: 3}"
    model = built(*TINY, burst, "budget=128")
    steps(model, 6)
    # 32 and 64 samples in iterations 0 and 1, then half of the budget is done; 3 is a third one.
    assert model.updates == {"d": 4 + 4 + 1 + 4 + 1 + 1, "g": 6}
    assert model.samples_seen == 8 * 15


def test_the_average_counts_all_d_steps() -> None:
    model = built(*TINY, "model.d_steps=3")
    given = []
    model.ema.update = lambda _, n, seen: given.append((n, seen))
    steps(model, 2)
    assert given == [(24, 24), (24, 48)]


def test_packs() -> None:
    """D judges m samples at once, stacked along the channels (PacGAN)."""
    model = built(*TINY, "model.packing=4")
    batches = [next(noise(model))]
    seen = seen_by_d(model)
    steps(model, 1, iter(batches))
    assert [x.shape for x in seen] == [(2, 4, 28, 28)] * 3
    assert seen[0].equal(batches[0].x.view(2, 4, 28, 28))
    assert model.samples_seen == 8
    toy = built("model=gan", "data=ring", "model.packing=2", "model.batch_size=8")
    seen = seen_by_d(toy)
    steps(toy)
    assert seen[0].shape == (4, 4)
    with pytest.raises(SettingError, match=r"model\.packing=2"):
        built(*TINY, "model.packing=2", "model/condition=concatenate")


def test_batches_that_packs_do_not_divide_are_refused() -> None:
    with pytest.raises(SettingError, match=r"model\.batch_size=8"):
        built(*TINY, "model.packing=3")


def test_a_relativistic_g_step_compares_with_fresh_reals() -> None:
    model = built(*TINY, "model/loss=relativistic")
    first, second = (next(noise(model, seed=seed)) for seed in (1, 2))
    seen = seen_by_d(model)
    steps(model, 1, iter([first, second]))
    assert [seen[0].equal(first.x), seen[2].equal(second.x)] == [True, True]
    assert model.samples_seen == 8  # those that D has learnt from


def test_gradients_are_clipped(before_step: Callable) -> None:
    norms = {}
    for clip in ("null", "0.01"):
        model = built(*TINY, f"model.clip={clip}")

        def spy(player: str, model: GAN = model, clip: str = clip) -> None:
            network = {"d": model.adversary.discriminator, "g": model.generator}[player]
            gradients = [p.grad for p in network.parameters()]
            norms[clip, player] = torch.nn.utils.get_total_norm(gradients).item()

        before_step(model, spy)
        steps(model)
    for player in "dg":
        assert norms["null", player] > 0.02
        assert norms["0.01", player] == pytest.approx(0.01, rel=1e-3)


def test_progress_is_the_share_of_the_budget() -> None:
    model = built(*TINY, "budget=32")
    assert model.progress == 0
    steps(model, 3)
    assert model.progress == 0.75
    steps(model, 3)
    assert model.progress == 1


@pytest.mark.parametrize("preset", ["dcgan", "acgan", "lapgan", "cyclegan"])
def test_who_learns_from_a_discriminator_cannot_do_without(preset: str) -> None:
    words = ["data/degradation=noise"] if preset == "cyclegan" else []
    with pytest.raises(SettingError, match="discriminator=none"):
        built(f"model={preset}", "data=mnist", "model/discriminator=none", *words)
