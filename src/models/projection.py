"""The latent of a given image, by gradient descent (Karras et al. 2020, sec. 5 and appendix D).

    minimise over w   |F(G(w)) - F(x)|^2 + |G(w) - x|^2      each divided by that of the mean w

with the features F of a trained network, and z in the place of w where G has no styles. It begins
at the nearest, pixel by pixel, of some draws and their mean. Noise on w, which dies away, leads out
of narrow valleys. The authors' F is LPIPS, without a term of pixels; they begin at the mean, and
optimise G's noise inputs too, which could paint the image by themselves and are fixed here.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.config.ranges import PositiveInt
from src.models.base import LatentVariableModel
from src.models.capabilities import Generates
from src.models.parts.content import Content
from src.networks.base import StyleGenerator

DRAWS = 500  # of latents, the nearest of which is the beginning
RATE = 0.1  # of Adam, in standard deviations of the latent's numbers
NOISE = 0.05  # standard deviation of the noise at first, in the latents' distance from the mean
WARM_UP, NOISY, COOL_DOWN = 0.05, 0.75, 0.25  # shares of the steps, the last from the end
FRAMES = 30


class Projection(NamedTuple):
    """Result of a projection.

    Attributes:
        latent: w or z, (d,).
        image: G's (c, h, w).
        frames: steps done and images on the way, the first and the last among them.
        features: distance in features at the end, as a share of that of the mean latent.
        psnr: peak signal-to-noise ratio of the image, in dB.
    """

    latent: Tensor
    image: Tensor
    frames: list[tuple[int, Tensor]]
    features: float
    psnr: float


def project(
    model: LatentVariableModel,
    x: Tensor,
    content: Content,
    label: int | None = None,
    steps: PositiveInt = 500,
    seed: int = 0,
) -> Projection:
    """Find the latent whose sample is most like an image.

    Args:
        model: has a generator, see `Generates`.
        x: the image (c, h, w) in [-1, 1], of the model's shape.
        content: distance in features.
        label: its class, of a conditional model.
        steps: of Adam.
        seed: of draws and noise.
    """
    assert isinstance(model, Generates)
    generator, styled = model.sampled, isinstance(model.sampled, StyleGenerator)
    x = x.to(model.device)[None]
    random = model.make_random_generator(seed)

    def classes(n: int) -> Tensor | None:
        return None if label is None else torch.full((n,), label, device=model.device)

    def make(latent: Tensor) -> Tensor:
        if styled:
            return generator.synthesise(latent[:, None].expand(-1, generator.layers, -1))
        return generator(latent, classes(len(latent)))

    def distances(image: Tensor) -> Tensor:
        return torch.stack([content(image, x), (image - x).square().mean()])

    with model.scoring():
        latents = model.latents(DRAWS, seed)
        if styled:
            latents = generator.styles(latents, classes(DRAWS))[:, 0]
        mean, scale = latents.mean(0, keepdim=True), latents.std(0).square().mean().sqrt()
        first = distances(make(mean))
        starts = torch.cat([mean, latents])
        errors = [(make(some) - x).square().mean((1, 2, 3)) for some in starts.split(50)]
        latent = starts[torch.cat(errors).argmin()][None].clone().requires_grad_()
        adam = torch.optim.Adam([latent])
        frames = [(0, make(latent)[0])]
        for i in range(steps):
            done = i / steps
            cooling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - done) / COOL_DOWN))
            adam.param_groups[0]["lr"] = float(RATE * scale * cooling * min(1.0, done / WARM_UP))
            spread = NOISE * scale * latent.shape[1] ** 0.5 * max(0.0, 1 - done / NOISY) ** 2
            drawn = torch.randn(latent.shape, generator=random, device=model.device)
            with torch.enable_grad():
                loss = (distances(make(latent + spread * drawn)) / first).sum()
            (latent.grad,) = torch.autograd.grad(loss, latent)
            adam.step()
            if (i + 1) * FRAMES // steps > i * FRAMES // steps:
                frames.append((i + 1, make(latent)[0]))
        image = frames[-1][1].clamp(-1, 1)
        features, error = distances(image[None])
        psnr = 10 * math.log10(4 / max(float(error), 1e-12))
        return Projection(latent.detach()[0], image, frames, float(features / first[0]), psnr)
