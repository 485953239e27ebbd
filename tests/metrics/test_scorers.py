"""Which scorer and which extractor the data get."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.config.checks import check
from src.config.composition import compose, plain
from src.data.procedural.solids import find_kinds, render, sample_factors
from src.data.spec import DataSpec, Split
from src.data.stacked_mnist import StackedMNIST
from src.data.toy import Toy
from src.errors import SettingError
from src.metrics import scorers
from src.metrics.base import StoppedError, score_all
from src.metrics.classification import ClassificationScorer
from src.metrics.codes import CodeScorer
from src.metrics.disentanglement import DisentanglementScorer
from src.metrics.likelihood import LikelihoodScorer
from src.metrics.modes import ModesScorer
from src.metrics.quality import METRICS, QualityScorer
from src.metrics.reconstruction import ReconstructionScorer
from src.metrics.scorers import as_settings, make_scorers
from src.metrics.sharpness import SharpnessScorer
from src.metrics.single_view import SingleViewScorer
from src.metrics.toy import ToyScorer
from src.metrics.translation import TranslationScorer
from src.metrics.voxels import VoxelScorer
from src.networks.classifier import Classifier, save_classifier
from src.networks.features import ClassifierFeatures, Inception, shipped
from src.training.instantiate import build_model

from .conftest import InMemory, noise_images
from .oracles import Oracle


@pytest.fixture
def settings(cache: Path) -> dict:
    return {
        "_target_": "src.metrics.scorers.Settings",
        "extractor": "auto",
        "weights": None,
        "metrics": list(METRICS),
        "n": 50,
        "importance_samples": [50],
        "importance_images": 20,
        "seed": 0,
        "batch_size": 10,
        "cache": str(cache),
    }


def unlabelled(name: str = "photos", channels: int = 1) -> InMemory:
    return InMemory(name, {"train": Split(noise_images(20, 0, channels=channels))})


def toy() -> Toy:
    data = Toy("ring", "points", 2, [], "builtin", None, "", "wgan_gp", 100, 8, 0)
    data.setup()
    return data


def no_inception(*_: object) -> None:
    raise SettingError("metrics.extractor=inception: no weights")


def test_digits_have_their_classifier(settings: dict, digit_data: InMemory) -> None:
    found, sharpness = make_scorers(settings, digit_data)
    assert isinstance(found, QualityScorer)
    assert found.extractor.name == "digits"
    assert found.n == 50
    assert isinstance(sharpness, SharpnessScorer)
    assert sharpness.n == 50


def test_other_data_of_the_same_name_do_not_get_it(settings: dict) -> None:
    data = unlabelled("digits")
    data.data_id["source"] = "real"
    found, _ = make_scorers(settings, data)
    assert found.extractor.name == "faces"


def test_points_are_judged_by_their_density(settings: dict) -> None:
    for extractor in ("auto", "exact"):
        (found,) = make_scorers(settings | {"extractor": extractor}, toy())
        assert isinstance(found, ToyScorer)
        assert found.n == 50


def stacked(**settings: object) -> StackedMNIST:
    defaults = {"name": "mnist", "source": "builtin", "root": "", "labels": list("0123456789")}
    data = StackedMNIST(
        kind="images", channels=3, resolution=28, cache="", size=20, batch_size=8, seed=0,
        **defaults | settings,
    )  # fmt: skip
    data.setup()
    return data


def test_stacked_digits_are_counted(settings: dict) -> None:
    for extractor in ("auto", "classifier"):
        found, _ = make_scorers(settings | {"extractor": extractor}, stacked())
        assert isinstance(found, ModesScorer)
        assert found.extractor.name == "digits"
        assert found.headline["modes"] == "modes50_digits"
    with pytest.raises(SettingError, match="is not known"):
        make_scorers(settings | {"extractor": "exact"}, stacked())


def test_stacked_images_of_other_kinds_need_a_classifier(settings: dict, tmp_path: Path) -> None:
    data = stacked()
    data.digits = "fashion_mnist"
    with pytest.raises(SettingError, match="data=fashion_mnist metrics=classifier"):
        make_scorers(settings, data)
    path = tmp_path / "mine.safetensors"
    labels = list("0123456789")
    save_classifier(Classifier(1, 28, 10), path, name="mine", labels=labels, outputs="classes")
    found, _ = make_scorers(settings | {"weights": str(path)}, data)
    assert found.extractor.name.startswith("mine_")


def test_stacked_digits_by_inception(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "Inception", lambda *_: ClassifierFeatures("digits"))
    found, _ = make_scorers(settings | {"extractor": "inception"}, stacked())
    assert isinstance(found, QualityScorer)


def test_as_many_samples_as_published(settings: dict, digit_data: InMemory) -> None:
    unset = settings | {"n": None}
    assert make_scorers(unset, digit_data)[0].name("fid") == "fid10k_digits"
    assert make_scorers(unset, toy())[0].name("frechet") == "frechet10k_exact"
    assert make_scorers(unset, stacked())[0].name("modes") == "modes26k_digits"


def test_none_is_none(settings: dict) -> None:
    assert make_scorers(settings | {"extractor": "none"}, toy()) == []


def test_what_reconstructs_is_scored_for_it(settings: dict, digit_data: InMemory) -> None:
    for conditional in (False, True):
        model = SimpleNamespace(reconstruct=lambda x: x, conditional=conditional)
        *_, reconstruction = make_scorers(settings, digit_data, model)
        assert isinstance(reconstruction, ReconstructionScorer)
        assert reconstruction.conditional == conditional
    assert len(make_scorers(settings, digit_data, SimpleNamespace(conditional=False))) == 2


def test_what_else_a_model_can_do_is_scored(settings: dict, digit_data: InMemory) -> None:
    abilities = {
        LikelihoodScorer: {"log_weights": print},
        ClassificationScorer: {"classify": print, "classifier": "a layer"},
        CodeScorer: {"encode": print},
    }
    for scorer, able in abilities.items():
        model = SimpleNamespace(**able, conditional=False)
        *_, found = make_scorers(settings, digit_data, model)
        assert isinstance(found, scorer)
    untrained = SimpleNamespace(classify=print, classifier=None, conditional=False)
    assert len(make_scorers(settings, digit_data, untrained)) == 2
    digit_data.attributes = {"train": digit_data.splits["train"].y[:, None]}
    *_, codes, disentanglement = make_scorers(settings, digit_data, model)
    assert isinstance(codes, CodeScorer)
    assert isinstance(disentanglement, DisentanglementScorer)


def test_how_many_draws_bound_a_likelihood(settings: dict, digit_data: InMemory) -> None:
    model = SimpleNamespace(log_weights=print, conditional=False)
    found = make_scorers(settings | {"importance_samples": [1, 5]}, digit_data, model)[-1]
    assert found.importance_samples == (1, 5)
    assert found.name("kl") == "kl50_test"  # metrics.n is the most that is encoded
    assert found.name("iw5") == "iw5_20_test"
    with pytest.raises(SettingError, match=r"metrics\.importance_samples=\[0\]"):
        make_scorers(settings | {"importance_samples": [0]}, digit_data, model)


@pytest.mark.parametrize("extractor", ["inception", "classifier"])
def test_points_have_no_extractor(settings: dict, extractor: str) -> None:
    with pytest.raises(SettingError, match=f"metrics.extractor={extractor}"):
        make_scorers(settings | {"extractor": extractor}, toy())


def test_images_have_no_exact_density(settings: dict, digit_data: InMemory) -> None:
    with pytest.raises(SettingError, match=r"metrics\.extractor=exact"):
        make_scorers(settings | {"extractor": "exact"}, digit_data)


def solids(n: int = 40) -> InMemory:
    factors, names = sample_factors(n, 0), ("chair", "mug")
    return InMemory(
        "own", {"train": Split(render(factors, names, 16), find_kinds(factors, names))}, names
    )


def test_voxels_are_compared_by_overlap_and_features(settings: dict) -> None:
    data = solids()
    data.data_id["name"] = "solids"
    for extractor in ("auto", "classifier"):
        chosen = settings | {"n": None, "extractor": extractor}
        overlap, quality = make_scorers(chosen, data)
        assert isinstance(overlap, VoxelScorer)
        assert isinstance(quality, QualityScorer)
        assert overlap.n == quality.n == 40
        # No name of theirs could be taken for Inception's.
        assert quality.headline == {"frechet": "frechet40_solids"}
    scores = quality.score(lambda n, _: data.splits["train"].x[:n].float())
    assert scores.values["frechet40_solids"] == pytest.approx(0, abs=1e-6)
    assert scores.values["recall40_solids"] == 1
    assert not any("fid" in name for name in scores.values)
    assert make_scorers(settings | {"n": 9}, data)[1].name("frechet") == "frechet9_solids"
    for extractor in ("inception", "exact"):
        with pytest.raises(SettingError, match=f"metrics.extractor={extractor}"):
            make_scorers(settings | {"extractor": extractor}, data)


def test_voxels_made_of_pictures_are_compared_with_the_true_ones(settings: dict) -> None:
    data = unlabelled()
    data.spec = DataSpec("voxels", (1, 8, 8, 8), source=DataSpec("images", (1, 28, 28)))
    data.splits = {"train": Split(torch.ones(300, 1, 8, 8, 8).bool())}
    model = SimpleNamespace(translate=lambda *_: None)
    (scorer,) = make_scorers(settings | {"n": None}, data, model)
    assert isinstance(scorer, SingleViewScorer)
    assert scorer.n == 300  # all of them


def test_a_model_of_voxels_that_does_both_is_scored_for_both(settings: dict) -> None:
    data = solids()
    data.data_id["name"] = "solids"
    data.spec = replace(data.spec, source=DataSpec("images", (1, 28, 28)))
    model = Oracle(data)
    model.translate = lambda *_: None
    found = make_scorers(settings | {"n": None}, data, model)
    assert [type(s) for s in found] == [SingleViewScorer, VoxelScorer, QualityScorer]
    short = [name for scorer in found for name in scorer.headline]
    assert len({*short}) == len(short)


def test_the_classifier_of_voxels(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained once on two classes or more, else that of the solids; never one of images."""
    monkeypatch.setattr("src.networks.classifier.EPOCHS", 2)
    data = solids()
    found = make_scorers(settings, data)[1].extractor
    assert found.name.startswith("own_")
    assert found.kind == "voxels"
    assert make_scorers(settings, data)[1].extractor.hash == found.hash
    images = str(shipped("mnist"))
    with pytest.raises(SettingError, match="embeds images; data=own are voxels") as caught:
        make_scorers(settings | {"weights": images}, data)
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(SettingError, match="embeds voxels; data=digits are images"):
        make_scorers(settings | {"weights": str(shipped("solids"))}, unlabelled("digits"))
    data.spec = DataSpec("voxels", (1, 16, 16, 16), ("chair",))
    assert make_scorers(settings, data)[1].extractor.name == "solids"


def test_colour_photographs_have_inception(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found(ClassifierFeatures):
        def __init__(self, *_: object) -> None:
            super().__init__("digits")
            self.name = "inception"

    monkeypatch.setattr(scorers, "Inception", Found)
    found, _ = make_scorers(settings, unlabelled(channels=3))
    assert found.extractor.name == "inception"


@pytest.mark.parametrize("channels", [1, 3])
def test_without_inception_and_labels_there_is_a_score(
    channels: int,
    settings: dict,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By features that need neither; what is asked for by name is refused."""
    monkeypatch.setattr(scorers, "Inception", no_inception)
    data = unlabelled(channels=channels)
    found, _ = make_scorers(settings, data)
    assert found.extractor.name == "faces"
    assert "not with published FIDs" in capsys.readouterr().out
    assert found.headline["fid"] == "fid50_faces"
    with pytest.raises(SettingError, match="no weights"):
        make_scorers(settings | {"extractor": "inception"}, data)
    with pytest.raises(SettingError, match=r"no labels.*\n.*metrics\.weights=faces"):
        make_scorers(settings | {"extractor": "classifier"}, data)
    found, _ = make_scorers(settings | {"extractor": "classifier", "weights": "faces"}, data)
    assert found.extractor.name == "faces"


def test_a_translator_needs_no_extractor(
    settings: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(scorers, "Inception", no_inception)
    splits = {n: Split(noise_images(20, k, channels=3)) for k, n in enumerate(("train", "test"))}
    data, model = (
        InMemory("photos", splits),
        SimpleNamespace(translate=print, used=None, conditional=False),
    )
    found = make_scorers(settings, data, model)
    assert [type(scorer) for scorer in found] == [SharpnessScorer, TranslationScorer]
    assert "Left out: FID" in capsys.readouterr().out
    for asked in ({"extractor": "inception"}, {"weights": "no.pth"}):
        with pytest.raises(SettingError, match="no weights"):
            make_scorers(settings | asked, data, model)


def test_labels_train_a_classifier_once(
    settings: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    trained = []

    def train(_: InMemory, path: Path) -> float:
        trained.append(path)
        save_classifier(
            Classifier(3, 28, 2), path, name="photos", labels=["a", "b"], outputs="classes"
        )
        return 0.9

    monkeypatch.setattr(scorers, "train_classifier", train)
    monkeypatch.setattr(scorers, "Inception", no_inception)
    x, y = noise_images(20, 0, channels=3), torch.arange(20) % 2
    data = InMemory("photos", {"train": Split(x, y)}, ("a", "b"))
    names = [make_scorers(settings, data)[0].extractor.name for _ in range(2)]
    assert len(trained) == 1
    assert "metrics.weights=PATH" in capsys.readouterr().out
    assert names[0] == names[1]
    assert names[0].startswith("photos_")
    # Other data of the same name have a classifier of their own.
    other = InMemory("photos", {"train": Split(255 - x, y)}, ("a", "b"))
    make_scorers(settings, other)
    assert len(set(trained)) == 2
    # And a file can be handed on, to data without labels too.
    given = settings | {"weights": str(trained[0])}
    assert make_scorers(given, unlabelled(channels=3))[0].extractor.name == names[0]


def test_weights_say_whose_they_are(settings: dict, digit_data: InMemory, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    torch.save({"fc.weight": torch.zeros(2)}, path)
    for extractor in ("auto", "inception"):
        with pytest.raises(SettingError, match="Inception"):
            make_scorers(settings | {"extractor": extractor, "weights": str(path)}, digit_data)
    given = settings | {"weights": str(shipped("mnist"))}
    assert make_scorers(given, digit_data)[0].extractor.name == "mnist"
    assert Inception is scorers.Inception


@pytest.mark.parametrize("choice", ["auto", "inception", "classifier", "toy", "none"])
def test_the_choices_of_the_configuration_are_sound(choice: str) -> None:
    toys = ["data=ring", "model=gaussian_gan"] if choice in ("auto", "toy", "none") else []
    config = compose("train", [f"metrics={choice}", *toys])
    check(config)
    as_settings(plain(config)["metrics"])


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["metrics=toy"], "metrics"),
        (["metrics=inception", "data=ring", "model=gaussian_gan"], "metrics"),
        (["metrics.metrics=[fdi]"], "metrics.metrics"),
        (["metrics.extractor=incepton"], "metrics.extractor"),
        (["metrics.importance_samples=50"], "metrics.importance_samples"),
        (["metrics.importance_samples=[0.5]"], "metrics.importance_samples"),
    ],
)
def test_what_cannot_work_is_told_at_composition(overrides: list[str], key: str) -> None:
    with pytest.raises(SettingError, match=key):
        check(compose("train", overrides))


@pytest.mark.parametrize("preset", ["vae", "infogan", "ae"])
def test_each_scorer_stops_at_the_next_portion(
    preset: str, settings: dict, digit_data: InMemory
) -> None:
    config = plain(compose("train", [f"model={preset}", "data=mnist"]))
    model = build_model(config, digit_data.spec)
    for scorer in make_scorers(settings, digit_data, model):
        asked = itertools.count()
        with pytest.raises(StoppedError):  # it was asked before it began, and is once more
            score_all([scorer], model, lambda asked=asked: next(asked) > 0)


@pytest.mark.parametrize("preset", ["vae", "ae"])
def test_in_brief_the_headline_numbers_are_the_same(
    preset: str, settings: dict, digit_data: InMemory
) -> None:
    config = plain(compose("train", [f"model={preset}", "data=mnist"]))
    model = build_model(config, digit_data.spec)
    scorers = make_scorers(settings, digit_data, model)
    scores, brief = (score_all(scorers, model, brief=brief) for brief in (False, True))
    headline = {name for scorer in scorers for name in scorer.headline.values()}
    assert brief.values == {name: v for name, v in scores.values.items() if name in brief.values}
    assert headline <= brief.values.keys()
    costly = ("kid", "precision", "coverage", "sharpness", "ssim", "knn", "jacobian", "iw")
    assert any(name.startswith(costly) for name in scores.values)
    assert not any(name.startswith(costly) for name in brief.values)
    assert brief.protocols == {name: scores.protocols[name] for name in brief.values}
