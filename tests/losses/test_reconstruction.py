"""Reconstruction losses against their definitions."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as BernoulliLaw
from torch.distributions import Normal
from torch.testing import assert_close

from src.errors import SettingError
from src.losses.reconstruction import Bernoulli, Gaussian, SquaredError


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def outputs(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_squared_error_of_images() -> None:
    """Summed over pixels in [0, 1]."""
    output, x = outputs(), images()
    expected = (((output.tanh() + 1) / 2 - (x + 1) / 2) ** 2).sum((1, 2, 3))
    assert_close(SquaredError().loss(output, x), expected)
    assert_close(SquaredError().mean(output), output.tanh())


def test_an_unbounded_output() -> None:
    output, x = outputs(), images()
    loss = SquaredError(output="identity")
    assert_close(loss.loss(output, x), ((output - x) ** 2).sum((1, 2, 3)) / 4)
    assert loss.mean(output).equal(output)


def test_a_black_answer_to_a_white_image() -> None:
    """Every pixel is wrong by 1: the error is the number of pixels."""
    x = torch.ones(2, 3, 5, 5)
    assert_close(SquaredError().loss(torch.full_like(x, -50.0), x), torch.full((2,), 75.0))
    assert SquaredError().loss(torch.full_like(x, 50.0), x).max() < 1e-6


def test_squared_error_of_points() -> None:
    output, x = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, -2.0], [0.0, 1.0]])
    assert_close(SquaredError().loss(output, x), torch.tensor([25.0, 1.0]))
    assert SquaredError().mean(output).equal(output)


def test_bernoulli() -> None:
    logits, bits = 3 * outputs(), (images() > 0).float()
    expected = -BernoulliLaw(logits=logits).log_prob(bits).sum((1, 2, 3))
    assert_close(Bernoulli().loss(logits, bits * 2 - 1), expected)
    assert_close(Bernoulli().mean(logits), 2 * BernoulliLaw(logits=logits).mean - 1)


def test_bernoulli_of_grey_pixels_is_the_expectation() -> None:
    logits, grey = torch.tensor([[1.5]]), torch.tensor([[0.3]])
    law = BernoulliLaw(logits=logits)
    expected = -0.3 * law.log_prob(torch.ones(1, 1)) - 0.7 * law.log_prob(torch.zeros(1, 1))
    assert_close(Bernoulli().loss(logits, grey * 2 - 1), expected[0])


def test_drawn_bits() -> None:
    """Each is 1 with the probability of its grey value; within 5 standard errors."""
    x = torch.tensor([-1.0, -0.5, 0.0, 0.8, 1.0]).expand(20_000, 5)
    torch.manual_seed(0)
    bits = Bernoulli(binarize=True).targets(x)
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    assert_close(bits.mean(0), x[0], rtol=0, atol=5 / math.sqrt(20_000))
    assert bits[:, [0, 4]].equal(x[:, [0, 4]])
    assert Bernoulli().targets(x) is x


def test_gaussian_of_images() -> None:
    """A density of pixels in [0, 1]."""
    output, x = outputs(), images()
    law = Normal((output.tanh() + 1) / 2, math.sqrt(0.2))
    expected = -law.log_prob((x + 1) / 2).sum((1, 2, 3))
    assert_close(Gaussian(0.2).loss(output, x), expected)
    assert not [p for p in Gaussian(0.2).parameters() if p.requires_grad]


def test_the_learned_variance_finds_the_mean_squared_error() -> None:
    output, x = outputs(50), images(50)
    loss = Gaussian("learned", start=1.0)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss.loss(output, x).mean().backward()
        optimizer.step()
    mse = ((output.tanh() - x) / 2).square().mean()
    assert_close(loss.log_variance.exp(), mse, rtol=1e-3, atol=0)


def test_a_variance_must_be_positive() -> None:
    with pytest.raises(SettingError, match="must be positive"):
        Gaussian(0.0)


@pytest.mark.parametrize("loss", [SquaredError(), Bernoulli(), Gaussian(0.1)])
def test_all_are_float32_in_bfloat16(loss: SquaredError) -> None:
    output, x = outputs().bfloat16(), images()
    value = loss.loss(output, x)
    assert value.dtype == torch.float32
    assert_close(value, loss.loss(output.float(), x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("loss", [SquaredError(), Bernoulli(), Gaussian(0.1)])
@pytest.mark.parametrize("shape", [(1, 4, 4), (2,)])
def test_several_draws_of_each_sample(loss: SquaredError, shape: tuple[int, ...]) -> None:
    """k outputs a sample, draw by draw, are each compared with their own sample."""
    generator = torch.Generator().manual_seed(0)
    output, x = torch.randn(3 * 5, *shape, generator=generator), torch.rand(5, *shape)
    assert_close(loss.loss(output, x), loss.loss(output, x.repeat(3, *[1] * len(shape))))


def test_bernoulli_of_extreme_logits() -> None:
    """A certain answer costs nothing if it is right, and the logit if it is wrong."""
    logits = torch.tensor([[200.0, -200.0]])
    assert Bernoulli().loss(logits, torch.tensor([[1.0, -1.0]])).item() == 0.0
    assert Bernoulli().loss(logits, torch.tensor([[-1.0, 1.0]])).item() == 400.0
