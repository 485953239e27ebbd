"""What all tests share: a cache of their own, no network, and runs that take a second."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from src import cli as command
from src.config import checks
from src.config import composition as config
from src.runs.run import Run
from src.training.fit import train

# A run of a second: the built-in stand-in, no scores.
QUICK = ("data.source=builtin", "metrics=none", "wandb.mode=disabled", "trainer=cpu")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARRING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WANDB_MODE", "offline")
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Two test processes share two cores, and OMP_NUM_THREADS is not always set.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def composed(*overrides: str) -> DictConfig:
    """A checked configuration of `train`, as `launch` hands it to `train`."""
    settings = config.compose("train", [*QUICK, *overrides])
    checks.check(settings)
    command.resolve_source(settings)
    return settings


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder; the lock, which holds nothing, left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


Fit = Callable[..., Run]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """`fit("model=dcgan", ..., folder=...)`: train in this process and return the run."""

    def run(*overrides: str, folder: Path = tmp_path / "run") -> Run:
        train(composed(*overrides), folder)
        return Run(folder)

    return run


@pytest.fixture(autouse=True)
def _resolver() -> None:
    OmegaConf.register_new_resolver("run_folder", command._run_folder, replace=True)
