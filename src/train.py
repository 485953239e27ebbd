"""Train one model on one data set: `python -m src.train model=dcgan data=celeba`.

The same command again returns the summary of a finished run, or goes on with an interrupted one.
"""
# ruff: noqa: E402  the imports below are part of the wall time

import time

BEGUN = time.perf_counter()

import sys
from functools import partial
from pathlib import Path

if not __package__:  # python src/train.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import check
from src.sweeps.sweep import sweep
from src.training.fit import train


def main() -> None:
    """Run the command of the command line."""
    launch("train", check, partial(train, begun=BEGUN), sweep=sweep)


if __name__ == "__main__":
    main()
