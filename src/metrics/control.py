"""Agreement of samples with the class or code asked for, by a classifier of the classes.

label   share of samples that show the class asked for (conditional models)
purity  how far a categorical code explains the class (InfoGAN): every category is named after the
        class that most of its samples show; the share of samples that show their category's class.
        The best of the codes is reported. Chance is about 1 / classes.
"""

from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule
from src.data.spec import Split
from src.metrics.base import LABELS, ModelScorer, Scores, draw_portions, natural_labels
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import HasLatent
from src.networks.features import ClassifierFeatures, Extractor


class ControlScorer(ModelScorer):
    """Draws n samples for labels as in the data, or for codes, and classifies them.

    Args:
        data: set up; its labels are the classifier's classes.
        extractor: extractor of the data's classes, or of attributes of which one is the class.
        model: conditional, or a GAN whose latent has categorical codes.
        n: samples.
        seed: seed of the samples.
        batch_size: images at once.
    """

    def __init__(
        self,
        data: DataModule,
        extractor: ClassifierFeatures,
        model: GenerativeModel,
        n: int = 10_000,
        seed: int = 0,
        batch_size: int = 100,
    ) -> None:
        super().__init__(data, extractor.name, seed)
        self.extractor, self.model = extractor, model
        self.n, self.batch_size = n, batch_size
        self.metric = "label" if model.conditional else "purity"
        self.headline = {self.metric: self.name(self.metric)}

    def size(self, metric: str) -> int:
        return self.n

    def score(self) -> Scores:
        """Draw samples for classes, or codes, and classify them."""
        asked: list[Tensor] = []

        def ask(n: int, seed: int) -> Tensor:
            z = self.model.latents(n, seed=seed)
            if self.model.conditional:
                wanted = natural_labels(self.data, n, seed).to(z.device)
                asked.append(wanted[None].cpu())
                return self.model.decode(z, wanted)
            asked.append(torch.stack(categories(self.model, z)).cpu())
            return self.model.decode(z)

        shown = torch.cat([self.classify(x) for x in draw_portions(ask, self.n, self.seed)])
        classes = max(2, len(self.data.spec.classes))  # an attribute is there or not
        measure = agreement if self.model.conditional else partial(purity, classes=classes)
        return self.report({self.metric: max(measure(y, shown) for y in torch.cat(asked, 1))})

    def classify(self, x: Tensor) -> Tensor:
        """Classes (n,) that images show; one more than there are if it is none of the data's."""
        self.extractor.to(x.device)
        shown, names = [], list(self.data.spec.classes)
        places = torch.tensor(
            [
                names.index(label) if label in names else len(names)
                for label in self.extractor.about["labels"]
            ],
            device=x.device,
        )
        for part in x.split(self.batch_size):
            features, logits = self.extractor(part)
            if logits is None:  # attributes, of which one is the class
                attribute = self.extractor.about["labels"].index(self.data.label)
                with torch.no_grad():
                    shown.append(self.extractor.network.head(features)[:, attribute] > 0)
            else:
                shown.append(places[logits.argmax(1)])
        return torch.cat(shown).long().cpu()

    def protocol(self, metric: str) -> dict[str, Any]:
        asked = {"labels": LABELS} if self.model.conditional else {}
        return {"n_fake": self.n, "extractor": self.extractor.protocol, "real": self._real} | asked

    @cached_property
    def _real(self) -> float | None:
        """Share of held-out images that the classifier gives their own label."""
        test: Split | None = self.data.splits.get("test")
        if test is None or test.y is None:
            return None
        return agreement(test.y, self.classify(test.x))


def categories(model: HasLatent, z: Tensor) -> list[Tensor]:
    """The categories (n,) that codes z (n, size) hold."""
    *codes, _ = model.latent.split(z[:, model.latent.dim :])
    return [code.argmax(1) for code in codes]


def agreement(wanted: Tensor, shown: Tensor) -> float:
    """Share of samples that show the class wanted, both (n,) integers."""
    return float((wanted == shown).double().mean())


def purity(category: Tensor, shown: Tensor, classes: int) -> float:
    """Share of samples that show the commonest class of their category, both (n,) integers.

    What shows none of the classes, `shown` = `classes`, is wrong in any category.
    """
    table = torch.zeros(int(category.max()) + 1, classes + 1)
    table.index_put_((category, shown), torch.ones(len(shown)), accumulate=True)
    return float(table[:, :classes].max(1).values.sum() / len(shown))


def has_control(model: GenerativeModel | None, data: DataModule, extractor: Extractor) -> bool:
    """True if the model has classes or codes to ask for, and the extractor can classify them."""
    codes = isinstance(model, HasLatent) and bool(model.latent.categories)
    if not isinstance(model, LatentVariableModel) or not (codes or model.conditional):
        return False
    if not isinstance(extractor, ClassifierFeatures):
        return False
    labels = extractor.about["labels"]
    if extractor.about["outputs"] == "attributes":
        return getattr(data, "label", None) in labels
    return bool(data.spec.classes) and set(data.spec.classes) <= set(labels)
