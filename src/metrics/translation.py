"""Distance of translations from their targets, on held-out images.

psnr        10 log10(1 / mean squared error of a pixel) in dB, over all channels in [0, 1]
psnr_y      the same of the luminance alone (ITU-R BT.601), from 0 to 1; super-resolution often has
            it from 16 to 235 of 255, which gives 1.32 dB more
psnr_lost   the same where a mask says that the image is lost
ssim        structural similarity (Wang et al. 2004), Gaussian window of 11 pixels; 1 is the same;
            NaN of images below 6 pixels, which the window's mirror image would leave
mae         mean absolute error of a pixel in [0, 1]

Means over the images, after rounding to 8 bits; no border is cut. Beside each stands what the
source itself gets: enlarged by the bicubic filter if it is smaller, as it is if it is not.

cycle       mae of an image that was translated to the other domain and back
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from src.data.base import DataModule
from src.data.spec import to_uint8
from src.metrics.base import (
    ModelScorer,
    Scores,
    Translate,
    held_out,
    held_out_pairs,
    held_out_size,
    translating,
)
from src.models.capabilities import TranslatesBack
from src.transforms.degradations import as_target, luminance


class TranslationScorer(ModelScorer):
    """Compares translations of held-out sources with their targets.

    Args:
        data: set up, with sources.
        translate: sources (n, c', h', w') and labels to targets (n, c, h, w), in [-1, 1].
        n: the most images; evenly spaced ones of the split are taken.
    """

    def __init__(
        self,
        data: DataModule,
        translate: Translate,
        n: int,
    ) -> None:
        split, _ = held_out(data, 1)
        super().__init__(data, split)
        self.translate, self.n = translate, min(n, held_out_size(data))
        self.headline = {"psnr": self.name("psnr"), "ssim": self.name("ssim")}
        self._inputs: dict[str, float] | None = None

    def size(self, metric: str) -> int:
        return self.n

    def score(self) -> Scores:
        """Translate the images and compare them."""
        if self._inputs is None:
            shape = self.data.spec.shape
            self._inputs = self._compare(lambda source, _: as_target(source, shape))
        return self.report(self._compare(self.translate))

    def protocol(self, metric: str) -> dict[str, Any]:
        return {
            "n_real": self.n,
            "real_split": self.basis,
            "pixels": "8 bits, no border cut",
            "channels": "luminance" if metric == "psnr_y" else "all",
            "input": (self._inputs or {}).get(metric),
        }

    def _compare(self, translate: Translate) -> dict[str, float]:
        """Means over the images; empty if `translate` can give none."""
        rows: dict[str, list[Tensor]] = {}
        for x, source, y in held_out_pairs(self.data, self.n):
            output = translate(source, y)
            if output is None:
                return {}
            for name, values in compare(output.cpu(), x, _lost(source, self.data)).items():
                rows.setdefault(name, []).append(values)
        return {name: float(torch.cat(values).mean()) for name, values in rows.items()}


class CycleScorer(ModelScorer):
    """How much of an image is lost on the way to the other domain and back.

    That is 0 for a translator that changes nothing, too.

    Args:
        data: set up, with sources; backwards to begin with the targets.
        model: translates both ways.
        n: the most images; evenly spaced ones of the split are taken.
    """

    def __init__(self, data: DataModule, model: TranslatesBack, n: int) -> None:
        super().__init__(data, held_out(data, 1)[0])
        self.model, self.n = model, min(n, held_out_size(data))
        self.headline = {"cycle": self.name("cycle")}

    def size(self, metric: str) -> int:
        return self.n

    def score(self) -> Scores:
        """Translate the images to and fro."""
        there = translating(self.model, self.data)
        back = self.model.translate if self.data.backwards else self.model.translate_back
        errors = []
        for _, source, y in held_out_pairs(self.data, self.n):
            errors.append(absolute_error(back(there(source, y)).cpu(), source))
        return self.report({"cycle": float(torch.cat(errors).mean())})

    def protocol(self, metric: str) -> dict[str, Any]:
        return {"n_real": self.n, "real_split": self.basis, "pixels": "8 bits", "input": 0.0}


def _lost(source: Tensor, data: DataModule) -> Tensor | None:
    return source[:, -1:] > 0 if data.spec.source.masked else None


def compare(output: Tensor, target: Tensor, lost: Tensor | None = None) -> dict[str, Tensor]:
    """Numbers (n,) in float64 of outputs beside targets, both (n, c, h, w) in [-1, 1].

    Args:
        output: NaN gives NaN.
        target: of the same shape.
        lost: True where the image was lost, (n, 1, h, w); or None.
    """
    finite = output.isfinite().flatten(1).all(1)
    a, b = (to_uint8(x.nan_to_num()).double() / 255 for x in (output, target))
    error = a - b
    numbers = {"psnr": _psnr(error.square().flatten(1).mean(1))}
    if a.shape[1] == 3:
        numbers["psnr_y"] = _psnr(luminance(error).square().flatten(1).mean(1))
    if lost is not None:
        count = lost.flatten(1).sum(1).clamp(min=1) * a.shape[1]
        numbers["psnr_lost"] = _psnr((error.square() * lost).flatten(1).sum(1) / count)
    numbers["ssim"] = torch.full_like(numbers["psnr"], torch.nan)
    if min(a.shape[2:]) > 5:
        numbers["ssim"] = structural_similarity_index_measure(
            a.float(), b.float(), data_range=1.0, reduction="none"
        ).double().reshape(-1)  # fmt: skip
    numbers["mae"] = absolute_error(output, target)
    return {name: value.where(finite, torch.nan) for name, value in numbers.items()}


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error (n,) of pixels in [0, 1], in float64, after rounding; see `compare`."""
    a, b = (to_uint8(x.nan_to_num()).double() / 255 for x in (output, target))
    finite = output.isfinite().flatten(1).all(1)
    return (a - b).abs().flatten(1).mean(1).where(finite, torch.nan)


def _psnr(squared_error: Tensor) -> Tensor:
    """In dB; an image that is exactly right gets 100, as no mean could have infinity in it."""
    return -10 * squared_error.clamp(min=1e-10).log10()
