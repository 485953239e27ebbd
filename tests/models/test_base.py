"""The clock, the noise and the sampling that all models share."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.losses.penalties import gradient
from src.models.base import GenerativeModel
from src.models.parts.means import AT_ONCE, Means
from src.training.trainer import precision_plugin
from tests.models.conftest import TINY, TOY, built, noise, state, steps

AE = ("model=ae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]")
VAE = ("model=vae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]")
DEEP = ("model=deep_ae", "model.hidden=[16,5]")
ALL = pytest.mark.parametrize("preset", [TINY, TOY, AE, VAE, DEEP], ids=lambda words: words[0])


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, ...], GenerativeModel]:
    """Each after three iterations."""
    made = {preset: built(*preset) for preset in (TINY, TOY, AE, VAE, DEEP)}
    for model in made.values():
        steps(model, 3)
    return made


@ALL
def test_sampling_leaves_no_trace(preset: tuple[str, ...], models: dict) -> None:
    model = models[preset]
    before, generator = state(model), torch.get_rng_state()
    modes = {name: module.training for name, module in model.named_modules()}
    model.sample(5, seed=1)
    model.sample(5)
    assert all(value.equal(before[key]) for key, value in state(model).items())
    assert torch.get_rng_state().equal(generator)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert model.training


@ALL
def test_the_seed_decides(preset: tuple[str, ...], models: dict) -> None:
    model = models[preset]
    x = model.sample(6, seed=1)
    assert x.equal(model.sample(6, seed=1))
    assert not x.equal(model.sample(6, seed=2))
    assert not model.sample(6).equal(model.sample(6))
    assert x.equal(model.decode(model.latents(6, seed=1)))


@ALL
def test_samples_are_in_the_datas_form(preset: tuple[str, ...], models: dict) -> None:
    model = models[preset]
    x = model.sample(7, seed=0)
    assert x.shape == (7, *model.spec.shape)
    assert x.dtype == torch.float32
    assert not x.requires_grad
    assert model.spec.kind == "points" or x.abs().max() <= 1


@ALL
def test_the_batch_size_of_sampling_does_not_matter(preset: tuple[str, ...], models: dict) -> None:
    whole = models[preset].sample(11, seed=3, batch_size=11)
    for size in (1, 4, 500):
        part = models[preset].sample(11, seed=3, batch_size=size)
        assert_close(part, whole, rtol=1e-5, atol=1e-6)


@ALL
def test_sampling_is_exact_within_autocast(preset: tuple[str, ...], models: dict) -> None:
    expected = models[preset].sample(4, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert models[preset].sample(4, seed=0).equal(expected)


@ALL
def test_noise_is_a_function_of_seed_and_iteration(preset: tuple[str, ...]) -> None:
    """Whatever else draws random numbers, or makes pictures, between two iterations."""
    ends = []
    for disturb in (False, True):
        model = built(*preset, "seed=3")
        batches = noise(model)
        for _ in range(3):
            if disturb:
                torch.manual_seed(99)
                torch.rand(17)
                model.sample(3)
            steps(model, 1, batches)
        ends.append(state(model))
    assert all(value.equal(ends[1][key]) for key, value in ends[0].items())


def test_seeds_differ_in_weights_and_noise() -> None:
    one, two = built(*TINY, "seed=1"), built(*TINY, "seed=2")
    key = "generator.body.1.weight"
    assert not state(one)[key].equal(state(two)[key])
    same = built(*TINY, "seed=1")
    assert state(one)[key].equal(state(same)[key])
    same.seed = 2  # the same weights, other noise
    steps(one)
    steps(same)
    assert not state(one)[key].equal(state(same)[key])


def test_modes_come_back_module_by_module(models: dict) -> None:
    model = models[TINY]
    model.adversary.discriminator.eval()
    modes = {name: module.training for name, module in model.named_modules()}

    def fail() -> None:
        with model.scoring():
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert {name: module.training for name, module in model.named_modules()} == modes
    model.adversary.discriminator.train()


def test_records_are_means_since_the_last_call() -> None:
    model = built(*TOY)
    assert model.terms.fetch() == {}
    for value in (1.0, 2.0, 6.0):
        model.record(a=torch.tensor(value))
    model.record(b=torch.tensor([1.0, 3.0], dtype=torch.bfloat16))
    assert model.terms.fetch() == {"a": 3.0, "b": 2.0}
    assert model.terms.fetch() == {}


def test_a_record_is_no_view_of_the_term() -> None:
    model, term = built(*TOY), torch.tensor(1.0)
    model.record(a=term)
    term.fill_(5.0)
    assert model.terms.fetch() == {"a": 1.0}


def test_records_do_not_depend_on_when_they_are_read() -> None:
    values = torch.rand(AT_ONCE + 10, generator=torch.Generator().manual_seed(0)).tolist()
    at_the_end, now_and_then = Means(), Means()
    for i, value in enumerate(values):
        at_the_end.add(["a", "b"], torch.tensor([value, -value]))
        now_and_then.add(["a", "b"], torch.tensor([value, -value]))
        if i in (3, 400):  # as a run that is killed and resumed
            state = now_and_then.state_dict()
            now_and_then = Means()
            now_and_then.load_state_dict(state)
    means = at_the_end.fetch()
    assert now_and_then.fetch() == means
    assert means["a"] == -means["b"] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert at_the_end.fetch() == {}


@ALL
def test_the_clock_goes_through_a_checkpoint(preset: tuple[str, ...], models: dict) -> None:
    model = copy.deepcopy(models[preset])
    model.seconds = 1.5
    model.record(term=torch.tensor(0.3))
    checkpoint: dict = {}
    model.on_save_checkpoint(checkpoint)
    other = built(*preset)
    other.on_load_checkpoint(checkpoint)
    assert (other.samples_seen, other.iteration, other.seconds, other.updates) == (
        model.samples_seen,
        model.iteration,
        1.5,
        model.updates,
    )
    assert other.terms.fetch() == model.terms.fetch()


def test_images_are_channels_last() -> None:
    weight = built(*TINY).adversary.discriminator.body[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_ones_own_generators_leave_the_global_one_alone() -> None:
    model, before = built(*TOY), torch.get_rng_state()
    first = model.make_random_generator(None).initial_seed()
    assert model.make_random_generator(7).initial_seed() == 7
    assert model.make_random_generator(None).initial_seed() != first
    assert torch.get_rng_state().equal(before)


def test_casts_that_are_kept_end_with_the_weights_that_they_are_of() -> None:
    """After an update, also one on samples that G made without a graph, weights are cast anew."""
    model = built(*TINY, "model.d_steps=2", "model.d_optimizer.lr=0.1")
    plugin = precision_plugin("bf16-mixed", torch.device("cpu"))
    x, update = torch.rand(8, *model.spec.shape) * 2 - 1, model.update
    fresh, grads = [], {}

    def updated(player: str, loss: Tensor) -> None:
        grads[player] = torch.autograd.grad(loss, params[player], retain_graph=True)
        update(player, loss)
        kept = model.adversary.discriminator(x).logits
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            fresh.append(kept.equal(model.adversary.discriminator(x).logits))

    params = {
        "d": list(model.adversary.discriminator.parameters()),
        "g": list(model.generator.parameters()),
    }
    model.update = updated
    model.adversary.discriminator.eval()  # batch statistics would change from pass to pass
    with plugin.forward_context():
        steps(model, 2)
    assert fresh == [True] * 6
    assert all(g.abs().sum() > 0 for g in grads["g"])


def test_gradients_of_penalties_are_float32_under_autocast(
    before_step: Callable[[GenerativeModel, Callable[[str], None]], None],
) -> None:
    """The penalty on the slope w of D(x) = w x + b, n |w|^2, has the gradient 2 n w."""
    model = built("model=tiny", "data=slanted_land")
    (weight, _) = model.adversary.discriminator.parameters()
    with torch.no_grad():
        weight.copy_(torch.tensor([[1.001, -2.003, 3.007, 0.1234]]))
    expected, found = 2 * 16 * weight.detach().clone(), []
    before_step(model, lambda _: found.append(weight.grad.clone()))
    with torch.autocast("cpu", torch.bfloat16):
        slope = gradient(lambda x: model.adversary.discriminator(x).logits, torch.rand(16, 4))
        model.update("d", slope.square().sum())
    assert_close(found[0], expected)


def test_nothing_piles_up() -> None:
    """Seeding each iteration once queued a traceback for each absent device, in each iteration."""
    model = built(*TOY)
    before = len(torch.cuda._queued_calls)
    steps(model, 3)
    assert len(torch.cuda._queued_calls) == before
