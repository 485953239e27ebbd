"""The VAE's bound against its formula and against the likelihood it bounds."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from src.losses.reconstruction import bernoulli_nll
from tests.models.conftest import built, noise, state, steps

VAE = ("model=vae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]", "model.latent_dim=4")


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_step_by_hand(beta: float) -> None:
    model = built(*VAE, f"model.beta={beta}")
    encoder, decoder = copy.deepcopy(model.encoder), copy.deepcopy(model.decoder)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=model._optimizers["vae"].defaults["lr"])
    batches, terms = noise(model), []
    for i in range(3):
        torch.manual_seed(i)  # seed 0
        x = next(batches).x
        mean, log_variance = encoder(x).chunk(2, dim=1)
        std = (log_variance / 2).exp()
        logits = decoder(mean + std * torch.randn_like(mean))
        nll = F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="sum") / len(x)
        kl = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum() / len(x)
        optimizer.zero_grad()
        (nll + beta * kl).backward()
        optimizer.step()
        terms.append((nll.item(), kl.item()))
    steps(model, 3)
    assert_close(model.encoder.state_dict(), encoder.state_dict(), rtol=1e-4, atol=1e-5)
    assert_close(model.decoder.state_dict(), decoder.state_dict(), rtol=1e-4, atol=1e-5)
    records = model.fetch_records()
    assert_close(records["loss/reconstruction"], sum(t[0] for t in terms) / 3, rtol=1e-4, atol=0)
    assert_close(records["loss/kl"], sum(t[1] for t in terms) / 3, rtol=1e-4, atol=1e-6)


def test_the_bound_is_below_the_likelihood() -> None:
    """One code, four pixels: log p(x) by a sum over a fine grid of z; 2 % for the grid and noise.

    q is not the posterior, so that the bound must be strictly lower, by KL(q || p(z|x)).
    """
    model = built("model=vae", "model.latent_dim=1")
    torch.manual_seed(0)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model.decoder = nn.Sequential(nn.Linear(1, 4), nn.Unflatten(1, (1, 2, 2)))
    nn.init.normal_(model.decoder[0].weight, std=3.0)
    x = torch.tensor([1.0, -1.0, 1.0, 1.0]).view(1, 1, 2, 2)
    z = torch.linspace(-8, 8, 4001)[:, None]
    with torch.no_grad():
        log_p = -torch.stack([bernoulli_nll(model.decoder(code[None]), x) for code in z])
        log_prior = Normal(0.0, 1.0).log_prob(z).squeeze()
        log_likelihood = torch.logsumexp(log_p + log_prior, 0) + torch.tensor(16 / 4000).log()
        mean, log_variance = model.encoder(x)[0]
        q = Normal(mean, (log_variance / 2).exp())
        log_q = q.log_prob(z).squeeze()
        gap = (log_q.exp() * (log_q - (log_p + log_prior - log_likelihood))).sum() * 16 / 4000
        many = x.expand(20_000, 1, 2, 2)
        bound = -sum(model.negative_elbo(many))
    assert gap > 0.01
    assert_close(bound, log_likelihood - gap, rtol=0.02, atol=0.02)


def test_reconstruct_and_decode() -> None:
    model = built(*VAE)
    x, before = next(noise(model)).x, state(model)
    mean = model.encoder(x)[:, :4]
    assert_close(model.reconstruct(x), 2 * model.decoder(mean).sigmoid() - 1)
    assert_close(model.reconstruct(x), model.reconstruct(x))  # at q's mean: no noise
    assert all(value.equal(before[key]) for key, value in state(model).items())


def test_the_prior() -> None:
    """Standard normal, within 5 standard errors of 40,000 draws."""
    z = built(*VAE).latents(10_000, seed=0)
    assert z.shape == (10_000, 4)
    assert abs(float(z.mean())) < 5 / 200
    assert abs(float(z.std()) - 1) < 5 / 200
