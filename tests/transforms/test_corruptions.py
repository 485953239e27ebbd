"""Corruptions: shares, values, and what they leave alone."""

import pytest
import torch
from torch.testing import assert_close

from src.errors import SettingError
from src.transforms.corruptions import GaussianNoise, Masking, NoCorruption, SaltAndPepper

X = torch.full((100, 1, 20, 20), 0.25)  # 40,000 numbers: a share's standard error is 0.0025


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_none() -> None:
    assert NoCorruption()(X) is X


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_masking(p: float) -> None:
    seen = Masking(p)(X)
    assert abs(float((seen == -1).double().mean()) - p) < 0.0125
    assert ((seen == -1) | (seen == 0.25)).all()
    assert (X == 0.25).all()  # not in place


def test_salt_and_pepper() -> None:
    seen = SaltAndPepper(0.4)(X)
    for value in (-1.0, 1.0):
        assert abs(float((seen == value).double().mean()) - 0.2) < 0.0125
    assert abs(float((seen == 0.25).double().mean()) - 0.6) < 0.0125


def test_gaussian_noise_is_on_the_unit_scale() -> None:
    noise = (GaussianNoise(0.3)(X) - X) / 2
    assert_close(noise.std(), torch.tensor(0.3), rtol=0.02, atol=0)
    assert abs(float(noise.mean())) < 0.0075


def test_points() -> None:
    points = torch.full((20_000, 2), 5.0)
    assert set(Masking(0.5)(points).unique().tolist()) == {0.0, 5.0}
    assert_close((GaussianNoise(0.3)(points) - points).std(), torch.tensor(0.3), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "make", [lambda: Masking(1.5), lambda: SaltAndPepper(-0.1), lambda: GaussianNoise(-1.0)]
)
def test_refused(make: object) -> None:
    with pytest.raises(SettingError, match=r"model\.corruption"):
        make()
