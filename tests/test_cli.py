"""One run or many, with the same folders, and errors in a few lines."""

import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from omegaconf import DictConfig

from src.__main__ import main
from src.cli import HELP, launch, quoted
from src.config import checks
from src.config import composition as config
from src.data import sources
from src.data.sources import box
from src.errors import SettingError
from src.sweeps import launchers
from src.sweeps.sweep import sweep
from src.sweeps.worker import Order, Outcome
from tests.conftest import QUICK

Calls = list[tuple[DictConfig, Path]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """`launch_train(*words)` in an empty folder; what would have been run is in `calls`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train"])
    return []


def launch_train(calls: Calls, *words: str) -> None:
    def run(settings: DictConfig, folder: Path) -> None:
        calls.append((settings, folder))

    launch("train", checks.check, run, [*QUICK, *words], sweep)


def test_a_single_run(calls: Calls, tmp_path: Path) -> None:
    launch_train(calls, "model=gan", "budget=7")
    ((settings, folder),) = calls
    assert settings.budget == 7
    assert folder == Path("outputs/mnist-builtin/gan/metrics=none,budget=7/seed=0")
    assert list(tmp_path.iterdir()) == []  # Hydra leaves nothing behind


def test_a_folder_of_ones_own(calls: Calls) -> None:
    for place in ("here", "/tmp/a b/c=1,d=(2)/é", "x='y'"):
        calls.clear()
        launch_train(calls, f"hydra.run.dir={place}")
        assert calls[0][1] == Path(place)


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """What a sweep would have run."""
    orders: list[Order] = []

    def submit(_: launchers.Basic, order: Order) -> Future[Outcome]:
        orders.append(order)
        future: Future[Outcome] = Future()
        future.set_result(Outcome("finished"))
        return future

    monkeypatch.setattr(launchers.Basic, "submit", submit)
    return orders


def test_a_sweep_has_the_folders_of_single_runs(
    calls: Calls, swept: list[Order], tmp_path: Path
) -> None:
    words = ["model=gan,dcgan", "seed=0,1", "model/penalty=r1", "budget=7"]
    launch_train(calls, "--multirun", *words)
    for model in ("gan", "dcgan"):
        for seed in (0, 1):
            launch_train(calls, f"model={model}", f"seed={seed}", *words[2:])
    assert [Path(order.folder) for order in swept] == [folder for _, folder in calls]
    for order, (settings, _) in zip(swept, calls, strict=True):
        alone = config.plain(settings)
        for node in (alone["wandb"], alone["logger"]["wandb"]):
            node["group"] = order.settings["wandb"]["group"]
        assert order.settings == alone
    assert not list(tmp_path.rglob(".hydra"))
    assert not list(tmp_path.rglob("multirun.yaml"))


def test_a_sweep_resolves_the_source_and_says_so_once(
    calls: Calls,
    swept: list[Order],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "_sources", {})
    # kmnist's mirror is not asked: the folder of images has none.
    words = ["data=celeba", "data.source=auto", "data.root=/nowhere/at/all", "seed=0,1,2"]
    launch_train(calls, "-m", *words)
    assert [order.settings["data"]["source"] for order in swept] == ["builtin"] * 3
    assert all("celeba-builtin" in Path(order.folder).parts for order in swept)
    told = capsys.readouterr().err
    assert told.count("not comparable") == 1
    assert "data.root=/nowhere/at/all" in told


def test_a_sweep_checks_every_run(
    calls: Calls, swept: list[Order], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        launch_train(calls, "-m", "model.batch_size=0,8", "model=gan,gn", "model/loss=hinge")
    assert caught.value.code == 1
    told = capsys.readouterr().out
    assert "model.batch_size=0 must be a positive int" in told
    assert told.count("model=gn: there is no such choice. Did you mean gan?") == 2
    # The others are run.
    assert [order.settings["model"]["batch_size"] for order in swept] == [8]


def test_a_sweep_as_a_whole_can_be_wrong(calls: Calls, swept: list[Order]) -> None:
    for words, told in (
        (["hydra/launcher=jobli"], "Choices of hydra/launcher: basic, joblib, ray, submitit"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=many"], "must be int"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "must be int above 0"),
        (["hydra/launcher=ray", "hydra.launcher.n_jobs=0"], "must be int above 0"),
        (["hydra/launcher=submitit_local", "hydra.launcher.n_jobs=0"], "must be int above 0"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.n_jobs=-1"], "must be int above 0"),
        (["hydra.sweeper.max_batch_size=0"], "must be int above 0"),
        (["budget=interval(1,9)"], "hydra/sweeper=optuna"),
        (["nothing"], "write key=value"),
    ):
        with pytest.raises(SystemExit) as caught:
            launch_train(calls, "-m", "seed=0,1", *words)
        message = str(caught.value.code)
        assert message.startswith("error: ")
        assert told in message
        assert len(message.splitlines()) <= 3
    assert swept == []


def test_hydras_own_flags(calls: Calls, capsys: pytest.CaptureFixture) -> None:
    launch_train(calls, "--cfg", "job", "model=vae")
    assert "src.models.vae.VAE" in capsys.readouterr().out
    assert calls == []


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("name", ["train", "sample", "evaluate", "status"])
def test_help(name: str, word: str, capsys: pytest.CaptureFixture) -> None:
    launch(name, checks.check, lambda *_: pytest.fail("help must not run"), ["seed=1", word])
    text = capsys.readouterr().out
    assert f"python -m src.{name}" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    if name == "train":
        for path in (config.CONF / "model").glob("*.yaml"):
            assert f"  {path.stem} " in text
        assert all(word in text for word in ("budget:", "max_time:", "existing:", "penalty"))


def test_every_preset_begins_with_a_line_for_help() -> None:
    for group in ("model", "data", "experiment"):
        for path in (config.CONF / group).rglob("*.yaml"):
            first, second = path.read_text().splitlines()[:2]
            line = second if first == "# @package _global_" else first
            assert line.startswith("# "), path


def test_errors_are_told_without_a_traceback(calls: Calls) -> None:
    for words in (["budgt=1"], ["model=dcgn"], ["budget=-1"], ["nothing"]):
        with pytest.raises(SystemExit) as caught:
            launch_train(calls, *words)
        # sys.exit with a text prints it and ends with status 1.
        assert str(caught.value.code).startswith("error: ")
        assert len(str(caught.value.code).splitlines()) <= 3
    assert calls == []


@pytest.mark.usefixtures("calls")
def test_errors_of_the_run_too() -> None:
    def run(*_: object) -> None:
        raise SettingError("data.root=x: nothing there.")

    with pytest.raises(SystemExit, match=r"error: data\.root=x: nothing there\."):
        launch("train", checks.check, run, [*QUICK])


@pytest.mark.usefixtures("calls")
def test_ctrl_c_is_no_bug() -> None:
    def run(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        launch("train", checks.check, run, [*QUICK])


@pytest.mark.usefixtures("calls")
def test_bugs_keep_their_traceback() -> None:
    def run(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        launch("train", checks.check, run, [*QUICK])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("run=outputs/mnist/dcgan/default/seed=0", "run='outputs/mnist/dcgan/default/seed=0'"),
        ("run=a,b", "run='a,b'"),
        ("out=my grid.png", "out='my grid.png'"),
        ("data.root=/data/Bücher", "data.root='/data/Bücher'"),
        ("out=it's.png", r"out='it\'s.png'"),
        ("run='a=b'", "run='a=b'"),
        ('run="a=b"', 'run="a=b"'),
        ("run=plain/path-1.0", "run=plain/path-1.0"),
        ("data.root=${oc.env:HOME,x}/a", "data.root=${oc.env:HOME,x}/a"),
        ("data.root=null", "data.root=null"),
        ("run=", "run="),
        ("seed=0,1", "seed=0,1"),
        ("model.g_optimizer.betas=[0,1]", "model.g_optimizer.betas=[0,1]"),
        ("--multirun", "--multirun"),
        ("label=lr=0.1, big", "label='lr=0.1, big'"),
        ("label=7", "label=7"),
        ("metrics.weights=a=b.pth", "metrics.weights='a=b.pth'"),
        ("data.name=my flowers", "data.name='my flowers'"),
        ("hydra.sweeper.storage=sqlite:///a=b.db", "hydra.sweeper.storage='sqlite:///a=b.db'"),
        ("hydra.sweeper.storage=sqlite:///a#1.db", "hydra.sweeper.storage='sqlite:///a#1.db'"),
        ("wandb.tags=[lr=0.1,my tag]", "wandb.tags=['lr=0.1','my tag']"),
        ("wandb.tags=[lr=(0.1),my tag]", "wandb.tags=['lr=(0.1)','my tag']"),
        ("runs=[a#1,wandb:me/x]", "runs=['a#1',wandb:me/x]"),
        ("out=a=b\\", r"out='a=b\\'"),
        ("seed=range(3)", "seed=range(3)"),
        ("nonsense", "nonsense"),
    ],
)
def test_quoted(word: str, expected: str) -> None:
    assert quoted(word) == expected


@pytest.mark.parametrize("folder", ["outputs/a/b=1,c=(2)/seed=0", "x y", "it's", "é", "a[1]{2}~"])
def test_paths_arrive_as_they_are(folder: str) -> None:
    settings = config.compose("sample", [quoted(f"run={folder}"), quoted(f"out={folder}.npz")])
    assert (settings.run, settings.out) == (folder, f"{folder}.npz")


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"], ["-V"]])
def test_version(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparring", *words])
    main()
    assert capsys.readouterr().out.startswith(f"sparring {sys.modules['src'].__version__}")


def test_one_name_for_all_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparring"])
    main()
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in HELP)
    monkeypatch.setattr(sys, "argv", ["sparring", "sample", "--help"])
    main()
    shown = capsys.readouterr().out
    assert "Draw from a trained run." in shown
    assert "sparring sample run=outputs/" in shown
    assert "python -m" not in shown
    monkeypatch.setattr(sys, "argv", ["sparring", "sample"])
    with pytest.raises(SystemExit) as end:
        main()
    assert "Which run? sparring sample run=" in str(end.value.code)
    monkeypatch.setattr(sys, "argv", ["sparring", "tarin"])
    with pytest.raises(SystemExit) as end:
        main()
    assert "tarin: there is no such command. Did you mean train?" in str(end.value.code)


@pytest.mark.parametrize("name", HELP)
def test_a_command_by_its_file(name: str, tmp_path: Path) -> None:
    """`python src/train.py`, whose folder would otherwise hide other packages."""
    program = config.ROOT / f"{name}.py"
    done = subprocess.run([sys.executable, program, "--version"], cwd=tmp_path,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.startswith("sparring ")


def test_box() -> None:
    lines = box("one\n" + "long words " * 30).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 100
    assert "| one " in lines[1]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--config-name=other"], "one configuration of its own"),
        (["--config-path", "elsewhere"], "one configuration of its own"),
        (["--config-dir=/nowhere"], "there is no such folder"),
        (["--config-dir"], "there is no such folder"),
        (["-m", "--cfg", "job"], "--multirun shows no configuration"),
    ],
)
def test_flags_that_a_command_does_not_have(flags: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as end:
        launch("train", checks.check, print, flags, sweep)
    assert str(end.value.code).startswith("error: ")
    assert told in str(end.value.code)


@pytest.mark.parametrize("flag", [["--config-dir", "{}"], ["--config-dir={}"],
                                  ["hydra.searchpath=['file://{}']"],
                                  ["--config-dir={}", "--config-dir", "{}/.."]])  # fmt: skip
def test_presets_of_ones_own(flag: list[str], calls: Calls, tmp_path: Path) -> None:
    own = tmp_path / "one's own, here"
    (own / "model").mkdir(parents=True)
    (own / "model" / "mine.yaml").write_text("defaults: [gan]\nbudget: 70\n")
    path = str(own).replace("'", r"\'") if flag[0].startswith("hydra") else own
    given = [text.format(path) for text in flag]
    launch_train(calls, *given, "model=mine", "seed=3")
    ((settings, folder),) = calls
    assert settings.budget == 70
    assert folder == Path("outputs/mnist-builtin/mine/metrics=none/seed=3")


@pytest.mark.parametrize("words", ["", "--version", "completion bash", "train --help",
                                   "train --cfg job", "train --info",
                                   "train --hydra-help"])  # fmt: skip
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_read_enough(words: str, buffered: str) -> None:
    """The command ends quietly, whether Python writes at once or at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "src", *words.split()],
            stdout=output, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONUNBUFFERED": buffered}, check=False,
        )  # fmt: skip
    # To shells a program that a signal has ended has the status 128 + 13.
    assert (ended.returncode in (141, -signal.SIGPIPE), ended.stderr) == (True, "")


def test_a_broken_pipe_that_is_not_the_output_is_told(calls: Calls) -> None:
    def run(*_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        launch("train", checks.check, run, [*QUICK, "model=gan"])
    assert calls == []
