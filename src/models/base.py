"""Base of all generative models: the clock, the noise, the update, the sampling.

One iteration of a paper's algorithm box is written by a subclass as `iterate(draw)`, where `draw()`
gives the next batch. Everything random in iteration i comes from a generator that is seeded by
(seed, i). So no state of a random generator has to be stored, a resumed run is exact, and scoring
or drawing pictures beside the training cannot change its course.
"""

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import reduce
from operator import add

import lightning as L
import torch
from torch import Tensor, nn

from src.data.spec import DataSpec, Draw
from src.distributed import ranks
from src.errors import SettingError
from src.models.parts.means import Means
from src.models.parts.schedules import Schedule
from src.models.parts.stages import Stage

PAUSE = 0.25  # seconds of iterations after which callbacks are called, at the latest
AT_ONCE = 2**25  # numbers of the samples that are decoded at once: 683 of 128 x 128 pixels


class GenerativeModel(L.LightningModule, ABC):
    """Base of all families.

    A subclass writes `iterate` (which tells the clock, by `self.advance`), `configure_optimizers`
    (through `self.make_optimizers`).

    Args:
        spec: kind, shape and classes of the data.
        seed: seed of all noise in training.

    Attributes:
        samples_seen: the clock: real samples shown to D or to the autoencoder.
        iteration: iterations of the algorithm done.
        updates: steps done, per player.
        rested: steps left out, per player, by a rule on how the players do.
        seconds: spent in training, over all resumes; the budget callback counts them.
        weights: of each player; its optimiser changes them.
        terms: means of the recorded terms, such as losses.
        until: samples seen before which no callback has to be called; each call of Lightning's is
            told anew, see `Turns` in `src/callbacks/base.py`.
        watch_gradients: iterations between two records of each player's gradient norm; 0 is never.
        budget: samples that the run is meant to last; schedules refer to it.
        schedule: schedule of learning rates and other strengths; None keeps them.
        clip: norm to which a player's gradient is cut; None leaves it.
        conditional: True if samples are drawn for a class.
        stages: stages of the training, in their order; empty in most families.
        needs_source: True of a model that translates sources; read before the class is imported.
        unpaired: True if sources and targets of a batch must not belong together.
    """

    stages: Sequence[Stage] = ()
    needs_source = False
    unpaired = False

    def __init__(self, spec: DataSpec, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.spec, self.seed = spec, seed
        self.samples_seen = self.iteration = 0
        self.updates: Counter[str] = Counter()
        self.rested: Counter[str] = Counter()
        self.seconds = 0.0
        self.until = 0.0
        self.watch_gradients = 0
        self.budget: int | None = None
        self.schedule: Schedule | None = None
        self.clip: float | None = None
        self.conditional = False
        self._count_step = False
        self._hooked = False  # steps back are to call hooks of Lightning's
        self.terms = Means()
        self._slices: list[tuple[Iterable[str], Tensor]] = []  # of this rank's samples: terms (k,)
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        self.weights: dict[str, list[nn.Parameter]] = {}
        self._configured: dict[str, float] = {}  # strengths that the schedule has changed

    # The iteration

    @abstractmethod
    def iterate(self, draw: Draw) -> None:
        """One iteration of the algorithm: draw batches, compute losses, call `update`."""

    def training_step(self, dataloader_iter: Iterator) -> None:
        """Take an iteration, and for a short time further ones, while no callback is due.

        What Lightning and the callbacks do for a call is so done once for many short iterations;
        how many does not change the result.
        """
        until, self.until = self.until, 0.0
        end = time.perf_counter() + PAUSE
        self._count_step = True
        self._take_iteration(lambda: next(dataloader_iter)[0])
        self._count_step = False
        if self.samples_seen < until:
            self._go_on(until, end)

    def _go_on(self, until: float, end: float) -> None:
        """Take iterations up to a clock or a time; Lightning's counters are told afterwards."""
        draw = self.trainer.train_dataloader.__next__
        iterations = steps = 0
        while self.samples_seen < until and time.perf_counter() < end:
            before = self.updates.total()
            self._take_iteration(draw)
            iterations, steps = iterations + 1, steps + (self.updates.total() > before)
        loop = self.trainer.fit_loop.epoch_loop
        loop.batch_progress.increment_by(iterations)
        loop._batches_that_stepped += iterations
        loop.manual_optimization.optim_step_progress.increment_by(steps)

    def _take_iteration(self, draw: Draw) -> None:
        # Consecutive 32-bit seeds, so that no two iterations of a run share their noise.
        self.seed_noise((self.seed * 0x9E3779B1 + self.iteration) % 2**32)
        if self.schedule:
            for name, factor in self.schedule.factors(self.stage_progress).items():
                self.scale(name, factor)
        self.iterate(draw)
        if self._slices:  # of a player that left its step out
            self._average([])
        torch.clear_autocast_cache()  # casts that it left
        self.iteration += 1

    def seed_noise(self, seed: int) -> None:
        """Seed the global generators of the CPU and of the model's device.

        `torch.manual_seed` would also note down a traceback for each kind of device that is not
        there: 1.5 ms an iteration, and memory that is never given back.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @property
    def progress(self) -> float:
        """Share of the budget that is done, in [0, 1]; 0 where no budget is known."""
        return min(self.samples_seen / self.budget, 1.0) if self.budget else 0.0

    @property
    def stage(self) -> Stage | None:
        """Stage of the last iteration, one of `stages`; None without stages."""
        return None

    @property
    def stage_number(self) -> int | None:
        """Number of the last iteration's stage, from 1; None without stages."""
        return None if self.stage is None else 1 + self.stages.index(self.stage)

    @property
    def stage_progress(self) -> float:
        """Share of the coming iteration's stage that is done: what schedules follow.

        Without stages it is the share of the budget.
        """
        return self.progress

    def scale(self, name: str, factor: float) -> None:
        """Set a strength to its configured value times a factor.

        Args:
            name: `lr` or `beta2` of all players, or one of `strengths`.
            factor: not negative.

        Raises:
            SettingError: if the model has no strength of that name.
        """
        if name in ("lr", "beta2"):
            for optimizer in self._optimizers.values():
                # As configured: what a resumed run loads is what it had come to.
                lr, betas = optimizer.defaults["lr"], optimizer.defaults.get("betas")
                for group in optimizer.param_groups:
                    if name == "lr":
                        group["lr"] = factor * lr
                    elif betas:
                        group["betas"] = (betas[0], 1 - min(factor * (1 - betas[1]), 1.0))
            return
        parts, attribute = self.strengths.get(name, ((), ""))
        # A part such as `none` has no strength.
        if not parts or not all(hasattr(part, attribute) for part in parts):
            raise SettingError(f"model.schedule.{name}: the model has none that could change.")
        configured = self._configured.setdefault(name, getattr(parts[0], attribute))
        for part in parts:
            setattr(part, attribute, factor * configured)

    @property
    def strengths(self) -> dict[str, tuple[Sequence[object], str]]:
        """Strengths that a schedule can change: by name, the parts alike and their attribute."""
        return {}

    def advance(self, batch: Tensor) -> None:
        """Move the clock on by a batch (n, ...), of which each rank has its slice."""
        self.samples_seen += ranks.count() * len(batch)

    def make_optimizers(self, **partials: Callable) -> list[torch.optim.Optimizer]:
        """Create one optimiser per player; `update` finds it, and its network, by this name.

        Args:
            partials: from the player's name to `network -> optimiser`.
        """
        self._optimizers = {name: make() for name, make in partials.items()}
        self.weights = {
            name: [weight for group in optimizer.param_groups for weight in group["params"]]
            for name, optimizer in self._optimizers.items()
        }
        return list(self._optimizers.values())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that are trained, by name; averages of them are left out."""
        return {name: child for name, child in self.named_children() if name != "ema"}

    def learned_parameters(self) -> list[nn.Parameter]:
        """All weights that have a gradient, for models of one player."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def update(self, name: str, loss: Tensor) -> None:
        """Backward, step, clear: the one place where a player's weights change.

        Args:
            name: name of the player.
            loss: scalar; gradients of other players' weights must have been frozen before.
        """
        # Each step back is in the precision of its step forward; autocast would besides round the
        # second derivatives of penalties, which are float32.
        device = self.device.type
        autocast = torch.is_autocast_enabled(device)
        torch.set_autocast_enabled(device, False)
        try:
            if self._hooked:
                self.manual_backward(loss)
            else:  # the same, without asking every callback in every step
                loss.backward()
        finally:
            torch.set_autocast_enabled(device, autocast)
        optimizer, weights = self._optimizers[name], self.weights[name]
        if ranks.count() > 1:
            self._average([w.grad for w in weights if w.grad is not None])
        watched = self.watch_gradients and self.iteration % self.watch_gradients == 0
        if watched or self.clip is not None:
            norm = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
            if watched:
                self.terms.add([f"gradient/{name}"], norm.view(1))
            if self.clip is not None:
                nn.utils.clip_grads_with_norm_(weights, self.clip, norm)
        if self._count_step:
            # Lightning's global_step counts the steps of its own wrappers: one per call.
            self._count_step = False
            wrappers = self.optimizers(use_pl_optimizer=True)
            wrappers = wrappers if isinstance(wrappers, list) else [wrappers]
            optimizer = wrappers[list(self._optimizers).index(name)]
        optimizer.step()
        for weight in weights:
            weight.grad = None
        torch.clear_autocast_cache()  # of casts of the old weights, see CachedMixedPrecision
        self.updates[name] += 1

    def _average(self, gradients: Sequence[Tensor]) -> None:
        """Means over the ranks of gradients and, with them, of the recorded terms."""
        terms, self._slices = self._slices, []
        ranks.average_([*gradients, *(values for _, values in terms)])
        for names, values in terms:
            self.terms.add(names, values)

    def total(self, terms: Mapping[str, Tensor], shown: Mapping[str, Tensor] = {}) -> Tensor:
        """The sum of a loss's terms, each of which is recorded as `loss/<name>`.

        Args:
            terms: scalars, in the order in which they are added.
            shown: is recorded beside them.
        """
        self.record(**{f"loss/{name}": term for name, term in terms.items()}, **shown)
        return reduce(add, terms.values())

    def record(self, **terms: Tensor) -> None:
        """Add the means of terms to `self.terms`; nothing leaves the device.

        On several ranks they get there in the next update, which averages them.
        """
        values = [term.detach() for term in terms.values()]
        values = [v.float().mean() if v.ndim or v.dtype != torch.float32 else v for v in values]
        together = torch.stack(values)
        if ranks.count() > 1:
            self._slices.append((terms, together))
        else:
            self.terms.add(terms, together)

    # Beside the training

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Eval mode, no gradients, no autocast, for the time of a `with` block."""
        trained = [module for module in self.modules() if module.training]
        for module in trained:
            module.training = False
        try:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                yield
        finally:
            for module in trained:
                module.training = True

    def make_random_generator(self, seed: int | None) -> torch.Generator:
        """A random generator of its own, on the model's device."""
        generator = torch.Generator(self.device)
        return generator.manual_seed(generator.seed() if seed is None else seed)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["sparring"] = {
            "spec": asdict(self.spec),
            "samples_seen": self.samples_seen,
            "iteration": self.iteration,
            "updates": dict(self.updates),
            "rested": dict(self.rested),
            "seconds": self.seconds,
            "records": self.terms.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        state = checkpoint["sparring"]
        self.samples_seen, self.iteration = state["samples_seen"], state["iteration"]
        self.updates, self.seconds = Counter(state["updates"]), state["seconds"]
        self.rested = Counter(state.get("rested", {}))
        self.terms.load_state_dict(state["records"])

    def on_train_start(self) -> None:
        self._hooked = any(
            overrides(owner, "on_before_backward", "on_after_backward")
            for owner in (self, *self.trainer.callbacks)
        )


def overrides(owner: L.LightningModule | L.Callback, *hooks: str) -> bool:
    """True if a model or a callback has one of these hooks of Lightning's."""
    base = L.Callback if isinstance(owner, L.Callback) else L.LightningModule
    return any(
        getattr(getattr(owner, hook), "__func__", None) is not getattr(base, hook) for hook in hooks
    )


class LatentVariableModel(GenerativeModel):
    """Base of the families that draw a latent from a prior and decode it to a sample."""

    @abstractmethod
    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Codes (n, latent_dim) from the prior, on the model's device."""

    @abstractmethod
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes to samples (n, *shape) in the data's range, by the weights that are scored."""

    def sample(
        self, n: int, labels: Tensor | None = None, seed: int | None = None, batch_size: int = 500
    ) -> Tensor:
        """n samples (n, *shape), float32, by the weights that are scored (EMA where there is one).

        Neither the training mode nor the global random generator is changed by it.

        Args:
            n: number of samples.
            labels: (n,), for conditional models; None takes the classes in turn.
            seed: the same seed gives the same latents; None draws afresh.
            batch_size: decoded at once; fewer of samples with millions of numbers.
        """
        batch_size = min(batch_size, max(1, AT_ONCE // math.prod(self.spec.shape)))
        z = self.latents(n, seed)
        if labels is None and self.conditional:
            labels = self.classes_in_turn(n)
        labels = [None] * n if labels is None else labels.to(self.device).split(batch_size)
        with self.scoring():
            chunks = zip(z.split(batch_size), labels, strict=False)
            return torch.cat([self.decode(z, y) for z, y in chunks])

    def classes_in_turn(self, n: int) -> Tensor:
        """(n,): what a conditional model draws where no class is asked for."""
        return torch.arange(n, device=self.device) % len(self.spec.classes)


class freeze:
    """`with freeze(model.weights["d"]):` they get no gradients, and none are computed for them."""

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self.weights = weights

    def __enter__(self) -> None:
        for weight in self.weights:
            weight.requires_grad = False

    def __exit__(self, *_: object) -> None:
        for weight in self.weights:
            weight.requires_grad = True
