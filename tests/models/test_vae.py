"""The VAE's bound against its formula and against the likelihood it bounds."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from src.errors import SettingError
from tests.models.conftest import built, noise, state, steps

SMALL = ("model.encoder.hidden=[16]", "model.decoder.hidden=[16]", "model.latent_dim=4")
VAE = ("model=vae", "model/reconstruction=bernoulli", *SMALL)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_step_by_hand(beta: float) -> None:
    model = built(*VAE, f"model.objective.beta={beta}")
    encoder, decoder = copy.deepcopy(model.encoder), copy.deepcopy(model.decoder)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=model._optimizers["vae"].defaults["lr"])
    batches, terms = noise(model), []
    for i in range(3):
        torch.manual_seed(i)  # seed 0
        x = next(batches).x
        mean, log_variance = encoder(x).chunk(2, dim=1)
        std = (log_variance / 2).exp()
        logits = decoder(mean + std * torch.randn(1, *mean.shape)[0])
        nll = F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="sum") / len(x)
        kl = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum() / len(x)
        optimizer.zero_grad()
        (nll + beta * kl).backward()
        optimizer.step()
        terms.append((nll.item(), kl.item()))
    steps(model, 3)
    assert_close(model.encoder.state_dict(), encoder.state_dict(), rtol=1e-4, atol=1e-5)
    assert_close(model.decoder.state_dict(), decoder.state_dict(), rtol=1e-4, atol=1e-5)
    records = model.terms.fetch()
    assert_close(records["loss/reconstruction"], sum(t[0] for t in terms) / 3, rtol=1e-4, atol=0)
    assert 0 < records["posterior_std"] < 2
    assert_close(records["loss/kl"], sum(t[1] for t in terms) / 3, rtol=1e-4, atol=1e-6)


def test_the_bound_is_below_the_likelihood() -> None:
    """One code, four pixels: log p(x) by a sum over a fine grid of z; 2 % for the grid and noise.

    q is not the posterior, so that the bound must be strictly lower, by KL(q || p(z|x)).
    """
    model = built(*VAE, "model.latent_dim=1")
    torch.manual_seed(0)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model.decoder = nn.Sequential(nn.Linear(1, 4), nn.Unflatten(1, (1, 2, 2)))
    nn.init.normal_(model.decoder[0].weight, std=3.0)
    x = torch.tensor([1.0, -1.0, 1.0, 1.0]).view(1, 1, 2, 2)
    z = torch.linspace(-8, 8, 4001)[:, None]
    with torch.no_grad():
        log_p = -torch.stack(
            [model.reconstruction.loss(model.decoder(code[None]), x)[0] for code in z]
        )
        log_prior = Normal(0.0, 1.0).log_prob(z).squeeze()
        log_likelihood = torch.logsumexp(log_p + log_prior, 0) + torch.tensor(16 / 4000).log()
        mean, log_variance = model.encoder(x)[0]
        q = Normal(mean, (log_variance / 2).exp())
        log_q = q.log_prob(z).squeeze()
        gap = (log_q.exp() * (log_q - (log_p + log_prior - log_likelihood))).sum() * 16 / 4000
        many = x.expand(20_000, 1, 2, 2)
        nll, divergence = model.elbo_terms(many)
        bound = -(nll + divergence.sum(1)).mean()
        weighted = model.log_weights(x, 20_000).logsumexp(0) - torch.tensor(20_000.0).log()
    assert gap > 0.01
    assert_close(bound, log_likelihood - gap, rtol=0.02, atol=0.02)
    assert_close(weighted[0], log_likelihood, rtol=0.02, atol=0.02)


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


def test_drawn_bits_are_what_encoder_and_loss_see() -> None:
    model = built("model=vae", *SMALL)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    steps(model, 2, noise(model, seed=9))  # not the model's: the same numbers would be compared
    assert all(set(x.unique().tolist()) == {-1.0, 1.0} for x in seen)
    x = next(noise(model)).x
    again = torch.Generator().manual_seed(1)
    bits = model.binarize(x, torch.Generator().manual_seed(1))
    assert bits.equal(torch.bernoulli((x + 1) / 2, generator=again) * 2 - 1)
    assert built(*VAE).binarize(x) is x


def test_importance_weighted_training() -> None:
    """The objective is the bound of k draws: its value over many passes of one batch, 1 %."""
    model = built(*VAE, "model/objective=iwae", "model.objective.samples=5")
    x = next(noise(model)).x.repeat(2000, 1, 1, 1)
    mean, log_variance = model.q(x, None)
    nll, z = model.nll(x, None, mean, log_variance, 5)
    loss = model.objective(nll, z, mean, log_variance).mean()
    weights = model.log_weights(x, 5)
    expected = -(weights.logsumexp(0) - torch.tensor(5.0).log()).mean()
    assert_close(loss, expected, rtol=0.01, atol=0)
    steps(model, 1)
    assert {"loss/reconstruction", "loss/kl", "loss/vae"} < model.terms.fetch().keys()


@pytest.mark.parametrize(
    "words",
    [
        ["model/condition=flatten"],
        ["model/encoder=conv", "model/decoder=conv", "model/condition=concatenate"],
    ],
)
def test_both_networks_know_the_class(words: list[str]) -> None:
    small = VAE if len(words) == 1 else ("model=vae", "model.latent_dim=4")
    if len(words) > 1:
        words = [*words, "model.encoder.width=2", "model.decoder.width=2"]
    model = built(*small, *words)
    steps(model, 2)
    x = next(noise(model)).x[:2]
    y, other = torch.tensor([3, 3]), torch.tensor([3, 7])
    assert (model.encode(x, y) - model.encode(x, other)).abs().amax(1).gt(0).tolist() == [
        False,
        True,
    ]
    z = model.latents(1, seed=0).repeat(2, 1)
    first, second = model.decode(z, other)
    assert not first.equal(second)
    assert model.reconstruct(x, y).shape == x.shape
    assert model.log_weights(x, 3, y).shape == (3, 2)
    assert model.sample(12, seed=0).shape == (12, 1, 28, 28)


def test_refused() -> None:
    with pytest.raises(SettingError, match="is no likelihood"):
        built("model=vae", "model/reconstruction=squared_error")
    with pytest.raises(SettingError, match="the data have none"):
        built("model=vae", "model/reconstruction=gaussian", "model/condition=flatten", "data=ring")
    for condition in ("projection", "generator"):
        with pytest.raises(SettingError, match="both get the class, by concatenation"):
            built("model=vae", f"model/condition={condition}")


def test_points() -> None:
    model = built("model=vae", "model/reconstruction=gaussian_learned", "data=ring")
    steps(model, 2)
    assert model.sample(5, seed=0).shape == (5, 2)
    assert model.reconstruction.log_variance.grad is None  # cleared, so it was stepped
    assert float(model.reconstruction.log_variance.detach().exp()) != pytest.approx(0.1, rel=1e-6)


def test_the_divergence_costs_nothing_at_the_start_of_its_warm_up() -> None:
    model = built(*VAE, "model.objective.warm_up=0.5", "budget=32")
    batches, losses, update = noise(model), [], model.update
    model.update = lambda name, loss: (losses.append(loss.item()), update(name, loss))
    for share in (0.0, 0.5, 1.0, 1.0):
        steps(model, 1, batches)
        records = model.terms.fetch()
        expected = records["loss/reconstruction"] + share * records["loss/kl"]
        assert_close(losses[-1], expected, rtol=1e-5, atol=0)
        assert records["loss/kl"] > 0
