"""Does a model draw what it is asked for? Models whose answer is known."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from src.data.spec import Split, to_model
from src.metrics.control import ControlScorer, agreement, has_control, purity
from src.networks.features import ClassifierFeatures
from tests.models.conftest import TINY, built

from .conftest import InMemory


class FromData:
    """'Draws' real digits: of the class asked for in a known share of the cases."""

    conditional = True

    def __init__(self, data: InMemory, wrong_every: int) -> None:
        self.x, self.y = data.splits["train"]
        self.wrong_every = wrong_every

    def classes_in_turn(self, n: int) -> Tensor:
        return torch.arange(n) % 10

    def latents(self, n: int, seed: int) -> Tensor:
        return torch.zeros(n, 1)

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        labels = labels.clone()
        labels[:: self.wrong_every] += 1
        first = [torch.nonzero(self.y == label % 10)[0, 0] for label in labels]
        return to_model(self.x[torch.stack(first)])


@pytest.mark.parametrize(("wrong_every", "share"), [(10**9, 0.998), (4, 0.75)])
def test_share_of_the_class_asked_for(digit_data: InMemory, wrong_every: int, share: float) -> None:
    model = FromData(digit_data, wrong_every)
    scorer = ControlScorer(digit_data, ClassifierFeatures("digits"), model, n=600)
    scores = scorer.score()
    assert scorer.headline == {"label": "label600_digits"}
    # The first of each batch is wrong in any case: two portions.
    assert scores.values["label600_digits"] == pytest.approx(share, abs=0.005)
    record = scores.protocols["label600_digits"]
    assert record["real"] == pytest.approx(0.9833, abs=1e-3)  # the classifier's own accuracy
    assert record["n_fake"] == 600


@pytest.mark.parametrize(("asked", "share"), [("3", 1.0), ("5", 0.0)])
def test_data_of_some_of_the_classifiers_classes(
    asked: str, share: float, digit_data: InMemory
) -> None:
    """Of data with two digits in another order; a third digit is neither of them."""
    x, y = digit_data.splits["test"]
    data = InMemory("digits", {"train": Split(x, y)}, ("3", "8"))
    scorer = ControlScorer(data, ClassifierFeatures("digits"), FromData(digit_data, 1))
    shown = scorer.classify(x[y == int(asked)])
    right = agreement(torch.zeros(len(shown), dtype=torch.long), shown)
    assert right == pytest.approx(share, abs=0.05)
    assert set(shown.tolist()) <= {0, 1, 2}


def test_purity() -> None:
    category = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    shown = torch.tensor([4, 4, 1, 7, 7, 7, 0, 7])
    assert purity(category, shown, 10) == (2 + 2 + 2) / 8
    assert purity(shown, shown, 10) == 1
    assert purity(torch.zeros(8, dtype=torch.long), shown, 10) == 4 / 8
    # With seven classes, 7 is none of them.
    assert purity(category, shown, 7) == (2 + 0 + 1) / 8
    assert agreement(shown, shown) == 1
    assert agreement(category, shown) == 0


def test_the_best_of_the_codes_is_reported(digit_data: InMemory) -> None:
    """Two codes, of which the second is the digit and the first is nothing."""
    model = built(*TINY, "model/latent=codes", "model.latent.categories=[3,10]")
    source = FromData(digit_data, 10**9)

    def decode(z: Tensor) -> Tensor:
        label = z[:, model.latent.dim + 3 :][:, :10].argmax(1)
        label[0] -= 1  # which `source` makes wrong
        return source.decode(z, label % 10)

    model.decode = decode
    scorer = ControlScorer(digit_data, ClassifierFeatures("digits"), model, n=500)
    assert scorer.headline == {"purity": "purity500_digits"}
    assert scorer.score().values["purity500_digits"] > 0.98


def test_who_can_be_asked(digit_data: InMemory) -> None:
    extractor = ClassifierFeatures("digits")
    plain, conditional = built(*TINY), built(*TINY, "model/condition=concatenate")
    assert has_control(conditional, digit_data, extractor)
    assert has_control(built(*TINY, "model/latent=codes"), digit_data, extractor)
    assert not has_control(plain, digit_data, extractor)
    assert not has_control(None, digit_data, extractor)
    # Another classifier, whose classes are not these.
    faces = SimpleNamespace(spec=SimpleNamespace(classes=("no", "yes")), label=None)
    assert not has_control(conditional, faces, extractor)
    attributes = ClassifierFeatures("faces")
    assert not has_control(conditional, faces, attributes)
    faces.label = "Smiling"
    assert has_control(conditional, faces, attributes)
