"""Reconstruction losses against their definitions."""

import torch
from torch.distributions import Bernoulli
from torch.testing import assert_close

from src.losses.reconstruction import bernoulli_nll, squared_error


def test_squared_error_of_images() -> None:
    """Summed over pixels in [0, 1], averaged over images."""
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(6, 1, 4, 4, generator=generator)
    x = torch.rand(6, 1, 4, 4, generator=generator) * 2 - 1
    expected = (((output.tanh() + 1) / 2 - (x + 1) / 2) ** 2).sum() / 6
    assert_close(squared_error(output, x), expected)


def test_a_black_answer_to_a_white_image() -> None:
    """Every pixel is wrong by 1: the error is the number of pixels."""
    x = torch.ones(2, 3, 5, 5)
    assert_close(float(squared_error(torch.full_like(x, -50.0), x)), 75.0)
    assert float(squared_error(torch.full_like(x, 50.0), x)) < 1e-6


def test_squared_error_of_points() -> None:
    output, x = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, -2.0], [0.0, 1.0]])
    assert_close(float(squared_error(output, x)), (9 + 16 + 0 + 1) / 2)


def test_bernoulli_nll() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 1, 4, 4, generator=generator)
    bits = torch.randint(2, (5, 1, 4, 4), generator=generator).float()
    expected = -Bernoulli(logits=logits).log_prob(bits).sum() / 5
    assert_close(bernoulli_nll(logits, bits * 2 - 1), expected)


def test_bernoulli_nll_of_grey_pixels_is_the_expectation() -> None:
    logits, grey = torch.tensor([[1.5]]), torch.tensor([[0.3]])
    law = Bernoulli(logits=logits)
    expected = -0.3 * law.log_prob(torch.ones(1, 1)) - 0.7 * law.log_prob(torch.zeros(1, 1))
    assert_close(bernoulli_nll(logits, grey * 2 - 1), expected.squeeze())


def test_both_are_float32_in_bfloat16() -> None:
    output = torch.randn(4, 1, 8, 8).bfloat16()
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    for loss in (squared_error, bernoulli_nll):
        value = loss(output, x)
        assert value.dtype == torch.float32
        assert_close(value, loss(output.float(), x), rtol=1e-2, atol=1e-2)
