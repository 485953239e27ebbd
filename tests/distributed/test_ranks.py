"""Two ranks with half of the batch each do what one does with the whole.

Most of it happens in one pair of forked processes that are ranks for all cases, one after the
other. What only real processes show (kills, signals, a resume from the command line) takes tens of
seconds for the imports of torch, and is slow.
"""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from src.config.composition import CONF, plain
from src.data.spec import Batch
from src.distributed import noise, ranks
from src.errors import SettingError
from src.losses.penalties import DRAGAN, R1, R1R2, WGANGP, WGANLP, GradientPenalty
from src.models.base import GenerativeModel, LatentVariableModel
from src.models.capabilities import Translates
from src.runs.metrics_file import read_metrics
from src.runs.run import Run
from src.training.checkpoints import load_checkpoint
from src.training.fit import fit
from src.training.trained import load_model
from tests.conftest import QUICK, composed
from tests.models import conftest as models
from tests.training.test_resume import differences

RANKS, BATCH, ITERATIONS = 2, 8, 4

# Nets without batch norm, stepped by plain descent: Adam's first steps are the signs of gradients,
# of which rounding decides where they are 0.
SGD = [f"model/optimizer@model.{player}_optimizer=sgd" for player in "gd"]
GAN = ["model=gan", "data=mnist", *SGD, "model/latent=normal", "model.latent.dim=6"]
GAN += [f"model.{player}_optimizer.lr=0.05" for player in "gd"]
GAN += [f"model.{net}.hidden=[16]" for net in ("generator", "discriminator")]
GAN += ["model.ema={_target_: src.models.parts.ema.EMA, _partial_: true, half_life: 64}"]
CONV = [*models.TINY, *SGD, *(f"model.{net}.norm=none" for net in ("generator", "discriminator"))]
CONV += [f"model.{player}_optimizer.lr=5" for player in "gd"]
VOXELS = ["model=gan3d", "data=solids", "data.resolution=16", *SGD, "model.latent.dim=6", GAN[-1]]
VOXELS += [f"model.{net}.width=2" for net in ("generator", "discriminator")]
VOXELS += ["model.generator.norm=layer", "model.g_optimizer.lr=20", "model.d_optimizer.lr=2"]
AE = ["model/optimizer=sgd", "model.optimizer.lr=0.001"]
AE += [f"model.{net}.hidden=[16]" for net in ("encoder", "decoder")]
LAYERS = ["model.hidden=[12,5]", "budget=32", "model.pretrain=0.5"]
LAYERS += [f"model/optimizer@model.{step}_optimizer=sgd" for step in ("learner", "finetune")]
TRANSLATION = [*SGD, "data=mnist", "data/degradation=downsample"]
TRANSLATION += [f"model.{net}.width=4" for net in ("translator", "discriminator")]
TRANSLATION += ["model.pixels.weight=1", *(f"model.{player}_optimizer.lr=0.05" for player in "gd")]
LEVELS = ["model=lapgan", "data=mnist", *SGD, "model.latent.dim=6"]
LEVELS += [f"model.{player}_optimizer.lr=0.05" for player in "gd"]
LEVELS += [f"model/{net}=mlp" for net in ("generator", "discriminator")]
LEVELS += [f"model.{net}.hidden=[16]" for net in ("generator", "discriminator")]
LEVELS += [f"model.level_{net}.width=4" for net in ("generator", "discriminator")]
LEVELS += ["model.condition_noise=0.1"]
CASES = {
    "gan": GAN,
    "conv": [*CONV, "model/penalty=r1", "model.penalty.gamma=0.1"],
    "voxels": VOXELS,  # with noise on D's input and R1
    "r1": [*GAN, "model/penalty=r1", "model.penalty.every=2"],
    "r1 auto": [*GAN, "model/penalty=r1", "model.penalty.gamma=auto"],
    "wgan_gp": [*GAN, "model/loss=wasserstein", "model/penalty=wgan_gp", "model.d_steps=2"],
    "dragan": [*GAN, "model/penalty=dragan"],
    "r3gan": [*GAN, "model/loss=relativistic", "model/penalty=r1r2"],
    "average": [*GAN, "model/loss=relativistic_average"],
    "clip": [*GAN, "model/loss=wasserstein", "model/penalty=clip", "model.clip=0.5"],
    "packing": [*GAN, "model.packing=2", "model/latent=uniform", "model.latent.dim=6"],
    "share": [*GAN, "model.latent.share=true"],
    "spectral": [*GAN, "model.discriminator.norm=spectral", "model/loss=hinge"],
    "augment": [*GAN, "model/augment=diffaugment"],
    "ada": [*GAN, "model/augment=ada", "model.augment.every=1", "model.augment.speed=20"],
    # G rests in the first iteration, D in the others.
    "rests": [*GAN, "model/rests=costs", "model.rests.margin=0.02", "model.d_optimizer.lr=0.4"],
    "accuracy": [*GAN, "model/rests=accuracy", "model.rests.above=0.6", "model.d_optimizer.lr=0.4"],
    # Groups of four samples are whole on each rank.
    "stylegan": [
        *("model=stylegan2_ada", "data=mnist", "model/condition=projection", *SGD),
        *("data.resolution=16", "model.latent.dim=6", "model.generator.w_dim=6"),
        *(f"model.{net}.channel_base=32" for net in ("generator", "discriminator")),
        *("model.g_penalty.every=2", "model.penalty.every=2", "model.augment.every=1"),
        *("model.augment.speed=20", "model.ema.half_life=64"),
        *(f"model.{player}_optimizer.lr=0.05" for player in "gd"),
    ],
    "translation": [*TRANSLATION, "model=pix2pix", "model.discriminator.depth=1"],
    "filling in": [
        *(*TRANSLATION, "model=pix2pix", "model/loss=relativistic_average"),
        *("model.discriminator.depth=1", "data/degradation=mask_box"),
        "model.translator.dropout=0",  # which is in the case above
    ],
    "unpaired": [
        *(*TRANSLATION, "model=cyclegan", "data/degradation=noise", "model.translator.blocks=1"),
        *("model.discriminator.depth=1", "model.pool=3", "model.cycle=1", "model.identity=0.5"),
        *(f"model.{player}_optimizer.lr=0.01" for player in "gd"),
    ],
    "vaegan": [
        *(*GAN, "model=vaegan", "model/encoder=mlp", "model.encoder.hidden=[16]"),
        *("model/generator=mlp", "model/discriminator=mlp", "model/augment=diffaugment"),
        *("model/optimizer@model.e_optimizer=sgd", "model.e_optimizer.lr=0.002"),
        *("model.judge_both=true", "model/rests=costs", "model.rests.margin=0.02"),
    ],
    "vaegan3d": [
        *(*VOXELS, "model=vaegan3d", "data/degradation=view", "data.degradation.side=28"),
        *("model/optimizer@model.e_optimizer=sgd", "model.e_optimizer.lr=0.5"),
        *("model.encoder.width=2", "model.encoder.norm=layer", "model.g_optimizer.lr=0.5"),
    ],
    "levels": LEVELS,
    "levels in turn": [*LEVELS, "model.levels=in_turn", "budget=32"],
    "vae": ["model=vae", *AE],
    "iwae": ["model=iwae", *AE, "model.objective.samples=4"],
    "cvae": ["model=cvae", *AE],
    "ae": ["model=ae", *AE],
    "denoising": ["model=denoising_ae", *AE],
    "gaussian": ["model=denoising_ae", *AE, "model/corruption=gaussian"],
    "salt": ["model=denoising_ae", *AE, "model/corruption=salt_and_pepper"],
    "contractive": ["model=contractive_ae", *AE, "model.code_penalty.probes=3"],
    "sparse": ["model=sparse_ae", "model.latent_dim=20", *AE[:2], "model.code_penalty.weight=0.1"],
    "deep": ["model=deep_ae", *LAYERS, "model.code_optimizer=null"],
    "stacked": ["model=stacked_denoising_ae", *LAYERS, "model.finetune.head=0.4"],
}
# A whole run with scores, in 12 iterations.
RUN = (
    *GAN,
    *("data=mnist", "model.batch_size=32", "budget=384", "model/penalty=r1", "seed=3"),
    *("metrics=auto", "metrics.n=100", "metrics.metrics=[fid,is]", "trainer.precision=32-true"),
    *("~callbacks.progress", "callbacks.quality.every=192", "callbacks.records.every=32"),
)


def mine(x: torch.Tensor) -> torch.Tensor:
    """This rank's slice of a whole batch."""
    return x.chunk(ranks.count())[ranks.rank()]


def slices(model: GenerativeModel) -> Iterator[Batch]:
    for batch in models.noise(model, BATCH):
        yield Batch(*(None if part is None else mine(part) for part in batch))


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """What a model is after some iterations, and what it says of them."""
    model = models.assembled(settings)
    model.watch_gradients = ranks.rank() == 0  # as the health callback does, which rank 0 has
    start = models.state(model)
    models.steps(model, ITERATIONS, slices(model))
    return {
        "start": start,
        "state": models.state(model),
        "samples_seen": model.samples_seen,
        "records": model.terms.fetch() if ranks.rank() == 0 else {},
        "samples": shown(model),
    }


def shown(model: GenerativeModel) -> torch.Tensor:
    """Five of its samples, translations, or both."""
    parts = [model.sample(5, seed=1)] if isinstance(model, LatentVariableModel) else []
    if isinstance(model, Translates):
        parts.append(model.translate(next(models.noise(model, 5)).source))
    return torch.cat(parts)


PENALTIES = {
    "r1": R1(2.0),
    "r1 auto": R1("auto"),
    "r1r2": R1R2(2.0),
    "wgan_gp": WGANGP(),
    "wgan_lp": WGANLP(),
    "dragan": DRAGAN(),
}


def penalised(penalty: GradientPenalty) -> list[torch.Tensor]:
    """Gradients of a penalty on D's weights, in float64."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(48, 1), nn.Flatten(0)]
    critic = nn.Sequential(*layers).double()
    critic[3].weight.data *= 10  # so that slopes are above 1 for some samples, below for others
    real, fake = (mine(torch.randn(BATCH, 1, 6, 6).double()) for _ in range(2))
    penalty.d(critic, real, fake).backward()
    gradients = [weight.grad for weight in critic.parameters() if weight.grad is not None]
    if ranks.count() > 1:
        ranks.average_(gradients)
    return gradients


def everything(cases: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    """All cases, given their settings, on this rank or alone."""
    results: dict[str, Any] = {case: trained(cases[case]) for case in CASES}
    results |= {f"penalty {name}": penalised(penalty) for name, penalty in PENALTIES.items()}
    # Noise that is not the sample's own: what would be seen if one place forgot it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "_slice", lambda draw, shape, _, **options: draw(shape, **options))
        results["careless"] = trained(cases["gan"])
    results["place"] = ranks.place()
    run = Run(folder)
    run.store(cases["run"])
    fit(cases["run"], {}, run, resume=False)
    return results


def a_rank(rank: int, cases: dict[str, dict[str, Any]], folder: Path) -> None:
    torch.set_num_threads(1)
    with ranks.joined(rank, RANKS, folder / "meeting", torch.device("cpu")):
        torch.save(everything(cases, folder / "run"), folder / f"{rank}.pt")


def end(processes: list) -> list[int]:
    """Exit codes of processes that must end soon."""
    deadline = time.monotonic() + 120
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def forked(target: Callable, *words: Any) -> list:
    """A process for each rank, with nothing to import."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=(rank, *words)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    return processes


Results = dict[str, Any]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Results]]:
    """A folder with the `run` of two ranks and that of one, `alone`; all results: 0, 1, alone."""
    folder = tmp_path_factory.mktemp("ranks")
    cases = {case: plain(composed(*words)) for case, words in (CASES | {"run": RUN}).items()}
    processes = forked(a_rank, cases, folder)
    alone = everything(cases, folder / "alone")
    assert end(processes) == [0, 0]
    pair = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(RANKS)]
    return folder, [*pair, alone]


def error(case: Results, expected: Results) -> float:
    """The greatest difference in a weight, as a share of what its tensor was changed by.

    Of that, float32 takes the rounding of numbers that are greater than their change, and all of it
    where the change is 0: a relative loss does not depend on D's last bias.
    """
    shares = []
    for name in expected["state"]:
        tensors = (expected["start"][name], expected["state"][name], case["state"][name])
        start, right, end = (tensor.double() for tensor in tensors)
        moved = (right - start).abs().max() + 1e-3 * right.abs().max() + 1e-4
        shares.append(float((end - right).abs().max() / moved))
    return max(shares)


TOLERANCE = 1e-4


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one(case: str, outcome: tuple) -> None:
    """Four iterations in float32, to 1e-4 of what they changed."""
    first, second, alone = (result[case] for result in outcome[1])
    assert error(first, alone) < TOLERANCE
    assert_close(first["samples"], alone["samples"], rtol=1e-4, atol=1e-5)
    assert first["records"] == pytest.approx(alone["records"], rel=1e-4, abs=1e-6)
    assert list(first["records"]) == list(alone["records"])
    assert first["samples_seen"] == second["samples_seen"] == alone["samples_seen"]
    # Between the two ranks there is not even rounding.
    assert error(first, second) == 0


def test_the_tolerance_would_show_a_mistake(outcome: tuple) -> None:
    results = outcome[1][0]
    assert error(results["careless"], results["gan"]) > 100 * TOLERANCE


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_of_penalties(penalty: str, outcome: tuple) -> None:
    first, second, alone = (result[f"penalty {penalty}"] for result in outcome[1])
    assert max(float(gradient.abs().max()) for gradient in alone) > 1e-6
    assert_close(first, alone, rtol=1e-9, atol=1e-12)
    assert_close(first, second, rtol=0, atol=0)


def test_a_whole_run(outcome: tuple) -> None:
    """Scores, curves, pictures and checkpoint of two ranks are those of one."""
    folder, (first, second, _) = outcome
    assert (first["place"], second["place"]) == ((0, RANKS), (1, RANKS))
    run, alone = Run(folder / "run"), Run(folder / "alone")
    assert run.summary["metrics"] == pytest.approx(alone.summary["metrics"], rel=1e-5)
    assert len(run.summary["scores"]) == 2
    for key in ("status", "samples_seen", "iterations", "updates", "protocols"):
        assert run.summary[key] == alone.summary[key], key
    assert (run.summary["devices"], alone.summary["devices"]) == (RANKS, 1)
    times = ("seconds", "samples_per_second")
    rows, expected = (read_metrics(r / "metrics.csv") for r in (run, alone))
    assert len(rows) == len(expected) == 12
    for row, other in zip(rows, expected, strict=True):
        for name in times:
            del row[name], other[name]
        assert row == pytest.approx(other, rel=1e-4, abs=1e-6)
    files = [{str(p.relative_to(r.folder)) for p in r.folder.rglob("*.*")} for r in (run, alone)]
    assert files[0] == files[1]
    ends = [load_checkpoint(r / "checkpoints" / "last.ckpt") for r in (run, alone)]
    assert ends[0]["state_dict"].keys() == ends[1]["state_dict"].keys()
    assert_close(ends[0]["state_dict"], ends[1]["state_dict"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.batch_size=64", "trainer.devices=3"],
            "batch_size=64 cannot be shared by trainer.devices=3",
        ),
        ([*GAN, "model.batch_size=6", "model.packing=3", "trainer.devices=4"], "multiple of 12"),
        (["trainer.devices=2", "trainer.accelerator=mps"], "one device"),
    ],
)
def test_what_cannot_be_shared_is_refused_at_once(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        composed(*words)


# Real processes

LONG = (
    *(*QUICK, *RUN, "budget=19200", "callbacks.quality.every=9600", "callbacks.samples.every=9600"),
    *("callbacks.checkpoint.seconds=0.3", "callbacks.records.every=960", "trainer.devices=2"),
)


class Command:
    """`python -m src.train` on two ranks, in a folder."""

    def __init__(self, folder: Path, *words: str, path: Path | None = None) -> None:
        self.run = Run(folder)
        command = [sys.executable, "-m", "src.train", *LONG, *words, f"hydra.run.dir={folder}"]
        environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=CONF.parent, env=environment, **pipes)
        self._begun = time.time()

    def ranks(self) -> dict[int, int]:
        """Process ids of the ranks."""
        parent = self.process.pid
        found = {}
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            environment = Path(f"/proc/{child}/environ").read_text()
            if place := re.search("\\0RANK=(.)", environment):
                found[int(place[1])] = int(child)
        return found

    def in_training(self) -> dict[int, int]:
        """Wait for the first checkpoint that this command writes; the ranks."""
        path = self.run / "checkpoints" / "last.ckpt"
        while not (path.exists() and path.stat().st_mtime > self._begun):
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.05)
        return self.ranks()

    def end(self, within: float = 120) -> tuple[int, str]:
        """Exit code, and what it said."""
        said = self.process.communicate(timeout=within)[1]
        return self.process.returncode, said


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_killed_rank_ends_the_run(tmp_path: Path) -> None:
    command = Command(tmp_path / "run")
    processes = command.in_training()
    assert sorted(processes) == [0, 1]
    os.kill(processes[1], signal.SIGKILL)
    code, said = command.end(within=20)
    assert code == 1
    assert "error: Rank 1 of 2 was ended by SIGKILL" in said
    assert "Traceback" not in said
    assert command.run.summary["status"] == "failed"
    assert not any(map(alive, processes.values()))


@pytest.mark.slow
def test_killed_and_stopped_and_resumed(tmp_path: Path) -> None:
    """Ends bit for bit like a run on two ranks that was left alone; one process can read it."""
    whole = Command(tmp_path / "whole")
    code, said = whole.end()
    assert code == 0, said
    folder = tmp_path / "again"

    first = Command(folder)
    os.kill(first.in_training()[0], signal.SIGKILL)
    assert first.end(within=20)[0] == 1
    assert first.run.summary["status"] == "failed"

    second = Command(folder)
    second.in_training()
    second.process.send_signal(signal.SIGTERM)
    code, said = second.end(within=20)
    assert code == 143, said
    assert second.run.summary["status"] == "interrupted"

    third = Command(folder)
    processes = third.in_training()
    third.process.kill()
    third.process.wait()
    deadline = time.monotonic() + 30
    while any(map(alive, processes.values())) and time.monotonic() < deadline:
        in_use = third.run.in_use
        # Of a rank that ended in between nothing is asked.
        assert in_use or not all(map(alive, processes.values()))
        time.sleep(0.1)
    assert not any(map(alive, processes.values()))
    assert third.run.summary["status"] == "interrupted"

    code, said = Command(folder).end()
    assert code == 0, said
    ends = [load_checkpoint(run / "checkpoints" / "last.ckpt") for run in (third.run, whole.run)]
    for part in ("state_dict", "optimizer_states"):
        assert differences(ends[0][part], ends[1][part]) == []
    assert third.run.summary["metrics"] == whole.run.summary["metrics"]
    assert load_model(third.run).sample(3).shape == (3, 1, 28, 28)


SLOW_DISK = """
import os
if os.environ.get("RANK") == "0":
    import time
    from pathlib import Path
    calls, fsync = iter(range(10**6)), os.fsync
    def slow(file):
        handle = getattr(file, "fileno", lambda: file)()
        name = os.readlink(f"/proc/self/fd/{handle}")
        if "checkpoints" in name and next(calls) == 3:
            Path(os.environ["MARK"]).write_text(name)
            time.sleep(60)
        return fsync(file)
    os.fsync = slow
"""


@pytest.mark.slow
def test_either_rank_killed_during_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 is writing, rank 1 waits for it; the run ends as if nothing had happened."""
    whole = Command(tmp_path / "whole")
    code, said = whole.end()
    assert code == 0, said
    (tmp_path / "sitecustomize.py").write_text(SLOW_DISK)
    for rank in (0, 1):
        folder, mark = tmp_path / f"killed{rank}", tmp_path / f"mark{rank}"
        monkeypatch.setenv("MARK", str(mark))
        first = Command(folder, "callbacks.checkpoint.seconds=0", path=tmp_path)
        while not mark.exists():
            assert first.process.poll() is None, first.process.communicate()[1]
            time.sleep(0.05)
        assert Path(mark.read_text()).name not in ("last.ckpt", "previous.ckpt")
        processes = first.ranks()
        os.kill(processes[rank], signal.SIGKILL)
        code, said = first.end(within=20)
        assert code == 1
        assert f"error: Rank {rank} of 2 was ended by SIGKILL" in said
        assert not any(map(alive, processes.values()))
        code, said = Command(folder).end()
        assert code == 0, said
        ends = [
            load_checkpoint(run / "checkpoints" / "last.ckpt") for run in (first.run, whole.run)
        ]
        for part in ("state_dict", "optimizer_states"):
            assert differences(ends[0][part], ends[1][part]) == []
        assert first.run.summary["metrics"] == whole.run.summary["metrics"]


@pytest.mark.slow
def test_a_training_that_diverges(tmp_path: Path) -> None:
    """Rank 0 finds out, and its words are the command's."""
    command = Command(tmp_path / "run", "model.g_optimizer.lr=1e30", "model.d_optimizer.lr=1e30")
    code, said = command.end()
    assert code == 1
    assert "error: Training diverged" in said
    assert "Traceback" not in said
    assert command.run.summary["status"] == "failed"
    assert "diverged" in command.run.summary["error"]


BROKEN = """
import os
if os.environ.get("RANK") == "1":
    import torch.distributed as dist
    calls, reduce = iter(range(100)), dist.all_reduce
    def all_reduce(x):
        if next(calls) == 50:
            raise MemoryError("the device is full")
        return reduce(x)
    dist.all_reduce = all_reduce
"""


@pytest.mark.slow
def test_an_error_in_one_rank(tmp_path: Path) -> None:
    """Is told as it happened there, and not as the others felt it."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    command = Command(tmp_path / "run", path=tmp_path)
    code, said = command.end()
    assert code == 1
    assert "Rank 1 of 2: MemoryError: the device is full" in said
    assert "in all_reduce" in said
    assert command.run.summary["status"] == "failed"
    assert command.run.summary["error"] == "Rank 1 of 2: MemoryError: the device is full"


@pytest.mark.slow
def test_a_wrong_setting_that_a_rank_finds(tmp_path: Path) -> None:
    """Is told once, in the words that one process has for it."""
    command = Command(tmp_path / "run", f"metrics.weights={tmp_path}/none.safetensors")
    code, said = command.end()
    assert code == 1
    assert said.startswith("error: ")
    assert "none.safetensors" in said
    assert said.count("error:") == 1
    assert len(said.splitlines()) <= 3
