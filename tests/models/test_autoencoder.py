"""The autoencoder's step by hand, its two directions, and the law that is fitted to its codes."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch.testing import assert_close

from src.losses.reconstruction import squared_error
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
        loss = squared_error(decoder(encoder(x)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    steps(model, 3)
    assert_close(model.encoder.state_dict(), encoder.state_dict())
    assert_close(model.decoder.state_dict(), decoder.state_dict())
    assert_close(model.fetch_records()["loss/reconstruction"], sum(losses) / 3)
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


def test_the_codes_law_is_recovered() -> None:
    """Codes from N(m, S) for 400 batches of 200; 5 % margin on a memory of about 100 batches."""
    model = built(*AE, "model.latent_dim=3")
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([1.0, -2.0, 0.5])
    root = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [0.0, -0.3, 2.0]])
    for model.iteration in range(400):
        model.follow_codes(torch.randn(200, 3, generator=generator) @ root.T + mean)
    z = model.latents(100_000, seed=0)
    assert_close(z.mean(0), mean, rtol=0, atol=0.05)
    assert_close(torch.cov(z.T), root @ root.T, rtol=0.05, atol=0.05)


def test_the_first_batches_are_averaged_plainly() -> None:
    """The start, zeros and ones, has no weight from the first batch on."""
    model = built(*AE, "model.latent_dim=2")
    z = torch.randn(5, 20, 2, generator=torch.Generator().manual_seed(0))
    for model.iteration, batch in enumerate(z):
        model.follow_codes(batch)
    flat = z.flatten(0, 1)
    assert_close(model.code_mean, flat.mean(0))
    assert_close(model.code_second_moment, flat.T @ flat / 100)


def test_the_law_forgets() -> None:
    """Codes move while the encoder learns: 500 batches later the old place is forgotten."""
    model = built(*AE, "model.latent_dim=1")
    for model.iteration in range(1000):
        centre = 10.0 if model.iteration < 500 else -3.0
        model.follow_codes(torch.full((4, 1), centre))
    assert_close(model.code_mean, torch.tensor([-3.0]), rtol=0, atol=13 * 0.99**500 * 1.1)


def test_codes_that_span_less_than_the_space() -> None:
    """A collapsed dimension has no variance: rounding must not make a root of a negative."""
    model = built(*AE, "model.latent_dim=3")
    z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) + 5
    z[:, 2] = z[:, 0] - z[:, 1]
    model.follow_codes(z)
    drawn = model.latents(1000, seed=0)
    assert drawn.isfinite().all()
    assert_close(drawn[:, 2], drawn[:, 0] - drawn[:, 1], rtol=0, atol=0.02)


def test_the_law_goes_with_the_weights() -> None:
    model, other = built(*AE), built(*AE, "seed=1")
    steps(model, 3)
    other.load_state_dict(model.state_dict())
    assert other.sample(4, seed=0).equal(model.sample(4, seed=0))
