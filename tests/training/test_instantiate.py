"""Nodes become objects of their slot's kind, and of no other."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from src.callbacks.budget import Budget
from src.config.checks import RECIPE
from src.config.composition import plain
from src.config.signatures import Slot, check_kind
from src.data.base import DataModule
from src.data.spec import DataSpec
from src.errors import SettingError
from src.losses.adversarial import AdversarialLoss, Hinge, LeastSquares
from src.models.base import GenerativeModel
from src.models.gan import GAN
from src.networks.mlp import MLPGenerator
from src.training.instantiate import build
from src.transforms.augment import Augment
from tests.conftest import composed

SPEC = DataSpec("points", (2,))


def model_node(*overrides: str) -> dict[str, Any]:
    node = plain(composed("model=gan", "data=ring", *overrides))["model"]
    return {key: value for key, value in node.items() if key not in RECIPE}


def test_a_part() -> None:
    node = {"_target_": "src.losses.adversarial.LeastSquares", "d_weight": 0.5}
    loss = build(node, AdversarialLoss, "model.loss")
    assert type(loss) is LeastSquares
    assert loss.d_weight == 0.5


def test_parts_and_makers_of_parts() -> None:
    node = model_node("model/loss=hinge", "model.generator.hidden=[7]")
    model = build(node, GenerativeModel, "model", spec=SPEC, seed=0)
    assert type(model) is GAN
    assert type(model.adversary.loss) is Hinge
    assert type(model.generator) is MLPGenerator
    assert model.generator.body[0].out_features == 7
    (d, g) = model.configure_optimizers()
    assert isinstance(d, torch.optim.Adam)
    assert g.defaults["lr"] == node["g_optimizer"]["lr"]


def test_what_the_code_hands_over_comes_last() -> None:
    node = {"_target_": "src.callbacks.budget.Budget", "max_time": "5s"}
    assert type(build(node, Callback, "callbacks.budget", max_time="7s")) is Budget
    assert build(node, Callback, "callbacks.budget", max_time="7s").max_seconds == 7


@pytest.mark.parametrize(
    ("target", "base"),
    [
        ("src.losses.penalties.R1", AdversarialLoss),  # ours, in another's place
        ("src.losses.adversarial.AdversarialLoss", AdversarialLoss),  # abstract
        ("src.transforms.augment.Augment", Augment),
        ("src.models.gan.GAN", DataModule),
        ("torch.nn.Linear", Augment),
        ("lightning.pytorch.callbacks.ModelCheckpoint", GenerativeModel),
        ("src.sweeps.launchers.Ray", GenerativeModel),
        ("os.system", GenerativeModel),
        ("src.runs.files.write_atomically", GenerativeModel),
        ("src.nothing.X", GenerativeModel),
        ("", GenerativeModel),
        (["os.system"], GenerativeModel),
    ],
)
def test_other_kinds_are_refused(target: Any, base: type) -> None:
    with pytest.raises(SettingError):
        build({"_target_": target}, base, "model.x")


@pytest.mark.parametrize(
    "change",
    [
        {"loss": {"_target_": "src.losses.penalties.NoPenalty"}},
        {"generator": {"_target_": "src.networks.mlp.MLPDiscriminator", "_partial_": True}},
        {"generator": {"_target_": "torch.nn.Linear", "in_features": 10**12, "out_features": 1}},
        {"d_steps": {"_target_": "src.losses.adversarial.Hinge"}},
        {"d_optimizer": {"_target_": "src.models.parts.ema.EMA", "_partial_": True}},
        {
            "latent": {
                "_target_": "src.models.parts.latents.Latent",
                "dim": {"_target_": "os.system"},
            }
        },
        {"latent": {"_target_": "src.models.parts.latents.Latent", "dim": 2, "categories": [[]]}},
    ],
)
def test_parts_in_the_wrong_place(change: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"model|_target_=os.system"):
        build(model_node() | change, GenerativeModel, "model", spec=SPEC, seed=0)


def test_errors_of_constructors_name_the_node() -> None:
    node = model_node() | {"d_optimizer": {"_target_": "torch.optim.Adam", "lr": -1.0}}
    model = build(node, GenerativeModel, "model", spec=SPEC, seed=0)
    with pytest.raises(SettingError, match=r"model\.d_optimizer: Adam cannot be made: .*-1\.0"):
        model.configure_optimizers()


def test_kinds_are_known_without_an_import() -> None:
    """The same question asked of the source text, before torch is imported."""

    def ask(name: str, target: str) -> None:
        check_kind("x", target, Slot(name, Path(inspect.getfile(GAN)), partial=False))

    ask("AdversarialLoss", "src.losses.adversarial.Hinge")
    ask("Generator", "src.networks.r3gan.R3GANGenerator")
    ask("torch.optim.Optimizer", "torch.optim.Adam")
    for name, target in (
        ("AdversarialLoss", "src.losses.penalties.R1"),
        ("Generator", "src.networks.r3gan.R3GANDiscriminator"),
        ("torch.optim.Optimizer", "torch.nn.Linear"),
        ("Nothing", "src.losses.adversarial.Hinge"),
    ):
        with pytest.raises(SettingError, match="does not fit there"):
            ask(name, target)
