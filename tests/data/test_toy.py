"""The toys' exact densities against integrals and samples."""

import math

import pytest
import torch
from torch.testing import assert_close

from src.data.toy import DEFINITIONS, Toy
from src.errors import SettingError

ALL = [(name, definition) for name, known in DEFINITIONS.items() for definition in known]


def toy(name: str, definition: str, **settings: object) -> Toy:
    defaults = {"kind": "points", "dim": 2, "labels": [], "source": "builtin", "root": None}
    defaults |= {"cache": "", "size": 1000, "batch_size": 8, "seed": 0}
    data = Toy(name=name, definition=definition, **defaults | settings)
    data.setup()
    return data


@pytest.mark.parametrize(("name", "definition"), ALL)
def test_density_integrates_to_one(name: str, definition: str) -> None:
    # Importance sampling: the mean of p/q under q is 1, with q the law itself made wider.
    law = toy(name, definition).distribution
    q = DEFINITIONS[name][definition](2)
    if name == "gaussian":
        q.a = law.a * 1.5
    else:
        q.std = law.std * 1.5
    generator = torch.Generator().manual_seed(0)
    x = q.sample(100_000, generator).double()
    ratio = (law.log_prob(x) - q.log_prob(x)).exp()
    # p/q is at most 1.5^2 here, so the mean's standard deviation is below 0.003.
    assert_close(ratio.mean(), torch.tensor(1.0).double(), rtol=0, atol=0.012)


def test_density_integrates_to_one_on_a_lattice() -> None:
    law = toy("ring", "wgan_gp").distribution
    # The sum over a lattice finer than std is exact to rounding for Gaussians.
    axis = torch.arange(-1.6, 1.6, 0.004, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    total = sum(law.log_prob(part).exp().sum() for part in x.split(100_000)) * 0.004**2
    assert_close(total, torch.tensor(1.0).double(), rtol=0, atol=1e-5)


def test_density_of_the_gaussian_is_torchs() -> None:
    for dim in (1, 2, 3, 4):
        law = toy("gaussian", "d2l", dim=dim).distribution
        x = law.sample(50, torch.Generator().manual_seed(0))
        reference = torch.distributions.MultivariateNormal(law.mean, law.cov).log_prob(x)
        assert_close(law.log_prob(x), reference, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("name", "definition"), ALL)
def test_moments_are_exact(name: str, definition: str, dim: int) -> None:
    law = toy(name, definition, dim=dim).distribution
    n = 200_000
    x = law.sample(n, torch.Generator().manual_seed(1))
    # Five standard deviations of a mean, and of an entry of the covariance.
    scale = law.cov.diagonal().max().item()
    assert_close(x.mean(0), law.mean, rtol=0, atol=5 * math.sqrt(scale / n))
    assert_close(x.T.cov(), law.cov, rtol=0, atol=5 * scale * math.sqrt(2 / n))


def test_gaussian_is_that_of_the_notes() -> None:
    law = toy("gaussian", "d2l").distribution
    assert_close(law.mean, torch.tensor([1.0, 2.0]))
    assert_close(law.cov, torch.tensor([[1.01, 1.95], [1.95, 4.25]]))
    assert law.modes is None
    assert law.std is None
    a = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(4))
    expected = z @ a + torch.tensor([1.0, 2.0])
    assert_close(law.sample(9, torch.Generator().manual_seed(4)), expected)


@pytest.mark.parametrize(
    ("name", "definition", "modes", "radius", "std"),
    [
        ("ring", "wgan_gp", 8, 1.41443, 0.0141443),
        ("ring", "pacgan", 8, 1.0, 0.01),
        ("ring", "unrolled", 7, 1.0, 0.01),
        ("grid", "wgan_gp", 25, 2.00030, 0.0176803),
        ("grid", "veegan", 25, 5.65685, 0.05),
    ],
)
def test_definitions(name: str, definition: str, modes: int, radius: float, std: float) -> None:
    law = toy(name, definition).distribution
    assert law.modes.shape == (modes, 2)
    assert len(law.modes.mul(1e4).round().unique(dim=0)) == modes
    assert_close(law.modes.norm(dim=1).max().item(), radius, rtol=1e-5, atol=0)
    assert_close(law.std, std, rtol=1e-5, atol=0)
    x = toy(name, definition, size=20_000).splits["train"].x
    distance = torch.cdist(x, law.modes).amin(1)
    # In two dimensions 1 - exp(-4.5) of the mass lies within 3 sigma; s.d. here 0.0007.
    assert 0.985 < (distance < 3 * law.std).float().mean() < 0.993


def test_two_modes_of_the_unrolled_ring_coincide() -> None:
    law = toy("ring", "unrolled").distribution
    assert_close(law.weights, torch.tensor([2.0, 1, 1, 1, 1, 1, 1]) / 8)
    assert_close(law.modes[0], torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    ("name", "dim", "modes"), [("grid", 1, 5), ("grid", 3, 125), ("ring", 4, 8)]
)
def test_other_dimensions(name: str, dim: int, modes: int) -> None:
    data = toy(name, "wgan_gp", dim=dim)
    assert data.spec.shape == (dim,)
    assert data.splits["train"].x.shape == (1000, dim)
    assert data.distribution.modes.shape == (modes, dim)
    assert data.distribution.log_prob(data.splits["test"].x).isfinite().all()


def test_samples_are_fixed_and_the_test_split_is_another() -> None:
    first, second = toy("ring", "wgan_gp"), toy("ring", "wgan_gp", seed=1)
    assert first.data_id == second.data_id
    assert torch.equal(first.splits["train"].x, second.splits["train"].x)
    assert not torch.equal(first.splits["train"].x, first.splits["test"].x[:1000])
    hashes = {toy(*choice).data_id["hash"] for choice in ALL}
    assert len(hashes) == len(ALL)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ring", {"definition": "veegan"}, "wgan_gp and pacgan"),
        ("ring", {"definition": "pacgan", "dim": 1}, "data.dim=1"),
        ("grid", {"definition": "veegan", "dim": 6}, "data.dim=6"),
        ("grid", {"definition": "veegan", "size": 0}, "data.size=0"),
    ],
)
def test_impossible_settings(name: str, settings: dict, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        toy(name, **settings)
