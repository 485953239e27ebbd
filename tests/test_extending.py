"""docs/extending.md is true: its package is made in a folder elsewhere, and its commands run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import src
from src.__main__ import main
from src.config import plugins
from src.runs.metrics_file import read_metrics
from src.runs.run import Run
from tests.conftest import UNDRAWN, contents

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
# A second's work, where the page has minutes'.
SMALL = {
    "train": ["budget=192", "metrics.n=40", "metrics.extractor=none", "trainer.accelerator=cpu"],
    "evaluate": ["metrics.extractor=none"],
}
SMALL["train"] += ["wandb.mode=disabled", *UNDRAWN]

# What pip makes of an entry point.
SCRIPT = """\
import sys
from src.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words after `sparring` of each command of the page, with fewer samples."""
    found = [shlex.split(line)[1:] for line in blocks("bash")[0].splitlines()]
    small = ["model.discriminator.width=2", "model.batch_size=32"]
    return [
        [*words, *SMALL.get(words[0], []), *(small if "model=dcgan" in words else [])]
        for words in found
    ]


def called(*words: str) -> None:
    """`sparring ...` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sparring", *words])
        main()


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as end:
        called(*words)
    return str(end.value.code)


def forget() -> None:
    """Unload the page's package, as a new process would find it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypkg"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the page, with its first four commands done in it."""
    folder = tmp_path_factory.mktemp("extending") / "mine"
    for name, text in re.findall(r"`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "mypkg/__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        for words in commands()[:5]:
            called(*words)
        yield folder
    forget()
    plugins._module.cache_clear()


def test_parts_do_what_they_say(mine: Path) -> None:
    run = Run(mine / "outputs/bars", ["mypkg"])
    made = run.settings
    for node in (made["model"]["loss"], made["model"]["generator"], made["data"]):
        assert node["_target_"].startswith("mypkg.")
    assert made["plugins"] == ["mypkg"]
    assert re.fullmatch("[0-9a-f]{16}", run.summary["plugins"]["mypkg"])
    assert run.summary["data_id"]["name"] == "drawn_stripes"
    assert run.summary["headline"] == ["ink"]
    assert 0 < run.summary["protocols"]["ink40_train"]["real"] < 0.02
    rows = read_metrics(run / "metrics.csv")
    assert sum("brightness" in row for row in rows) == 6  # of ten points, some in one iteration
    assert all(np.isfinite(row["loss/d"]) for row in rows if "loss/d" in row)


def test_the_model_learns(mine: Path) -> None:
    rows = read_metrics(mine / "outputs/pixels/metrics.csv")
    losses = [row["loss/nll"] for row in rows if "loss/nll" in row]
    assert losses[-1] < losses[0] - 3  # nats


def test_commands_made_what_they_should(mine: Path) -> None:
    assert (mine / "bars.png").stat().st_size > 500
    (record,) = Run(mine / "outputs/bars").read_json("evaluations.json", list, None)
    assert record["name"] == "ink500_train"
    table = (mine / "report/table.md").read_text()
    assert "ink40_train, less is better" in table
    assert "| pixels |" in table


def test_a_folder_alone_imports_nothing(mine: Path) -> None:
    forget()
    before = contents(mine / "outputs/bars")
    told = refused("sample", "run=outputs/bars")
    assert told == blocks("text")[-1].rstrip("\n")
    assert "again: plugins=[mypkg]" in refused("evaluate", "run=outputs/bars")
    with pytest.raises(src.SettingError, match="imports nothing"):
        src.load_run("outputs/bars")
    with pytest.raises(src.SettingError, match="imports nothing"):
        src.load_run("outputs/bars", plugins=["src"])
    with pytest.raises(src.SettingError, match="imports nothing"):
        src.fit("model=gan", "data=mnist", "data.source=builtin", folder="outputs/bars")
    table = src.compare_runs("outputs").comparison
    assert not table.tables
    assert {left.status for left in table.left_out} == {"not allowed"}
    assert "mypkg" not in sys.modules
    assert contents(mine / "outputs/bars") == before
    without = [word for word in commands()[1] if not word.startswith("plugins")]
    assert "may not be built" in refused(*without)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "metrics.own.ink._target_=mypkg.losses.KL",
            "mypkg.losses.KL does not fit there",
        ),
        ("+metrics.own.other=3", "metrics.own.other=3 has no _target_"),
        ("+metrics.own.ink.n=3", "metrics.own.ink.n: there is no such setting"),
        ("data.resolution=0", "data.resolution=0 must be int above 0"),
        ("data.source=real", "Set data.root to a folder with stripes.npy, uint8"),
        ("model/loss=kll", "Did you mean kl?"),
        ("model.loss.shft=2", "Did you mean model.loss.shift?"),
        ("model=dcgan +model.loss.a=1 model.loss._target_=mypkg.losses.KL", "add ~model.loss.a"),
        ("model.loss._target_=mypkg.losses.LK", "mypkg.losses.LK does not exist"),
    ],
)
def test_wrong_settings_are_told_before_the_import(words: str, told: str) -> None:
    forget()
    assert told in refused(*commands()[0], *words.split())
    assert "mypkg" not in sys.modules


def test_resume(mine: Path, capsys: pytest.CaptureFixture) -> None:
    """The same command returns the finished run; with more budget, its weights are trained on."""
    called(*commands()[1])
    assert "is finished" in capsys.readouterr().out
    called(*commands()[1], "budget=256", "existing=resume")
    told = capsys.readouterr().out
    assert "Resuming in outputs/pixels" in told
    assert "sparring sample run=outputs/pixels n=64 out=grid.png 'plugins=[mypkg]'" in told
    assert Run(mine / "outputs/pixels").summary["samples_seen"] == 256
    called(*commands()[1], "existing=restart")  # as it was


@pytest.mark.usefixtures("mine")
def test_python(capsys: pytest.CaptureFixture) -> None:
    kept = {"small": SMALL["train"]}
    block = blocks("python")[-1].replace("*words", "*words, *small")
    exec(block, kept)  # the second command's run, which is finished
    assert "is finished" in capsys.readouterr().out
    assert kept["run"].sample(2).shape == (2, 1, 16, 16)
    assert {*kept["table"].to_frame()["name"]} >= {"pixels"}


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_by_the_console_script(devices: int, mine: Path) -> None:
    """From a process whose path lacks the working folder, to workers and from there to ranks."""
    script = mine.parent / "bin/sparring"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    words = [*commands()[5], f"trainer.devices={devices}", f"hydra.sweep.dir=sweep{devices}"]
    subprocess.run(
        [sys.executable, str(script), *words, "seed=1"],
        cwd=mine, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    (summary,) = (mine / f"sweep{devices}").rglob("summary.json")
    run = Run(summary.parent, ["mypkg"])
    assert run.status == "finished"
    assert run.settings["plugins"] == ["mypkg"]
    assert run.settings["trainer"]["devices"] == devices
    assert run.summary["metrics"]["ink40_train"] > 0
