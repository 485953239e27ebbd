"""Toy metrics against closed forms and the published properties of an exact sampler."""

import math

import pytest
import torch
from torch import Tensor

from src.data.slanted_land import SlantedLand
from src.data.toy import Toy
from src.errors import SettingError
from src.metrics.toy import (
    ToyScorer,
    mode_metrics,
    picture_metrics,
    sliced_wasserstein,
    toy_metrics,
)

from .conftest import sampler_of


def toy(name: str, definition: str, dim: int = 2) -> Toy:
    data = Toy(name, "points", dim, [], "builtin", None, "", definition, 100, 8, 0)
    data.setup()
    return data


def drawn(data: Toy, n: int, seed: int = 9) -> Tensor:
    return data.distribution.sample(n, torch.Generator().manual_seed(seed))


def test_names_protocols_and_the_value_of_real_samples() -> None:
    data = toy("ring", "pacgan")
    found = ToyScorer(data, n=2500, seed=4)
    scores = found.score(sampler_of(drawn(data, 2500)))
    assert found.headline == {"sliced_wasserstein": "sliced_wasserstein2500_exact"}
    assert ToyScorer(toy("gaussian", "d2l")).headline == {"frechet": "frechet10k_exact"}
    assert scores.values.keys() == scores.protocols.keys()
    record = scores.protocols["high_quality2500_exact"]
    assert (record["n_fake"], record["seed"]) == (2500, 4)
    assert record["data_id"] == data.data_id
    # 1 - exp(-4.5); 4 standard errors of a share of 2500.
    assert record["real"] == pytest.approx(0.98889, abs=0.0084)
    assert scores.values["high_quality2500_exact"] == pytest.approx(0.98889, abs=0.0084)
    assert scores.values["modes2500_exact"] == 8


@pytest.mark.parametrize(
    ("name", "definition", "modes"),
    [("ring", "wgan_gp", 8), ("ring", "unrolled", 7), ("grid", "wgan_gp", 25)],
)
def test_an_exact_sampler_covers_all_modes(name: str, definition: str, modes: int) -> None:
    data = toy(name, definition)
    found = toy_metrics(data, drawn(data, 10_000))
    assert found["modes"] == modes
    assert found["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.0042)
    # A multinomial's KL is about (k - 1) / 2n.
    assert 0 <= found["reverse_kl"] < 5 * modes / 20_000
    assert found["log_prob"] == pytest.approx(
        -math.log(modes if definition != "unrolled" else 8)
        + (2 * math.log(2) / 8 if definition == "unrolled" else 0.0)
        - math.log(2 * math.pi * data.distribution.std**2)
        - 1,
        abs=0.04,
    )


def test_a_shift_moves_the_mean_by_its_length() -> None:
    data = toy("gaussian", "d2l")
    x = drawn(data, 200_000)
    before, after = toy_metrics(data, x), toy_metrics(data, x + torch.tensor([3.0, 4.0]))
    assert "modes" not in before
    assert before["mean_error"] == pytest.approx(0.0, abs=0.02)
    assert before["cov_error"] == pytest.approx(0.0, abs=0.06)
    assert before["frechet"] == pytest.approx(0.0, abs=0.001)
    assert after["mean_error"] == pytest.approx(5.0, abs=0.02)
    assert after["cov_error"] == pytest.approx(before["cov_error"], abs=1e-4)
    assert after["frechet"] == pytest.approx(25.0, abs=0.1)
    # E log p = -(d / 2)(1 + log 2 pi) - log |det A|.
    entropy = 1 + math.log(2 * math.pi) + math.log(0.7)
    assert before["log_prob"] == pytest.approx(-entropy, abs=0.02)


def test_covariance_error_is_the_frobenius_norm() -> None:
    data = toy("gaussian", "d2l")
    x = 2 * (drawn(data, 100_000) - data.distribution.mean) + data.distribution.mean
    norm = float((3 * data.distribution.cov).norm())
    assert toy_metrics(data, x)["cov_error"] == pytest.approx(norm, rel=0.02)
    # Between N(m, S) and N(m, 4 S): tr S (2 - 1)^2.
    trace = float(data.distribution.cov.trace())
    assert toy_metrics(data, x)["frechet"] == pytest.approx(trace, rel=0.02)


def test_lost_modes_are_counted_and_cost_kl() -> None:
    data = toy("ring", "wgan_gp")
    found = toy_metrics(data, data.distribution.modes[:4].repeat(50, 1))
    assert found["modes"] == 4
    assert found["high_quality"] == 1.0
    assert found["reverse_kl"] == pytest.approx(math.log(2), rel=1e-9)


def test_one_good_sample_makes_a_mode_and_three_deviations_are_good() -> None:
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0]]).double()
    x = torch.tensor([[2.9, 0.0], [12.9, 0.0], [13.1, 0.0], [5.0, 5.0]]).double()
    found = mode_metrics(x, modes, 1.0, torch.tensor([0.5, 0.5]).double())
    assert found == {"modes": 2.0, "high_quality": 0.5, "reverse_kl": pytest.approx(0.0)}


def test_no_good_sample_is_no_mode() -> None:
    data = toy("ring", "wgan_gp")
    found = toy_metrics(data, torch.zeros(100, 2))
    assert (found["modes"], found["high_quality"]) == (0, 0)
    assert math.isnan(found["reverse_kl"])


def test_the_sliced_distance_of_a_shift_and_of_a_scale() -> None:
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)).double()
    shift = torch.tensor([0.3, -0.4]).double()
    assert sliced_wasserstein(x, x.flip(0)) == 0
    # A mean of |cosines|: 2 / pi within 3 standard errors of 128 directions, 0.027 each.
    assert sliced_wasserstein(x + shift, x) == pytest.approx(0.5 * 2 / math.pi, rel=0.13)
    # Of N(0, 1) and N(0, 4) on every line E |z|, up to the sample's own spread.
    assert sliced_wasserstein(2 * x, x) == pytest.approx((2 / math.pi) ** 0.5, rel=0.03)
    one = torch.tensor([[0.0], [3.0]]).double()
    assert sliced_wasserstein(one, torch.tensor([[4.0], [0.0]]).double()) == pytest.approx(0.5)


def test_what_two_moments_do_not_see_the_sliced_distance_does() -> None:
    """A haze with the ring's moments, and half of the modes."""
    data = toy("ring", "wgan_gp")
    law, ring = data.distribution, drawn(data, 10_000)
    haze = law.mean + 2**-0.5 * torch.randn(10_000, 2, generator=torch.Generator().manual_seed(1))
    haze = haze * (ring.std(0) / haze.std(0))
    half = ring[(torch.cdist(ring, law.modes.to(ring)).argmin(1) % 2).bool()]
    cases = {"exact": ring, "haze": haze, "half": half}
    found = {name: toy_metrics(data, x) for name, x in cases.items()}
    assert max(case["frechet"] for case in found.values()) < 0.003
    assert found["exact"]["sliced_wasserstein"] < 0.02
    assert found["haze"]["sliced_wasserstein"] > 0.1
    assert found["half"]["sliced_wasserstein"] > 0.1


def test_points_that_are_not_finite_give_nan() -> None:
    data = toy("ring", "wgan_gp")
    x = drawn(data, 100)
    x[3, 0] = math.inf
    assert all(math.isnan(value) for value in toy_metrics(data, x).values())


def slanted_land() -> SlantedLand:
    data = SlantedLand("slanted_land", "points", 4, [], "builtin", None, "", 1, 0)
    data.setup()
    return data


def test_pictures_show_the_diagonal_or_not() -> None:
    pictures = slanted_land().distribution.pictures.double()
    x = torch.tensor(
        [
            [0.6, 0.4, 0.4, 0.6],
            [0.6, 0.6, 0.4, 0.6],
            [0.4, 0.4, 0.4, 0.6],
            [0.0, 1.0, 1.0, 0.0],
            [1.0, 0.0, 0.0, 1.0],
        ]
    ).double()
    found = picture_metrics(x, pictures)
    assert found["diagonal"] == pytest.approx(2 / 5)
    # The nearest ones are (.8, .2, .1, .9), (.8, .2, .1, .9) or its like, (.9, .2, .1, .8), ...
    by_hand = [
        min(sum(abs(a - b) for a, b in zip(row, real, strict=True)) / 4 for real in rows)
        for rows in [pictures.tolist()]
        for row in x.tolist()
    ]
    assert by_hand[0] == pytest.approx((0.2 + 0.2 + 0.3 + 0.3) / 4)
    assert by_hand[4] == 0
    assert found["nearest_error"] == pytest.approx(sum(by_hand) / 5)


def test_pictures_have_no_density_but_moments() -> None:
    data = slanted_land()
    found = ToyScorer(data, n=2000)
    assert found.headline == {"diagonal": "diagonal2k_exact"}
    scores = found.score(sampler_of(data.splits["train"].x.repeat(400, 1)))
    assert scores.values == {
        "mean_error2k_exact": pytest.approx(0, abs=1e-6),
        "cov_error2k_exact": pytest.approx(0, abs=1e-4),  # n over n - 1
        "frechet2k_exact": pytest.approx(0, abs=1e-6),
        "diagonal2k_exact": 1.0,
        "nearest_error2k_exact": 0.0,
    }
    assert scores.protocols["diagonal2k_exact"]["real"] == 1.0
    assert scores.protocols["nearest_error2k_exact"]["real"] == 0.0
    assert scores.protocols["frechet2k_exact"]["real"] > 0


def test_too_few_samples_are_told() -> None:
    with pytest.raises(SettingError, match=r"metrics\.n=1"):
        ToyScorer(toy("ring", "wgan_gp"), n=1)
