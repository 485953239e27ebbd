"""Training throughput of a preset: `python -m benchmarks.throughput`.

Three loops train the same networks from the same weights, in one process, in turn (A B C A B C):

    sparring     this platform: Lightning, records, health, progress, signals; no scoring
    by hand      what a good engineer would write: the same precision and memory layout, D frozen in
                 G's step, fakes made once, data indexed in memory, nothing fetched from the device
    textbook     the usual example: float32, default layout, DataLoader, D not frozen, `.item()` on
                 every loss; for GANs of images only

With `--compiled` the third is `by hand` again, its networks by `torch.compile`.

The ratios are medians over the rounds of one round's rates: what slows the machine for a while
slows all three.
"""

import argparse
import io
import json
import logging
import math
import os
import platform
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from itertools import accumulate
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.base import Callback, Shared, arrange
from src.config.composition import compose, plain
from src.data.base import DataModule
from src.data.spec import Batch, DataSpec, Split, to_model
from src.losses.divergences import kl_to_standard_normal
from src.losses.penalties import NoPenalty
from src.models.autoencoder import Autoencoder
from src.models.base import GenerativeModel
from src.models.gan import GAN
from src.models.layerwise import Layerwise
from src.models.paired import PairedTranslation
from src.models.parts.adversary import Adversary
from src.models.unpaired import UnpairedTranslation
from src.models.vae import VAE
from src.networks.base import Decoder, Discriminator, Encoder, Generator, Translator
from src.runs.files import write_atomically
from src.runs.provenance import provenance
from src.training.instantiate import build, build_model
from src.training.loggers import CSVMetrics
from src.training.trainer import build_trainer, choose_device, choose_precision
from src.transforms.augment import InputNoise, NoAugment
from src.transforms.degradations import Degradation

RESULTS = Path(__file__).parent / "results"
CLOCK = [time.perf_counter]


class Noise(DataModule):
    """Images, voxels or points of noise: the speed does not depend on what is on them."""

    def __init__(
        self,
        shape: tuple[int, ...],
        batch_size: int,
        degradation: Degradation | None = None,
        paired: bool = False,
        n: int = 10_000,
    ) -> None:
        source = DataSpec("images", shape) if paired else None
        kind = {1: "points", 3: "images", 4: "voxels"}[len(shape)]
        spec = DataSpec(kind, shape, source=source)
        super().__init__(spec, batch_size, seed=0, degradation=degradation)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (n, *shape), dtype=torch.uint8, generator=generator)
        if spec.kind == "voxels":
            self.images = self.images < 20
        if spec.kind == "points":
            self.images = torch.randn(n, *shape, generator=generator)
        self.paired = paired

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        if self.paired:
            self.sources = {"train": self.images.flip(0)}
        return {"train": Split(self.images)}, {"name": "noise"}


class Stopwatch(Callback):
    """Times all iterations but the first few, which also set up the optimisers' state."""

    def __init__(self, warm_up: int) -> None:
        super().__init__()
        self.warm_up, self.seconds = warm_up, 0.0

    def due(self, model: GenerativeModel) -> float:
        return 0.0 if model.iteration < self.warm_up else math.inf

    def on_train_batch_end(self, trainer: L.Trainer, model: GAN, *_: object) -> None:
        if model.iteration == self.warm_up:
            wait(model.device)
            self.start = CLOCK[0]()

    def on_train_epoch_end(self, trainer: L.Trainer, model: GAN) -> None:
        wait(model.device)
        self.seconds = CLOCK[0]() - self.start


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sparring(settings: dict, data: Noise, iterations: int, warm_up: int) -> float:
    """Seconds for the iterations through the whole platform."""
    model = build_model(settings, data.spec)
    watch = Stopwatch(warm_up)
    names = ("budget", "records", "health", "progress", "signals")
    callbacks = [build(settings["callbacks"][name], L.Callback, name) for name in names]
    model.budget = (iterations + warm_up) * data.batch_size
    callbacks[1].every = settings["budget"] // 200  # as in a run of the preset's own length
    quiet = redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1]:
        loggers = [CSVMetrics(folder)]
        trainer = build_trainer(
            settings, Path(folder), data.spec, arrange([*callbacks, watch], Shared()), loggers
        )
        trainer.fit(model, datamodule=data)
    return watch.seconds


def by_hand(
    settings: dict, data: Noise, iterations: int, warm_up: int, compiled: bool = False
) -> float:
    """Seconds for the iterations in a loop without a framework."""
    model = build_model(settings, data.spec)
    for part in model.modules() if compiled else ():
        if isinstance(part, Generator | Discriminator | Encoder | Decoder | Translator):
            part.compile()
    device = choose_device(settings["trainer"]["accelerator"])
    model.budget = (iterations + warm_up) * data.batch_size
    bf16 = choose_precision(settings["trainer"]["precision"], data.spec.kind, device) != "32-true"
    cast = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    translates, two = (isinstance(model, c) for c in (PairedTranslation, UnpairedTranslation))
    makes = {Layerwise: layers_step, UnpairedTranslation: cycle_step, GAN: gan_step}
    makes |= {PairedTranslation: translator_step, Autoencoder: coder_step, VAE: coder_step}
    make = next(make for kind, make in makes.items() if isinstance(model, kind))
    step = make(model.to(device), cast)
    images, n = data.images.to(device), data.batch_size
    sources = data.sources["train"].to(device) if data.sources else None
    for i in range(iterations + warm_up):
        if i == warm_up:
            wait(device)
            start = CLOCK[0]()
        index = torch.randint(len(images), (n,), device=device)
        x = to_model(images[index])
        if two:
            index = torch.randint(len(images), (n,), device=device)
        if not translates and not two:
            step(x, i)
        elif sources is not None:
            step(x, to_model(sources[index]), i)
        else:
            source = data.degradation(x, None).add_(1).mul_(127.5).round_().clamp_(0, 255)
            step(x, source.div_(127.5).sub_(1), i)
    wait(device)
    return CLOCK[0]() - start


def optimisers(model: GenerativeModel, *networks: nn.Module) -> list[torch.optim.Optimizer]:
    """D's and G's optimiser."""
    partials = model._optimizer_partials
    return [partial(each.parameters()) for partial, each in zip(partials, networks, strict=True)]


def refuse(model: GenerativeModel, *adversaries: Adversary | None) -> None:
    """End with a message where a translator does more than its loop by hand."""
    more = [
        type(part).__name__
        for adversary in adversaries
        if adversary
        for part in (adversary.penalty, adversary.augment)
        if type(part) not in (NoPenalty, NoAugment)
    ]
    if isinstance(model, PairedTranslation):
        more += ["a content loss"] * bool(model.content.weight) + ["stages"] * bool(model.stages)
        more += ["a mask"] * model.spec.source.masked + ["classes"] * model.conditional
        more += ["a D without the source"] * bool(model.adversary and not model.sees_source)
    if more:
        raise SystemExit(f"The loop by hand lacks {', '.join(dict.fromkeys(more))}.")


def gan_step(model: GAN, cast: AbstractContextManager) -> Callable[..., None]:
    """An iteration of a GAN, whose D may see noise on its input."""
    generator, discriminator = model.generator, model.adversary.discriminator
    augment = model.adversary.augment
    std = augment.std if isinstance(augment, InputNoise) else 0.0
    loss, penalty, g_penalty = model.adversary.loss, model.adversary.penalty, model.g_penalty
    d_adam, g_adam = optimisers(model, discriminator, generator)

    def judge(x: Tensor) -> Tensor:
        return discriminator(x + std * torch.randn_like(x) if std else x).logits

    def step(x: Tensor, i: int) -> None:
        n = len(x)
        if model.schedule:
            for name, factor in model.schedule.factors(i * n / model.budget).items():
                if name != "lr":
                    raise SystemExit(f"The loop by hand lacks a schedule of {name}.")
                for adam in (d_adam, g_adam):
                    adam.param_groups[0]["lr"] = factor * adam.defaults["lr"]
        with cast:
            fake = generator(torch.randn(n, model.latent.dim, device=x.device))
            d_real = judge(x).float()
            d_fake = judge(fake.detach()).float()
            d_loss = loss.d(d_real, d_fake)
        if penalty.every and i % penalty.every == 0:
            d_loss = d_loss + penalty.d(judge, x, fake)
        d_loss.backward()
        d_adam.step()
        d_adam.zero_grad()
        discriminator.requires_grad_(False)
        with cast:
            g_loss = loss.g(judge(fake).float())
        g_loss.backward()
        g_adam.step()
        g_adam.zero_grad()
        discriminator.requires_grad_(True)
        if g_penalty.due(i):
            g_penalty(generator, torch.randn(n, model.latent.dim, device=x.device)).backward()
            g_adam.step()
            g_adam.zero_grad()
        if model.ema:
            model.ema.update(generator, n, (i + 1) * n)

    return step


def coder_step(model: Autoencoder | VAE, cast: AbstractContextManager) -> Callable[..., None]:
    """An iteration of an autoencoder without corruption and code penalty, or of a VAE."""
    adam = model._optimizer_partial(model.learned_parameters())

    def step(x: Tensor, _: int) -> None:
        with cast:
            x = model.reconstruction.targets(x)
            z = model.encoder(x)
            if isinstance(model, VAE):
                mean, log_variance = z.float().chunk(2, dim=1)
                z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
            loss = model.reconstruction.loss(model.decoder(z), x)
            if isinstance(model, VAE):
                loss = loss + kl_to_standard_normal(mean, log_variance).sum(1)
            loss = loss.mean()
        loss.backward()
        adam.step()
        adam.zero_grad()

    return step


def layers_step(model: Layerwise, cast: AbstractContextManager) -> Callable[..., None]:
    """An iteration of one layer after the other, and then of all of them."""
    model.configure_optimizers()
    adams = list(model._optimizers.values())
    ends = list(accumulate(stage.share for stage in model.stages))
    before = [-1]

    def step(x: Tensor, i: int) -> None:
        done = i * len(x) / model.budget
        at = next(k for k, end in enumerate(ends) if done < end + 1e-9)
        if before[0] < len(model.stack.layers) <= at:
            model.finetune.unroll(model.stack)
        before[0] = at
        with cast:
            loss = model.stages[at].loss(lambda: Batch(x))[0]
        loss.backward()
        rate = model.schedule.factors(
            (done - ends[at] + model.stages[at].share) / model.stages[at].share
        )
        adams[at].param_groups[0]["lr"] = rate.get("lr", 1.0) * adams[at].defaults["lr"]
        adams[at].step()
        adams[at].zero_grad()

    return step


def translator_step(model: PairedTranslation, cast: AbstractContextManager) -> Callable[..., None]:
    """An iteration of a translator, alone or beside its D; no content loss and no penalty."""
    refuse(model, model.adversary)
    translator = model.translator
    if not model.adversary:
        adam = model._optimizer_partials[1](translator.parameters())

        def alone(x: Tensor, source: Tensor, i: int) -> None:
            with cast:
                output = translator(source)
            model.pixels(output.float(), x).backward()
            adam.step()
            adam.zero_grad()
            if model.ema:
                model.ema.update(translator, len(x), (i + 1) * len(x))

        return alone

    discriminator, loss = model.adversary.discriminator, model.adversary.loss
    d_adam, g_adam = optimisers(model, discriminator, translator)

    def step(x: Tensor, source: Tensor, i: int) -> None:
        with cast:
            output = translator(source)
            real = discriminator(torch.cat([x, source], 1)).logits.float()
            fake = discriminator(torch.cat([output.detach(), source], 1)).logits.float()
        loss.d(real, fake).backward()
        d_adam.step()
        d_adam.zero_grad()
        discriminator.requires_grad_(False)
        with cast:
            fake = discriminator(torch.cat([output, source], 1)).logits.float()
        distance = model.pixels.weight * model.pixels(output.float(), x)
        (distance + model.adversarial * loss.g(fake)).backward()
        g_adam.step()
        g_adam.zero_grad()
        discriminator.requires_grad_(True)
        if model.ema:
            model.ema.update(translator, len(x), (i + 1) * len(x))

    return step


def cycle_step(model: UnpairedTranslation, cast: AbstractContextManager) -> Callable[..., None]:
    """An iteration of CycleGAN; without penalty."""
    refuse(model, *model.adversaries.values())
    there, back = model.translators["target"], model.translators["source"]
    judges = [model.adversaries[name].discriminator for name in ("target", "source")]
    d_adam, g_adam = optimisers(model, nn.ModuleList(judges), model.translators)
    loss, distance = model.adversaries["target"].loss, model.pixels
    pools: list[list[Tensor]] = [[], []]

    def older(pool: list[Tensor], fakes: Tensor) -> Tensor:
        """CycleGAN's own pool: a list."""
        shown = []
        for fake in fakes:
            if len(pool) < model.pools["target"].size:
                pool.append(fake)
                shown.append(fake)
            elif random.random() < 0.5:
                place = random.randrange(len(pool))
                shown.append(pool[place])
                pool[place] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)

    def step(x: Tensor, source: Tensor, i: int) -> None:
        for judge in judges:
            judge.requires_grad_(False)
        with cast:
            fakes = there(source), back(x)
            cycles = back(fakes[0]).float(), there(fakes[1]).float()
            logits = [d(fake).logits.float() for d, fake in zip(judges, fakes, strict=True)]
        g_loss = model.adversarial * sum(loss.g(each) for each in logits)
        g_loss = g_loss + model.cycle * (distance(cycles[0], source) + distance(cycles[1], x))
        if model.identity:
            with cast:
                same = there(x).float(), back(source).float()
            g_loss = g_loss + model.identity * (distance(same[0], x) + distance(same[1], source))
        g_loss.backward()
        g_adam.step()
        g_adam.zero_grad()
        for judge in judges:
            judge.requires_grad_(True)
        d_loss = 0.0
        for judge, real, fake, pool in zip(judges, (x, source), fakes, pools, strict=True):
            with cast:
                d_real = judge(real).logits.float()
                d_fake = judge(older(pool, fake.detach())).logits.float()
            d_loss = d_loss + loss.d(d_real, d_fake)
        d_loss.backward()
        d_adam.step()
        d_adam.zero_grad()
        if model.ema:
            model.ema.update(model.translators, len(x), (i + 1) * len(x))

    return step


def textbook(settings: dict, data: Noise, iterations: int, warm_up: int) -> float:
    """Seconds for the iterations in the loop of the usual tutorial."""
    device = choose_device(settings["trainer"]["accelerator"])
    model = build_model(settings, data.spec).to(memory_format=torch.contiguous_format)
    generator, discriminator = model.generator.to(device), model.adversary.discriminator.to(device)
    betas = (0.5, 0.999)
    g_adam = torch.optim.Adam(generator.parameters(), 2e-4, betas)
    d_adam = torch.optim.Adam(discriminator.parameters(), 2e-4, betas)
    dataset = TensorDataset(data.images.float() / 127.5 - 1)
    batches = iter(())
    n = data.batch_size
    one, zero = torch.ones(n, device=device), torch.zeros(n, device=device)
    bce = F.binary_cross_entropy_with_logits
    for i in range(iterations + warm_up):
        if i == warm_up:
            wait(device)
            start = CLOCK[0]()
        batch = next(batches, None)
        if batch is None:
            batches = iter(DataLoader(dataset, n, shuffle=True, drop_last=True))
            batch = next(batches)
        discriminator.zero_grad()
        d_real_loss = bce(discriminator(batch[0].to(device)).logits, one)
        d_real_loss.backward()
        fake = generator(torch.randn(n, model.latent.dim, device=device))
        d_fake_loss = bce(discriminator(fake.detach()).logits, zero)
        d_fake_loss.backward()
        d_adam.step()
        generator.zero_grad()
        g_loss = bce(discriminator(fake).logits, one)
        g_loss.backward()
        g_adam.step()
        _ = d_real_loss.item() + d_fake_loss.item(), g_loss.item()
    wait(device)
    return CLOCK[0]() - start


LOOPS = {
    "sparring": sparring,
    "by hand": by_hand,
    "textbook": textbook,
    "compiled": partial(by_hand, compiled=True),
}


def measure(
    model: str,
    resolution: int,
    rounds: int,
    seconds: float,
    overrides: Sequence[str],
    others: Sequence[str] = ("by hand", "textbook"),
) -> dict:
    """Rates of all loops in images per second, and the platform's ratios to the others."""
    words = [f"model={model}", "wandb.mode=disabled", *overrides]
    if not any(word.startswith(("data=", "experiment=")) for word in overrides):
        words.append("data=celeba")
    settings = plain(compose("train", words))
    points = settings["data"]["kind"] == "points"
    if not points:
        settings = plain(compose("train", [*words, f"data.resolution={resolution}"]))
    translates = "translator" in settings["model"]
    paired = "direction" in settings["data"]
    voxels = settings["data"]["kind"] == "voxels"
    channels = 1 if voxels or (resolution <= 32 and not translates) else 3
    shape = (2,) if points else (channels, *[resolution] * (3 if voxels else 2))
    made = None
    if not paired and not voxels and not points:
        made = build(settings["data"]["degradation"], Degradation, "degradation")
    n = 1_000 if voxels else 10_000
    data = Noise(shape, settings["model"]["batch_size"], made, paired, n)
    data.setup()
    probe = sparring(settings, data, 10, 5) / 10
    iterations = max(int(seconds / probe), 10)
    plain_gan = "generator" in settings["model"] and settings["data"]["kind"] == "images"
    loops = ["sparring", *(name for name in others if name != "textbook" or plain_gan)]
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name in loops:
            spent = LOOPS[name](settings, data, iterations, 5)
            rates[name].append(iterations * data.batch_size / spent)
    result = {
        "model": model,
        "resolution": 2 if points else resolution,
        "batch_size": data.batch_size,
        "iterations": iterations,
        "images_per_second": {name: statistics.median(each) for name, each in rates.items()},
        "rounds": rates,
    }
    for other in loops[1:]:
        ratios = [a / b for a, b in zip(rates["sparring"], rates[other], strict=True)]
        result[f"sparring / {other}"] = statistics.median(ratios)
        result[f"sparring / {other}, spread"] = [min(ratios), max(ratios)]
    return result


def machine() -> dict:
    """Description of the machine that the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": processor, "cores": os.cpu_count(), "gpu": gpu, **provenance()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="dcgan", help="preset to measure")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=15, help="of all three loops")
    parser.add_argument("--seconds", type=float, default=2.5, help="of each loop in a round")
    parser.add_argument(
        "--processor", action="store_true",
        help="measure the processor's time, on a CPU that has other work; with one thread",
    )  # fmt: skip
    parser.add_argument(
        "--compiled", action="store_true",
        help="compiled networks in the place of the textbook's loop; without penalties",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.json")
    parser.add_argument("overrides", nargs="*", help="settings such as model.generator.width=32")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.processor:
        CLOCK[0] = time.process_time
    results = []
    others = ("by hand", "compiled" if options.compiled else "textbook")
    columns = [f"{name}, img/s" for name in ("sparring", *others)]
    columns += [f"/ {name}" for name in others]
    print(f"| model | px | batch | {' | '.join(columns)} |\n|{'---|' * 8}")
    for resolution in options.resolutions:
        result = measure(
            options.model, resolution, options.rounds, options.seconds, options.overrides, others
        )
        results.append(result)
        rates = [result["images_per_second"].get(name) for name in ("sparring", *others)]
        ratios = [result.get(f"sparring / {name}") for name in others]
        cells = [result["model"], resolution, result["batch_size"]]
        cells += ["-" if rate is None else f"{rate:,.0f}" for rate in rates]
        cells += ["-" if ratio is None else f"{ratio:.3f}" for ratio in ratios]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    record = {"machine": machine(), "threads": torch.get_num_threads(), "clock": CLOCK[0].__name__}
    record["results"] = results
    write_atomically(options.out, json.dumps(record, indent=2) + "\n")
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
