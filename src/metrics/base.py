"""Scores with their protocols, the bases of all scorers, and the choice of samples and images."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.base import DataModule
from src.data.spec import Split, to_model
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import Translates
from src.transforms.degradations import as_target

# sample(n, seed) gives n samples in the data's form, on any device.
Sampler = Callable[[int, int], Tensor]

# Sources and labels to targets, all on any device; None where that cannot be.
Translate = Callable[[Tensor, Tensor | None], Tensor | None]
KEPT = 2**28  # bytes of translations that the scorers of one scoring share
MOST_PIXELS = 2**17  # of the targets that are translated at once: SSIM takes 1.3 kB for each

# Fakes are drawn in portions of this size whatever a scorer's batch size is, so that it cannot
# change which fakes are scored.
PORTION = 500
LABELS = "shares of the training data"  # what a conditional model is asked for, in the protocol


class Scores(NamedTuple):
    """Numbers and what they mean; both have the same keys.

    Attributes:
        values: by names that carry the protocol: `fid10k_mnist` says metric, number of fakes, and
            extractor.
        protocols: all that a value depends on, and as `real` the value that held-out real data get
            in the place of the fakes.
    """

    values: dict[str, float]
    protocols: dict[str, dict[str, Any]]


class Scorer(ABC):
    """Base of all scorers: the names of numbers and what their records have in common.

    Args:
        data: set up.
        basis: last part of a name: what the numbers are measured by, such as an extractor or a
            split of the data.
        seed: seed of all draws; None where nothing is drawn.

    Attributes:
        headline: full names of the numbers that dashboards show, by their short names.
        brief: True if no more than the headline numbers are asked for; what others cost is saved
            where it is much.
    """

    def __init__(self, data: DataModule, basis: str, seed: int | None = None) -> None:
        self.data, self.basis, self.seed = data, basis, seed
        self.headline: dict[str, str] = {}
        self.brief = False

    @abstractmethod
    def size(self, metric: str) -> int:
        """Number of samples or images that a metric is measured on."""

    @abstractmethod
    def protocol(self, metric: str) -> Mapping[str, Any]:
        """Everything that a metric depends on, but for data and seed.

        `real` is the value that held-out real data get in the place of the samples.
        """

    def name(self, metric: str) -> str:
        """Name of a metric with its protocol, such as `fid10k_mnist` or `iw50_1k_test`.

        Numbers of translations the other way, from targets to sources, end in `_back`.
        """
        gap = "_" if metric[-1].isdigit() else ""
        back = "_back" if self.data.backwards else ""
        return f"{metric}{gap}{format_size(self.size(metric))}_{self.basis}{back}"

    def report(self, values: Mapping[str, float]) -> Scores:
        """Give values their full names and their records.

        Args:
            values: by the bare names of metrics.
        """
        common: dict[str, Any] = {"data_id": self.data.data_id}
        if self.seed is not None:
            common["seed"] = self.seed
        return Scores(
            {self.name(metric): value for metric, value in values.items()},
            {self.name(m): {"metric": m, **self.protocol(m), **common} for m in values},
        )


class SampleScorer(Scorer):
    """Base of the scorers that look at samples alone, whatever model they are from.

    Attributes:
        n: number of samples.
        inputs: numbers of a translation's sources in the place of the samples, once they are known.
    """

    n: int
    inputs: dict[str, float] | None = None

    @abstractmethod
    def score(self, sample: Sampler) -> Scores:
        """Draw samples and score them. Samples that are not finite give NaN."""


class ModelScorer(Scorer):
    """Base of the scorers of what a model does with images, labels or codes.

    The model is handed to the constructor.
    """

    @abstractmethod
    def score(self) -> Scores:
        """Score the model."""


class StoppedError(Exception):
    """A scoring was asked to stop."""


def score_all(
    scorers: Iterable[Scorer],
    model: GenerativeModel,
    stop: Callable[[], bool] = lambda: False,
    brief: bool = False,
) -> Scores:
    """Score a model by several scorers, in their order.

    Args:
        scorers: scorers of this model.
        model: draws the samples, by the weights that are scored. A conditional one gets labels with
            the shares of the training data: with others its samples would have another distribution
            than the data, however good they are.
        stop: is asked before each portion of samples or images.
        brief: leave out scorers without a headline number, and what is costly and has none.

    Raises:
        StoppedError: once `stop` returns True.
    """
    scores, outer, without = Scores({}, {}), _stop.set(stop), _made.set({})
    try:
        for scorer in scorers:
            stop_if_asked()
            scorer.brief = brief
            if brief and not scorer.headline:
                continue
            part = _score(scorer, model)
            scores.values.update(part.values)
            scores.protocols.update(part.protocols)
    finally:
        _stop.reset(outer)
        _made.reset(without)
    return scores


_stop: ContextVar[Callable[[], bool]] = ContextVar("stop", default=lambda: False)
_made: ContextVar[dict[tuple[bool, bytes], Tensor] | None] = ContextVar("made", default=None)


def stop_if_asked() -> None:
    """Leave `score_all`, if it is to stop; scorers call this before each portion of their work.

    Raises:
        StoppedError: if so.
    """
    if _stop.get()():
        raise StoppedError


def _score(scorer: Scorer, model: GenerativeModel) -> Scores:
    if not isinstance(scorer, SampleScorer):
        return scorer.score()
    if not isinstance(model, LatentVariableModel):
        return _score_translations(scorer, model)
    part = scorer.score(_sampler(model, scorer.data))
    asked = {"labels": LABELS} if model.conditional else {}
    part.protocols.update({name: record | asked for name, record in part.protocols.items()})
    return part


def _sampler(model: GenerativeModel, data: DataModule) -> Sampler:
    """Samples of a model, for labels as in the data if it is conditional."""

    def sample(n: int, seed: int) -> Tensor:
        stop_if_asked()  # for scorers that draw without `draw_portions`
        labels = natural_labels(data, n, seed) if model.conditional else None
        return model.sample(n, labels, seed=seed)

    return sample


def _score_translations(scorer: SampleScorer, model: Translates) -> Scores:
    """Score translations of held-out sources, and once the sources themselves as translations."""
    data = scorer.data
    name, _ = held_out(data, 1)
    if scorer.inputs is None:
        shape, scorer.inputs = data.spec.shape, {}
        if as_target(data.source_of(name, torch.zeros(1).long()), shape) is not None:
            untouched = translations(data, lambda source, _: as_target(source, shape), scorer.n)
            brief, scorer.brief = scorer.brief, False  # a complete scoring will come
            scorer.inputs = scorer.score(untouched).values
            scorer.brief = brief
    part = scorer.score(translations(data, translating(model, data), scorer.n))
    for key, record in part.protocols.items():
        record.update(fakes=f"translations of the {name} split", input=scorer.inputs.get(key))
    return part


def translating(model: Translates, data: DataModule) -> Translate:
    """The model's translation of these data's sources.

    During `score_all`, of one model, each batch is translated once for all scorers.
    """
    translate = model.translate_back if data.backwards else model.translate

    def once(source: Tensor, y: Tensor | None) -> Tensor:
        made = _made.get()
        if made is None:
            return translate(source, y)
        content = hashlib.blake2b(source.cpu().numpy().tobytes())
        if y is not None:
            content.update(y.cpu().numpy().tobytes())
        key = (data.backwards, content.digest())
        if key in made:
            return made[key]
        result = translate(source, y)
        if result.nbytes + sum(kept.nbytes for kept in made.values()) <= KEPT:
            made[key] = result
        return result

    return once


def natural_labels(data: DataModule, n: int, seed: int) -> Tensor:
    """Draw labels (n,) with the classes' shares of the training split, in random order.

    They are taken from the sorted training labels at equal distances from a random start
    (systematic sampling): each class has its share up to one label, and exactly so on average.
    """
    ends = data.splits["train"].y.bincount().cumsum(0)  # of the classes, where labels are sorted
    generator = torch.Generator().manual_seed(seed)
    start = float(torch.rand((), generator=generator, dtype=torch.float64))
    size = int(ends[-1])
    index = ((torch.arange(n, dtype=torch.float64) + start) / n * size).long().clamp(max=size - 1)
    labels = torch.searchsorted(ends, index, right=True)
    return labels[torch.randperm(n, generator=generator)]


def format_size(n: int) -> str:
    """A number of samples as names carry it: 10000 is "10k", 500 stays "500"."""
    return f"{n // 1000}k" if n % 1000 == 0 else str(n)


def draw_portions(sample: Sampler, n: int, seed: int) -> Iterator[Tensor]:
    """Draw n samples in portions, with a progress bar; the seed of each follows from `seed`."""
    portions = [min(PORTION, n - start) for start in range(0, n, PORTION)]
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**31, (len(portions),), generator=generator).tolist()
    with tqdm(total=n, desc="scoring", delay=3, leave=False, disable=None) as bar:
        for size, part in zip(portions, seeds, strict=True):
            stop_if_asked()
            yield sample(size, part)
            bar.update(size)


def held_out(data: DataModule, n: int | None = None) -> tuple[str, Split]:
    """Name and images of the split that models are scored on: "test", or "train" without one.

    Args:
        data: set up.
        n: largest number of images, see `spaced`; None takes all.
    """
    name = "test" if "test" in data.splits else "train"
    return name, spaced(data.splits[name], n)


def spaced(split: Split, n: int | None) -> Split:
    """Take at most n images, evenly spaced: splits may be sorted, and MNIST's halves differ."""
    size = len(split.x)
    if n is None or n >= size:
        return split
    index = torch.arange(n) * size // n
    return Split(split.x[index], None if split.y is None else split.y[index])


def batches(split: Split, size: int, labelled: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield images (m, c, h, w) in [-1, 1], m <= size, and labels (m,), None if not `labelled`.

    Args:
        split: stored images, or images in [-1, 1] already.
        size: largest number of images at once.
        labelled: True if the model that gets them is conditioned on the labels.
    """
    labels = split.y.split(size) if labelled else repeat(None)
    for x, y in zip(split.x.split(size), labels, strict=False):
        stop_if_asked()
        yield to_model(x), y


def held_out_pairs(data: DataModule, n: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield targets, sources and labels of n held-out images, evenly spaced, batch by batch.

    Where there are no pairs, n counts the sources. The targets do not belong to them, have no
    labels, and some may come several times.
    """
    name, _ = held_out(data, 1)
    split = data.splits[name]
    targets, sources = (torch.arange(n) * m // n for m in (len(split.x), data.source_count(name)))
    size = max(1, MOST_PIXELS // math.prod(data.spec.shape[1:]))
    for these, those in zip(targets.split(size), sources.split(size), strict=True):
        stop_if_asked()
        y = None if split.y is None or not data.spec.paired else split.y[these]
        yield to_model(split.x[these]), data.source_of(name, those), y


def held_out_size(data: DataModule) -> int:
    """Number of held-out sources, or of images where nothing is translated."""
    name, split = held_out(data)
    return len(split.x) if data.spec.source is None else data.source_count(name)


def translations(data: DataModule, translate: Translate, n: int) -> Sampler:
    """A sampler that gives the translations of n held-out images, in their order, and then ends."""
    parts = (translate(source, y) for _, source, y in held_out_pairs(data, n))
    kept: list[Tensor] = []

    def sample(wanted: int, _: int) -> Tensor:
        nonlocal kept
        while sum(map(len, kept)) < wanted:
            kept.append(next(parts))
        found = torch.cat(kept)
        kept = [found[wanted:]]
        return found[:wanted]

    return sample
