"""Priors of an autoencoder's code, from which it is sampled: a slot.

A plain autoencoder has no prior of z. One is fitted to the codes of training images (Ghosh et al.
2020, "From Variational to Deterministic Autoencoders", sec. 4):

    normal     N(0, I), whatever the codes are
    gaussian   their mean and full covariance
    gmm        a mixture of Gaussians with full covariances

The latest codes of the training are kept, so that a checkpoint can be sampled without data.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.distributed import ranks
from src.errors import SettingError

MOST_NUMBERS = 2**24  # of all covariances together, and of the codes' shares in components


class CodePrior(nn.Module):
    """Keeps the latest codes; the prior is fitted to them when samples are drawn.

    Args:
        latent_dim: length of the code.
        prior: see above; it is `normal` before the first code is kept.
        components: number of Gaussians in the mixture.
        memory: number of codes that are kept.
    """

    def __init__(
        self,
        latent_dim: int,
        prior: Literal["normal", "gaussian", "gmm"] = "gaussian",
        components: PositiveInt = 10,
        memory: PositiveInt = 10_000,
    ) -> None:
        super().__init__()
        for setting, value, most in (("components", components, 1000), ("memory", memory, 10**6)):
            if not 1 <= value <= most:
                raise SettingError(f"model.sampler.{setting}={value} must be from 1 to {most:,}.")
        factors = components if prior == "gmm" else int(prior == "gaussian")
        if factors * latent_dim**2 > MOST_NUMBERS or components * memory > MOST_NUMBERS:
            raise SettingError(
                f"model.sampler.prior={prior} of {latent_dim} latent dimensions is too large.\n"
                "Use model/sampler=normal, or fewer components."
            )
        self.prior, self.components = prior, components
        self.register_buffer("codes", torch.zeros(memory, latent_dim))
        self.register_buffer("seen", torch.tensor(0))
        self._seen: int | None = None  # the same, for which no GPU has to be waited for
        self._fitted: tuple[int, tuple[Tensor, Tensor, Tensor | None]] | None = None

    def observe(self, z: Tensor) -> None:
        """Keep codes (n, d), those of all ranks, in the place of the oldest."""
        z = ranks.gather(z)
        n, memory = len(z), len(self.codes)
        if self._seen is None:
            self._seen = int(self.seen)
        first = self._seen % memory
        if first + n <= memory:
            self.codes[first : first + n] = z.detach()
        else:
            place = torch.arange(first, first + n, device=z.device).remainder_(memory)
            self.codes.index_copy_(0, place[-memory:], z.detach().float()[-memory:])
        self.seen.add_(n)
        self._seen += n

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._seen = None

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Codes (n, d), on the device of the weights and of the generator."""
        weights, means, roots = self._fit()
        device, d = self.codes.device, self.codes.shape[1]
        options = {"device": device, "generator": generator}
        which = torch.zeros(n, dtype=torch.long, device=device)
        if len(weights) > 1:
            which = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, d, **options).double()
        z = torch.empty(n, d, dtype=torch.double, device=device)
        for k in range(len(weights)):
            drawn = noise[which == k]
            z[which == k] = (drawn if roots is None else drawn @ roots[k].mT) + means[k]
        return z.float()

    def _fit(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weights (k,), means (k, d) and roots (k, d, d) of the covariances; of the codes now.

        The roots are None where the only covariance is the identity.
        """
        seen = max(int(self.seen), 0)
        if self._fitted is None or self._fitted[0] != seen:
            codes = self.codes[:seen].double()
            one = torch.ones(1, dtype=torch.double, device=codes.device)
            d = codes.shape[1]
            if self.prior == "normal" or len(codes) < 2:
                prior = one, codes.new_zeros(1, d), None
            elif self.prior == "gaussian" or len(codes) < 2 * self.components:
                prior = one, codes.mean(0)[None], _root(torch.cov(codes.mT).view(1, d, d))
            else:
                # Here, since it takes half a second of each start where pandas is installed.
                from sklearn.mixture import GaussianMixture

                mixture = GaussianMixture(self.components, random_state=0, reg_covar=1e-6)
                try:
                    mixture.fit(codes.cpu().numpy())
                except ValueError as error:
                    raise SettingError(f"model.sampler: {str(error).partition('.')[0]}.") from error
                fitted = (mixture.weights_, mixture.means_, mixture.covariances_)
                weights, means, covariances = (torch.from_numpy(a).to(codes) for a in fitted)
                prior = weights, means, _root(covariances)
            self._fitted = seen, prior
        return self._fitted[1]


def _root(covariances: Tensor) -> Tensor:
    """A with A A^T = covariance, for each of (k, d, d); of a singular one too."""
    values, vectors = torch.linalg.eigh(covariances)
    return vectors * values.clamp(min=0).sqrt()[:, None]
