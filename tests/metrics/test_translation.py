"""Numbers of translations against their definitions and against known answers."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from src.data.base import DataModule
from src.data.spec import DataSpec, Split, to_model
from src.metrics.backwards import Backwards
from src.metrics.base import held_out_pairs, held_out_size, score_all, translations
from src.metrics.scorers import make_scorers
from src.metrics.sharpness import SharpnessScorer
from src.metrics.translation import CycleScorer, TranslationScorer, compare
from src.models.base import GenerativeModel
from src.transforms.degradations import Blur, Degradation, Downsample, Grey, Mask, as_target

from .conftest import noise_images


class Faces(DataModule):
    def __init__(self, degradation: Degradation, n: int = 12) -> None:
        super().__init__(DataSpec("images", (3, 32, 32)), 4, 0, degradation=degradation)
        self.n = n
        self.setup()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        sizes = {"train": 30, "test": self.n}
        splits = {name: Split(noise_images(n, n, 32, 3)) for name, n in sizes.items()}
        return splits, {"name": "noise", "source": "builtin", "hash": "0"}


def identity(source: Tensor, _: Tensor | None = None) -> Tensor:
    return as_target(source, (3, 32, 32))


def test_values_are_torchmetrics() -> None:
    a, b = (to_model(noise_images(5, seed, 32, 3)) for seed in (0, 1))
    numbers = compare(a, b)
    for i in range(5):
        pair = (a[i : i + 1] + 1) / 2, (b[i : i + 1] + 1) / 2
        psnr = peak_signal_noise_ratio(*pair, data_range=1.0)
        assert float(numbers["psnr"][i]) == pytest.approx(float(psnr), rel=1e-5)
        ssim = structural_similarity_index_measure(*pair, data_range=1.0)
        assert float(numbers["ssim"][i]) == pytest.approx(float(ssim), rel=1e-4)
        assert float(numbers["mae"][i]) == pytest.approx(float((a[i] - b[i]).abs().mean()) / 2)


def test_known_errors() -> None:
    """An error of 10 of 255 levels everywhere; of the lost half, and of one colour."""
    target = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    expected = 20 * math.log10(255 / 10)
    numbers = compare(to_model(target + 10), to_model(target))
    assert float(numbers["psnr"]) == float(numbers["psnr_y"]) == pytest.approx(expected)
    assert float(numbers["mae"]) == pytest.approx(10 / 255)
    lost = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    lost[..., :8] = True
    half = target.clone()
    half[..., :8] += 10
    numbers = compare(to_model(half), to_model(target), lost)
    assert float(numbers["psnr_lost"]) == pytest.approx(expected)
    assert float(numbers["psnr"]) == pytest.approx(expected + 10 * math.log10(2))
    green = target.clone()
    green[:, 1] += 10
    numbers = compare(to_model(green), to_model(target))
    assert float(numbers["psnr_y"]) == pytest.approx(expected - 20 * math.log10(0.587))


@pytest.mark.parametrize(("side", "known"), [(5, False), (6, True)])
def test_images_smaller_than_the_window(side: int, known: bool) -> None:
    x = to_model(noise_images(2, 3, side))
    numbers = compare(x, x)
    assert numbers["psnr"].tolist() == [100, 100]
    assert numbers["ssim"].isfinite().tolist() == [known, known]


def test_what_is_rounded_and_what_is_not_finite() -> None:
    target = to_model(noise_images(2, 0, 32, 3))
    numbers = compare(target + 0.4 / 127.5, target)
    assert (numbers["psnr"] == 100).all()  # the same after rounding
    broken = target.clone()
    broken[1, 0, 0, 0] = math.nan
    assert compare(broken, target)["psnr"].isnan().tolist() == [False, True]


def test_the_input_stands_beside() -> None:
    """A translator that changes nothing gets what the input gets; one that knows, all."""
    data = Faces(Downsample(4))
    scores = TranslationScorer(data, identity, 100).score()
    assert set(scores.values) == {f"{m}12_test" for m in ("psnr", "psnr_y", "ssim", "mae")}
    for name, value in scores.values.items():
        assert value == scores.protocols[name]["input"]
        assert scores.protocols[name]["data_id"]["degradation"] == {
            "name": "Downsample",
            "scale": 4,
        }
    truth = to_model(data.splits["test"].x)
    perfect = TranslationScorer(data, lambda *_: truth, 100).score()
    assert perfect.values["psnr12_test"] == 100
    assert perfect.values["ssim12_test"] == pytest.approx(1.0)
    assert perfect.protocols["psnr12_test"]["input"] == scores.values["psnr12_test"]
    blurred = TranslationScorer(data, lambda *_: Blur(2.0)(truth, None), 100).score()
    assert scores.values["psnr12_test"] != blurred.values["psnr12_test"] < 100


def test_masks_and_colours() -> None:
    masked = TranslationScorer(Faces(Mask("centre")), identity, 12).score()
    assert masked.values["psnr_lost12_test"] < masked.values["psnr12_test"]
    assert "psnr_lost12_test" not in TranslationScorer(Faces(Grey()), identity, 12).score().values


def test_images_are_evenly_spaced_and_sources_belong_to_them() -> None:
    data = Faces(Downsample(4), n=10)
    pairs = list(held_out_pairs(data, 3))
    x = torch.cat([x for x, _, _ in pairs])
    assert x.equal(to_model(data.splits["test"].x[[0, 3, 6]]))
    source = torch.cat([source for _, source, _ in pairs])
    assert source.equal(data.source_of("test", torch.tensor([0, 3, 6])))
    sample = translations(data, identity, 10)
    whole = torch.cat([sample(4, 0), sample(1, 7), sample(5, 3)])
    assert whole.equal(identity(data.source_of("test", torch.arange(10))))


class Sharpener(GenerativeModel):
    """A translator that returns the targets, or their blurred images."""

    iterate = None
    used = None

    def __init__(self, data: Faces, blur: float) -> None:
        super().__init__(data.spec, 0)
        self.data, self.blur, self.place = data, blur, 0

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        x = to_model(self.data.splits["test"].x[self.place : self.place + len(source)])
        self.place = (self.place + len(source)) % self.data.n
        return Blur(self.blur)(x, None) if self.blur else x


def test_samples_of_a_translator_are_its_translations() -> None:
    """Scorers of samples see them, and the sources beside them, which are less sharp."""
    data = Faces(Downsample(4))
    values = {}
    for blur in (0.0, 1.0):
        scores = score_all([SharpnessScorer(data, 12)], Sharpener(data, blur))
        values[blur] = scores.values["sharpness12_train"]
        record = scores.protocols["sharpness12_train"]
        assert record["input"] < record["real"]
        assert "translations of the test split" in record["fakes"]
    assert values[0.0] == pytest.approx(record["real"])
    assert values[1.0] < values[0.0]


class Unpaired(DataModule):
    """Sources of one grey, targets of another, and not as many; `paired` if wished."""

    def __init__(self, paired: bool = False) -> None:
        source = DataSpec("images", (3, 16, 16))
        super().__init__(DataSpec("images", (3, 16, 16), source=source, paired=paired), 4, 0)
        self.setup()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        sizes = {"train": (12, 12), "test": (9, 9 if self.spec.paired else 5)}
        self.sources = {s: noise_images(n, 1, 16, 3) // 4 for s, (n, _) in sizes.items()}
        splits = {s: Split(noise_images(m, 2, 16, 3) // 4 + 128) for s, (_, m) in sizes.items()}
        return splits, {"name": "greys", "source": "builtin", "hash": "0"}


class Lighter(GenerativeModel):
    """Adds a step there, and takes another one off on the way back."""

    def __init__(self, data: DataModule, there: int = 128, back: int = 128) -> None:
        super().__init__(data.spec, 0)
        self.there, self.back = there / 127.5, back / 127.5

    def configure_optimizers(self) -> None: ...

    def iterate(self, draw: object) -> None: ...

    @property
    def networks(self) -> dict:
        return {}

    used = used_back = None

    def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        return source + self.there

    def translate_back(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x - self.back


SETTINGS = {
    "extractor": "auto", "weights": None, "metrics": ["fid"], "n": None, "seed": 0,
    "importance_samples": [1], "importance_images": 1, "batch_size": 8, "cache": "unused",
}  # fmt: skip


def test_both_directions_are_scored_and_the_cycle() -> None:
    """Right both ways but for 10 levels on the way back, of targets that are the sources + 128."""
    data = Unpaired(paired=True)
    data.splits = {s: Split(x + 128) for s, x in data.sources.items()}
    model = Lighter(data, back=138)
    scores = score_all(make_scorers(SETTINGS, data, model), model).values
    assert scores["psnr9_test"] == 100
    assert scores["psnr9_test_back"] < 20 * math.log10(255 / 10) + 1  # black stays black
    assert 9 / 255 < scores["cycle9_test"] < 10 / 255
    assert scores["cycle9_test_back"] == pytest.approx(10 / 255)
    assert scores["sharpness9_train"] == pytest.approx(scores["sharpness9_train_back"], rel=0.2)


def test_scorers_share_translations_within_one_scoring() -> None:
    """Sources and targets are translated once, and what they became once more, for the cycles."""
    data, asked = Unpaired(paired=True), []

    class Counted(Lighter):
        def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
            asked.append("there")
            return super().translate(source, labels)

        def translate_back(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            asked.append("back")
            return super().translate_back(x, labels)

    model = Counted(data)
    scorers = make_scorers(SETTINGS, data, model)
    before = score_all(scorers, model).values
    assert sorted(asked) == ["back", "back", "there", "there"]
    model.there += 0.2
    after = score_all(scorers, model).values
    assert len(asked) == 8
    assert before["mae9_test"] != after["mae9_test"]


def test_without_pairs_there_is_no_truth_and_each_direction_has_its_own_size() -> None:
    """9 sources and 5 targets."""
    data = Unpaired()
    model = Lighter(data)
    found = score_all(make_scorers(SETTINGS, data, model), model).values
    assert {*found} == {
        "sharpness9_train", "cycle9_test", "sharpness5_train_back", "cycle5_test_back",
    }  # fmt: skip
    assert found["cycle9_test"] == 0
    targets = torch.cat([x for x, _, _ in held_out_pairs(data, 9)])
    sources = torch.cat([source for _, source, _ in held_out_pairs(data, 9)])
    assert targets.equal(to_model(data.splits["test"].x[[0, 0, 1, 1, 2, 2, 3, 3, 4]]))
    assert sources.equal(to_model(data.sources["test"]))


def test_backwards_exchanges_sources_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Unpaired()
    other = Backwards(data)
    assert other.splits["test"].x is data.sources["test"]
    assert other.source_of("test", torch.tensor([3])).equal(to_model(data.splits["test"].x[3:4]))
    assert (held_out_size(data), held_out_size(other)) == (9, 5)
    assert other.data_id["hash"] != data.data_id["hash"]
    assert other.data_id["splits"] == {"train": 12, "test": 9}
    made = Backwards(Faces(Grey()))
    assert made.spec.shape == (1, 32, 32)
    grey = Faces(Grey()).source_of("test", torch.arange(12))
    assert to_model(made.splits["test"].x).equal(grey)
    monkeypatch.setattr("src.metrics.backwards.MOST", 3)
    few = Backwards(Faces(Grey()))
    assert to_model(few.splits["test"].x).equal(grey[[0, 4, 8]])
    assert few.sources["test"].equal(made.sources["test"][[0, 4, 8]])


def test_a_cycle_begins_where_the_data_do() -> None:
    """One that loses the sources' colour on the way: nothing is lost when it begins with grey."""
    data = Faces(Grey())

    class Colourless(Lighter):
        def translate(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
            return source.expand(-1, 3, -1, -1)

        def translate_back(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            return x.mean(1, keepdim=True)

    model = Colourless(data)
    forth = CycleScorer(data, model, 12).score().values["cycle12_test"]
    back = CycleScorer(Backwards(data), model, 12).score().values["cycle12_test_back"]
    assert forth == 0
    assert back > 0.1
