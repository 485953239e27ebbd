"""Random command lines, of all commands: each is refused in three lines or works, by no traceback.

Hypothesis draws them, always the same ones. In `make test` what passes the checks is built as
`train` builds it; in `make test-all` it is also trained, for two iterations.
"""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning import Callback
from omegaconf import DictConfig
from PIL import Image

from src.cli import launch
from src.compare import compare
from src.config import checks
from src.config.composition import CONF, compose, flatten, plain
from src.evaluate import evaluate
from src.metrics.scorers import make_scorers
from src.sample import sample
from src.status import status
from src.sweeps import launchers
from src.sweeps.sweep import sweep
from src.sweeps.worker import Order, Outcome
from src.training.fit import train
from src.training.instantiate import build, build_data, build_model
from src.translate import translate
from tests.conftest import UNDRAWN, composed

# The same examples each time, however long one takes.
SAME = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
VALUES = [
    *("0", "1", "2", "3", "8", "-1", "-5", "0.5", "-0.5", "1.5", "1e-3", "1e300", "nan", "inf"),
    *("true", "null", "abc", "''", '""', "[]", "{}", "[0]", "[1]", "[2,2]", "[[[]]]", "[a,b]"),
    *("{a:1}", "{_target_:src.errors.SettingError}", "10k", "1.5M", "9223372036854775808", "???"),
    *("a=b", "../x", "src.models.gan.GAN", "torch.nn.Linear", "adam", "none", "0.1,0.2", "é"),
    *(
        "${seed}",
        "${nothing}",
        "${",
        "$",
        ":",
        "[",
        "}",
        "'",
        "\\",
        "x" * 300,
        "[-1,nan]",
        "[true]",
    ),
]
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
BUILTIN = ("data.source=builtin",)
DATA = {"mnist": BUILTIN, "stacked_mnist": BUILTIN, "ring": (), "gaussian": ()}
POINTS = ("gaussian_gan", "tiny")  # on points only
ODD = ["=", "==", "seed", "~", "+", "++x=1", "+a.b.c=1", "model=", "@=1", "a@b=c", "", "--cfg job"]
ODD += ["--cfg", "--info", "--package", "-x", "--config-dir=nowhere", "--config-name=x", "-m"]
GROUPS = sorted({str(path.parent.relative_to(CONF)) for path in CONF.rglob("*.yaml")} - {"."})
OTHERS = {
    "sample": (checks.check_sample, sample),
    "evaluate": (checks.check_evaluate, evaluate),
    "compare": (checks.check_compare, compare),
    "status": (checks.check_status, status),
    "translate": (checks.check_translate, translate),
}


def _keys(name: str, *overrides: str) -> dict[str, str]:
    """Keys of a composed configuration, of values and of nodes, and their values as text."""
    values = flatten(plain(compose(name, list(overrides)), resolve=False))
    nodes = {key.rpartition(".")[0]: "null" for key in values if "." in key}
    return nodes | {key: str(value).replace("None", "null") for key, value in values.items()}


@st.composite
def _overrides(draw: st.DrawFn, keys: dict[str, str]) -> list[str]:
    """One to three overrides, of which some are nonsense."""

    def one() -> str:
        kind = draw(st.sampled_from(["value"] * 8 + ["group", "delete", "add", "typo", "odd"]))
        key, value = draw(st.sampled_from(sorted(keys))), draw(st.sampled_from(VALUES))
        value = draw(st.sampled_from([value, keys[key]]))  # or as it is
        if kind == "group":
            group = draw(st.sampled_from(GROUPS))
            names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            return f"{group}={draw(st.sampled_from([*names, 'none', value]))}"
        forms = {"value": f"{key}={value}", "delete": f"~{key}", "add": f"+{key}x={value}"}
        forms |= {"typo": f"{key[:-1]}={value}", "odd": draw(st.sampled_from(ODD))}
        return forms[kind]

    return [one() for _ in range(draw(st.integers(1, 2)))]


def _finish(name: str, check: Callable, run: Callable, words: list[str], many: Any = None) -> str:
    """Run a command line. Returns its error text, or "" if it did what it should."""
    try:
        launch(name, check, run, words, many)
    except SystemExit as end:
        told = end.code if isinstance(end.code, str) else ""
        if told:
            assert told.startswith("error: "), words
            assert told.count("\n") <= 2, words
            assert max(map(len, told.splitlines())) <= 410, words
        return told
    return ""


def _build(settings_: DictConfig, _: Path) -> None:
    """Build all that a training needs, without memory for the weights."""
    chosen = plain(settings_)
    data = build_data(chosen)
    data.setup()
    with torch.device("meta"):
        model = build_model(chosen, data.spec)
    for name, node in chosen["callbacks"].items():
        build(node, Callback, f"callbacks.{name}")
    if chosen["metrics"]["extractor"] == "exact" or data.spec.kind == "points":
        make_scorers(chosen["metrics"], data, model)


def _train(settings_: DictConfig, folder: Path) -> None:
    """Train for two iterations, and score by few samples."""
    settings_.budget = min(settings_.budget, 2 * settings_.model.batch_size)
    if settings_.metrics.n is None:
        settings_.metrics.n = 50
    train(settings_, folder)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder to be in, and sweeps that run nothing."""

    def submit(*_: launchers.Basic | Order) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_result(Outcome("finished"))
        return future

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launchers.Basic, "submit", submit)


def _fuzz_train(examples: int, run: Callable) -> dict[str, int]:
    counts = {"refused": 0, "worked": 0}
    keys: dict[str, dict[str, str]] = {}

    @settings(SAME, max_examples=examples)
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(MODELS))
        source = data.draw(st.sampled_from([*DATA][2:] if model in POINTS else [*DATA][:2]))
        first = [f"model={model}", f"data={source}", *DATA[source]]
        if model not in keys:
            keys[model] = _keys("train", *first)
        words = data.draw(_overrides(keys[model]))
        first += ["wandb.mode=disabled", "trainer=cpu", "metrics=none"]
        told = _finish("train", checks.check, run, [*first, *words], sweep)
        counts["refused" if told else "worked"] += 1

    attack()
    return counts


def _fuzz_others(examples: int, run: Path, translator: Path) -> dict[str, int]:
    counts = {"refused": 0, "worked": 0}
    photo, folder = translator.parent / "photo.png", run.parent
    words = {
        "sample": [f"run={run}"],
        "evaluate": [f"run={run}"],
        "compare": [f"runs={folder}"],
        "status": [f"runs={folder}"],
        "translate": [f"run={translator}", f"in={photo}", f"out={translator.parent}/out"],
    }
    Image.new("L", (9, 8), 99).save(photo)
    keys = {name: _keys(name, *first) for name, first in words.items()}

    @settings(SAME, max_examples=examples)
    @given(st.sampled_from(sorted(OTHERS)), st.data())
    def attack(name: str, data: st.DataObject) -> None:
        more = data.draw(_overrides(keys[name]))
        more = [word for word in more if not word.startswith("watch=t")]  # which has no end
        told = _finish(name, *OTHERS[name], [*words[name], *more])
        counts["refused" if told else "worked"] += 1

    attack()
    return counts


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ("model=gaussian_gan", "data=gaussian", "metrics.n=50", "budget=32", *UNDRAWN)
    train(composed(*words), folder)
    return folder


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translators") / "run"
    words = ("model=srresnet", "data=mnist", "data/degradation=downsample", "budget=32", *UNDRAWN)
    train(composed(*words, "metrics=none", "model.translator.width=4"), folder)
    return folder


def test_train() -> None:
    counts = _fuzz_train(60, _build)
    assert counts["refused"] > 20, counts
    assert counts["worked"] > 3, counts


def test_other_commands(trained: Path, translator: Path) -> None:
    counts = _fuzz_others(40, trained, translator)
    assert counts["refused"] > 10, counts
    assert counts["worked"] > 1, counts


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_many_trainings() -> None:
    counts = _fuzz_train(1500, _train)
    assert counts["refused"] > 500, counts
    assert counts["worked"] > 200, counts


@pytest.mark.slow
def test_many_other_commands(trained: Path, translator: Path) -> None:
    counts = _fuzz_others(500, trained, translator)
    assert counts["refused"] > 100, counts
    assert counts["worked"] > 50, counts
