"""All cases, and the honest run as one of them."""

from tests.hostile import checkpoints, configurations, files, slots, texts
from tests.hostile.checkpoints import forged
from tests.hostile.folders import Case, several

CONTROLS = [
    Case("honest-gan", "honest", several(), draws=True),
    Case("honest-vae", "honest", several(), base="vae"),
    Case("honest-toy", "honest", several(), base="toy"),
    Case("honest-rewritten-checkpoint", "honest", forged(lambda _: None)),
]
CASES: list[Case] = [
    *CONTROLS,
    *configurations.CASES,
    *slots.CASES,
    *checkpoints.CASES,
    *files.CASES,
    *texts.CASES,
]
assert len({case.name for case in CASES}) == len(CASES)

# What `sample` tries in the quick part of the tests, of each sort the worst.
WORST = (
    *("yaml-pairs", "yaml-omap", "yaml-omap-that-makes", "yaml-pairs-in-pairs", "yaml-own-tag"),
    *("yaml-python-apply", "yaml-self-reference", "yaml-long-integer", "yaml-merge-bomb"),
    *("yaml-billion-laughs-in-a-slot", "yaml-brackets", "yaml-dashes", "yaml-spaces", "model-3"),
    *("interpolation-of-the-home", "width-of-a-trillion", "width-of-four-gigabytes"),
    *("build-os-system", "build-os-system-as-the-data", "build-args", "build-model-checkpoint"),
    *("build-linear-of-a-trillion-as-the-generator", "build-embedding", "build-ray"),
    *("build-submitit", "build-wandb-logger", "build-generator-as-the-discriminator"),
    *("build-gan-in-a-gan", "build-target-with-escapes"),
    *("ckpt-os-system", "ckpt-bytearray-of-100-gigabytes", "ckpt-bomb-of-zeros", "ckpt-cut"),
    *("ckpt-storage-of-a-terabyte", "ckpt-view-of-one-number", "ckpt-meta-weight"),
    *("ckpt-nan-weights", "ckpt-seen-of-5000-digits", "ckpt-spec-of-a-billion"),
    *("link-config-yaml-outside", "link-checkpoints-outside", "pipe-checkpoints-last-ckpt"),
)
