"""The statistics of quality.py against closed forms, torch-fidelity, torchmetrics and prdc."""

import pytest
import torch
import torch_fidelity.metric_fid
import torch_fidelity.metric_isc
import torch_fidelity.metric_kid
import torch_fidelity.metric_prc
from torch import Tensor
from torch.testing import assert_close
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import poly_mmd

from src.metrics.quality import (
    Moments,
    frechet_distance,
    inception_score,
    kernel_distance,
    manifold,
    moments,
)


def gaussian_features(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


def fidelity_fid(a: Tensor, b: Tensor) -> float:
    statistics = [torch_fidelity.metric_fid.fid_features_to_statistics(x) for x in (a, b)]
    result = torch_fidelity.metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return result["frechet_inception_distance"]


def test_frechet_distance_of_commuting_gaussians_has_a_closed_form() -> None:
    # For diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2.
    s1, s2 = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 0.1, 0.5]).double()
    m1, m2 = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double()
    found = frechet_distance(Moments(m1, s1.square().diag()), Moments(m2, s2.square().diag()))
    assert found == pytest.approx(5.0 + float((s1 - s2).square().sum()), rel=1e-12)


def test_frechet_distance_in_one_direction_of_a_general_covariance() -> None:
    # A x with x ~ N(0, S) against N(0, S) where A = c I: tr S (c - 1)^2.
    x = gaussian_features(500, 6, seed=0)
    a, b = moments(x), moments(3 * x)
    trace = float(torch.cov(x.T).trace())
    mean = float((2 * x.mean(0)).square().sum())
    assert frechet_distance(a, b) == pytest.approx(4 * trace + mean, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 300, 64), (30, 50, 64)])
def test_frechet_distance_equals_torch_fidelity(n: int, m: int, d: int) -> None:
    a, b = gaussian_features(n, d, 0), gaussian_features(m, d, 1, shift=0.3)
    found = frechet_distance(moments(a), moments(b))
    # With fewer samples than features, theirs takes roots of eigenvalues that are zero but for
    # rounding, which costs half of the digits.
    assert found == pytest.approx(fidelity_fid(a, b), rel=1e-9 if min(n, m) > d else 1e-6)


def test_features_that_are_always_zero_do_not_bear_on_the_distance() -> None:
    # Cholesky's algorithm stops at them.
    a, b = gaussian_features(300, 16, 0), gaussian_features(200, 16, 1, shift=0.3)
    dead = [torch.cat([x, torch.zeros(len(x), 4)], 1) for x in (a, b)]
    found = frechet_distance(moments(dead[0]), moments(dead[1]))
    assert found == pytest.approx(frechet_distance(moments(a), moments(b)), rel=1e-9)
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(moments(dead[0]).covariance)


def test_few_samples_give_the_same_distance_as_their_full_covariance() -> None:
    a, b = gaussian_features(300, 48, 0), gaussian_features(20, 48, 1)
    few = moments(b)
    assert few.factor.shape == (20, 48)
    full = Moments(b.mean(0), torch.cov(b.T))
    assert frechet_distance(moments(a), few) == pytest.approx(
        frechet_distance(moments(a), full), rel=1e-6
    )


@pytest.mark.parametrize("n", [30, 500])
def test_a_set_has_no_distance_to_itself(n: int) -> None:
    x = moments(gaussian_features(n, 64, 0))
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-5)


def test_moments_of_float32_features_are_those_of_float64() -> None:
    # A large mean is what a covariance in float32 fails at.
    x = (gaussian_features(2000, 8, 0) + 100).float()
    found = moments(x)
    assert_close(found.covariance, torch.cov(x.double().T), rtol=1e-10, atol=1e-12)
    assert_close(found.mean, x.double().mean(0))


@pytest.mark.parametrize("seed", [0, 2020])
def test_kid_equals_torch_fidelity_with_the_same_subsets(seed: int) -> None:
    fake, real = gaussian_features(150, 16, 0), gaussian_features(120, 16, 1, shift=0.2)
    expected = torch_fidelity.metric_kid.kid_features_to_metric(
        fake, real, kid_subsets=7, kid_subset_size=50, rng_seed=seed, verbose=False
    )
    found = kernel_distance(fake, real, seed, subsets=7, subset_size=50)
    assert found == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)


def test_kid_of_float32_features_is_that_of_float64() -> None:
    # As wide as Inception's, a tenth of the reals' size apart, and never negative.
    fake, real = (gaussian_features(300, 2048, k).relu() * (1 + k / 10) for k in (0, 1))
    exact = kernel_distance(fake, real, 0, subsets=2, subset_size=200)
    found = kernel_distance(fake.float(), real.float(), 0, subsets=2, subset_size=200)
    assert found == pytest.approx(exact, rel=1e-6)


def test_kid_with_the_reals_part_kept() -> None:
    fakes = [gaussian_features(90, 16, seed, shift=0.2) for seed in (0, 1)]
    real, kept = gaussian_features(70, 16, 2), []
    expected = [kernel_distance(fake, real, 3, 5, 40) for fake in fakes]
    assert [kernel_distance(fake, real, 3, 5, 40, kept) for fake in fakes] == expected
    assert len(kept) == 5


def test_kid_equals_torchmetrics() -> None:
    fake, real = gaussian_features(90, 16, 0), gaussian_features(90, 16, 1, shift=0.2)
    expected = float(poly_mmd(fake, real))
    assert kernel_distance(fake, real, 0, subsets=1) == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased() -> None:
    # Over many pairs of samples of one distribution the mean is 0; the margin is 4 standard errors.
    values = torch.tensor(
        [
            kernel_distance(
                torch.randn(40, 4, generator=torch.Generator().manual_seed(2 * i)),
                torch.randn(40, 4, generator=torch.Generator().manual_seed(2 * i + 1)),
                seed=0,
                subsets=1,
            )
            for i in range(200)
        ]
    )
    assert float(values.mean()) == pytest.approx(0.0, abs=4 * float(values.std()) / 200**0.5)


def test_inception_score_equals_torch_fidelity() -> None:
    logits = 3 * gaussian_features(205, 10, 0)
    expected = torch_fidelity.metric_isc.isc_features_to_metric(logits, splits=10, rng_seed=5)
    found = inception_score(logits, seed=5)
    assert found == pytest.approx(expected["inception_score_mean"], rel=1e-12)


def test_inception_score_equals_torchmetrics() -> None:
    logits = 3 * gaussian_features(205, 10, 0)
    metric = InceptionScore(feature=torch.nn.Identity(), splits=1)
    metric.update(logits)
    expected, _ = metric.compute()
    assert inception_score(logits, seed=0, splits=1) == pytest.approx(float(expected), rel=1e-9)


def test_inception_score_has_its_two_ends() -> None:
    sure = 100.0 * torch.eye(4)[torch.arange(400) % 4]
    assert inception_score(sure, seed=0, splits=1) == pytest.approx(4.0, rel=1e-6)
    assert inception_score(torch.zeros(400, 4), seed=0) == pytest.approx(1.0, rel=1e-12)


def test_precision_and_recall_equal_torch_fidelity() -> None:
    fake, real = gaussian_features(230, 8, 0), gaussian_features(190, 8, 1, shift=0.3)
    expected = torch_fidelity.metric_prc.prc_features_to_metric(
        fake, real, prc_neighborhood=3, prc_batch_size=64, save_cpu_ram=False, verbose=False
    )
    found = manifold(fake, real)
    assert found["precision"] == pytest.approx(expected["precision"], abs=1e-7)
    assert found["recall"] == pytest.approx(expected["recall"], abs=1e-7)


def test_density_and_coverage_are_those_of_their_definition() -> None:
    # Naeem et al. 2020, eq. 6 and 7, as in the authors' package prdc.
    fake, real = gaussian_features(70, 3, 0), gaussian_features(90, 3, 1, shift=0.2)
    between = torch.cdist(real, fake)
    radii = torch.cdist(real, real).sort().values[:, 5]
    inside = between < radii[:, None]
    found = manifold(fake, real)
    assert found["density"] == pytest.approx(float(inside.sum(0).double().mean()) / 5)
    expected = (between.min(1).values < radii).double().mean()
    assert found["coverage"] == pytest.approx(float(expected))


def test_a_set_covers_itself() -> None:
    x = gaussian_features(1300, 8, 0)  # more than one chunk of rows
    found = manifold(x, x)
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)
    # Exactly 1 but for the rounding of the distance to the k-th neighbour itself.
    assert found["density"] == pytest.approx(1.0, abs=0.02)


def test_a_collapsed_set_is_precise_and_recalls_little() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 8, generator=generator)
    collapsed = 0.1 * torch.randn(1000, 8, generator=generator)
    scattered = 3.0 * torch.randn(1000, 8, generator=generator)
    low, high = manifold(collapsed, real), manifold(scattered, real)
    assert 0.95 <= low["precision"] <= 1.0
    assert 0.0 <= low["recall"] <= 0.05
    assert 0.0 <= high["precision"] <= 0.4
    assert 0.8 <= high["recall"] <= 1.0
    assert low["density"] > 1.5
    assert 0.0 <= high["density"] < 0.5
    assert 0.0 <= low["coverage"] <= 0.4
