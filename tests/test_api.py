"""The Python interface: a run from training to its samples and a table, and its errors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize

import src
from src.api import _spell
from tests.conftest import QUICK, UNDRAWN

SMALL = ("model.generator.width=2", "model.discriminator.width=2", "model.batch_size=8", *UNDRAWN)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> src.TrainedRun:
    words = [word for word in QUICK if word != "metrics=none"]
    folder = tmp_path_factory.mktemp("api") / "run"
    settings = {"budget": 40, "folder": folder, "metrics.n": 20, "metrics.metrics": ["fid"]}
    return src.fit("model=cdcgan", "data=mnist", *words, *SMALL, **settings)


def test_what_a_run_knows(run: src.TrainedRun) -> None:
    assert run.config["model"]["batch_size"] == 8
    assert run.summary["status"] == "finished"
    assert run.scores["fid20_digits"] == run.summary["metrics"]["fid20_digits"]
    assert run.metrics.index.name == "samples_seen"
    assert run.metrics.index[-1] == 40
    assert run.metrics["loss/d"].notna().all()
    again = src.load_run(str(run.folder))
    assert again.summary == run.summary
    assert "finished" in repr(again)


def test_samples(run: src.TrainedRun) -> None:
    x = run.sample(4, seed=1)
    assert x.shape == (4, 1, 28, 28)
    assert x.dtype == torch.float32
    assert -1 <= x.min() <= x.max() <= 1
    assert torch.equal(x, run.sample(4, seed=1))
    assert not torch.equal(x, run.sample(4, seed=2))
    assert not torch.equal(run.sample(4), run.sample(4, seed=None))
    assert torch.equal(run.sample(2, labels=3), run.sample(2, labels=["3", "3"]))
    assert torch.equal(run.sample(3), run.sample(3, labels=torch.arange(3)))
    assert isinstance(run.model, torch.nn.Module)


def test_a_second_call_trains_nothing(run: src.TrainedRun, capsys: pytest.CaptureFixture) -> None:
    words = [word for word in QUICK if word != "metrics=none"]
    settings = {"budget": 40, "folder": run.folder, "metrics.n": 20, "metrics.metrics": ["fid"]}
    src.fit("model=cdcgan", "data=mnist", *words, *SMALL, **settings)
    assert "is finished" in capsys.readouterr().out


def test_a_table(run: src.TrainedRun) -> None:
    table = src.compare_runs(run.folder.parent)
    frame = table.to_frame()
    assert frame["runs"].tolist() == [1]
    assert frame["fid20_digits"].tolist() == [pytest.approx(run.scores["fid20_digits"])]
    assert "fid20_digits" in repr(table)
    assert table._repr_markdown_().count("|") > 5


def test_errors_are_those_of_the_command_line(run: src.TrainedRun, tmp_path: Path) -> None:
    for call, told in (
        (lambda: src.fit("model=dcgn"), "Did you mean dcgan"),
        (lambda: src.fit(budget=-1), "budget=-1"),
        (lambda: src.load_run(tmp_path), "is not a run folder"),
        (lambda: src.compare_runs(tmp_path / "no"), "does not exist"),
        (lambda: run.sample(0), "n=0"),
        (lambda: run.sample(2, labels="cat"), "label=cat"),
        (lambda: run.sample(2, labels=[1]), "1 are given"),
    ):
        with pytest.raises(src.SettingError, match=told):
            call()


def test_torch_is_imported_when_it_is_needed() -> None:
    code = "import sys, src; src.load_run, src.compare_runs; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = src.nothing
    assert {*src.__all__} <= {*dir(src)}


VALUES = [1, 0.5, 1e-5, None, True, "a b", "it's", "a=b,c", r"C:\x", r"\'", "x\\", [1, "a"]]


@pytest.mark.parametrize("value", [*VALUES, {"a": [None]}])
def test_values_arrive(value: object) -> None:
    with initialize(version_base=None):
        assert compose(overrides=[f"+key={_spell(value)}"]).key == value
