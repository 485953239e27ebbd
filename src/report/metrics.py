"""Direction and scale of each number that `src/metrics/` gives.

Distances and errors are compared by their logarithm, as their spread grows with their size. Numbers
that describe and do not rank (sharpness, sparsity, a VAE's kl) have no direction.
"""

import re
from collections.abc import Mapping
from typing import Any

from src.config.composition import near

LOWER = {
    "fid", "kid", "mean_error", "cov_error", "frechet", "reverse_kl", "nearest_error", "kl_uniform",
    "sliced_wasserstein",
    "ppl_z", "ppl_w", "nna", "mse", "masked_mse", "feature_error", "rfid", "error",
    "nll_reconstruction", "mae", "cycle",
}  # fmt: skip
HIGHER = {
    "is", "precision", "recall", "density", "coverage", "modes", "high_quality", "diagonal",
    "whole", "iou", "ap", "label", "purity", "psnr", "ssim", "elbo", "knn", "probe", "mig", "dci",
}  # fmt: skip
UNRANKED = {
    "log_prob",
    "overlap",
    "sharpness",
    "active_units",
    "activation",
    "sparsity",
    "jacobian",
}
PLAIN = {"nll_reconstruction"}  # may be negative, as KID is only by noise about 0

# Headline number of a data set: the first of these that its runs have.
HEADLINES = (
    "fid", "nna", "sliced_wasserstein", "frechet", "modes", "diagonal", "mse", "elbo", "error",
    "iou", "psnr", "cycle",
)  # fmt: skip

# Shown beside the headline number, the first three that most runs of a table have.
BESIDE = (
    "fid", "frechet", "ap", "whole", "is", "precision", "recall", "modes", "high_quality",
    "reverse_kl", "kl", "mse", "psnr", "ssim", "elbo", "label", "purity",
)  # fmt: skip
MOST_BESIDE = 3

ACRONYMS = {"fid", "kid", "is", "mse", "psnr", "ssim", "elbo", "mig", "dci", "kl", "nll", "iou"}
LABELS = {
    "frechet": "Frechet distance",
    "sliced_wasserstein": "sliced Wasserstein",
    "knn": "k-NN",
    "rfid": "rFID",
    "cov_error": "covariance error",
    "kl_uniform": "KL to uniform",
    "ap": "average precision",
    "nna": "1-NN accuracy",
    "overlap": "mean IoU of samples",
    "whole": "largest piece",
    "nll_reconstruction": "reconstruction NLL",
    "ppl_z": "path length in z",
    "ppl_w": "path length in w",
}


def lower_is_better(name: str, protocol: Mapping[str, Any]) -> bool | None:
    """By a number's bare name, such as `fid`; None if it does not rank, or is not known.

    A number that is not ours says so in its protocol, by `lower_is_better`.
    """
    if name == "kl":  # of the modes' shares it is a distance, of a VAE a part of its bound
        return True if "compared_with" in protocol else None
    if name in HIGHER or re.fullmatch(r"iw\d+", name):
        return False
    if name in LOWER:
        return True
    said = protocol.get("lower_is_better")
    return said if isinstance(said, bool) and name not in UNRANKED else None


def on_log_scale(name: str) -> bool:
    """True if this number is compared by ratios."""
    return (name in LOWER or name == "kl") and name not in PLAIN


def is_meant(wanted: str, name: str, protocol: Mapping[str, Any]) -> bool:
    """True if a user who says `wanted` means the number `name`.

    Args:
        wanted: the full name, `fid10k_mnist`, or a beginning of it, `fid10k` or just `fid`.
        name: full name.
        protocol: record of the number, which has its bare name `fid`.
    """
    bare = str(protocol.get("metric", name))
    sized = wanted.startswith(bare) and re.fullmatch(r"\d+k?", wanted[len(bare) :])
    return wanted in (name, bare) or bool(sized and name.startswith(f"{wanted}_"))


def bare_name(full: str) -> str | None:
    """`fid` of `fid10k_mnist` and of `fid`; None of what is no number with a direction."""
    known = (name for name in LOWER | HIGHER if full == name or begins(full, name))
    return next(known, None)


def misspelt(full: str) -> str:
    """' Did you mean fid?', if a name is none of ours and is like one of them, else nothing."""
    known = LOWER | HIGHER | UNRANKED
    if any(full == name or begins(full, name) for name in known):
        return ""
    return near(re.split(r"\d", full, maxsplit=1)[0], sorted(known))


def begins(full: str, name: str) -> bool:
    """True if a full name such as `fid10k_mnist` begins with the metric `fid`."""
    return full.startswith(name) and full[len(name) : len(name) + 1].isdigit()


def label(name: str) -> str:
    """For a heading: `fid` is "FID", `masked_mse` is "masked MSE", `iw50` is "IW50"."""
    words = [
        w.upper() if w in ACRONYMS or re.fullmatch(r"iw\d+", w) else w for w in name.split("_")
    ]
    return LABELS.get(name, " ".join(words))
