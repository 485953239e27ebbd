"""Check that everything works on this machine's GPU: `python -m benchmarks.gpu_check`.

The checks give the commands that users give, on built-in data, and look at what the runs leave.
Each is a process of its own with a time limit. Whatever becomes of it, the report is written and
the next one is run. Without a GPU a smaller plan does the same on the CPU.
"""

import argparse
import csv
import itertools
import json
import math
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

# Nothing here imports torch: checks are forked from this process, and CUDA does not survive a fork.
from src.config.composition import CONF
from src.runs.files import write_atomically
from src.runs.run import Run

ROOT = Path(__file__).parents[1]
TAIL = 15  # lines of a log that the report shows
LEAST = 10.0  # seconds that must be left for another check to begin


@dataclass(frozen=True)
class Plan:
    """Sizes of the checks."""

    total: float  # seconds for all of them
    limit: float  # seconds for each
    at_once: int  # commands side by side, where nothing is timed
    budget: int  # samples of `train`; of `resume` half, and of a run of `sweep` a quarter
    n: int  # samples that are scored
    families: Sequence[str]  # names of `VARIANTS`
    family_budget: int  # samples of each
    runs: int  # of the sweep, at a time
    features: tuple[int, int]  # rows and columns; of Inception's FID 10,000 and 2,048
    inception: int  # images to embed
    throughput: Sequence[str]  # words for `benchmarks.throughput`, call by call


DATA = {  # of presets that are not for plain images
    "gaussian_gan": "gaussian",
    "tiny": "slanted_land",
    **dict.fromkeys(("gan3d", "wgan_gp3d"), "solids data.size=5000"),
    **dict.fromkeys(
        ("single_view", "single_view_gan", "vaegan3d"),
        "solids data.size=5000 data/degradation=view",
    ),
    **dict.fromkeys(("cyclegan", "discogan", "dualgan"), "mnist data/degradation=noise"),
    "restorer": "mnist data.resolution=32 data/degradation=mask_centre",
    **dict.fromkeys(("srresnet", "srgan", "esrgan"), "mnist data/degradation=downsample"),
    **dict.fromkeys(
        ("pix2pix", "l1_translator"), "mnist data.resolution=32 data/degradation=line_drawing"
    ),
}
VARIANTS = {  # those that take long come first, since several are trained at a time
    "colour": "model=dcgan data=celeba",
    "stacked": "model=dcgan data=stacked_mnist",
    "projection": "model=sngan data=mnist model/condition=projection",
    "ada": "model=dcgan data=mnist model/augment=ada",
    "diffaugment": "model=dcgan data=mnist model/augment=diffaugment data.flip=true",
    "packing": "model=dcgan data=mnist model.packing=2",
    "workers": "model=dcgan data=mnist data.reading.in_memory=0",
    "float32": "model=wgan_gp data=mnist trainer.precision=32-true",
    "equilibrium": "model=dcgan data=mnist callbacks=equilibrium",
    "probes": "model=conv_ae data=mnist model/code_penalty=contractive model.code_penalty.probes=2",
    "ring": "experiment=mixtures model=wgan_gp model/penalty=wgan_gp_toy data=ring",
} | {
    preset: f"model={preset} data={DATA.get(preset, 'mnist')}"
    for preset in sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
}
PLANS = {
    "cuda": Plan(
        total=600,
        limit=240,
        at_once=10,
        budget=200_000,
        n=10_000,
        families=tuple(VARIANTS),
        family_budget=4_000,
        runs=4,
        features=(10_000, 2_048),
        inception=4_000,
        throughput=(
            "--resolutions 32 64 --rounds 5 --seconds 0.8",
            "model.batch_size=128 --resolutions 64 --rounds 5 --seconds 0.8",
        ),
    ),
    "cpu": Plan(
        total=240,
        limit=60,
        at_once=3,
        budget=2_560,
        n=200,
        families=("vae", "wgan_gp", "ada"),
        family_budget=512,
        runs=2,
        features=(1_000, 256),
        inception=8,
        throughput=("model.batch_size=8 --resolutions 32 64 --rounds 1 --seconds 0.5",),
    ),
}


class CheckError(Exception):
    """Something is not as it should be."""


def expect(condition: bool, otherwise: str) -> None:
    """Raise CheckError unless the condition holds."""
    if not condition:
        raise CheckError(otherwise)


class Bench:
    """Plan, folders and device of the checks.

    Args:
        name: of the check.
        plan: its sizes.
        device: `cuda` or `cpu`.
        work: folder for everything that is written.
        data: folder with `mnist/`, whose files are used; None takes built-in data.
    """

    def __init__(self, name: str, plan: Plan, device: str, work: Path, data: Path | None) -> None:
        self.name, self.plan, self.device, self.work, self.data = name, plan, device, work, data
        self._found: dict[str, Any] = {}

    def record(self, **numbers: Any) -> None:
        """Put numbers into the report; they stay there if the check fails later."""
        self._found |= numbers
        write_atomically(self.work / f"{self.name}.json", json.dumps(_plain(self._found)))

    def start(self, log: str, *words: str, **environment: str) -> subprocess.Popen:
        """Start `python -m <words>`, which writes into a log of this name."""
        environment = os.environ | {"SPARRING_CACHE": str(self.work / "cache")} | environment
        command, options = [sys.executable, "-m", *words], {"cwd": ROOT, "env": environment}
        with self._log(log).open("wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)

    def command(self, log: str, *words: str, **environment: str) -> tuple[float, str]:
        """Run `python -m <words>` to its end: seconds, and what it wrote.

        Raises:
            CheckError: with the last lines of that, if it fails.
        """
        start = time.perf_counter()
        code = self.start(log, *words, **environment).wait()
        seconds, output = time.perf_counter() - start, self._log(log).read_text(errors="replace")
        expect(not code, f"{' '.join(words)}\nended with status {code}:\n{_tail(output)}")
        return seconds, output

    def _log(self, name: str) -> Path:
        return self.work / f"{self.name}-{name}.log"

    def run(self, *names: str) -> Run:
        """A run folder, which need not exist yet."""
        return Run(self.work.joinpath(*names, "seed=0"))

    def training(self, words: str, run: Run | None = None) -> list[str]:
        """The words that train on this device; of what is said twice, the last counts."""
        real = self.data and "data=mnist" in words.split()
        source = f"data.source=real data.root={self.data}/mnist" if real else "data.source=builtin"
        given = f"{source} wandb.mode=disabled metrics.n={self.plan.n} metrics.importance_images=20"
        # On a GPU nothing is said: `auto` must find it.
        cpu = ["trainer=cpu"] if self.device == "cpu" else []
        place = [f"hydra.run.dir={run.folder}"] if run else []
        return ["src.train", *given.split(), *cpu, *words.split(), *place]

    def trained(self) -> Run:
        """The run of `train`, which is trained now if it was not."""
        run = self.run("train")
        if run.summary.get("status") != "finished":
            words = f"model=dcgan data=mnist budget={self.plan.budget}"
            self.record(command_seconds=self.command("train", *self.training(words, run))[0])
        return run

    def finished(self, run: Run, device: str | None = None) -> dict[str, Any]:
        """The summary of a run that came to its end on the device, its headline finite."""
        summary, expected = run.summary, device or self.device
        expect(summary.get("status") == "finished", f"{run.folder} is {summary.get('status')}")
        on_cpu = summary["device"].startswith("cpu")
        expect(on_cpu == (expected == "cpu"), f"trained on {summary['device']}, not on {expected}")
        # Others need not be, so early: a toy's `reverse_kl` is not where no sample is good.
        headline = {name: summary["metrics"][name] for name in summary["headline"]}
        expect(all(map(math.isfinite, headline.values())), f"not finite: {headline}")
        return summary

    def side_by_side(self, function: Callable[[Any], Any], each: Sequence[Any]) -> list[Any]:
        """Results of a function, several at a time; the first error is raised when all is done."""
        with ThreadPoolExecutor(self.plan.at_once) as pool:
            futures = [pool.submit(function, one) for one in each]
        return [future.result() for future in futures]


def _tail(text: str) -> str:
    lines = [line.rpartition("\r")[2].rstrip()[:300] for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-TAIL:])


def _plain(value: Any) -> Any:
    """Values for JSON: floats with six digits, and as text if they are not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, int | str | None) else str(value)


# The checks


def look(bench: Bench) -> None:
    """The machine, and what torch says of its GPU."""
    import torch

    from benchmarks.throughput import machine

    bench.record(**machine(), gpus=torch.cuda.device_count())
    if torch.cuda.is_available():
        cuda = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        memory = torch.cuda.get_device_properties(0).total_memory
        bench.record(**cuda, gpu_memory=memory, bf16=torch.cuda.is_bf16_supported(False))


def train(bench: Bench) -> None:
    """Device, precision, losses, scores and pictures of a GAN."""
    run = bench.trained()
    summary = run.summary
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["samples_per_second"]) for row in rows if row["samples_per_second"]]
    kept = ("device", "precision", "peak_memory", "samples_seen", "metrics")
    bench.record(images_per_second=statistics.median(rates), **{k: summary[k] for k in kept})
    bench.finished(run)
    if bench.device == "cuda":
        expect(summary["precision"] == "bf16-mixed", f"its precision is {summary['precision']}")
    for name in ("loss/d", "loss/g"):
        values = [float(row[name]) for row in rows if row[name]]
        expect(bool(values) and all(map(math.isfinite, values)), f"{name} is not finite: {values}")
    for name in ("final.png", "reals.png", "progress.gif", "curves.png", "neighbours.png"):
        expect((run / "samples" / name).is_file(), f"there is no samples/{name}")


def families(bench: Bench) -> None:
    """All presets and more, for a few iterations, with all scores and pictures."""
    names = bench.plan.families
    threads = str(max(1, (os.cpu_count() or 1) // bench.plan.at_once))
    found: dict[str, dict[str, Any]] = {}

    def one(name: str) -> None:
        run = bench.run("families", name)
        words = f"{VARIANTS[name]} budget={bench.plan.family_budget} metrics.n=200"
        try:
            command = bench.training(words, run)
            seconds, _ = bench.command(name, *command, OMP_NUM_THREADS=threads)
            summary = bench.finished(run)
            numbers = {"seconds": seconds, "precision": summary["precision"]}
            numbers["scores"] = {key: summary["metrics"][key] for key in summary["headline"]}
        except Exception as error:
            numbers = {"error": f"{type(error).__name__}: {error}"}
        found[name] = {"passed": "error" not in numbers} | numbers
        bench.record(variants=dict(found))

    bench.side_by_side(one, names)
    failed = [name for name in names if not found[name]["passed"]]
    bench.record(finished=len(names) - len(failed), failed=failed)
    expect(not failed, "failed: " + ", ".join(failed))


def resume(bench: Bench) -> None:
    """A run is killed and goes on; its weights at the end, against those of whole runs."""
    # Training and nothing beside it.
    words = f"model=dcgan data=mnist budget={bench.plan.budget // 2} metrics=none"
    words += " ~callbacks.samples ~callbacks.neighbours callbacks.checkpoint.seconds=0.5"
    # On a GPU two whole runs differ as well: sums are not always taken in the same order.
    names = ("killed", "whole", *(["again"] if bench.device == "cuda" else []))
    runs = {name: bench.run("resume", name) for name in names}
    commands = {name: bench.training(words, run) for name, run in runs.items()}

    def first(name: str) -> None:
        if name != "killed":
            bench.command(name, *commands[name])
            return
        process = bench.start(name, *commands[name])
        while runs[name].checkpoint is None and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        expect(process.wait() == -signal.SIGKILL, "it had ended before it could be killed")

    bench.side_by_side(first, names)
    expect(runs["killed"].status == "interrupted", f"killed, it is {runs['killed'].status}")
    _, said = bench.command("resumed", *commands["killed"])
    expect("Resuming in" in said, "it was not resumed")
    clocks = {name: bench.finished(run)["samples_seen"] for name, run in runs.items()}
    expect(len(set(clocks.values())) == 1, f"samples seen: {clocks}")
    whole = runs.pop("whole")
    differences = {name: _difference(run, whole) for name, run in runs.items()}
    bench.record(differences=differences)
    if bench.device == "cpu":
        expect(differences["killed"]["largest"] == 0, "on the CPU not a bit may differ")


def _difference(run: Run, other: Run) -> dict[str, float]:
    """Differences of all weights at the end: the largest, and the relative norm of all."""
    import torch

    from src.training.checkpoints import load_checkpoint

    states = [load_checkpoint(r.checkpoint)["state_dict"].values() for r in (run, other)]
    a, b = (torch.cat([w.flatten().double() for w in s if w.is_floating_point()]) for s in states)
    return {"largest": float((a - b).abs().max()), "relative": float((a - b).norm() / b.norm())}


def fid(bench: Bench) -> None:
    """FID by this device and by the CPU, and the speed of its parts."""
    from src.metrics.quality import QualityScorer
    from src.metrics.scorers import as_settings, choose_extractor
    from src.training.trained import load_data, load_model

    run, n = bench.trained(), bench.plan.n
    devices = tuple(dict.fromkeys(("cpu", bench.device)))
    # By the command, of other images: the same seed gives other codes on another device.
    for device in devices:
        words = f"src.evaluate metrics.n={n} metrics.metrics=[fid] device={device}"
        bench.command(f"evaluate-{device}", *words.split(), f"run={run.folder}")
    stored = json.loads((run / "evaluations.json").read_text())
    fids = [record["value"] for record in stored if record["protocol"]["metric"] == "fid"]
    bench.record(evaluated=dict(zip(devices, fids[-len(devices) :], strict=True)))

    model = load_model(run).to(bench.device)
    data = load_data(run, model.spec, None, str(bench.work / "cache"))
    fakes = model.sample(n, seed=0)
    scores: dict[str, dict[str, float]] = {}
    for device in devices:  # the same images, and nothing kept of the reals
        extractor = choose_extractor(as_settings(run.settings["metrics"]), data)
        scorer = QualityScorer(data, extractor, n, cache=bench.work / f"cache-{device}")
        portions = itertools.cycle(fakes.to(device).split(500))
        scorer.score(lambda *_, portions=portions: next(portions))
        start = time.perf_counter()
        scores[device] = scorer.score(lambda *_, portions=portions: next(portions)).values
        scores[device] |= {"seconds": time.perf_counter() - start}
    values = [scores[device][scorer.name("fid")] for device in devices]
    relative = abs(values[-1] / values[0] - 1)
    bench.record(scores=scores, relative_difference=relative)
    _parts(bench, devices)
    expect(relative < 0.01, f"FID of the same images differs by {relative:.2%}: {values}")


def _parts(bench: Bench, devices: Sequence[str]) -> None:
    """Seconds of distances in features as wide as Inception's, and its own speed and answers."""
    import torch

    from src.metrics.quality import frechet_distance, manifold, moments
    from src.networks.features import Inception

    torch.manual_seed(0)
    real, fake = torch.randn(2, *bench.plan.features)
    images = torch.randint(256, (bench.plan.inception, 3, 64, 64), dtype=torch.uint8)
    extractor, answers = Inception(_random_inception(bench.work / "inception.pth")), []
    for device in devices:
        a, b = real.to(device), fake.to(device)
        known, start = moments(a), time.perf_counter()
        numbers = {"frechet": frechet_distance(known, moments(b))}
        middle = time.perf_counter()
        manifold(b, a)
        numbers |= {"frechet_seconds": middle - start, "knn_seconds": time.perf_counter() - middle}

        extractor.to(device)
        answers.append(extractor(images[:8]).features.cpu())  # which warms up, too
        few = images if device == bench.device else images[:100]
        start = time.perf_counter()
        torch.cat([extractor(part).features for part in few.split(100)]).cpu()
        numbers["inception_per_second"] = len(few) / (time.perf_counter() - start)
        bench.record(**{f"parts_{device}": numbers})
    relative = (answers[-1] - answers[0]).norm() / answers[0].norm()
    bench.record(inception_relative_difference=float(relative))


def _random_inception(path: Path) -> Path:
    """A file of weights of Inception's true shape; random, so that none need be downloaded."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    kind = fidelity.FeatureExtractorInceptionV3
    with (
        mock.patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        mock.patch.object(kind, "load_state_dict"),
    ):
        network = kind("inception-v3-compat", ["2048"])
    for module in network.modules():  # or nothing of an image would be left behind so many layers
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


def sample(bench: Bench) -> None:
    """Pictures and scores of a trained run, on the device and where no GPU is visible."""
    from PIL import Image

    run = bench.trained()
    calls = {
        "grid": "src.sample n=16",
        "grid-hidden": "src.sample n=16",
        "between": "src.sample what=interpolation n=4",
        "near": "src.sample what=neighbours n=4",
        "scores": f"src.evaluate metrics.n={bench.plan.n}",
        "scores-hidden": "src.evaluate metrics.n=200",
    }
    if bench.device == "cpu":  # nothing is to be hidden, and `fid` has evaluated
        calls = {name: calls[name] for name in ("grid", "near")}

    def one(name: str) -> float:
        out = bench.work / f"{name}.png"
        place = [f"out={out}"] if "src.sample" in calls[name] else []
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if name.endswith("hidden") else {}
        command = [*calls[name].split(), f"run={run.folder}", *place]
        seconds, _ = bench.command(name, *command, **hidden)
        if place:
            darkest, lightest = Image.open(out).convert("L").getextrema()
            expect(darkest < lightest, f"{out} is empty")
        return seconds

    seconds = bench.side_by_side(one, list(calls))
    bench.record(seconds_side_by_side=dict(zip(calls, seconds, strict=True)))


def sweep(bench: Bench) -> None:
    """Four runs that share a device, against the time of one; their comparison."""
    words = f"model=dcgan data=mnist budget={bench.plan.budget // 4} metrics.n=200"
    alone = bench.run("alone")
    one, _ = bench.command("alone", *bench.training(words, alone))
    folder, jobs = bench.work / "sweep", bench.plan.runs
    words += f" -m seed=0,1,2,3 hydra/launcher=joblib hydra.launcher.n_jobs={jobs}"
    four, _ = bench.command("four", *bench.training(words), f"hydra.sweep.dir={folder}")
    summaries = [bench.finished(Run(path.parent)) for path in folder.glob("**/summary.json")]
    expect(len(summaries) == 4, f"{len(summaries)} of 4 runs are there")
    rates = [s["samples_seen"] / s["seconds"] for s in (bench.finished(alone), *summaries)]
    bench.record(one_seconds=one, four_seconds=four, at_once=jobs, four_to_one=four / one)
    bench.record(one_rate=rates[0], mean_rate_of_four=statistics.mean(rates[1:]))
    report = folder / "report.html"
    bench.command("compare", "src.compare", f"runs={folder}", f"out={report}")
    expect(report.stat().st_size > 0, "the comparison is empty")


def throughput(bench: Bench) -> None:
    """The platform's speed against hand-written loops, in short."""
    for k, words in enumerate(bench.plan.throughput):
        out = bench.work / f"throughput-{k}.json"
        cpu = ["trainer=cpu"] if bench.device == "cpu" else []
        bench.command(f"{k}", "benchmarks.throughput", *cpu, *words.split(), "--out", str(out))
        for result in json.loads(out.read_text())["results"]:
            keys = ("images_per_second", "sparring / by hand", "sparring / textbook")
            name = f"{result['resolution']} px, batch {result['batch_size']}"
            bench.record(**{name: {key: result[key] for key in keys}})


def ranks(bench: Bench) -> None:
    """Two ranks of one model: on two GPUs where they are, else on the CPU."""
    gpus = json.loads((bench.work / "look.json").read_text())["gpus"]
    device = "cuda" if bench.device == "cuda" and gpus > 1 else "cpu"
    run, trainer = bench.run("ranks"), {"cuda": "trainer=gpu", "cpu": "trainer=cpu"}[device]
    words = f"model=vae data=mnist budget=4096 metrics=none {trainer} trainer.devices=2"
    seconds, _ = bench.command("run", *bench.training(words, run))
    summary = bench.finished(run, device)
    expect(summary["devices"] == 2, f"it had {summary['devices']} devices")
    bench.record(gpus=gpus, device=summary["device"], command_seconds=seconds)


# The longest comes last, since time may end.
_ORDER = (train, resume, fid, sample, sweep, throughput, ranks, families)
CHECKS = {check.__name__: check for check in _ORDER}


# How they are run


def apart(check: Callable[[Bench], None], bench: Bench, limit: float) -> dict[str, Any]:
    """Run a check in a process of its own: what it recorded, and how it ended."""
    log, numbers = bench.work / f"{bench.name}.log", bench.work / f"{bench.name}.json"
    numbers.unlink(missing_ok=True)
    start = time.monotonic()
    process = multiprocessing.get_context("fork").Process(target=_inside, args=(check, bench, log))
    process.start()
    try:
        process.join(limit)
        late = process.is_alive()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the commands that it left, too
        process.kill()
        process.join()
    result = {
        "passed": process.exitcode == 0 and not late,
        "seconds": round(time.monotonic() - start, 1),
        **(json.loads(numbers.read_text()) if numbers.exists() else {}),
    }
    if not result["passed"]:
        how = f"over its limit of {limit:.0f} s" if late else f"exit status {process.exitcode}"
        said = _tail(log.read_text(errors="replace")) if log.exists() else ""
        result["error"] = f"{how}\n{said}".strip()
    return result


def _inside(check: Callable[[Bench], None], bench: Bench, log: Path) -> None:
    os.setpgrp()
    sys.stdout = sys.stderr = file = log.open("w", buffering=1)
    for output in (1, 2):
        os.dup2(file.fileno(), output)
    try:
        check(bench)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def check_all(options: argparse.Namespace, work: Path) -> int:
    """Run the checks one after the other and report after each; the exit status."""
    begun = time.monotonic()
    machine = apart(look, Bench("look", PLANS["cpu"], "cpu", work, None), 120)
    if not machine["passed"]:
        print(machine["error"])
        return 1
    machine = {key: value for key, value in machine.items() if key not in ("passed", "seconds")}
    device = "cuda" if machine["gpu"] else "cpu"
    plan, data = PLANS[device], options.data and options.data.resolve()
    folder = Path(__file__).parent / "results" if device == "cuda" else ROOT / "outputs"
    out, total = options.out or folder / "gpu_check.json", options.limit or plan.total
    print(f"{machine['gpu'] or machine['processor']}, at most {total:.0f} s", flush=True)
    results: dict[str, dict[str, Any]] = {}
    for name in [name for name in CHECKS if name in (options.only or CHECKS)]:
        left = total - (time.monotonic() - begun)
        if left < LEAST:
            results[name] = {"passed": None, "error": "not run: there is no time left"}
        else:
            bench = Bench(name, plan, device, work, data)
            results[name] = apart(CHECKS[name], bench, min(plan.limit, left))
        print(_line(name, results[name]), flush=True)
        seconds = round(time.monotonic() - begun, 1)
        report = {"machine": machine, "device": device, "seconds": seconds, "plan": asdict(plan)}
        write_atomically(out, json.dumps(report | {"checks": results}, indent=2) + "\n")
    states = [result["passed"] for result in results.values()]
    counts = [f"{states.count(x)} {word}" for x, word in STATES.items() if x in states]
    print(f"{', '.join(counts)} in {seconds:.0f} s; see {out}")
    return int(False in states)


STATES = {True: "passed", False: "failed", None: "not run"}


def _line(name: str, result: dict[str, Any]) -> str:
    """A check's result as it is printed; of a failed one the last line of what it wrote."""
    numbers = {key: x for key, x in result.items() if isinstance(x, float) and key != "seconds"}
    told = [f"{key} {value:,.4g}" for key, value in numbers.items()]
    told = told if result["passed"] else result["error"].splitlines()[-1:]
    seconds = f"{result.get('seconds', 0):.1f} s"
    return f"{name:<12}{STATES[result['passed']]:<9}{seconds:>8}  {'; '.join(told)}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status is 1 if a check failed."""
    listed = "\n".join(f"  {name:<12}{check.__doc__}" for name, check in CHECKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check",
        description=__doc__,
        epilog=f"checks, in their order:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place = "benchmarks/results/gpu_check.json on a GPU, else outputs/gpu_check.json"
    parser.add_argument("--only", nargs="+", choices=CHECKS, metavar="NAME", help="these checks")
    parser.add_argument("--list", action="store_true", help="name the checks, and do nothing")
    parser.add_argument("--limit", type=float, help="seconds for all: 480 on a GPU, else 240")
    parser.add_argument("--data", type=Path, help="folder with mnist/, real files to train on")
    parser.add_argument("--work", type=Path, help="folder for runs and logs, which is kept")
    parser.add_argument("--out", type=Path, help=f"the report: {place}")
    options = parser.parse_args(arguments)
    if options.list:
        print(listed)
        return 0
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        return check_all(options, work)


if __name__ == "__main__":
    sys.exit(main())
