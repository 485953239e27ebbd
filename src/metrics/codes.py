"""Measures of an encoder by its codes z of held-out images.

    knn         share of test images whose 5 nearest training codes vote for their class
    probe       share that a linear classifier of the codes gets right   Alain & Bengio 2017
    activation  mean of |z|; of sigmoid or ReLU codes the mean activation that sparse autoencoders
                hold down
    sparsity    Hoyer 2004: (sqrt d - |z|_1 / |z|_2) / (sqrt d - 1), mean over the images; 0 if all
                units are equally far from 0, 1 if one alone is not 0
    jacobian    mean over the images of |dz/dx|_F, pixels in [0, 1]: what contractive autoencoders
                hold down                                                Rifai et al. 2011

The first two need classes. They are fitted to the codes of 10,000 training images, evenly spaced,
and left out of conditional models: their encoders get the class.
"""

import warnings
from typing import Any

import torch
from torch import Tensor

from src.data.base import DataModule
from src.data.spec import Split
from src.metrics.base import PORTION, ModelScorer, Scores, batches, held_out, spaced
from src.metrics.control import agreement
from src.models.base import GenerativeModel

NEIGHBOURS = 5
FITTED = 10_000  # training images whose codes the classifiers see
SLOPES = 200  # images whose Jacobian is computed
AT_ONCE = 100  # of these
STEPS = 200  # of L-BFGS


class CodeScorer(ModelScorer):
    """Encodes the test images; "train" where there are no others.

    Args:
        data: set up, of images.
        model: with `encode` and its network `encoder`, of which the first outputs are the code.
        n: the most images, evenly spaced over the split; None takes all.
    """

    def __init__(self, data: DataModule, model: GenerativeModel, n: int | None = None) -> None:
        split, self.images = held_out(data, n)
        super().__init__(data, split)
        self.model = model
        known = data.splits["train"].y
        labelled = self.images.y is not None and known is not None and len(known.unique()) > 1
        self.labelled = labelled and not model.conditional
        self.headline = {"probe": self.name("probe")} if self.labelled else {}

    def size(self, metric: str) -> int:
        return min(SLOPES, len(self.images.x)) if metric == "jacobian" else len(self.images.x)

    def score(self) -> Scores:
        """Encode images of both splits."""
        z = encode_split(self.model, self.images)
        values = {}
        if not self.brief:
            values |= {"activation": float(z.abs().mean()), "jacobian": self._jacobian(z.shape[1])}
        if z.shape[1] > 1 and not self.brief:
            values["sparsity"] = float(hoyer_sparsity(z).mean())
        if self.labelled:
            train = spaced(self.data.splits["train"], FITTED)
            known = encode_split(self.model, train)
            if not self.brief:
                values["knn"] = agreement(self.images.y, nearest_class(z, known, train.y))
            values["probe"] = agreement(self.images.y, probe(z, known, train.y))
        return self.report(values)

    def _jacobian(self, d: int) -> float:
        parts = batches(spaced(self.images, SLOPES), AT_ONCE, self.model.conditional)
        return float(torch.cat([jacobian_norm(self.model, x, y, d) for x, y in parts]).mean())

    def protocol(self, metric: str) -> dict[str, Any]:
        fitted = {"n_train": min(FITTED, len(self.data.splits["train"].x))}
        details = {
            "knn": {"k": NEIGHBOURS, **fitted},
            "probe": {
                "codes": "standardised",
                "regulariser": "L2, C = 1",
                "steps": STEPS,
                **fitted,
            },
            "jacobian": {"pixels": "in [0, 1]"},
        }
        return {
            "n_real": self.size(metric),
            "real_split": self.basis,
            **details.get(metric, {}),
        }


def encode_split(model: GenerativeModel, split: Split) -> Tensor:
    """Codes (n, d) of stored images, float32 on the CPU."""
    parts = batches(split, PORTION, model.conditional)
    with model.scoring():
        return torch.cat([model.encode(x, y).float().cpu() for x, y in parts])


def hoyer_sparsity(z: Tensor) -> Tensor:
    """Sparsity (n,) of codes (n, d), d > 1, in [0, 1]; 1 of a code that is 0 all over."""
    root, z = z.shape[1] ** 0.5, z.double()
    ratio = z.abs().sum(1) / z.norm(dim=1).clamp(min=torch.finfo(torch.double).tiny)
    return ((root - ratio) / (root - 1)).clamp(0, 1)


def nearest_class(z: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Classes (n,) by the vote of the nearest known codes (m, d); a tie goes to the lowest."""
    k = min(NEIGHBOURS, len(known))
    nearest = [torch.cdist(part, known).topk(k, largest=False).indices for part in z.split(1000)]
    return labels[torch.cat(nearest)].mode(1).values


def probe(z: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Classes (n,) by logistic regression on known codes (m, d), standardised by their moments."""
    # Here, since it takes half a second of each start where pandas is installed.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, std = known.mean(0), known.std(0)
    std[std == 0] = 1  # a unit that is silent stays silent
    classifier = LogisticRegression(max_iter=STEPS)
    with warnings.catch_warnings():
        # The steps belong to the protocol: of collinear units the last digits take thousands.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(((known - mean) / std).numpy(), labels.numpy())
    return torch.from_numpy(classifier.predict(((z - mean) / std).numpy()))


def jacobian_norm(model: GenerativeModel, x: Tensor, labels: Tensor | None, d: int) -> Tensor:
    """Frobenius norms (n,) of dz/dx with x on the [0, 1] scale, in float64.

    In scoring mode samples do not mix, so the gradient of a unit's sum over the batch holds the
    gradients of all its samples: d passes backwards for a batch, whatever the encoder is made of.

    Args:
        model: with `encoder`.
        x: images (n, c, h, w) in [-1, 1].
        labels: (n,), of conditional models.
        d: length of the code, which is the encoder's first outputs (a VAE: the means).
    """
    x = x.to(model.device, copy=True).requires_grad_()
    told = [] if labels is None else [labels.to(model.device)]
    squared = torch.zeros(len(x), dtype=torch.float64)
    with model.scoring(), torch.enable_grad():
        z = model.encoder(x, *told)[:, :d]
        for unit in range(d):
            (slope,) = torch.autograd.grad(z[:, unit].sum(), x, retain_graph=unit < d - 1)
            # Twice as large: a pixel of [-1, 1] moves by 2 where one of [0, 1] moves by 1.
            squared += (2 * slope).double().square().flatten(1).sum(1).cpu()
    return squared.sqrt()
