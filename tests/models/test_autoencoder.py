"""The autoencoder's step by hand, its two directions, and the prior that is fitted to its codes."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch.testing import assert_close

from src.data.spec import Batch
from src.losses.reconstruction import SquaredError
from tests.models.conftest import built, noise, state, steps

AE = ("model=ae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]")


def test_the_step_by_hand() -> None:
    model = built(*AE)
    encoder, decoder = copy.deepcopy(model.encoder), copy.deepcopy(model.decoder)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=model._optimizers["autoencoder"].defaults["lr"])
    batches, losses = noise(model), []
    for _ in range(3):
        x = next(batches).x
        loss = SquaredError().loss(decoder(encoder(x)), x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    steps(model, 3)
    assert_close(model.encoder.state_dict(), encoder.state_dict())
    assert_close(model.decoder.state_dict(), decoder.state_dict())
    assert_close(model.terms.fetch()["loss/reconstruction"], sum(losses) / 3)
    assert (model.samples_seen, model.updates) == (24, {"autoencoder": 3})


def test_reconstruct() -> None:
    model = built(*AE)
    x = next(noise(model)).x
    before = state(model)
    again = model.reconstruct(x)
    assert_close(again, model.decoder(model.encoder(x)).tanh())
    assert again.abs().max() <= 1
    assert not again.requires_grad
    assert all(value.equal(before[key]) for key, value in state(model).items())


def test_reconstruct_brings_its_input_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorer has its images on the CPU, wherever the model is."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    for preset in (AE, ("model=vae",)):
        model = built(*preset)
        x = next(noise(model)).x
        assert model.to("meta").reconstruct(x).device.type == "meta"


@pytest.mark.parametrize("dim", [2, 4])
def test_points(dim: int) -> None:
    model = built(*AE, "data=gaussian", f"data.dim={dim}")
    steps(model, 2)
    x = 100 * next(noise(model)).x
    assert_close(model.reconstruct(x), model.decoder(model.encoder(x)))  # no bounded range
    assert model.sample(3).shape == (3, dim)


def test_denoising() -> None:
    """The encoder sees the corrupted image; the loss and the prior of the codes, the whole one."""
    model = built(*AE, "model/corruption=masking", "model.corruption.p=1.0")
    x = next(noise(model)).x
    black = torch.full_like(x, -1.0)
    expected = model.reconstruction.loss(model.decoder(model.encoder(black)), x).mean()
    codes = model.encoder(x)
    steps(model, 1)
    assert_close(model.terms.fetch()["loss/reconstruction"], expected.item())
    assert_close(model.prior.codes[:8], codes)


@pytest.mark.parametrize("penalty", ["l1", "contractive"])
def test_the_penalty_is_added(penalty: str) -> None:
    model = built(*AE, f"model/code_penalty={penalty}", "model.encoder.output=sigmoid")
    x = next(noise(model)).x
    z = model.encoder(x)
    expected = model.code_penalty(model.encoder, x, z)
    expected_gradient = torch.autograd.grad(
        expected + model.reconstruction.loss(model.decoder(z), x).mean(),
        list(model.encoder.parameters()),
    )
    seen = []
    model._optimizers["autoencoder"].register_step_pre_hook(
        lambda *_: seen.extend(p.grad.clone() for p in model.encoder.parameters())
    )
    steps(model, 1)
    assert_close(model.terms.fetch()["loss/code_penalty"], expected.item())
    assert_close(tuple(seen), expected_gradient)


def test_two_linear_maps_are_principal_component_analysis() -> None:
    """500 points of a 6-dimensional Gaussian, 2 codes: the error of the best subspace, 1 %."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 0.7, 0.4, 0.2]) + 1
    words = ["model=linear_ae", "data=gaussian", "data.dim=6", "model.latent_dim=2"]
    model = built(*words, "model.optimizer.lr=0.02", "budget=300_000")
    steps(model, 600, iter(lambda: Batch(x), None))
    error = float((model.reconstruct(x) - x).square().sum(1).mean())
    values = torch.linalg.svdvals(x - x.mean(0)) ** 2 / len(x)
    assert_close(error, float(values[2:].sum()), rtol=0.01, atol=0)


def test_the_law_goes_with_the_weights() -> None:
    model, other = built(*AE), built(*AE, "seed=1")
    steps(model, 3)
    other.load_state_dict(model.state_dict())
    assert other.sample(4, seed=0).equal(model.sample(4, seed=0))
