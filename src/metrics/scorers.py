"""Choice of the scorers that fit data and model.

    points             toy.py: the exact density
    voxels             voxels.py: overlap, pieces; and quality.py; made of pictures: single_view.py
    images             quality.py, by the extractor that is chosen here, and sharpness.py
    stacked MNIST      modes.py, by the classifier of single digits, unless by Inception
    + classes, codes   control.py: conditional models and InfoGAN, where there is a classifier

Of images, what a model can do adds more:

    `reconstruct`      reconstruction.py: autoencoders and VAEs
    `translate`        translation.py: translators, whose translations of the test images are the
                       samples that the others score
    `translate_back`   the same the other way, by names that end in `_back`, and the error of a
                       whole cycle, which begins at the source, or if `_back` at the target
    `log_weights`      likelihood.py: VAEs
    `encode`           codes.py, and disentanglement.py where the factors of the data are known
    `classify`         classification.py: networks that were first trained layer by layer
    `decode`           path_length.py, if `metrics.metrics` has `ppl`

`extractor=auto` takes the classifier that ships with the project where there is one for these data
(mnist, digits, faces, solids). Other colour images are compared by Inception if its weights are
here or can be fetched. On labels a classifier is trained once, kept in the cache, and can be handed
to others by `metrics.weights`. What is left is compared by the features of `faces`: of several that
need neither labels nor a download they suit other photographs best, by measurement
(docs/results/metrics.md). Voxels of fewer than two classes have the classifier of the drawn solids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from src.config.ranges import NotNegativeInt, PositiveInt
from src.data.base import DataModule
from src.data.cache import file_name
from src.data.stacked_mnist import StackedMNIST
from src.errors import SettingError
from src.metrics.backwards import Backwards
from src.metrics.base import Scorer, held_out_size, translating
from src.metrics.classification import ClassificationScorer
from src.metrics.codes import CodeScorer
from src.metrics.control import ControlScorer, has_control
from src.metrics.disentanglement import DisentanglementScorer
from src.metrics.likelihood import LikelihoodScorer
from src.metrics.modes import ModesScorer
from src.metrics.path_length import PathLengthScorer
from src.metrics.quality import METRICS, QualityScorer
from src.metrics.reconstruction import FeatureReconstructionScorer, ReconstructionScorer
from src.metrics.sharpness import SharpnessScorer
from src.metrics.single_view import SingleViewScorer
from src.metrics.toy import ToyScorer
from src.metrics.translation import CycleScorer, TranslationScorer
from src.metrics.voxels import VoxelScorer
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import (
    Classifies,
    Encodes,
    HasLikelihood,
    Reconstructs,
    Translates,
    TranslatesBack,
)
from src.networks.classifier import train_classifier
from src.networks.features import ClassifierFeatures, Extractor, Inception, shipped

FALLBACK = "faces"  # extractor of data without labels where Inception is not at hand


@dataclass(kw_only=True)
class Settings:
    """Settings of `metrics`.

    Attributes:
        extractor: `auto`, `inception`, `classifier`, `exact` (the density of toy data) or `none`.
        weights: a file for the extractor: .safetensors of a classifier, .pth of Inception.
        metrics: metrics of images.
        n: samples to score; None is as many as published: 10,000, of stacked MNIST 26,000, of
            voxels that are drawn 100 by overlap, and by features as many as are held out, 1,000 at
            most. Also the most test images that are encoded or translated.
        importance_samples: draws from q(z|x) in the bounds of a VAE's likelihood, one bound each.
        importance_images: the most test images of these bounds, since each is decoded that often.
        seed: seed of all these samples.
        batch_size: images embedded at once.
        cache: folder of the reals' features and of classifiers.
        own: scorers of a plug-in by name, built by `src/training/scorers.py`.
    """

    extractor: Literal["auto", "inception", "classifier", "exact", "none"]
    weights: str | None
    metrics: list[Literal["fid", "kid", "is", "precision", "recall", "density", "coverage", "ppl"]]
    n: PositiveInt | None
    importance_samples: list[PositiveInt]
    importance_images: PositiveInt
    seed: NotNegativeInt
    batch_size: PositiveInt
    cache: str
    own: dict = field(default_factory=dict)


def make_scorers(
    settings: Mapping[str, Any], data: DataModule, model: GenerativeModel | None = None
) -> list[Scorer]:
    """The scorers of a run.

    Args:
        settings: the configuration `metrics`.
        data: set up.
        model: adds what it can do beside drawing samples, see the top of this file.

    Raises:
        SettingError: if these data cannot be scored so, or weights are missing.
    """
    chosen = as_settings(settings)
    stacked = isinstance(data, StackedMNIST) and chosen.extractor in ("auto", "classifier")
    if chosen.extractor == "none":
        return []
    paths = "ppl" in chosen.metrics
    if paths and not (data.spec.kind == "images" and isinstance(model, LatentVariableModel)):
        print("Left out: ppl, which is of models that make images of latents.")
        paths = False
    if data.spec.kind == "voxels":
        return _of_voxels(chosen, data, model)
    if chosen.n is None:
        chosen.n = 26_000 if stacked else 10_000
    if data.spec.kind == "points" or chosen.extractor == "exact":
        return [_toy(chosen, data)]
    extractor = _single(chosen, data) if stacked else _extractor(chosen, data, model)
    most = chosen.n
    if isinstance(model, Translates):
        chosen.n = min(most, held_out_size(data))
    protocol = {"n": chosen.n, "seed": chosen.seed, "batch_size": chosen.batch_size}
    if stacked:
        scorers = [ModesScorer(data, extractor, **protocol)]
        scorers.append(SharpnessScorer(data, chosen.n, chosen.seed))
    else:
        scorers = _of_images(chosen, data, extractor)
    if extractor and has_control(model, data, extractor):
        scorers.append(ControlScorer(data, extractor, model, **protocol))
    if paths:
        scorers.append(PathLengthScorer(data, model, chosen.n, chosen.seed))
    scorers += _of_encoders(chosen, data, model, extractor)
    return scorers + _of_cycles(chosen, most, data, extractor, model)


def _of_images(settings: Settings, data: DataModule, extractor: Extractor | None) -> list[Scorer]:
    """The scorers of images alone."""
    quality = _of_features(settings, data, extractor) if extractor else []
    return [*quality, SharpnessScorer(data, settings.n, settings.seed)]


def _of_features(settings: Settings, data: DataModule, extractor: Extractor) -> list[Scorer]:
    """The scorer that compares features, where it is asked for and there are enough samples."""
    metrics = [metric for metric in settings.metrics if metric in METRICS]
    if not metrics:
        return []
    if settings.n < 2:
        print("Left out: FID and what else compares features, for which one sample is too few.")
        return []
    quality = QualityScorer(
        data, extractor, settings.n, settings.seed, settings.batch_size, metrics, settings.cache
    )  # fmt: skip
    if missing := quality.left_out(settings.n):
        print(
            f"Left out: {', '.join(missing)}, for which {settings.n} samples and "
            f"{len(data.splits['train'].x)} training samples are too few."
        )
    return [quality]


def _of_cycles(
    settings: Settings,
    most: int,
    data: DataModule,
    extractor: Extractor | None,
    model: GenerativeModel,
) -> list[Scorer]:
    """The scorers of the way back and of the way to and fro, of at most so many images."""
    if not isinstance(model, TranslatesBack):
        return []
    other = Backwards(data)
    back = replace(settings, n=min(most, held_out_size(other)))
    scorers = _of_images(back, other, extractor)
    if data.spec.paired:
        scorers.append(TranslationScorer(other, translating(model, other), back.n))
    scorers += [CycleScorer(other, model, back.n), CycleScorer(data, model, settings.n)]
    for scorer in scorers:
        if scorer.data is other:
            scorer.headline = {f"{short}_back": full for short, full in scorer.headline.items()}
    return scorers


def _of_encoders(
    settings: Settings, data: DataModule, model: GenerativeModel, extractor: Extractor | None
) -> list[Scorer]:
    """The scorers of what a model does with images that it is given."""
    n, seed = settings.n, settings.seed
    scorers: list[Scorer] = []
    if isinstance(model, Translates) and data.spec.paired:
        scorers.append(TranslationScorer(data, translating(model, data), n))
    if isinstance(model, Reconstructs):
        options = model.reconstruct, settings.batch_size, model.conditional
        # The features of stacked digits are those of a single one.
        if extractor and not isinstance(data, StackedMNIST):
            scorers.append(FeatureReconstructionScorer(data, extractor, *options, n))
        scorers.append(ReconstructionScorer(data, *options))
    if isinstance(model, HasLikelihood):
        draws = (settings.importance_samples, settings.importance_images)
        scorers.append(LikelihoodScorer(data, model, n, seed, *draws))
    if isinstance(model, Classifies) and model.classifier is not None:
        scorers.append(ClassificationScorer(data, model.classify))
    if isinstance(model, Encodes):
        scorers.append(CodeScorer(data, model, n))
        if data.factors or data.attributes:
            scorers.append(DisentanglementScorer(data, model, n, seed))
    return scorers


def as_settings(node: Mapping[str, Any]) -> Settings:
    """The settings in a node of the configuration, without what only its check reads."""
    return Settings(**{k: v for k, v in node.items() if k not in ("_target_", "requires")})


def _toy(settings: Settings, data: DataModule) -> ToyScorer:
    if settings.extractor not in ("auto", "exact"):
        raise SettingError(
            f"metrics.extractor={settings.extractor} embeds images; "
            f"data={data.data_id['name']} are points.\nUse metrics=auto."
        )
    if data.distribution is None:
        raise SettingError(
            f"metrics.extractor={settings.extractor}: the density of "
            f"data={data.data_id['name']} is not known.\nUse metrics=auto."
        )
    return ToyScorer(data, settings.n, settings.seed)


def _of_voxels(settings: Settings, data: DataModule, model: object) -> list[Scorer]:
    """The scorers of voxels: of those made of pictures beside the true ones, and of those drawn by
    their overlap and by features."""
    if settings.extractor not in ("auto", "classifier"):
        raise SettingError(
            f"metrics.extractor={settings.extractor} is not for voxels; "
            f"data={data.data_id['name']} are voxels.\nUse metrics=auto."
        )
    views: list[Scorer] = []
    if isinstance(model, Translates):
        views = [SingleViewScorer(data, model.translate, settings.n or 10_000)]
        if not isinstance(model, LatentVariableModel):
            return views
    overlap = VoxelScorer(data, settings.n or 100, settings.seed)
    # No more samples than held-out shapes: the distance of few depends on their number.
    n = min(settings.n or 1000, held_out_size(data))
    features = _of_features(replace(settings, n=n), data, choose_extractor(settings, data))
    return [*views, overlap, *features]


def _extractor(settings: Settings, data: DataModule, model: object) -> Extractor | None:
    """The extractor; `auto` takes the one for faces where there is none for the data.

    None for a translator: its targets are known.
    """
    try:
        return choose_extractor(settings, data)
    except SettingError as error:
        if settings.extractor != "auto" or settings.weights:
            raise
        if isinstance(model, Translates):
            print(f"Left out: FID and what else compares features.\n{error}")
            return None
        print(
            f"{str(error).splitlines()[0]}\n"
            f"Scored by the features of the classifier {FALLBACK} that comes with the project: for "
            "comparisons on these data, not with published FIDs."
        )
        return ClassifierFeatures(FALLBACK)


def choose_extractor(settings: Settings, data: DataModule) -> Extractor:
    """The extractor for images or voxels, see the top of this file.

    Raises:
        SettingError: if its weights are missing or for samples of another kind, or there are no
            labels to train a classifier on.
    """
    name, weights, kind = str(data.data_id["name"]), settings.weights, data.spec.kind
    if settings.extractor == "inception":
        return Inception(weights)
    if weights:
        image = settings.extractor == "auto" and kind == "images"
        if image and not weights.endswith(".safetensors"):
            return Inception(weights)
        found = ClassifierFeatures(weights)
        if found.kind != kind:
            raise SettingError(
                f"metrics.weights={weights} embeds {found.kind}; data={name} are {kind}.\n"
                "Give a classifier that was trained on such data, or none."
            )
        return found
    if shipped(name):
        found = ClassifierFeatures(name)
        # A folder of photographs may be called faces too.
        if found.about["data_id"]["source"] == data.data_id["source"]:
            return found
    if kind == "voxels" and len(data.spec.classes) < 2:
        return ClassifierFeatures("solids")
    missing: SettingError | None = None
    if settings.extractor == "auto" and data.spec.shape[0] == 3:
        try:
            return Inception()
        except SettingError as error:
            missing = error
    if len(data.spec.classes) < 2 and not data.attribute_names:
        if missing:
            raise missing
        lacks = "one class only" if data.spec.classes else "no labels"
        raise SettingError(
            f"metrics.extractor={settings.extractor}: data={name} has {lacks} for a classifier.\n"
            f"Use metrics=auto, or metrics.weights={FALLBACK}, which comes with the project."
        )
    return ClassifierFeatures(_trained(data, Path(settings.cache).expanduser()))


def _single(settings: Settings, data: StackedMNIST) -> ClassifierFeatures:
    """The classifier of the images that are stacked.

    Raises:
        SettingError: if none ships with the project and none is given.
    """
    if not settings.weights and not shipped(data.digits):
        raise SettingError(
            f"metrics.extractor={settings.extractor}: there is no classifier of the single images "
            f"of data={data.data_id['name']}.\nGive one by metrics.weights=PATH: "
            f"data={data.digits} metrics=classifier trains it; or use metrics=inception."
        )
    return ClassifierFeatures(settings.weights or data.digits)


def _trained(data: DataModule, cache: Path) -> Path:
    """The classifier of these data, trained now if the cache has none."""
    name = f"{file_name(str(data.data_id['name']))}-{data.data_id['hash']}.safetensors"
    path = cache / "classifiers" / name
    if not path.exists():
        accuracy = train_classifier(data, path)
        print(
            f"Trained a classifier for the metrics: accuracy {accuracy:.2%}, {path}\n"
            "Scores by it are comparable only with its file: metrics.weights=PATH elsewhere."
        )
    return path
