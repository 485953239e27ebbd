"""Judge translated digits by a classifier: `python -m benchmarks.adaptation RUN [RUN ...]`.

Of runs on `data=digit_domains`, for each run and both directions: a classifier is trained on the
training images of the one domain, translated by the run, with the labels that they had; its
accuracy on the untranslated test images of the other domain says whether translation keeps the
class and reaches the domain (Hoffman et al. 2018, CyCADA, arXiv:1711.03213). Beside it stand a
classifier of the images as they are (source only) and one of the other domain itself. All have the
same architecture and are trained on as many images, each of them deformed at random; the labels of
the other domain are used for the test only. Runs that differ in the seed alone are averaged.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from src.data.digit_domains import DigitDomains
from src.data.spec import Split, to_model, to_uint8
from src.networks.classifier import accuracy, fit
from src.runs.run import Run
from src.training.trained import load_data, load_model

PART = 500


def translated(translate: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Stored images (n, c, h, w) as stored translations."""
    return torch.cat([to_uint8(translate(to_model(part)).cpu()) for part in x.split(PART)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument(
        "--samples",
        type=int,
        default=60_000,
        help="images that a classifier is trained on, with repetition",
    )
    arguments = parser.parse_args()
    known: dict[tuple[str, ...], tuple[float, float]] = {}
    found: dict[tuple[str, ...], list[float]] = {}

    def read(train: Split, test: Split) -> float:
        # A class may be missing from the test images.
        classes = 1 + int(max(train.y.max(), test.y.max()))
        network = fit(train, classes, arguments.samples, seed=0, deformed=True)
        return accuracy(network, test)

    print("| run | from | to | source only | translated | target itself |")
    print("|---|---|---|---|---|---|")
    for folder in arguments.runs:
        run = Run(folder)
        model = load_model(run)
        data = load_data(run, model.spec, None, "~/.cache/sparring")
        if not isinstance(data, DigitDomains):
            parser.error(f"{folder} was not trained on data=digit_domains")
        settings = {k: v for k, v in run.settings.items() if k in ("model", "data", "budget")}
        variant = json.dumps(settings | {"data": data.data_id}, sort_keys=True)
        sides = {
            data.sets[0]: {s: Split(x, data.source_labels[s]) for s, x in data.sources.items()},
            data.sets[1]: data.splits,
        }
        for here, there, translate in (
            (*data.sets, model.translate), (*data.sets[::-1], model.translate_back),
        ):  # fmt: skip
            train, test = sides[here]["train"], sides[there]["test"]
            same = (here, there, json.dumps(data.data_id, sort_keys=True))
            if same not in known:
                known[same] = read(train, test), read(sides[there]["train"], test)
            score = read(Split(translated(translate, train.x), train.y), test)
            found.setdefault((here, there, variant), []).append(score)
            numbers = f"{known[same][0]:.3f} | {score:.3f} | {known[same][1]:.3f}"
            print(f"| {folder} | {here} | {there} | {numbers} |", flush=True)
    for (here, there, _), scores in found.items():
        if len(scores) > 1:
            mean, spread = statistics.mean(scores), statistics.stdev(scores)
            print(f"{here} to {there}: {mean:.3f} +- {spread:.3f} (sd of {len(scores)} runs)")


if __name__ == "__main__":
    main()
