"""A generator in another program: onnxruntime computes what the model computes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from src.config.composition import plain
from src.errors import SettingError
from src.models.base import LatentVariableModel
from src.training.export import export
from src.training.instantiate import build_data, build_model
from tests.conftest import composed

SMALL = {
    "cdcgan": ("model.generator.width=2", "model.discriminator.width=2"),
    "vae": ("model.encoder.hidden=[8]", "model.decoder.hidden=[8]"),
}


def build(name: str) -> LatentVariableModel:
    """A model with weights so large that its samples differ."""
    settings = plain(composed(f"model={name}", "data=mnist", *SMALL[name]))
    model = build_model(settings, build_data(settings).spec)
    for weight in model.parameters():
        weight.data.normal_(0, 0.3)
    return model


def test_onnx_computes_the_same(tmp_path: Path) -> None:
    model = build("cdcgan")
    export(model, tmp_path / "generator.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "generator.onnx", providers=["CPUExecutionProvider"]
    )
    given = {"z": model.latents(5, seed=3), "y": torch.tensor([1, 0, 9, 3, 3])}
    (found,) = session.run(["samples"], {key: value.numpy() for key, value in given.items()})
    expected = model.decode(*given.values()).numpy()
    assert found.shape == (5, 1, 28, 28)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(expected - expected.mean(0)).max() > 1e-3  # more than a constant


@pytest.mark.parametrize(("name", "used"), [("cdcgan", ("generator.",)), ("vae", ("decoder.",))])
def test_weights_are_those_that_are_used(name: str, used: tuple, tmp_path: Path) -> None:
    model = build(name)
    export(model, tmp_path / "generator.safetensors")
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert file.metadata()["latent_dim"] == str(model.latents(1).shape[1])
    state = model.state_dict()
    assert all(torch.equal(weight, state[key]) for key, weight in weights.items())
    expected = ("ema.",) if name == "cdcgan" and model.ema else used
    assert weights
    assert all(key.startswith(expected) for key in weights)
    assert {key for key, _ in model.named_parameters() if key.startswith(expected)} <= {*weights}


def test_other_endings(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"what=export makes \.onnx or \.safetensors"):
        export(build("vae"), tmp_path / "generator.png")
