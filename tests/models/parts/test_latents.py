"""The laws of z."""

import pytest
import torch
from torch.testing import assert_close

from src.models.parts.latents import Latent, deviations

CPU = torch.device("cpu")


@pytest.mark.parametrize(("prior", "std"), [("normal", 1.0), ("uniform", 3**-0.5)])
def test_moments(prior: str, std: float) -> None:
    """Mean 0 and the prior's standard deviation, within 5 standard errors of 40,000 draws."""
    z = Latent(40, prior).draw(1000, CPU, torch.Generator().manual_seed(0))
    assert z.shape == (1000, 40)
    assert abs(float(z.mean())) < 5 * std / 200
    assert abs(float(z.std()) - std) < 5 * std / 200
    assert (z.abs().max() <= 1) == (prior == "uniform")
    # Entries are independent.
    correlation = torch.corrcoef(z.T) - torch.eye(40)
    assert correlation.abs().max() < 5 / 1000**0.5


def test_a_generator_of_ones_own() -> None:
    latent = Latent(3)
    before = torch.get_rng_state()
    draws = [latent.draw(2, CPU, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert draws[0].equal(draws[1])
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(1)
    assert latent.draw(2, CPU).equal(draws[0])


def test_structured_codes() -> None:
    latent = Latent(3, "uniform", categories=[4, 2], continuous=2)
    z = latent.draw(4000, CPU, torch.Generator().manual_seed(0))
    assert z.shape == (4000, 11) == (4000, latent.size)
    first, second, place = latent.split(z[:, 3:])
    for code, k in ((first, 4), (second, 2)):
        assert code.sum(1).eq(1).all()
        assert code.unique().tolist() == [0, 1]
        # 5 standard errors of a share of 1/k.
        assert (code.mean(0) - 1 / k).abs().max() < 5 * (1 / k * (1 - 1 / k) / 4000) ** 0.5
    assert place.abs().max() <= 1
    assert place.var(0).sub(1 / 3).abs().max() < 0.02


def test_the_unit_law() -> None:
    z = Latent(1, "unit").draw(4000, CPU, torch.Generator().manual_seed(0))
    assert 0 <= z.min() < 0.01
    assert 0.99 < z.max() < 1


def test_traversals() -> None:
    """Each row changes one code and nothing else."""
    latent = Latent(3, categories=[4, 12], continuous=1)
    z = latent.draw(2, CPU, torch.Generator().manual_seed(0))
    rows = latent.traversals(z, steps=10)
    assert rows.shape == (3 * 2, 12, 20)
    first, second, place = rows.view(3, 2, 12, 20)
    for k, block, span in ((4, first, slice(3, 7)), (12, second, slice(7, 19))):
        assert block[0, :, span].argmax(1).tolist() == [i % k for i in range(12)]
        assert block[:, :, span].sum(2).eq(1).all()
    assert place[1, :, 19].equal(torch.linspace(-2, 2, 12))
    for block, changed in ((first, {3, 4, 5, 6}), (second, {*range(7, 19)}), (place, {19})):
        rest = [i for i in range(20) if i not in changed]
        assert block[:, :, rest].equal(z[:, None, rest].expand(-1, 12, -1))


def test_deviations() -> None:
    """One number from -3 to 3 standard deviations, all others at their means."""
    draws = torch.tensor([[1.0, 10.0, 0.0], [3.0, 10.0, 4.0]])
    rows = torch.stack([*deviations(draws, steps=7)])
    assert rows.shape == (3, 7, 3)
    mean, std = torch.tensor([2.0, 10.0, 2.0]), torch.tensor([2**0.5, 0.0, 8**0.5])
    for k in range(3):
        assert_close(rows[k, :, k], mean[k] + std[k] * torch.arange(-3.0, 4.0))
        others = [j for j in range(3) if j != k]
        assert_close(rows[k][:, others], mean[others].expand(7, 2))
