"""Disentanglement: does each unit of a code hold one known factor of the data?

    mig  mutual information gap (Chen et al. 2018, arXiv:1802.04942): of each factor v, what the
         unit that tells most of it tells more than the next, (I(v; z_1) - I(v; z_2)) / H(v); mean
         over the factors
    dci  disentanglement (Eastwood & Williams 2018): a forest predicts each factor from the code;
         1 - entropy over the factors of a unit's importances, mean over the units, weighted by
         their importance

Both lie in [0, 1]. Mutual information is that of a table: units and continuous factors are cut into
20 bins of equal width, as in Locatello et al. 2019 (arXiv:1811.12359).

The factors are those that the data were drawn by (`..._factors`) or else all known attributes
(`..._attributes`). Those of photographs hang together, so that no code can tell them apart wholly.
"""

import math
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule
from src.metrics.base import ModelScorer, Scores, spaced
from src.metrics.codes import encode_split
from src.models.base import GenerativeModel

MOST = 5000  # codes
BINS = 20
# Of extremely randomised trees (Geurts et al. 2006): several times as fast as a random forest, and
# less taken in by noise. Units that each hold one factor of [0, 1], with noise of sd 0.3, get 0.94,
# where a random forest gives 0.72.
FOREST = {"n_estimators": 10, "max_depth": 8, "min_samples_leaf": 5}


class DisentanglementScorer(ModelScorer):
    """Compares codes of training images, of which there are enough, with their factors.

    Args:
        data: set up, with `factors` or `attributes`.
        model: with `encode`.
        n: images, evenly spaced; at most 5,000.
        seed: seed of the forests.
    """

    def __init__(
        self, data: DataModule, model: GenerativeModel, n: int = MOST, seed: int = 0
    ) -> None:
        super().__init__(data, "factors" if data.factors else "attributes", seed)
        self.model = model
        known, train = (data.factors or data.attributes)["train"], data.splits["train"]
        self.images = spaced(train, min(n, MOST))
        # In the place of the labels, so that images and factors are spaced alike.
        self.factors = spaced(train._replace(y=known), min(n, MOST)).y
        self.headline = {"mig": self.name("mig")}

    def size(self, metric: str) -> int:
        return len(self.images.x)

    def score(self) -> Scores:
        """Encode the images."""
        z = encode_split(self.model, self.images)
        values = {"mig": mutual_information_gap(z, self.factors)}
        if not self.brief:  # a forest for each factor
            values["dci"] = disentanglement(importances(z, self.factors, self.seed))
        return self.report(values)

    def protocol(self, metric: str) -> dict[str, Any]:
        data = self.data
        details: dict[str, dict[str, Any]] = {"mig": {"bins": BINS}, "dci": {"forest": FOREST}}
        return {
            "n_real": len(self.images.x),
            "real_split": "train",
            "factors": list(data.factor_names if data.factors else data.attribute_names),
            **details[metric],
        }


def mutual_information_gap(z: Tensor, factors: Tensor) -> float:
    """MIG of codes (n, d) and factors (n, k); factors that never vary are left out."""
    units = [binned(unit) for unit in z.T]
    gaps = []
    for factor in map(binned, factors.T):
        entropy = mutual_information(factor, factor)
        if entropy > 0:
            told = sorted((mutual_information(unit, factor) for unit in units), reverse=True)
            gaps.append((told[0] - (told[1] if len(told) > 1 else 0)) / entropy)
    return sum(gaps) / len(gaps)


def binned(values: Tensor) -> Tensor:
    """Bins (n,) of equal width from the least to the largest of the values (n,)."""
    values = values.double()
    low, high = values.min(), values.max()
    return ((values - low) / (high - low).clamp(min=1e-12) * BINS).long().clamp(max=BINS - 1)


def mutual_information(a: Tensor, b: Tensor) -> float:
    """I(a; b) in nats of bins (n,) and (n,), from their table; I(a; a) is the entropy."""
    table = torch.bincount(a * BINS + b, minlength=BINS * BINS).view(BINS, BINS).double() / len(a)
    independent = table.sum(1, keepdim=True) * table.sum(0, keepdim=True)
    there = table > 0
    return float((table[there] * (table[there] / independent[there]).log()).sum())


def importances(z: Tensor, factors: Tensor, seed: int) -> Tensor:
    """Importance (d, k) of units for factors: the variance that splits by a unit take away.

    Each column has the sum 1, or 0 where the factor never varies.
    """
    from sklearn.ensemble import ExtraTreesRegressor  # here, as in codes.py

    columns = []
    for factor in factors.T:
        forest = ExtraTreesRegressor(random_state=seed, **FOREST)
        forest.fit(z.numpy(), factor.double().numpy())
        columns.append(torch.from_numpy(forest.feature_importances_))
    return torch.stack(columns, 1)


def disentanglement(importance: Tensor) -> float:
    """D of DCI from importances (d, k), k > 1."""
    weight = importance.sum(1)
    shares = importance / weight.clamp(min=1e-12)[:, None]
    entropy = -torch.special.xlogy(shares, shares).sum(1) / math.log(importance.shape[1])
    return float((weight * (1 - entropy)).sum() / weight.sum())
