"""Train the classifiers that ship with the project:

    python -m benchmarks.train_classifiers digits faces solids
    python -m benchmarks.train_classifiers mnist data.root=PATH

The shipped files were made by this script on the CPU with one thread. Run again it makes files of
the same quality, though not of the same bits on another machine: numbers by the new features are
not comparable with those by the old ones, and have another hash.
"""

import sys

import torch

from src.config.composition import compose, plain
from src.networks.classifier import train_classifier
from src.networks.features import SHIPPED
from src.training.instantiate import build_data

DATA = {
    "mnist": ["data=mnist", "data.source=real"],
    "digits": ["data=mnist", "data.source=builtin"],
    "faces": ["data=celeba", "data.source=builtin"],
    "solids": ["model=gan3d", "data=solids"],
}


def main(words: list[str]) -> None:
    """Train the named classifiers; words with an equals sign are settings of the data."""
    torch.set_num_threads(1)
    settings = [word for word in words if "=" in word]
    for name in [word for word in words if "=" not in word]:
        data = build_data(plain(compose("train", [*DATA[name], *settings])))
        data.setup()
        path = SHIPPED / f"{name}.safetensors"
        accuracy = train_classifier(data, path)
        print(f"{path}: test accuracy {accuracy:.4f}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
