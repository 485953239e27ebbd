"""FID, KID, IS, precision/recall and density/coverage, from one pass over the fakes' features.

Of voxels there are all of them too. Their features are never Inception's, so that FID is called by
its full name, `frechet`.

    FID        |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^.5)      Heusel et al. 2017, arXiv:1706.08500
    KID        unbiased MMD^2 with (x.y / d + 1)^3           Binkowski et al. 2018, arXiv:1801.01401
    IS         exp E KL(p(y | x) || p(y))                    Salimans et al. 2016, arXiv:1606.03498
    precision  share of fakes inside the reals' k-NN balls   Kynkaanniemi et al. 2019,
    recall     share of reals inside the fakes' k-NN balls       arXiv:1904.06991
    density    balls of reals around a fake, over k          Naeem et al. 2020, arXiv:2002.09797
    coverage   share of reals with a fake inside their ball

All statistics but KID's products are in float64. The functions agree with torch-fidelity's on the
same features, random subsets included. Reals are embedded once and kept by the content of data and
weights.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from src.data.base import DataModule
from src.data.cache import file_name, keep
from src.errors import SettingError
from src.metrics.base import Sampler, SampleScorer, Scores, draw_portions, stop_if_asked
from src.networks.features import Extractor, Features
from src.runs.stored import NUMBER, expect, parse_json, read_bytes
from src.runs.tensor_files import read_safetensors

METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
MANIFOLD = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}  # k nearest neighbours
# Fewest samples for which a metric is defined: k + 1 for the k-NN metrics, a pair for KID, one in
# each split for IS.
FEWEST = {"kid": 2, "is": 10} | {metric: k + 1 for metric, k in MANIFOLD.items()}
NEIGHBOURS = 10_000  # samples on either side of the k-NN metrics: their cost is quadratic
ROWS = 1000  # of a distance matrix at a time
FORMAT = 2  # of what is kept of the reals; a change makes all of it anew


@dataclass
class Moments:
    """Mean and covariance S of features, in float64; one of the two forms of S is given.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        factor: (r, d) with factor^T factor = S: the centred samples over sqrt(n - 1) if n <= d,
            which is faster and more exact.
    """

    mean: Tensor
    covariance: Tensor | None = None
    factor: Tensor | None = None

    def factored(self) -> Tensor:
        """`factor`, made of the covariance where it is missing, and kept.

        It is Cholesky's, or the symmetric root if S is singular, for which Cholesky's algorithm
        stops.
        """
        if self.factor is None:
            factor, failed = torch.linalg.cholesky_ex(self.covariance, upper=True)
            self.factor = symmetric_root(self.covariance) if failed else factor
        return self.factor


def moments(features: Tensor) -> Moments:
    """Mean and unbiased covariance of features (n, d)."""
    n, d = features.shape
    mean = features.mean(0, dtype=torch.float64)
    if n <= d:
        return Moments(mean, factor=(features - mean) / max(n - 1, 1) ** 0.5)
    covariance = torch.zeros(d, d, dtype=torch.float64, device=features.device)
    for part in features.split(10_000):
        centred = part - mean
        if centred.device.type == "cpu":  # by numpy, which leaves half of a symmetric product out
            covariance += torch.from_numpy(centred.numpy().T @ centred.numpy())
        else:
            covariance.addmm_(centred.T, centred)
    return Moments(mean, covariance / (n - 1))


def symmetric_root(matrix: Tensor) -> Tensor:
    """S^.5 of a positive semidefinite matrix (d, d)."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared 2-Wasserstein distance of two Gaussians, the formula of FID.

    With A^T A = S1, tr (S1 S2)^.5 is the sum of the roots of the eigenvalues of A S2 A^T, which is
    symmetric: their computation takes a fraction of the time of the general eigenvalues of S1 S2,
    and neither S2's root nor any vectors. If S2 is given as B^T B, it is the sum of the singular
    values of A B^T.
    """
    root = a.factored()
    if b.covariance is None:
        shared = torch.linalg.svdvals(root @ b.factor.T).sum()
        trace = b.factor.square().sum()
    else:
        shared = torch.linalg.eigvalsh(root @ b.covariance @ root.T).clamp(min=0).sqrt().sum()
        trace = b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + root.square().sum() + trace - 2 * shared)


def kernel_distance(
    fake: Tensor,
    real: Tensor,
    seed: int,
    subsets: int = 100,
    subset_size: int = 1000,
    kept: list[float] | None = None,
) -> float:
    """KID: the mean over random subsets of the unbiased MMD^2 with a cubic polynomial kernel.

    Products x.y have the precision of the features, as in torch-fidelity; the kernel and its sums
    are in float64. All is computed by numpy, which leaves half of a symmetric product out.

    Args:
        fake: features (n, d).
        real: features (m, d).
        seed: seed of the subsets, drawn as torch-fidelity draws them.
        subsets: number of subsets.
        subset_size: samples of each side in a subset; smaller if there are fewer.
        kept: the reals' part of each subset, a quarter of the work. An empty list is filled; give
            it again with the same reals, as many fakes, and the same other arguments.
    """
    size, d = min(subset_size, len(fake), len(real)), fake.shape[1]
    fake, real = fake.cpu().numpy(), real.cpu().numpy()

    def kernels(products: np.ndarray) -> float:
        """Sum of the kernel over products x.y, a few rows at a time, which stay in the cache."""
        total = 0.0
        for start in range(0, len(products), 50):
            k = products[start : start + 50].astype(np.float64)
            k /= d
            k += 1
            total += float(np.vdot(k, k * k))
        return total

    def within(x: np.ndarray) -> float:
        products = x @ x.T
        return (kernels(products) - kernels(products.diagonal())) / (size * (size - 1))

    generator = np.random.RandomState(seed)
    kept = [] if kept is None else kept
    total = 0.0
    for k in range(subsets):
        x = fake[generator.choice(len(fake), size, replace=False)]
        y = real[generator.choice(len(real), size, replace=False)]
        if len(kept) == k:
            kept.append(within(y))
        total += within(x) + kept[k] - 2 * kernels(x @ y.T) / size**2
    return total / subsets


def inception_score(logits: Tensor, seed: int, splits: int = 10) -> float:
    """IS: the mean over splits of exp E KL(p(y | x) || p(y)).

    Args:
        logits: (n, classes).
        seed: seed of the order in which samples are split (reals lie sorted by class).
        splits: number of splits, each with a p(y) of its own.
    """
    order = np.random.RandomState(seed).permutation(len(logits))
    log_p = logits[order].double().log_softmax(1)
    edges = [len(log_p) * i // splits for i in range(splits + 1)]
    scores = []
    for start, stop in pairwise(edges):
        part = log_p[start:stop]
        marginal = part.exp().mean(0, keepdim=True)
        scores.append(float((part.exp() * (part - marginal.log())).sum(1).mean().exp()))
    return sum(scores) / splits


def manifold(fake: Tensor, real: Tensor, real_balls: Tensor | None = None) -> dict[str, float]:
    """Precision, recall (k = 3), density and coverage (k = 5) of features (n, d) and (m, d).

    `real_balls` is what `radii` gives of the reals, where it is known.

    With k samples or fewer on a side there is no k-th neighbour: then numbers are left out, and all
    four if there are 3 or fewer.
    """
    fewest = min(len(fake), len(real))
    k, k_density = MANIFOLD["precision"], MANIFOLD["density"]
    if fewest <= k:
        return {}
    fake, real = fake.double(), real.double()
    real_balls = radii(real) if real_balls is None else real_balls
    fake_balls = radii(fake)
    k_density = min(k_density, fewest - 1)  # only to be left out below
    precise = dense = 0
    nearest = real.new_full((len(real),), torch.inf)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for part, reach in zip(fake.split(ROWS), fake_balls[:, k].split(ROWS), strict=True):
        stop_if_asked()
        distance = torch.cdist(part, real)
        precise += int((distance <= real_balls[:, k]).any(1).sum())
        dense += int((distance < real_balls[:, k_density]).sum())
        nearest = torch.minimum(nearest, distance.amin(0))
        recalled |= (distance <= reach[:, None]).any(0)
    values = {
        "precision": precise / len(fake),
        "recall": float(recalled.double().mean()),
        "density": dense / (k_density * len(fake)),
        "coverage": float((nearest < real_balls[:, k_density]).double().mean()),
    }
    return {metric: value for metric, value in values.items() if fewest > MANIFOLD[metric]}


def radii(x: Tensor) -> Tensor:
    """Distances (n, 6) of each sample to itself and to its five nearest neighbours, ascending.

    Fewer columns where there are fewer samples.
    """
    x = x.double()
    wanted = min(max(MANIFOLD.values()) + 1, len(x))
    rows = [torch.cdist(part, x).topk(wanted, largest=False).values for part in x.split(ROWS)]
    return torch.cat(rows)


class Reference(NamedTuple):
    """Statistics and features that are kept of a split of reals.

    Attributes:
        size: images embedded.
        moments: moments of all of them.
        features: (min(size, 10000), d), a fixed random choice.
        logits: logits of the same, or None.
    """

    size: int
    moments: Moments
    features: Tensor
    logits: Tensor | None


class QualityScorer(SampleScorer):
    """Scores samples against the real ones of a data set.

    Args:
        data: set up; compared with its training split. Its test split gives the value that real
            data get under the same protocol, recorded beside each number.
        extractor: embeds samples of this kind.
        n: fakes. The k-NN metrics use the first 10,000.
        seed: seed of the fakes, of KID's subsets and of IS's splits.
        batch_size: samples embedded at once; does not bear on the numbers.
        metrics: metrics of `METRICS`. IS is left out where the extractor has no classes.
        cache: folder for what is kept of the reals.
    """

    def __init__(
        self,
        data: DataModule,
        extractor: Extractor,
        n: int = 10_000,
        seed: int = 0,
        batch_size: int = 100,
        metrics: Sequence[str] = METRICS,
        cache: str | Path = "~/.cache/sparring",
    ) -> None:
        if unknown := set(metrics) - set(METRICS):
            raise SettingError(
                f"metrics.metrics={sorted(unknown)}: there are no such metrics.\n"
                f"There are {', '.join(METRICS)}."
            )
        if n < 2:
            raise SettingError(f"metrics.n={n} must be 2 samples or more.")
        super().__init__(data, extractor.name, seed)
        self.extractor, self.n, self.batch_size = extractor, n, batch_size
        self.distance = "frechet" if extractor.kind == "voxels" else "fid"
        self.metrics = tuple(self.distance if metric == "fid" else metric for metric in metrics)
        self.cache = Path(cache).expanduser() / "features"
        self.headline = {self.distance: self.name(self.distance)} if "fid" in metrics else {}
        self._kept: dict[int, list[float]] = {}  # the reals' part of KID, by the number of fakes

    def size(self, metric: str) -> int:
        return min(self.n, NEIGHBOURS) if metric in MANIFOLD else self.n

    def score(self, sample: Sampler) -> Scores:
        """Draw n fakes, in portions, and compare them.

        Samples that are not finite give NaN in all numbers.
        """
        portions = []
        for x in draw_portions(sample, self.n, self.seed):
            if not x.isfinite().all():
                return self.report(dict.fromkeys(self._asked(self.n), math.nan))
            # Where the samples are is where the work is done.
            self.extractor.to(x.device)
            portions.append(self._embed(x))
        return self.report(self._measure(_join(portions), self._asked(self.n)))

    def protocol(self, metric: str) -> dict[str, Any]:
        floor = self._floor
        return {
            "n_fake": self.size(metric),
            "n_real": self._reals.size if metric == self.distance else len(self._reals.features),
            "real_split": "train",
            **({"k": MANIFOLD[metric]} if metric in MANIFOLD else {}),
            **({"unit_features": self.extractor.kid_unit} if metric == "kid" else {}),
            "extractor": self.extractor.protocol,
            "real": floor and floor["values"].get(metric),
            "n_held_out": floor and floor["n"],
        }

    def _asked(self, fakes: int) -> list[str]:
        """Metrics that are to be measured now."""
        return [self.distance] if self.brief else self._chosen(fakes)

    def _chosen(self, fakes: int) -> list[str]:
        """Metrics that this extractor, and so many fakes and reals, can give."""
        left_out = self.left_out(fakes)
        if self._reals.logits is None:
            left_out.append("is")
        return [metric for metric in self.metrics if metric not in left_out]

    def left_out(self, fakes: int) -> list[str]:
        """Metrics that need more fakes, or more reals, than there are."""
        reals = len(self.data.splits["train"].x)
        return [
            m for m in self.metrics if min(fakes, reals if m != "is" else fakes) < FEWEST.get(m, 0)
        ]

    def _measure(self, fake: Features, chosen: Sequence[str]) -> dict[str, float]:
        """The chosen metrics of fakes, by their bare names."""
        values: dict[str, float] = {}
        real = self._reals
        if self.distance in chosen:
            values[self.distance] = frechet_distance(real.moments, moments(fake.features))
        if "kid" in chosen:
            size = real.features.square().mean().sqrt() if self.extractor.kid_unit else 1.0
            both = fake.features / size, real.features / size
            kept = self._kept.setdefault(len(fake.features), [])
            values["kid"] = kernel_distance(*both, self.seed, kept=kept)
        if "is" in chosen:
            values["is"] = inception_score(fake.logits, self.seed)
        if set(chosen) & set(MANIFOLD):
            values |= manifold(fake.features[:NEIGHBOURS], real.features, self._balls)
        return {metric: values[metric] for metric in chosen}

    @cached_property
    def _reals(self) -> Reference:
        return self._reference("train", limit=None)

    @cached_property
    def _balls(self) -> Tensor:
        """Distances of the reals' nearest neighbours, as `radii` gives them."""
        x = self._reals.features
        path = self._path("balls")
        try:
            balls = read_safetensors(path)[0]["radii"]
        except (ValueError, KeyError):
            balls = None
        shape = (len(x), min(max(MANIFOLD.values()) + 1, len(x)))
        if balls is None or balls.shape != shape or balls.dtype != torch.float64:
            balls = radii(x)
            keep(path, save({"radii": balls.contiguous()}))
        return balls

    @cached_property
    def _floor(self) -> dict[str, Any] | None:
        """Values of held-out real samples, and their number; None without a test split.

        Metrics for which these are too few are left out.
        """
        if "test" not in self.data.splits:
            return None
        asked = [self._chosen(self.n), self.n, self.seed]
        path = self._path("floor", asked).with_suffix(".json")
        held_out = min(self.n, len(self.data.splits["test"].x))
        chosen = self._chosen(held_out)
        if (kept := _read_floor(path, chosen)) is not None:
            return kept
        test = self._reference("test", limit=self.n)
        values = self._measure(Features(test.features, test.logits), chosen)
        floor = {"n": len(test.features), "values": values}
        keep(path, json.dumps(floor).encode())
        return floor

    def _reference(self, split: str, limit: int | None) -> Reference:
        """Embed a split, or read what was kept of it.

        The key holds everything that the features depend on, not the name of a data set alone: a
        cache by name would go on giving the numbers of data that have changed.
        """
        path = self._path(split, limit)
        if (kept := _read(path)) is not None:
            return kept
        x = self.data.splits[split].x
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:limit]
        parts = []
        bar = tqdm(total=len(order), desc=f"embedding reals ({split})", delay=3)
        with bar:
            for index in order.split(1000):
                stop_if_asked()
                parts.append(self._embed(x[index]))
                bar.update(len(index))
        features, logits = _join(parts)
        logits = None if logits is None else logits[:NEIGHBOURS]
        reference = Reference(len(order), moments(features), features[:NEIGHBOURS], logits)
        tensors = {
            "mean": reference.moments.mean,
            "factor": reference.moments.factored(),
            "features": reference.features.contiguous(),
            **({} if logits is None else {"logits": logits.contiguous()}),
        }
        keep(path, save(tensors, {"size": str(len(order))}))
        return reference

    def _path(self, *asked: object) -> Path:
        # The hash is of all splits one after the other, wherever one ends.
        sizes = {name: len(split.x) for name, split in self.data.splits.items()}
        key = [FORMAT, self.data.data_id["hash"], sizes, self.extractor.protocol, asked]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        data, extractor = map(file_name, (str(self.data.data_id["name"]), self.extractor.name))
        return self.cache / f"{data}-{asked[0]}-{extractor}-{digest}.safetensors"

    def _embed(self, images: Tensor) -> Features:
        return _join([self.extractor(part) for part in images.split(self.batch_size)])


def _read_floor(path: Path, metrics: Sequence[str]) -> dict[str, Any] | None:
    """Read the kept values of held-out reals; None if the file is missing or damaged."""
    try:
        floor = parse_json(read_bytes(path))
        expect(floor, {"n": int, "values": dict.fromkeys(metrics, NUMBER)}, path.name)
    except (OSError, ValueError):
        return None
    return floor


def _join(parts: Iterable[Features]) -> Features:
    """Features of several batches as one, on the CPU, where the statistics are computed."""
    features, logits = zip(*parts, strict=True)
    logits = None if logits[0] is None else torch.cat(logits).cpu()
    return Features(torch.cat(features).cpu(), logits)


def _read(path: Path) -> Reference | None:
    """Read the kept statistics of reals; None if the file is missing or damaged."""
    try:
        kept, about = read_safetensors(path)
        mean, factor, features = (kept[key] for key in ("mean", "factor", "features"))
        size, logits = int(about["size"]), kept.get("logits")
    except (ValueError, KeyError):
        return None
    n, d = min(size, NEIGHBOURS), mean.numel()
    expected = [(mean, (d,), torch.float64), (factor, (*factor.shape[:1], d), torch.float64)]
    expected += [(features, (n, d), torch.float32)]
    if logits is not None:
        expected += [(logits, (n, *logits.shape[-1:]), torch.float32)]
    if any(tensor.shape != shape or tensor.dtype != dtype for tensor, shape, dtype in expected):
        return None
    return Reference(size, Moments(mean, factor=factor), features, logits)
