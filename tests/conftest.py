"""What all tests share: a cache of their own, no network, and runs that take a second."""

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl as hydra
from hydra._internal import defaults_list
from hydra._internal.defaults_list import DefaultsList, Overrides
from omegaconf import DictConfig, OmegaConf

from src import cli as command
from src.config import checks
from src.config import composition as config
from src.runs.run import Run
from src.training.fit import train

# A run of a second: the built-in stand-in, no scores.
QUICK = ("data.source=builtin", "metrics=none", "wandb.mode=disabled", "trainer=cpu")
# Without pictures, which take longer to draw than such a run to train.
UNDRAWN = tuple(
    f"~callbacks.{name}" for name in ("samples", "curves", "neighbours", "codes", "shapes")
)


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


@pytest.fixture(scope="session", autouse=True)
def _presets_composed_once() -> Iterator[None]:
    """Hydra reads and merges the files of the same choices once, which takes 0.1 s or more.

    Everything else it does anew: it reads the words, which say what is chosen, and applies them to
    a copy. Only what is in conf/ is kept, since tests change files elsewhere.
    """
    loader = hydra.ConfigLoaderImpl
    original_choose = hydra.create_defaults_list
    original_merge = loader._compose_config_from_defaults_list
    original_map = defaults_list._create_interpolation_map
    kept: dict[str, bytes] = {}  # pickled, since the garbage collector looks through objects
    ours = {f"file://{config.CONF}", "pkg://hydra.conf", "structured://"}

    def keep(key: str, repo: Any, make: Callable[[], Any]) -> Any:
        if not {source.full_path() for source in repo.get_sources()} <= ours:
            return make()
        if key not in kept:
            kept[key] = pickle.dumps(make())
        return pickle.loads(kept[key])

    def choose(**given: Any) -> DefaultsList:
        words = Overrides(given["repo"], given["overrides_list"])
        chosen = words.override_choices, words.append_group_defaults, words.deletions
        key = repr((given["config_name"], given["skip_missing"], chosen))
        made = keep(key, given["repo"], lambda: original_choose(**given))
        return replace(made, config_overrides=words.config_overrides)

    def merge(self: Any, defaults: list, repo: Any) -> DictConfig:
        return keep(repr(defaults), repo, lambda: original_merge(self, defaults, repo))

    def map_choices(words: Overrides, defaults: list, self_added: bool) -> DictConfig | None:
        needed = any(default.is_interpolation() for default in defaults)  # else nobody asks it
        return original_map(words, defaults, self_added) if needed else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(defaults_list, "_create_interpolation_map", map_choices)
        patch.setattr(hydra, "create_defaults_list", choose)
        patch.setattr(loader, "_compose_config_from_defaults_list", merge)
        yield


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
