"""`debug=...`, and the arguments of Lightning's Trainer."""

import inspect
import json
import math
from pathlib import Path

import lightning as L
import pytest
import torch

from src.cli import name_run_folders
from src.config import checks, composition
from src.config.settings import Trainer
from src.data.loader import Stream
from src.data.sources import IDX, resolve_source
from src.errors import SettingError, TrainingError
from tests.conftest import UNDRAWN, Fit, composed

TOY = ("model=gan", "data=ring", "model.batch_size=20", *UNDRAWN)


def test_quick_is_two_iterations_with_scores_and_pictures(fit: Fit) -> None:
    words = [word for word in UNDRAWN if "samples" not in word]
    run = fit(
        "model=wgan", "data=ring", "model.batch_size=20", "debug=quick", "metrics=auto", *words
    )
    summary = run.summary
    assert summary["iterations"] == 2
    assert summary["samples_seen"] > 40  # of several steps of the critic each
    assert summary["metrics"]
    assert (run / "samples" / "final.png").exists()


def test_overfit_trains_on_one_batch(fit: Fit) -> None:
    run = fit(*TOY, "debug=overfit", "budget=60")
    assert run.settings["trainer"]["overfit_batches"] == 1
    assert run.summary["iterations"] == 3


@pytest.mark.parametrize("start", [0, 3, 12])
def test_a_stream_that_repeats_its_first_batches(start: int) -> None:
    x = torch.arange(20.0)[:, None]
    stream = Stream(x, None, batch_size=3, seed=1, repeat=2)
    endless = Stream(x, None, batch_size=3, seed=1)
    first = [next(endless).x for _ in range(2)]
    assert not first[0].equal(next(endless).x)
    stream.load_state_dict({"position": start})
    for i in range(5):
        assert next(stream).x.equal(first[(start // 3 + i) % 2])
    assert stream.position == start + 15


def test_profile_leaves_a_table_and_a_trace(fit: Fit, capsys: pytest.CaptureFixture) -> None:
    run = fit(*TOY, "debug=profile")
    table = (run / "profile" / "fit-table.txt").read_text()
    assert "ProfilerStep*" in table
    assert "aten::addmm" in table or "aten::linear" in table
    events = json.loads((run / "profile" / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if event["name"].startswith("ProfilerStep")}
    assert len(steps) == 3
    assert str(run / "profile" / "trace.json") in capsys.readouterr().out


def test_nan_names_the_operation_and_its_line(fit: Fit) -> None:
    with pytest.raises(
        TrainingError, match=r"gradient of \w+ is NaN.*\n.+\.py, line \d+: "
    ) as told:
        fit(*TOY, "debug=nan", "model.g_optimizer.lr=1e30")
    assert "site-packages" not in str(told.value)
    with pytest.raises(TrainingError, match="Training diverged"):  # which term, but not where
        fit(*TOY, "model.g_optimizer.lr=1e30", "callbacks.records.every=20")


def test_other_errors_pass_anomaly_detection() -> None:
    from src.training.trainer import naming_the_operation

    with pytest.raises(RuntimeError, match="mine"), naming_the_operation(None):
        raise RuntimeError("mine")


def test_a_debugged_run_has_a_folder_of_its_own() -> None:
    settings = composed(*TOY, "debug=quick")
    assert settings.hydra.run.dir.startswith("debug/ring/gan/debug=quick,")
    assert settings.existing == "restart"
    with pytest.raises(SettingError, match="may hold a run"):
        checks.check(composition.compose("train", ["debug=quick", "hydra.run.dir=outputs/x"]))
    for words in (["existing=continue"], []):
        place = "outputs/x" if words else "debug/x"
        given = ["debug=quick", f"hydra.run.dir={place}", *words]
        checks.check(composition.compose("train", given))


def test_a_debugged_run_takes_the_data_that_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in (name for names in IDX.values() for name in names):
        (tmp_path / name).touch()
    name_run_folders()
    words = ["model=gan", "data=mnist", f"data.root={tmp_path}", "debug=quick"]
    settings = composition.compose("train", words)
    resolve_source(settings)
    assert settings.hydra.run.dir.startswith("debug/mnist/gan/")
    assert settings.data.source == "real"
    assert capsys.readouterr().err == ""


def test_each_argument_of_lightnings_trainer_passes_or_is_answered() -> None:
    theirs = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    ours = set(Trainer.__annotations__)
    answered = set(composition.TRAINER)
    assert theirs <= ours | answered
    assert answered <= theirs
    assert ours & answered == {"overfit_batches"}  # which debug=overfit sets


@pytest.mark.parametrize("name", composition.TRAINER)
def test_an_answer_says_what_serves(name: str) -> None:
    with pytest.raises(SettingError) as told:
        composition.compose("train", [f"trainer.{name}=1"])
    first, second = str(told.value).splitlines()
    assert first == f"trainer.{name}: there is no such setting."
    assert second == composition.TRAINER[name]


def test_what_passes_reaches_lightning(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict = {}
    original = L.Trainer.__init__

    def note(self: L.Trainer, **options: object) -> None:
        given.update(options)
        original(self, **options)

    monkeypatch.setattr(L.Trainer, "__init__", note)
    run = fit(*TOY, "budget=20", "trainer.deterministic=warn", "trainer.benchmark=false",
              "trainer.profiler=simple")  # fmt: skip
    assert (given["deterministic"], given["benchmark"]) == ("warn", False)
    assert "run_training_epoch" in (run / "profile" / "fit-table.txt").read_text()
    torch.use_deterministic_algorithms(False)


def test_the_budget_of_quick_follows_the_batch() -> None:
    settings = composed("debug=quick", "model.batch_size=7")
    assert settings.budget == 14
    assert math.isclose(settings.metrics.n, 100)
