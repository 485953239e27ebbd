"""Perceptual path length: how much images change on the way between latents.

    ppl = E d(G(p(t)), G(p(t + e))) / e^2,    t ~ U(0, 1),  e = 1e-4

Karras et al. 2019 (arXiv:1812.04948, eq. 2 and 3, there called "full"). `ppl_z` follows great arcs
between two latents z, `ppl_w` straight lines between two styles w, where G has styles. Low is good:
the path is even, and nothing appears that is in neither of its ends.

d is LPIPS's form (Zhang et al. 2018, arXiv:1801.03924, eq. 1, all channels with weight 1): the
squared difference of features with unit length at each place, mean over the places. The features
are not VGG's but those of a classifier that comes with the project, which the numbers' names say;
so they are not comparable with published ones. As published, the lowest and the highest percent of
the pairs are left out.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.data.base import DataModule
from src.metrics.base import LABELS, ModelScorer, Scores, natural_labels, stop_if_asked
from src.models.base import LatentVariableModel
from src.models.parts.content import shipped_content
from src.models.styles import find_style_generator

EPSILON = 1e-4  # the step along the path, of which the whole is 1
CUT = 0.01  # share of the pairs that is left out at either end
MOST_PIXELS = 2**18  # of the images whose features are computed at once


class PathLengthScorer(ModelScorer):
    """Measures the images between latents, in z and, of a generator with styles, in w.

    Args:
        data: set up, of images.
        model: draws samples.
        n: pairs of latents.
        seed: seed of the pairs and of the places on their paths.
    """

    def __init__(
        self, data: DataModule, model: LatentVariableModel, n: int = 10_000, seed: int = 0
    ) -> None:
        self.content = shipped_content(data.spec.shape[0])
        super().__init__(data, self.content.weights, seed)
        self.model, self.n = model, n

    def size(self, metric: str) -> int:
        return self.n

    def protocol(self, metric: str) -> dict[str, Any]:
        asked = {"labels": LABELS} if self.model.conditional else {}
        return {
            "n_pairs": self.n,
            "path": "great arc" if metric == "ppl_z" else "straight line",
            "step": EPSILON,
            "features": dict(self.content.identity),
            **asked,
        }

    def score(self) -> Scores:
        """Draw the pairs and follow their paths for a step."""
        network = self.content.load().to(self.model.device).eval().requires_grad_(False)
        model, generator = self.model, find_style_generator(self.model)
        ends = model.latents(2 * self.n, self.seed)
        random = torch.Generator().manual_seed(self.seed)
        t = torch.rand(self.n, 1, generator=random).to(ends)
        labels = None
        if model.conditional:
            labels = natural_labels(self.data, self.n, self.seed).to(model.device)
        found: dict[str, list[Tensor]] = {"ppl_z": []} | ({"ppl_w": []} if generator else {})
        size = max(1, MOST_PIXELS // (2 * math.prod(model.spec.shape[1:])))
        with model.scoring():
            for part in torch.arange(self.n, device=ends.device).split(size):
                stop_if_asked()
                y = None if labels is None else labels[part].repeat(2)
                pair, steps = ends.view(self.n, 2, -1)[part].unbind(1), t[part]
                z = torch.cat([arc(*pair, steps), arc(*pair, steps + EPSILON)])
                found["ppl_z"].append(distances(network, model.decode(z, y)))
                if generator:
                    w = generator.styles(torch.cat(pair), y).chunk(2)
                    steps = steps[:, :, None]
                    w = torch.cat([torch.lerp(*w, steps), torch.lerp(*w, steps + EPSILON)])
                    found["ppl_w"].append(distances(network, generator.synthesise(w)))
        return self.report({name: trimmed(torch.cat(d)) for name, d in found.items()})


def arc(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points between latents (n, d), at shares t (n, 1) of the way.

    Directions follow the great arc at an even pace (Shoemake 1985), lengths change linearly: points
    between Gaussian latents are as long as such latents are.
    """
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    tiny = torch.finfo(a.dtype).tiny
    a, b = (x / length.clamp(min=tiny) for x, length in zip((a, b), lengths, strict=True))
    dot = (a * b).sum(1, keepdim=True)
    across = F.normalize(b - dot * a, dim=1)  # 0 where both point the same way
    angle = t * dot.clamp(-1, 1).acos()
    return (a * angle.cos() + across * angle.sin()) * torch.lerp(*lengths, t)


def distances(network: nn.Module, images: Tensor) -> Tensor:
    """d / e^2 (n,) in float64 of images (2n, c, h, w) in [-1, 1], of which i and n + i are a pair.

    NaN where images are not finite.
    """
    finite = images.isfinite().flatten(1).all(1).view(2, -1).all(0)
    a, b = F.normalize(network(images.nan_to_num(0, 1, -1).float()), dim=1).double().chunk(2)
    distance = (a - b).square().sum(1).flatten(1).mean(1) / EPSILON**2
    return distance.where(finite, torch.nan).cpu()


def trimmed(values: Tensor) -> float:
    """The mean without the lowest and the highest percent; NaN if a value is."""
    if values.isnan().any():
        return math.nan
    cut = int(CUT * len(values))
    return float(values.sort().values[cut : len(values) - cut].mean())
