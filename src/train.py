"""Train one model on one data set: `python -m src.train model=dcgan data=celeba`.

The same command again returns the summary of a finished run, or goes on with an interrupted one.
"""
# ruff: noqa: E402  the imports below are part of the wall time

import time

BEGUN = time.perf_counter()

from functools import partial

from src.cli import launch
from src.config.checks import check
from src.sweeps.sweep import sweep
from src.training.fit import train

if __name__ == "__main__":
    launch("train", check, partial(train, begun=BEGUN), sweep=sweep)
