"""Likelihood of held-out images under a variational autoencoder, in nats per image.

    nll_reconstruction  E_q -log p(x|z), one draw of z from q(z|x)
    kl                  KL(q(z|x) || p(z))
    elbo                -(nll_reconstruction + kl) <= log p(x)             Kingma & Welling 2014
    iw50                E log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x), k = 50: nearer to log p(x), from
                        below, the larger k is                             Burda et al. 2016, eq. 8
    active_units        coordinates of z with Var_x(E_q z) > 0.01          Burda et al. 2016, sec. 5

Burda et al. 2016 is arXiv:1509.00519; published values are `iw5000` of 10,000 test images. A model
of binary pixels is scored on images that are made binary once, by the seed: a bound of images that
are binarised anew has another value, and one of grey values is no likelihood of binary pixels.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.base import DataModule
from src.data.spec import Split
from src.errors import SettingError
from src.metrics.base import PORTION, ModelScorer, Scores, batches, held_out, spaced
from src.models.base import GenerativeModel

ACTIVE = 0.01
# Pixels that are decoded at once: 1337 draws of 28 x 28. A decoder of 64 channels at full size then
# holds 270 MB a layer.
PIXELS = 2**20


class LikelihoodScorer(ModelScorer):
    """Bounds of log p(x) over the test images; "train" where there are no others.

    Args:
        data: set up, of images.
        model: with `posterior`, `elbo_terms`, `log_weights` and `binarize`, see `VAE`.
        n: the most images, evenly spaced over the split; None takes all.
        seed: seed of the draws from q, and of the binary pixels.
        importance_samples: values of k, one bound `iw<k>` for each.
        importance_images: the most images for these, which cost k decoded draws an image.


    Raises:
        SettingError: if there are no draws or no images.
    """

    def __init__(
        self,
        data: DataModule,
        model: GenerativeModel,
        n: int | None = None,
        seed: int = 0,
        importance_samples: Sequence[int] = (50,),
        importance_images: int = 1000,
    ) -> None:
        if any(k < 1 for k in importance_samples):
            raise SettingError(
                f"metrics.importance_samples={list(importance_samples)}: each must be 1 or more, "
                "the draws of z for an image."
            )
        if importance_images < 1:
            raise SettingError(f"metrics.importance_images={importance_images} must be positive.")
        split, self.images = held_out(data, n)
        super().__init__(data, split, seed)
        self.model = model
        self.importance_samples = tuple(importance_samples)
        self.some = spaced(self.images, importance_images)
        self.headline = {"elbo": self.name("elbo")}

    def size(self, metric: str) -> int:
        return len((self.some if metric.startswith("iw") else self.images).x)

    def score(self) -> Scores:
        """Encode all images of the split, and decode draws of their latents."""
        tighter = () if self.brief else self.importance_samples
        bounds = {f"iw{k}": self._bound(k) for k in tighter}
        return self.report(self._elbo() | bounds)

    def protocol(self, metric: str) -> dict[str, Any]:
        draws = {"elbo": 1, "nll_reconstruction": 1}
        draws |= {f"iw{k}": k for k in self.importance_samples}
        return {
            "n_real": self.size(metric),
            "real_split": self.basis,
            "pixels": "binary, drawn once by the seed" if self._binary else "grey",
            **({"draws": draws[metric]} if metric in draws else {}),
        }

    @cached_property
    def _binary(self) -> bool:
        return bool((next(self._portions(self.images))[0].abs() == 1).all())

    def _portions(self, images: Split) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Images as the model sees them, with their labels; the same each time."""
        # On the CPU, so that all devices score the same binary images.
        generator = torch.Generator().manual_seed(self.seed)
        for x, y in batches(images, PORTION, self.model.conditional):
            yield self.model.binarize(x, generator), y

    def _elbo(self) -> dict[str, float]:
        """Compute all numbers but the tighter bounds."""
        generator = self.model.make_random_generator(self.seed)
        nll, kl, means = [], [], []
        for x, y in self._portions(self.images):
            terms = self.model.elbo_terms(x, y, generator=generator)
            nll.append(terms[0].double())
            kl.append(terms[1].double().sum(1))
            means.append(self.model.posterior(x, y)[0].double())
        reconstruction, divergence = (float(torch.cat(part).mean()) for part in (nll, kl))
        return {
            "elbo": -(reconstruction + divergence),
            "nll_reconstruction": reconstruction,
            "kl": divergence,
            "active_units": float((torch.cat(means).var(0) > ACTIVE).sum()),
        }

    def _bound(self, k: int) -> float:
        """The mean over the images of log 1/k sum_i w_i, in portions of images and of draws."""
        generator = self.model.make_random_generator(self.seed)
        n = len(self.some.x)
        at_once = max(1, PIXELS // self.some.x[0].numel())
        rows = max(1, at_once // k)
        total = 0.0
        with tqdm(total=n, desc=f"iw{k}", delay=3, leave=False, disable=None) as bar:
            for portion in self._portions(self.some):
                for x, y in batches(Split(*portion), rows, self.model.conditional):
                    sums = [
                        self.model.log_weights(x, min(at_once, k - start), y, generator)
                        .double()
                        .logsumexp(0)
                        for start in range(0, k, at_once)
                    ]
                    total += float(torch.stack(sums).logsumexp(0).sum())
                    bar.update(len(x))
        return total / n - math.log(k)
