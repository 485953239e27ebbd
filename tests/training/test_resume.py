"""A run that is killed, at whatever moment, ends bit for bit like one that never was.

Weights, average, optimisers, clock, curves and scores are compared; only times may differ.
"""

import errno
import math
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from src.callbacks.checkpoint import Checkpoint
from src.callbacks.quality import Quality
from src.config.composition import CONF, compose
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.runs.metrics_file import read_metrics
from src.runs.run import Run
from src.sample import sample
from src.training.checkpoints import AtomicCheckpointIO, compare_optimizer, load_checkpoint
from src.training.fit import train
from src.training.trained import load_model
from tests.conftest import QUICK, UNDRAWN, composed, contents

# 1,498 digits are 7 batches: iterations 7 and 14 of 16 end an epoch. Scores at 4, 8, 12 and 16.
COMMON = (
    *("model.batch_size=214", "budget=3424", "~callbacks.progress", *UNDRAWN),
    *("data=mnist", "data.flip=true", "metrics=auto", "metrics.n=100", "metrics.metrics=[fid,is]"),
)
TOY = (*COMMON[:7], "metrics=toy", "metrics.n=100")
FAMILIES = {
    "gan": (
        *("model=dcgan", "model.generator.width=2", "model.discriminator.width=2"),
        *("model.latent.dim=6", "model/penalty=r1", "model.penalty.every=3"),
        "model.ema={_target_: src.models.parts.ema.EMA, _partial_: true, half_life: 1000}",
    ),
    "ae": ("model=ae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]"),
    "vae": ("model=vae", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]"),
    # Layers learn in iterations 1 to 4 and 5 to 7, the classifier in 8 and 9, then all: three of
    # the moments below are the last of a stage.
    "layerwise": (
        *("model=stacked_denoising_ae", "model.hidden=[12,6]", "model.pretrain=0.4375"),
        *("model.finetune.labelled=300", f"model.finetune.head={2 / 9}"),
    ),
    # A level ends with iterations 5 and 10 of 16.
    "levels": (
        *("model=lapgan", "model.levels=in_turn", "model.generator.hidden=[4]"),
        *("model.discriminator.hidden=[4]", "model.latent.dim=6", "model.condition_noise=0.1"),
        *("model.level_generator.width=2", "model.level_discriminator.width=2"),
    ),
    # The pools are full after the second iteration.
    "unpaired": (
        *("model=cyclegan", "data/degradation=noise", "data.resolution=16", "model.pool=300"),
        *("model.translator.width=2", "model.translator.blocks=1", "model.discriminator.width=2"),
        *("model.discriminator.depth=1", "model.identity=0"),
    ),
    # With this margin both D and G rest in some iterations.
    "vaegan": (
        *("model=vaegan", "model.latent.dim=6", "model/rests=costs", "model.rests.margin=0.02"),
        *(f"model.{net}.width=2" for net in ("encoder", "generator", "discriminator")),
        "model.d_optimizer.lr=0.01",
    ),
    # Path lengths in iterations 3, 6 ... with their mean, the average of w, ADA's p.
    "stylegan": (
        *("model=stylegan2_ada", "data.resolution=16", "model.latent.dim=6"),
        *("model.generator.w_dim=6", "model.g_penalty.every=3", "model.penalty.every=4"),
        *(f"model.{net}.channel_base=32" for net in ("generator", "discriminator")),
        "model.augment.speed=1000",
    ),
    "unrolled": ("model=deep_ae", "model.hidden=[12,6]", "model.pretrain=0.4375"),
}
# The procedure of the last is that of a GAN: what else its checkpoint holds, tests of it compare.
SLOW = pytest.param("stylegan", marks=pytest.mark.slow)
ALL = pytest.mark.parametrize("family", [*(f for f in FAMILIES if f != "stylegan"), SLOW])
PRESETS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def preset(name: str) -> list[str]:
    """The words of one of the platform's models, narrower where it has a width."""
    if name in ("gaussian_gan", "tiny"):
        return [*TOY, f"model={name}", "data=gaussian"]
    if name in ("gan3d", "wgan_gp3d"):
        words = [*TOY[:7], f"model={name}", "data=solids", "metrics=none"]
        words += [f"model.{player}.width=2" for player in ("generator", "discriminator")]
        return [*words, "data.resolution=16", "data.size=60", "model.batch_size=8", "budget=128"]
    if name in ("single_view", "single_view_gan", "vaegan3d"):
        words = [*TOY[:7], f"model={name}", "data=solids", "data/degradation=view", "metrics=none"]
        parts = "" if name == "vaegan3d" else "translator."
        words += [f"model.{parts}{part}.width=2" for part in ("encoder", "generator")]
        return [*words, "data.resolution=16", "data.size=60", "model.batch_size=8", "budget=128"]
    words = [*COMMON, f"model={name}"]
    if "translator" in composed(*COMMON, f"model={name}", "data/degradation=noise").model:
        words += ["data/degradation=noise", "metrics=none"]
        if name in ("srgan", "esrgan"):
            words += ["model.alone=0.4"]
    if name == "wgan":  # whose first iteration takes 100 steps of D, all that it has seen here
        words += ["model.burst.steps=5", "budget=17120"]
    model = composed(*words).model
    parts = ("encoder", "decoder", "generator", "discriminator", "translator")
    parts += ("level_generator", "level_discriminator")
    settings = {"width": 4, "widths": "[8,8]", "channel_base": 56}
    return words + [
        f"model.{part}.{key}={value}"
        for part in parts
        for key, value in settings.items()
        if key in model.get(part, {})
    ]


def run_of(family: str, folder: Path, *overrides: str) -> Run:
    """Train to the end, or go on."""
    train(composed(*COMMON, *FAMILIES[family], *overrides), folder)
    return Run(folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """`uninterrupted(family)`: the run that was never killed."""
    runs: dict[str, Run] = {}

    def get(family: str) -> Run:
        if family not in runs:
            runs[family] = run_of(family, tmp_path_factory.mktemp("whole") / family)
        return runs[family]

    return get


def timeless(state: Any) -> Any:
    """A checkpoint's parts, or a summary's, without the times in them."""
    if isinstance(state, dict):
        times = ("seconds", "samples_per_second", "wall")
        return {key: timeless(value) for key, value in state.items() if key not in times}
    if isinstance(state, list | tuple):
        return [timeless(value) for value in state]
    return state


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two nested values are not bit for bit the same."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [found for i, (x, y) in pairs for found in differences(x, y, f"{path}/{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.equal(b)
    else:
        same = type(a) is type(b) and a == b
    return [] if same else [f"{path}: {a} {b}"]


def assert_same(run: Run, expected: Run) -> None:
    """Everything that a run leaves behind, but for times."""
    parts = ("state_dict", "optimizer_states", "sparring", "callbacks", "loops")
    ends = [load_checkpoint(r / "checkpoints" / "last.ckpt") for r in (run, expected)]
    a, b = ({part: timeless(end[part]) for part in parts} for end in ends)
    assert a["state_dict"]
    assert len(a["optimizer_states"]) >= 1
    # Lightning's loops count how often the run was begun.
    position = [loops.pop("fit_loop")["state_dict"] for loops in (a.pop("loops"), b.pop("loops"))]
    assert differences(*position) == []
    assert differences(a, b) == []
    rows, others = (timeless(read_metrics(r / "metrics.csv")) for r in (run, expected))
    assert rows
    assert rows == others
    keys = ("status", "metrics", "protocols", "scores", "samples_seen", "iterations", "updates")
    for key in (*keys, "rested"):
        assert run.summary[key] == expected.summary[key], key
    assert run.summary["status"] == "finished"


class Killed(BaseException):
    """Leaves the training as a kill does: nobody catches it, nothing is saved."""


ORIGINAL = Checkpoint.on_train_batch_end
Actions = dict[int, Callable[[Checkpoint, L.Trainer], None]]


def act_at(patch: pytest.MonkeyPatch, actions: Actions) -> None:
    """Act after the given iterations, before the callback that saves.

    So callbacks have their turn after each iteration, which they have not in other runs.
    """

    def hook(self: Checkpoint, trainer: L.Trainer, model: GenerativeModel, *rest: Any) -> None:
        if model.iteration in actions:
            actions[model.iteration](self, trainer)
        ORIGINAL(self, trainer, model, *rest)

    patch.setattr(Checkpoint, "on_train_batch_end", hook)
    patch.setattr(Checkpoint, "due", lambda *_: 0.0)


@pytest.fixture
def at_iteration(monkeypatch: pytest.MonkeyPatch) -> Callable[[Actions], None]:
    """`at_iteration({3: action})`, as `act_at`."""
    return partial(act_at, monkeypatch)


def save(callback: Checkpoint, trainer: L.Trainer) -> None:
    callback.save(trainer)


def kill(*_: object) -> None:
    raise Killed


def save_and_kill(callback: Checkpoint, trainer: L.Trainer) -> None:
    callback.save(trainer)
    raise Killed


# The moments of (last checkpoint, kill) in one run: before the first checkpoint, in mid-epoch right
# after a checkpoint and some rows of metrics later, at the epoch's edge and past it, at the end.
MOMENTS = ((None, 2), (3, 3), (4, 6), (7, 7), (9, 13), (14, 14), (15, 16))


def interrupt(
    family: str, folder: Path, at_iteration: Callable, saved: int | None, killed: int
) -> None:
    actions = {killed: kill} | ({saved: save} if saved else {})
    at_iteration(actions | ({killed: save_and_kill} if saved == killed else {}))
    with pytest.raises(Killed):
        run_of(family, folder)
    at_iteration({})


@ALL
def test_killed_again_and_again(
    family: str, uninterrupted: Callable, at_iteration: Callable, tmp_path: Path
) -> None:
    expected = uninterrupted(family)
    for saved, killed in MOMENTS:
        interrupt(family, tmp_path, at_iteration, saved, killed)
        assert Run(tmp_path).summary["status"] == "running"
    assert_same(run_of(family, tmp_path), expected)


def test_the_wall_time_is_that_of_all_processes(
    at_iteration: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    interrupt("vae", tmp_path, at_iteration, 6, 6)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["callbacks"]["Checkpoint"]
    assert kept["wall"]["start"] > 0
    begun = time.perf_counter()
    summary = run_of("vae", tmp_path).summary
    took, wall = time.perf_counter() - begun, summary["wall"]
    assert all(wall[part] >= kept["wall"][part] for part in wall if part != "training")
    assert wall["training"] == pytest.approx(summary["seconds"], abs=1e-3)
    assert 0.5 * took < sum(wall.values()) - sum(kept["wall"].values()) < took + summary["seconds"]
    assert "\nWall time " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(5))
@ALL
def test_killed_at_a_random_moment(
    family: str, moment: int, uninterrupted: Callable, at_iteration: Callable, tmp_path: Path
) -> None:
    saved, killed = sorted(random.Random(f"{family} {moment}").choices(range(1, 17), k=2))
    interrupt(family, tmp_path, at_iteration, saved, killed)
    assert_same(run_of(family, tmp_path), uninterrupted(family))


def test_killed_while_the_end_is_scored(
    uninterrupted: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are safe by then: only the scores are done again."""
    expected = uninterrupted("gan")
    with monkeypatch.context() as patch:
        patch.setattr(Quality, "on_train_end", kill)
        with pytest.raises(Killed):
            run_of("gan", tmp_path)
    weights = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    run = run_of("gan", tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == weights
    assert_same(run, expected)


def kill_really(words: list[str], folder: Path, within: float) -> None:
    """Train in a process that gets SIGKILL up to `within` seconds after its first checkpoint."""

    def written() -> int:
        checkpoint = folder / "checkpoints" / "last.ckpt"
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    before = written()
    child = os.fork()
    if child == 0:
        try:
            original = Checkpoint.on_train_batch_end

            def slowly(*words: Any) -> None:
                time.sleep(0.03)
                original(*words)

            Checkpoint.on_train_batch_end = slowly
            train(composed(*words, "callbacks.checkpoint.seconds=0"), folder)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(7)
    deadline = time.monotonic() + 60
    while written() == before and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random.uniform(0, within))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@ALL
def test_a_real_kill(family: str, uninterrupted: Callable, tmp_path: Path) -> None:
    """SIGKILL, from another process, at a moment that nobody chose."""
    expected = uninterrupted(family)  # before the fork, so that the child has nothing to import
    kill_really([*COMMON, *FAMILIES[family]], tmp_path, within=0.3)
    assert_same(run_of(family, tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_real_kills_of_every_preset(name: str, tmp_path: Path) -> None:
    """Kills: three of a run of each model."""
    words = preset(name)
    train(composed(*words), tmp_path / "whole")
    for _ in range(3):
        kill_really(words, tmp_path / "killed", within=0.1)
    train(composed(*words), tmp_path / "killed")
    assert_same(Run(tmp_path / "killed"), Run(tmp_path / "whole"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_first(
    number: signal.Signals, uninterrupted: Callable, at_iteration: Callable, tmp_path: Path
) -> None:
    """Exit status as of a shell, a checkpoint of that iteration, and a resume from there."""
    expected = uninterrupted("gan")
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    # Near the end of iteration 5; it is noticed when 6 is done.
    at_iteration({5: lambda *_: os.kill(os.getpid(), number)})
    with pytest.raises(SystemExit) as caught:
        run_of("gan", tmp_path)
    at_iteration({})
    assert caught.value.code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert Run(tmp_path).summary["status"] == "interrupted"
    clock = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["sparring"]
    assert clock["iteration"] in (5, 6)
    assert clock["samples_seen"] == Run(tmp_path).summary["samples_seen"]
    assert_same(run_of("gan", tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_line(number: signal.Signals, uninterrupted: Callable, tmp_path: Path) -> None:
    """The same command twice, in processes of its own: stopped, then run to the end."""
    words = [*QUICK, *COMMON, *FAMILIES["gan"], f"hydra.run.dir={tmp_path}/seed=0"]
    command = [sys.executable, "-m", "src.train", *words, "callbacks.checkpoint.seconds=0"]
    run = Run(tmp_path / "seed=0")
    first = subprocess.Popen(command, cwd=CONF.parent, stdout=subprocess.DEVNULL)
    while run.checkpoint is None and first.poll() is None:
        time.sleep(0.002)
    first.send_signal(number)
    assert first.wait() == (-9 if number == signal.SIGKILL else 143)
    assert run.summary["status"] == ("running" if number == signal.SIGKILL else "interrupted")
    assert subprocess.run(command, cwd=CONF.parent, check=False).returncode == 0
    assert_same(run, uninterrupted("gan"))


def test_watching_does_not_change_the_course(uninterrupted: Callable, tmp_path: Path) -> None:
    """Scores, pictures and checkpoints at every turn, or none of them: the same weights."""
    expected = uninterrupted("gan")
    plain = run_of("gan", tmp_path / "plain", "metrics=none", "callbacks.records.every=1000")
    watched = composed(
        *(word for word in COMMON if not word.startswith("~")),
        *FAMILIES["gan"],
        *("callbacks.quality.every=214", "callbacks.samples.every=428", "callbacks.samples.n=4"),
        "callbacks.checkpoint.seconds=0",
    )
    train(watched, tmp_path / "watched")
    for run in (plain, Run(tmp_path / "watched")):
        for part in ("state_dict", "optimizer_states"):
            a, b = (load_checkpoint(r / "checkpoints" / "last.ckpt")[part] for r in (run, expected))
            assert differences(timeless(a), timeless(b)) == []
    assert len(Run(tmp_path / "watched").summary["scores"]) == 16


def test_a_longer_budget_later(uninterrupted: Callable, tmp_path: Path) -> None:
    """existing=resume goes on with new settings, here to where the long run has been."""
    run_of("ae", tmp_path, "budget=1712")
    with pytest.raises(SettingError, match="budget: 1712 -> 3424"):
        run_of("ae", tmp_path)
    run = run_of("ae", tmp_path, "existing=resume")
    a, b = (load_checkpoint(r / "checkpoints" / "last.ckpt") for r in (run, uninterrupted("ae")))
    assert differences(a["state_dict"], b["state_dict"]) == []
    assert run.settings["budget"] == 3424
    before = contents(tmp_path)
    run_of("ae", tmp_path)
    assert contents(tmp_path) == before


def test_a_finished_run_returns_at_once(
    uninterrupted: Callable, capsys: pytest.CaptureFixture
) -> None:
    run = uninterrupted("vae")
    before = contents(run.folder)
    start = time.monotonic()
    run_of("vae", run.folder)
    assert time.monotonic() - start < 5
    assert "is finished" in capsys.readouterr().out
    assert contents(run.folder) == before


def test_restart_begins_anew(uninterrupted: Callable, tmp_path: Path) -> None:
    run_of("vae", tmp_path, "seed=1")
    run = run_of("vae", tmp_path, "existing=restart")
    assert_same(run, uninterrupted("vae"))


# What may not be resumed leaves everything as it was


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints that was killed after iteration 9."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        act_at(patch, {5: save, 8: save, 9: kill})
        with pytest.raises(Killed):
            run_of("ae", folder)
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Run:
    """A copy of that run, for a test to damage."""
    return Run(shutil.copytree(killed_once, tmp_path / "killed"))


def refused(run: Run, *overrides: str) -> str:
    """The message with which the run is not resumed; its folder is left as it was."""
    before = contents(run.folder)
    with pytest.raises(SettingError) as caught:
        run_of("ae", run.folder, *overrides)
    assert contents(run.folder) == before
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_a_damaged_checkpoint(killed: Run, uninterrupted: Callable) -> None:
    """The message says what to do, and doing it works."""
    path = killed / "checkpoints" / "last.ckpt"
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"not a checkpoint",
        whole[: len(whole) // 2],
        whole[:-1],
        whole[: len(whole) // 3] + b"\xff" * 200 + whole[len(whole) // 3 + 200 :],
    ):
        path.write_bytes(damaged)
        message = refused(killed)
        assert str(path) in message
        assert "is damaged" in message
        assert "Delete it to go on from" in message
        assert "previous.ckpt" in message
    path.unlink()
    assert_same(run_of("ae", killed.folder), uninterrupted("ae"))


def test_a_damaged_checkpoint_without_another(killed: Run) -> None:
    (killed / "checkpoints" / "previous.ckpt").unlink()
    (killed / "checkpoints" / "last.ckpt").write_bytes(b"")
    assert "existing=restart" in refused(killed)


def test_no_byte_can_be_wrong_unnoticed(tmp_path: Path) -> None:
    """Cut, flipped and overwritten: a checkpoint is refused, or it says the same as before."""
    path, generator = tmp_path / "last.ckpt", random.Random(0)
    state = {"state_dict": {"a": torch.arange(999.0)}, "sparring": {"samples_seen": 12345}}
    torch.save(state, path)
    whole, verdicts = path.read_bytes(), []
    for _ in range(300):
        data = bytearray(whole)
        start, n = generator.randrange(len(data)), generator.choice((1, 1, 8, 200))
        if generator.random() < 0.3:
            del data[start:]
        else:
            data[start : start + n] = generator.randbytes(len(data[start : start + n]))
        path.write_bytes(data)
        try:
            read = load_checkpoint(path)
        except SettingError as error:
            verdicts.append(len(str(error).splitlines()) <= 3)
        else:
            verdicts.append(differences(read, state) == [])
    assert all(verdicts)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(killed: Run, tmp_path: Path) -> Path:
    """What would exist if the run's checkpoint were read carelessly; that it would is tried."""
    path, marker = killed / "checkpoints" / "last.ckpt", tmp_path / "executed"
    state = load_checkpoint(path)
    torch.save(state | {"hyper_parameters": Bomb(marker)}, path)
    torch.load(path, weights_only=False)
    marker.rmdir()
    return marker


def test_a_pickle_bomb_is_not_resumed(killed: Run, marker: Path) -> None:
    message = refused(killed)
    assert "is refused" in message
    assert "run code" in message
    assert not marker.exists()


def test_a_pickle_bomb_is_not_sampled(killed: Run, marker: Path, tmp_path: Path) -> None:
    config = compose("sample", [f"run='{killed.folder}'", f"out='{tmp_path}/grid.png'"])
    with pytest.raises(SettingError, match="is refused"):
        sample(config, tmp_path)
    assert not marker.exists()
    assert not (tmp_path / "grid.png").exists()


def test_a_bare_pickle_is_not_read(killed: Run, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (killed / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(Bomb(marker)))
    assert "damaged" in refused(killed)
    assert not marker.exists()


def test_another_architecture(killed: Run) -> None:
    """Even if it is asked for: there is nothing to put the weights in."""
    message = refused(killed, "model.encoder.hidden=[17]", "existing=resume")
    assert "is not of this model" in message


def test_a_file_that_is_no_checkpoint_of_ours(killed: Run) -> None:
    for state in ({"weights": torch.ones(2)}, [1, 2], {"state_dict": {}, "sparring": {}}):
        torch.save(state, killed / "checkpoints" / "last.ckpt")
        assert "is not of this model" in refused(killed)


@pytest.mark.parametrize("name", ["loss/\x1b[31mRED", "loss/x\nerror: all is lost", r"$\frac$", ""])
def test_a_record_that_has_no_name(name: str, killed: Run) -> None:
    path = killed / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["sparring"]["records"][name] = (1.0, 1)
    torch.save(state, path)
    message = refused(killed)
    assert "is not of this model" in message
    assert all(part.isprintable() for part in message.splitlines())


def _first_state(checkpoint: dict) -> dict:
    """Of an optimiser: what it remembers of its first weight."""
    return checkpoint["optimizer_states"][0]["state"][0]


OPTIMISERS = {
    "a scalar": lambda c: _first_state(c).update(exp_avg=torch.tensor(1e10)),
    "a smaller one": lambda c: _first_state(c).update(exp_avg_sq=torch.zeros(1)),
    "another type": lambda c: _first_state(c).update(exp_avg=_first_state(c)["exp_avg"].double()),
    "steps for each weight": lambda c: _first_state(c).update(step=_first_state(c)["exp_avg"]),
    "negative steps": lambda c: _first_state(c).update(step=torch.tensor(-1.0)),
    "steps that are none": lambda c: _first_state(c).update(step=torch.tensor(math.nan)),
    "steps that are text": lambda c: _first_state(c).update(step="3"),
    "an average missing": lambda c: _first_state(c).pop("exp_avg"),
    "one more": lambda c: _first_state(c).update(extra=torch.zeros(2)),
    "of no weight": lambda c: c["optimizer_states"][0]["state"].update({999: _first_state(c)}),
    "other weights": lambda c: c["optimizer_states"][0]["param_groups"][0].update(params=[0]),
    "no rate": lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr=math.nan),
    "betas beyond 1": lambda c: c["optimizer_states"][0]["param_groups"][0].update(betas=(2.0, 2)),
    "another flag": lambda c: c["optimizer_states"][0]["param_groups"][0].update(amsgrad=True),
    "a setting missing": lambda c: c["optimizer_states"][0]["param_groups"][0].pop("eps"),
    "no optimiser": lambda c: c.update(optimizer_states=[]),
    "loops of text": lambda c: c["loops"]["fit_loop"].update(state_dict="x"),
    "steps of text": lambda c: c["loops"]["fit_loop"]["epoch_progress"].update(total="x"),
    "records of text": lambda c: c["sparring"]["records"].update(x=("a", 1)),
    "records of three": lambda c: c["sparring"]["records"].update(x=(1.0, 1, 1)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_what_a_step_would_stumble_over(name: str, killed: Run) -> None:
    """torch compares no shapes: a fused step would write past the end of what is too small."""
    path = killed / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    OPTIMISERS[name](state)
    torch.save(state, path)
    assert "is not of this model" in refused(killed)


def test_a_step_takes_whole_numbers_and_other_numbers(killed: Run) -> None:
    """As `betas: [0, 0.9]` is typed, and what a run is resumed with may be new."""
    path = killed / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["optimizer_states"][0]["param_groups"][0].update(lr=1, betas=[0, 0.5], weight_decay=0.1)
    torch.save(state, path)
    assert run_of("ae", killed.folder).summary["status"] == "finished"


def test_a_weight_that_is_a_number() -> None:
    """As attention's gamma, of which the mean gradient is a number too, and may be negative."""
    gamma = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.Adam([gamma])
    gamma.grad = torch.tensor(-1.0)
    optimizer.step()
    state = optimizer.state_dict()
    assert state["state"][0]["exp_avg"] < 0
    compare_optimizer(state, torch.optim.Adam([gamma]))
    state["state"][0]["step"] = torch.tensor(-1.0)
    with pytest.raises(ValueError, match="step does not fit"):
        compare_optimizer(state, torch.optim.Adam([gamma]))


@pytest.mark.parametrize("view", [
    lambda x: x[:1].expand_as(x),  # repeats
    lambda x: torch.cat([x, x])[: len(x)],  # the first half
    lambda x: torch.stack([x, x], -1)[..., 0],  # with gaps
])  # fmt: skip
def test_tensors_that_are_not_whole(view: Callable, killed: Run) -> None:
    path = killed / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    entries = _first_state(state)
    assert entries["exp_avg"].ndim
    entries["exp_avg"] = view(entries["exp_avg"])
    torch.save(state, path)
    assert "a tensor of it is a part of another, or repeats its numbers" in refused(killed)


def test_weights_that_are_one_in_the_file(killed: Run) -> None:
    """A small file must not make a large model."""
    path = killed / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    weights = state["state_dict"]
    encoder, decoder = (n for n, w in weights.items() if w.ndim == 2 and 784 in w.shape)
    weights[decoder] = weights[encoder].view(weights[decoder].shape)
    torch.save(state, path)
    with pytest.raises(SettingError, match=r"its weights take .* bytes, and the model's take"):
        load_model(killed)


def test_a_buffer_that_is_a_slice_is_saved_whole(tmp_path: Path) -> None:
    every = torch.arange(10.0)
    state = {"part": every[2:4], "mirrored": every.view(2, 5).t(), "whole": every}
    AtomicCheckpointIO().save_checkpoint({"state_dict": dict(state)}, tmp_path / "last.ckpt")
    read = load_checkpoint(tmp_path / "last.ckpt")["state_dict"]
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_other_data(killed: Run) -> None:
    killed.update_summary(data_id=killed.summary["data_id"] | {"hash": "another"})
    message = refused(killed)
    assert "not another" in message
    assert "existing=restart" in message


# Writing a checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint file that was written twice, with n = 1 and 2."""
    for n in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"n": n}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_one_before_is_kept(saved: Path) -> None:
    assert load_checkpoint(saved) == {"n": 2}
    assert load_checkpoint(saved.with_name("previous.ckpt")) == {"n": 1}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize("where", ["save", "fsync", "link", "replace", "second replace"])
def test_a_kill_while_writing(where: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment is there no checkpoint, and what is left over does not harm the next time."""
    if where == "save":

        def half(_: object, file: Any) -> None:
            file.write(b"half of it")
            raise Killed

        monkeypatch.setattr(torch, "save", half)
    elif where == "second replace":
        calls = [kill, os.replace]

        def replace(*paths: Path) -> None:
            calls.pop()(*paths)

        monkeypatch.setattr(os, "replace", replace)
    else:
        monkeypatch.setattr(os, where, kill)
    with pytest.raises(Killed):
        AtomicCheckpointIO().save_checkpoint({"n": 3}, saved)
    monkeypatch.undo()
    assert load_checkpoint(saved) == {"n": 2}
    AtomicCheckpointIO().save_checkpoint({"n": 4}, saved)
    assert load_checkpoint(saved) == {"n": 4}
    assert load_checkpoint(saved.with_name("previous.ckpt")) == {"n": 2}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize("where", ["save", "fsync", "link", "replace"])
def test_a_full_disk_while_writing(
    where: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        if where == "save":  # as torch tells of it
            raise RuntimeError("[enforce fail at inline_container.cc:815] . unexpected pos 1\nmore")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch if where == "save" else os, where, full)
    with pytest.raises(SettingError, match=r"Cannot write .*last\.ckpt") as caught:
        AtomicCheckpointIO().save_checkpoint({"n": 3}, saved)
    assert len(str(caught.value).splitlines()) <= 3
    assert load_checkpoint(saved) == {"n": 2}
    assert ".last.ckpt" not in [path.name for path in saved.parent.iterdir()]


def test_killed_while_a_checkpoint_is_written(
    uninterrupted: Callable, at_iteration: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second save breaks off; the run goes on from the first, at the first scores."""
    expected, original = uninterrupted("ae"), os.replace
    saves = []

    def replace(source: Path, target: Path) -> None:
        saves.append(Path(target).name)
        if saves.count("last.ckpt") == 2:
            raise Killed
        original(source, target)

    at_iteration({6: save})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            run_of("ae", tmp_path)
    at_iteration({})
    clock = load_checkpoint(Run(tmp_path).checkpoint)["sparring"]
    assert clock["iteration"] == 4
    assert_same(run_of("ae", tmp_path), expected)


def test_a_file_system_without_hard_links(
    uninterrupted: Callable, at_iteration: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint before the last is a copy then."""

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    at_iteration({5: save, 9: save})
    run = run_of("ae", tmp_path)
    assert_same(run, uninterrupted("ae"))
    folder = run / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    clocks = [load_checkpoint(folder / n)["sparring"]["iteration"] for n in os.listdir(folder)]
    assert len(set(clocks)) == 2
