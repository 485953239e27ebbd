"""Train the classifiers that ship with the project:

    python -m benchmarks.train_classifiers digits faces solids
    python -m benchmarks.train_classifiers mnist data.root=PATH
    python -m benchmarks.train_classifiers digits --deformed --out reader.safetensors

The shipped files were made by this script on the CPU with one thread. Run again it makes files of
the same quality, though not of the same bits on another machine: numbers by the new features are
not comparable with those by the old ones, and have another hash.

The last line makes a reader for `model/content=classes`, which is shown each picture turned,
sheared, resized and moved at random. It is no measure.
"""

import argparse
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the classifiers that ship.")
    parser.add_argument("words", nargs="+", help="classifiers, and settings of their data")
    parser.add_argument("--out", type=Path, help="file of the one classifier")
    parser.add_argument("--deformed", action="store_true", help="show each image deformed")
    arguments = parser.parse_args()
    settings = [word for word in arguments.words if "=" in word]
    names = [word for word in arguments.words if "=" not in word]
    if unknown := [name for name in names if name not in DATA]:
        parser.error(f"{unknown[0]}: choose from {', '.join(DATA)}")
    if arguments.out and len(names) != 1:
        parser.error("--out is of one classifier")
    torch.set_num_threads(1)
    for name in names:
        data = build_data(plain(compose("train", [*DATA[name], *settings])))
        data.setup()
        path = arguments.out or SHIPPED / f"{name}.safetensors"
        accuracy = train_classifier(data, path, deformed=arguments.deformed)
        print(f"{path}: test accuracy {accuracy:.4f}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
