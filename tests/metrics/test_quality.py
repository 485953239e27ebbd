"""The scorer: names, protocols, the cache, and agreement with the libraries from images on."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_fidelity
import torch_fidelity.metric_kid
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import FrechetInceptionDistance

from src.data.spec import Split, to_model
from src.errors import SettingError
from src.metrics.quality import METRICS, QualityScorer, frechet_distance, moments
from src.networks.features import ClassifierFeatures, Features, Inception

from .conftest import InMemory, noise_images, sampler_of

DIGITS = ClassifierFeatures("digits")


def scorer(data: InMemory, cache: Path, **settings: object) -> QualityScorer:
    return QualityScorer(data, DIGITS, cache=cache, **{"n": 60, **settings})


def test_names_and_protocols_say_how_a_number_was_made(digit_data: InMemory, cache: Path) -> None:
    found = scorer(digit_data, cache, n=500, seed=3)
    scores = found.score(sampler_of(digit_data.splits["train"].x))
    assert list(scores.values) == [f"{metric}500_digits" for metric in METRICS]
    assert scores.values.keys() == scores.protocols.keys()
    assert found.headline == {"fid": "fid500_digits"}
    record = scores.protocols["fid500_digits"]
    assert record["n_fake"] == 500
    assert record["n_real"] == len(digit_data.splits["train"].x)
    assert record["real_split"] == "train"
    assert record["seed"] == 3
    assert record["data_id"] == digit_data.data_id
    assert record["extractor"]["name"] == "digits"
    assert record["extractor"]["hash"] == DIGITS.hash
    assert "bilinear to 28" in record["extractor"]["resize"]
    assert scores.protocols["recall500_digits"]["k"] == 3
    assert scores.protocols["coverage500_digits"]["k"] == 5


@pytest.mark.parametrize(("n", "name"), [(500, "fid500"), (10_000, "fid10k"), (2500, "fid2500")])
def test_thousands_are_short(n: int, name: str, digit_data: InMemory, cache: Path) -> None:
    assert scorer(digit_data, cache, n=n).name("fid") == f"{name}_digits"


def test_neighbours_are_counted_on_ten_thousand(digit_data: InMemory, cache: Path) -> None:
    found = scorer(digit_data, cache, n=50_000)
    assert found.name("fid") == "fid50k_digits"
    assert found.name("precision") == "precision10k_digits"


def test_held_out_reals_are_the_floor(digit_data: InMemory, cache: Path) -> None:
    test = digit_data.splits["test"].x
    held_out = scorer(digit_data, cache, n=len(test))
    scores = held_out.score(sampler_of(test))
    # The same images in another order: KID and IS take other subsets of them.
    for name, value in scores.values.items():
        margin = 0.05 if name.startswith(("kid", "is")) else 1e-6
        real = scores.protocols[name]["real"]
        assert value == pytest.approx(real, rel=margin, abs=1e-6 if margin < 0.01 else 2e-2)
        assert scores.protocols[name]["n_held_out"] == len(test)


def test_without_a_test_split_there_is_no_floor(digit_data: InMemory, cache: Path) -> None:
    data = InMemory("digits", {"train": digit_data.splits["test"]})
    scores = scorer(data, cache).score(sampler_of(digit_data.splits["train"].x))
    assert {record["real"] for record in scores.protocols.values()} == {None}


def test_the_batch_size_does_not_bear_on_the_numbers(digit_data: InMemory, cache: Path) -> None:
    # Of images that are not among the reals: a copy lies on the edge of a ball, not in or out.
    x = digit_data.splits["test"].x
    data = InMemory("part", {"train": Split(digit_data.splits["train"].x[:400])})
    found = [
        scorer(data, cache / str(size), n=299, batch_size=size).score(sampler_of(x)).values
        for size in (299, 7)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_same_seed_asks_for_the_same_fakes(digit_data: InMemory, cache: Path) -> None:
    asked: list[tuple[int, int]] = []

    def sample(n: int, seed: int) -> Tensor:
        asked.append((n, seed))
        return torch.zeros(n, 1, 28, 28)

    for seed in (0, 0, 1):
        scorer(digit_data, cache, n=700, seed=seed, metrics=["fid"]).score(sample)
    assert [n for n, _ in asked] == [500, 200] * 3
    assert asked[:2] == asked[2:4]
    assert len({seed for _, seed in asked[2:]}) == 4


def test_the_global_random_state_is_left_alone(digit_data: InMemory, cache: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    scorer(digit_data, cache).score(sampler_of(digit_data.splits["train"].x))
    assert_close(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def fid(data: InMemory, cache: Path, fakes: Tensor) -> float:
    found = scorer(data, cache, n=len(fakes), metrics=["fid"])
    return found.score(sampler_of(fakes)).values[found.name("fid")]


def test_fid_rises_with_noise_blur_and_lost_modes(digit_data: InMemory, cache: Path) -> None:
    x, y = (part[:700] for part in digit_data.splits["train"])
    digit_data = InMemory("part", {"train": Split(x, y)})
    assert fid(digit_data, cache, x) == pytest.approx(0.0, abs=1e-4)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=generator)
    noisy = [(x + level * noise).clamp(0, 255).to(torch.uint8) for level in (0, 15, 30, 60, 120)]
    kernels = [torch.ones(1, 1, size, size) / size**2 for size in (1, 3, 5, 7)]
    blurred = [F.conv2d(x.float(), k, padding="same").to(torch.uint8) for k in kernels]
    dropped = [x[y >= lost] for lost in (0, 1, 3, 5, 8)]
    for series in (noisy, blurred, dropped):
        values = [fid(digit_data, cache, fakes) for fakes in series]
        assert values == sorted(values)
        assert all(b > 1.2 * a for a, b in pairwise(values[1:]))


def test_the_name_of_the_data_is_not_what_the_cache_goes_by(cache: Path) -> None:
    """torch-fidelity's cache gives the old number when data change under one name."""
    fakes = noise_images(60, seed=5)
    values = [
        fid(InMemory("set", {"train": Split(noise_images(80, seed))}), cache, fakes)
        for seed in (0, 1, 0)
    ]
    assert values[0] == values[2]
    assert abs(values[0] - values[1]) > 0.01 * values[0]


def test_reals_are_embedded_once(
    digit_data: InMemory, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = noise_images(60, seed=0)
    first = scorer(digit_data, cache).score(sampler_of(fakes))
    embedded = []
    embed = type(DIGITS).embed
    monkeypatch.setattr(type(DIGITS), "embed", lambda s, x: embedded.append(len(x)) or embed(s, x))
    again = scorer(digit_data, cache).score(sampler_of(fakes))
    assert sum(embedded) == 60
    assert again == first


def test_a_damaged_cache_is_made_anew(digit_data: InMemory, cache: Path) -> None:
    fakes = noise_images(60, seed=0)
    first = fid(digit_data, cache, fakes)
    kept = list((cache / "features").glob("*.safetensors"))
    assert kept
    assert not list((cache / "features").glob("*.tmp"))
    for path in kept:
        path.write_bytes(path.read_bytes()[:1000])
    assert fid(digit_data, cache, fakes) == first


def test_a_cache_that_cannot_be_written_is_told(digit_data: InMemory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingError, match=r"data\.cache"):
        fid(digit_data, tmp_path / "file", noise_images(60, seed=0))


def test_images_that_are_not_finite_give_nan(digit_data: InMemory, cache: Path) -> None:
    scores = scorer(digit_data, cache).score(lambda n, _: torch.full((n, 1, 28, 28), math.nan))
    assert len(scores.values) == len(METRICS)
    assert all(math.isnan(value) for value in scores.values.values())


@pytest.mark.parametrize(
    ("settings", "name"), [({"metrics": ["fdi"]}, "metrics.metrics"), ({"n": 1}, r"metrics\.n=1")]
)
def test_impossible_settings_are_told(
    settings: dict, name: str, digit_data: InMemory, cache: Path
) -> None:
    with pytest.raises(SettingError, match=name):
        scorer(digit_data, cache, **settings)


class AsFidelity(FeatureExtractorBase):
    """Our extractor as torch-fidelity's."""

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = DIGITS(x)._asdict()
        return tuple(found[name] for name in self.features_list)


class Colour(Dataset):
    """Uint8 images with three channels, as torch-fidelity wants them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


def test_from_images_to_numbers_as_torch_fidelity(
    digit_data: InMemory, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIGITS, "kid_unit", False)  # as for Inception
    torch_fidelity.register_feature_extractor("ours", AsFidelity)
    train = digit_data.splits["train"].x
    noise = torch.randint(-20, 20, (500, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    fakes = (train[:500] + noise).clamp(0, 255).to(torch.uint8)
    data = InMemory("part", {"train": Split(train[500:1400])})
    # Colour, so that both see the same grey of it.
    reals, fakes3 = train[500:1400].expand(-1, 3, -1, -1), fakes.expand(-1, 3, -1, -1)
    expected = torch_fidelity.calculate_metrics(
        input1=Colour(fakes),
        input2=Colour(data.splits["train"].x),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="ours",
        kid_subset_size=500,
        rng_seed=11,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    data = InMemory("part", {"train": Split(reals)})
    # The k-NN metrics and KID here see all reals too, in another order.
    found = scorer(data, cache, n=500, seed=11).score(sampler_of(fakes3)).values
    names = {
        "fid": "frechet_inception_distance",
        "is": "inception_score_mean",
        "precision": "precision",
        "recall": "recall",
    }
    for ours, theirs in names.items():
        assert found[f"{ours}500_digits"] == pytest.approx(expected[theirs], rel=1e-5)
    # Other subsets of the reals: equal within the error of a mean of 100.
    error = expected["kernel_inception_distance_std"] / 10
    assert found["kid500_digits"] == pytest.approx(
        expected["kernel_inception_distance_mean"], abs=4 * error
    )


def test_from_images_to_fid_as_torchmetrics(digit_data: InMemory, cache: Path) -> None:
    class Ours(nn.Module):
        num_features = 64

        def forward(self, x: Tensor) -> Tensor:
            return DIGITS(x).features

    train, test = digit_data.splits["train"].x, digit_data.splits["test"].x
    metric = FrechetInceptionDistance(feature=Ours(), normalize=False)
    for x, real in ((train, True), (test, False)):
        metric.update(x, real=real)
    assert fid(digit_data, cache, test) == pytest.approx(float(metric.compute()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("n", [32])
def test_inception_scores_as_both_libraries(n: int, random_inception: Path, cache: Path) -> None:
    reals = noise_images(n, 0, size=32, channels=3)
    fakes = noise_images(n, 1, size=32, channels=3) // 2
    data = InMemory("noise", {"train": Split(reals)})
    extractor = Inception(random_inception)
    found = QualityScorer(data, extractor, n=n, seed=11, batch_size=16, cache=cache)
    values = found.score(sampler_of(fakes)).values
    expected = torch_fidelity.calculate_metrics(
        input1=Colour(fakes),
        input2=Colour(reals),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(random_inception),
        feature_layer_prc="2048",
        kid_subset_size=n,
        rng_seed=11,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    names = {
        "fid": "frechet_inception_distance",
        "is": "inception_score_mean",
        "precision": "precision",
        "recall": "recall",
    }
    for ours, theirs in names.items():
        assert values[found.name(ours)] == pytest.approx(expected[theirs], rel=1e-5)
    # Their KID keeps the float32 of the features, in which a small value loses its digits.
    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(random_inception)
    )
    kid = torch_fidelity.metric_kid.kid_features_to_metric(
        theirs(fakes)[0].double(), theirs(reals)[0].double(), kid_subset_size=n, verbose=False
    )["kernel_inception_distance_mean"]
    assert values[found.name("kid")] == pytest.approx(kid, rel=1e-5)
    assert values[found.name("kid")] == pytest.approx(
        expected["kernel_inception_distance_mean"], abs=1e-6
    )
    metric = FrechetInceptionDistance(
        feature_extractor_weights_path=str(random_inception), antialias=False
    )
    metric.update(reals, real=True)
    metric.update(fakes, real=False)
    assert values[found.name("fid")] == pytest.approx(float(metric.compute()), rel=1e-5)


def test_kid_does_not_depend_on_the_size_of_a_classifiers_features(
    digit_data: InMemory, cache: Path
) -> None:
    fakes = digit_data.splits["test"].x
    values = []
    for gain in (1.0, 30.0):
        larger = copy.deepcopy(DIGITS)
        embed = larger.embed
        larger.embed = lambda x, embed=embed, gain=gain: Features(gain * embed(x).features, None)
        found = QualityScorer(digit_data, larger, n=299, metrics=["kid"], cache=cache / str(gain))
        values.append(found.score(sampler_of(fakes)).values["kid299_digits"])
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    # Real images: the distance of a kernel of order 1 is small, in either direction.
    assert values[0] == pytest.approx(0.0, abs=0.05)
    assert found.protocol("kid")["unit_features"] is True


def test_more_fakes_are_streamed_than_are_drawn_at_once(digit_data: InMemory, cache: Path) -> None:
    x = torch.cat([digit_data.splits["train"].x, digit_data.splits["test"].x])
    expected = frechet_distance(
        moments(DIGITS(digit_data.splits["train"].x).features), moments(DIGITS(x).features)
    )
    assert fid(digit_data, cache, x) == pytest.approx(expected, rel=1e-5)
    assert len(x) == 1797
    assert to_model(x).shape == x.shape


@pytest.mark.parametrize(("n", "expected"), [
    (2, {"fid", "kid"}), (3, {"fid", "kid"}), (4, {"fid", "kid", "precision", "recall"}),
    (6, set(METRICS) - {"is"}), (10, set(METRICS)),
])  # fmt: skip
def test_few_samples_have_fewer_numbers(
    n: int, expected: set[str], digit_data: InMemory, cache: Path
) -> None:
    """Few fakes, and few reals: what has no k-th neighbour is left out, the rest is finite."""
    few = {name: Split(split.x[:n], split.y[:n]) for name, split in digit_data.splits.items()}
    for data, size in ((digit_data, n), (InMemory("few", few), 30)):
        found = scorer(data, cache, n=size, metrics=METRICS)
        scores = found.score(sampler_of(digit_data.splits["train"].x[:30]))
        if data is digit_data:
            named = expected
            assert set(found.left_out(n)) == set(METRICS) - expected
        else:
            named = expected | {"is"}  # which needs no reals
        assert {record["metric"] for record in scores.protocols.values()} == named
        assert all(map(math.isfinite, scores.values.values()))
        if len(data.splits["test"].x) < 4:
            assert scores.protocols[found.name("fid")]["real"] >= 0
