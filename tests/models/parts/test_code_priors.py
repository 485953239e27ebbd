"""The prior of the codes: what is remembered, what is fitted, what is drawn."""

import pytest
import torch
from torch.testing import assert_close

from src.errors import SettingError
from src.models.parts.code_priors import CodePrior

ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [0.0, -0.3, 2.0]])
MEAN = torch.tensor([1.0, -2.0, 0.5])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_gaussian_is_recovered() -> None:
    """From 10,000 codes; 5 %."""
    prior = CodePrior(3)
    for part in (torch.randn(10_000, 3, generator=generator()) @ ROOT.T + MEAN).split(200):
        prior.observe(part)
    z = prior.draw(100_000, generator(1))
    assert_close(z.mean(0), MEAN, rtol=0, atol=0.06)
    assert_close(torch.cov(z.T), ROOT @ ROOT.T, rtol=0.05, atol=0.05)


def test_the_mixture_is_recovered() -> None:
    """Two clouds, three to one, which one Gaussian would join."""
    prior = CodePrior(2, "gmm", components=2, memory=4000)
    z = 0.3 * torch.randn(4000, 2, generator=generator())
    z[:3000] += torch.tensor([5.0, 0.0])
    prior.observe(z)
    drawn = prior.draw(20_000, generator(1))
    right = drawn[:, 0] > 2.5
    assert abs(float(right.double().mean()) - 0.75) < 0.02
    assert_close(drawn[right].mean(0), torch.tensor([5.0, 0.0]), rtol=0, atol=0.05)
    assert_close(drawn[~right].std(0), torch.full((2,), 0.3), rtol=0.1, atol=0)


def test_normal_whatever_was_seen() -> None:
    prior = CodePrior(3, "normal", memory=1)
    prior.observe(torch.full((50, 3), 9.0))
    z = prior.draw(20_000, generator())
    assert z.mean(0).abs().max() < 0.04
    assert_close(z.std(0), torch.ones(3), rtol=0.03, atol=0)


def test_before_any_code() -> None:
    for prior in ("gaussian", "gmm"):
        assert CodePrior(3, prior).draw(5, generator()).shape == (5, 3)


def test_the_latest_are_remembered() -> None:
    """Codes move while the encoder learns: what is older than the memory is forgotten."""
    prior = CodePrior(1, memory=10)
    for value in range(7):
        prior.observe(torch.full((4, 1), float(value)))
    assert sorted(prior.codes.flatten().tolist()) == [4, 4] + [5] * 4 + [6] * 4
    prior.observe(torch.arange(25.0)[:, None])  # more at once than it can remember
    assert sorted(prior.codes.flatten().tolist()) == list(range(15, 25))


def test_a_loaded_prior_goes_on_where_it_was_saved() -> None:
    prior = CodePrior(1, memory=10)
    prior.observe(torch.arange(4.0)[:, None])
    saved = {name: value.clone() for name, value in prior.state_dict().items()}
    later = torch.arange(4.0, 7.0)[:, None]
    prior.observe(later)
    expected = prior.codes.clone()
    for other in (prior, CodePrior(1, memory=10)):
        other.load_state_dict(saved)
        other.observe(later)
        assert_close(other.codes, expected, rtol=0, atol=0)
        assert int(other.seen) == 7


def test_codes_that_span_less_than_the_space() -> None:
    """A collapsed dimension has no variance: rounding must not make a root of a negative."""
    prior = CodePrior(3, memory=500)
    z = torch.randn(500, 3, generator=generator()) + 5
    z[:, 2] = z[:, 0] - z[:, 1]
    prior.observe(z)
    drawn = prior.draw(1000, generator(1))
    assert drawn.isfinite().all()
    assert_close(drawn[:, 2], drawn[:, 0] - drawn[:, 1], rtol=0, atol=0.001)


def test_the_fit_follows_the_codes() -> None:
    prior = CodePrior(1, memory=100)
    prior.observe(torch.randn(100, 1))
    first = prior.draw(10, generator())
    assert prior.draw(10, generator()).equal(first)
    prior.observe(torch.randn(100, 1) + 50)
    assert prior.draw(10, generator()).min() > 40


@pytest.mark.parametrize(("values", "message"), [
    ({"components": 0}, r"model\.sampler\.components=0 must be from 1 to 1,000"),
    ({"memory": 0}, r"model\.sampler\.memory=0 must be from 1 to 1,000,000"),
    ({"memory": 10**7}, r"model\.sampler\.memory=10000000 must be"),
    ({"prior": "gmm", "components": 1000, "memory": 10**6}, r"prior=gmm of 2 latent"),
    ({"prior": "gmm", "components": 100, "latent_dim": 2000}, r"prior=gmm of 2000 latent"),
])  # fmt: skip
def test_sizes_beyond_memory(values: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        CodePrior(**{"latent_dim": 2, **values})
