"""Every loss with every penalty, with and without classes: they compose, and they train."""

from functools import cache

import pytest
import torch

from src.config.composition import CONF, plain
from tests.conftest import composed
from tests.models.conftest import TINY, assembled, built, steps


def parts(slot: str) -> list[str]:
    return sorted(path.stem for path in (CONF / "model" / slot).glob("*.yaml"))


@cache
def settings_of(*words: str) -> dict:
    return plain(composed(*TINY, *words, "budget=100"))


@pytest.mark.parametrize("condition", ["none", "concatenate"])
@pytest.mark.parametrize("penalty", parts("penalty"))
@pytest.mark.parametrize("loss", parts("loss"))
def test_two_steps(loss: str, penalty: str, condition: str) -> None:
    # Composed slot by slot, since that takes longer than the two steps.
    settings = settings_of(f"model/penalty={penalty}", f"model/condition={condition}")
    node = settings_of(f"model/loss={loss}")["model"]["loss"]
    model = assembled(settings | {"model": settings["model"] | {"loss": node}})
    gradients: dict[str, torch.Tensor] = {}

    def keep(player: str) -> None:
        prefix = {"d": "adversary", "g": "generator"}[player]
        for name, weight in getattr(model, prefix).named_parameters():
            # Of both steps: clipped to tiny weights, D can be linear, and then a loss that is so
            # too has no gradient for a shift of all logits.
            key = f"{prefix}.{name}"
            gradients[key] = gradients.get(key, 0) + weight.grad.abs()

    for player, optimizer in model._optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, player=player: keep(player))
    steps(model, 2)
    records = model.terms.fetch()
    assert all(torch.tensor(value).isfinite() for value in records.values()), records
    assert {"loss/d", "loss/g"} <= records.keys()
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert names == gradients.keys()
    silent = [name for name, gradient in gradients.items() if not gradient.sum() > 0]
    assert not silent
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("data", ["ring", "grid", "mnist", "celeba"])
@pytest.mark.parametrize("model", ["lsgan", "wgan", "wgan_gp", "wgan_lp", "dragan", "r1gan"])
def test_presets_find_networks_for_the_data(model: str, data: str) -> None:
    width = [] if data in ("ring", "grid") else ["generator", "discriminator"]
    words = [f"model.{player}.width=2" for player in width]
    model = built(f"model={model}", f"data={data}", *words, "model.batch_size=8", "budget=1000")
    steps(model, 1)
    assert model.sample(3, seed=0).shape == (3, *model.spec.shape)
