"""Runs of a sweep: all combinations of the overrides' choices, or Optuna's proposals.

A source gives the overrides of one run after the other, and gets the result of each. Overrides are
in Hydra's syntax: `seed=0,1,2`, `seed=range(3)`, `model=choice(gan,dcgan)`; for Optuna also
`model.g_optimizer.lr=tag(log,interval(1e-5,1e-2))`.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep, Sweep
from hydra.errors import HydraException

from src.config.composition import CONF
from src.config.ranges import NotNegativeInt, PositiveInt
from src.errors import SettingError
from src.report.metrics import is_meant
from src.sweeps.worker import Outcome


class Trial:
    """One run of a sweep.

    Attributes:
        overrides: all overrides of the run, those of the sweep's choices among them.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self.overrides = list(overrides)

    def prune(self, scores: Sequence[Mapping[str, float]]) -> bool:
        """True if the run should end early, by its scores so far."""
        return False

    def tell(self, outcome: Outcome, summary: Mapping[str, Any]) -> str | None:
        """Take the result and the run's summary.json; return a remark for the table, or None."""
        return None


class Source(ABC):
    """Source of runs; iterating gives their trials, and may wait for the results of others.

    Attributes:
        max_batch_size: at most so many runs at a time.
        aim: the target of the search, as overrides; with another one it is another sweep.
    """

    max_batch_size: int | None = None
    aim: Sequence[str] = ()

    @abstractmethod
    def begin(self, overrides: Sequence[str], place: Path) -> None:
        """Take the overrides of the command line and a path for what is to be kept.

        Raises:
            SettingError: for overrides that cannot be read, or not by this sweeper.
        """

    @abstractmethod
    def ask(self) -> Trial | None:
        """The next trial; None if there is none for the time being."""

    def report(self) -> str:
        """Text for the end of the sweep, or nothing."""
        return ""


class Grid(Source):
    """All combinations.

    Args:
        params: more overrides, as `key: choices`; the command line has the last word.
        max_batch_size: at most so many runs at a time; None is as many as the launcher takes.
    """

    def __init__(
        self, params: dict | None = None, max_batch_size: PositiveInt | None = None
    ) -> None:
        if max_batch_size is not None and max_batch_size < 1:
            raise SettingError(
                f"hydra.sweeper.max_batch_size={max_batch_size} must be positive: runs at a time."
            )
        self.params, self.max_batch_size = params or {}, max_batch_size

    def begin(self, overrides: Sequence[str], place: Path) -> None:
        choices: dict[str, list[str]] = {}
        for key, override in parse(overrides, self.params).items():
            if not override.is_sweep_override():
                choices[key] = [override.input_line]
            elif override.is_discrete_sweep():
                choices[key] = values(key, override)
            else:
                raise SettingError(
                    f"{override.input_line}: an interval has no end of values.\n"
                    f"Name them, {key}=0.1,0.2, or search it with hydra/sweeper=optuna."
                )
        self._left = iter(itertools.product(*choices.values()))

    def ask(self) -> Trial | None:
        return next(map(Trial, self._left), None)


class Optuna(Source):
    """The search of Optuna (Akiba et al. 2019): a better score is looked for, bad runs end early.

    All that it learns is kept in the storage, so that the same command goes on, with more trials
    if `n_trials` is greater now; at the same time it shares them. A score is compared whenever the
    quality callback gives one (`callbacks.quality.every`).

    Args:
        params: the space, as `key: choices`; the command line has the last word.
        n_trials: runs that end, by themselves or early.
        metric: a number of summary.json, `fid10k_mnist`, `fid10k` or just `fid`; None is the
            headline number.
        direction: better direction of the metric.
        sampler: tree-structured Parzen estimator, random, or an even lattice.
        pruner: ends a run that is worse than the median of the others at the same samples, or by
            successive halving (Hyperband); none lets all run.
        startup: runs that are drawn at random at first, and not pruned.
        seed: seed of the sampler.
        storage: sqlite:///FILE or another database's URL; None is a file beside the runs.
    """

    def __init__(
        self,
        params: dict | None = None,
        n_trials: PositiveInt = 20,
        metric: str | None = None,
        direction: Literal["minimize", "maximize"] = "minimize",
        sampler: Literal["tpe", "random", "qmc"] = "tpe",
        pruner: Literal["median", "hyperband", "none"] = "median",
        startup: NotNegativeInt = 5,
        seed: NotNegativeInt = 0,
        storage: str | None = None,
    ) -> None:
        if n_trials < 1:
            raise SettingError(f"hydra.sweeper.n_trials={n_trials} must be positive: runs.")
        self.params, self.n_trials, self.metric = params or {}, n_trials, metric
        self.direction, self.storage, self.seed = direction, storage, seed
        self.sampler, self.pruner, self.startup = sampler, pruner, startup
        self.aim = [f"{key}={value}" for key, value in self.params.items()]
        self.aim += [f"metric={metric}"] if metric else []
        self.aim += [direction] if direction != "minimize" else []

    def begin(self, overrides: Sequence[str], place: Path) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        parsed = parse(overrides, self.params)
        if "seed" in parsed and parsed["seed"].is_sweep_override():
            raise SettingError(
                f"{parsed['seed'].input_line}: the luckiest seed is not to be searched for.\n"
                "Give one, and repeat the best runs with others by hydra/sweeper=basic."
            )
        self._fixed = [o.input_line for o in parsed.values() if not o.is_sweep_override()]
        self._space = {
            key: distribution(key, override)
            for key, override in parsed.items()
            if override.is_sweep_override()
        }
        if not self._space:
            raise SettingError(
                "hydra/sweeper=optuna has nothing to search: give at least one range, such as\n"
                "model.g_optimizer.lr='tag(log,interval(1e-5,1e-2))'"
            )
        pruner = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=self.startup),
            "hyperband": optuna.pruners.HyperbandPruner,
            "none": optuna.pruners.NopPruner,
        }[self.pruner]()
        place.parent.mkdir(parents=True, exist_ok=True)
        journal = optuna.storages.journal
        storage = self.storage or optuna.storages.JournalStorage(
            journal.JournalFileBackend(str(place.with_suffix(".optuna")))
        )
        self._study = optuna.create_study(
            study_name=place.stem,
            storage=storage,
            pruner=pruner,
            direction=self.direction,
            load_if_exists=True,
        )
        # What failed in earlier calls is tried again.
        fail, trials = optuna.trial.TrialState.FAIL, self._study.get_trials()
        failed = [trial for trial in trials if trial.state == fail]
        known = [
            trial.system_attrs.get("fixed_params", trial.params)
            for trial in trials
            if trial.state != fail
        ]
        for trial in failed:
            if trial.params not in known and self._fits(trial):
                self._study.enqueue_trial(trial.params)
                known.append(trial.params)
        self._failed = {trial.number for trial in failed}
        self._seen: set[int] = set()
        if strange := [trial.number for trial in trials if not self._inside(trial)]:
            print(
                f"Not counted: {len(strange)} trials of {place.stem} that lie outside of the space,"
                f" the first is number {strange[0]}."
            )

    def _fits(self, trial: Any) -> bool:
        """True if a trial has a value of the space for each of its keys."""
        return trial.params.keys() == self._space.keys() and self._inside(trial)

    def _inside(self, trial: Any) -> bool:
        """True if a trial's values are in the space: anybody may have written the storage."""
        try:
            return all(
                self._space[key]._contains(self._space[key].to_internal_repr(value))
                for key, value in trial.params.items()
            )
        except (KeyError, TypeError, ValueError):  # no such key, no number, no choice
            return False

    def _words(self, trial: Any) -> list[str]:
        return self._fixed + [f"{key}={trial.params[key]}" for key in self._space]

    def _sampler(self, seed: int) -> Any:
        from optuna import samplers

        return {
            "tpe": lambda: samplers.TPESampler(
                seed=seed, n_startup_trials=self.startup, constant_liar=True
            ),
            "random": lambda: samplers.RandomSampler(seed=seed),
            "qmc": lambda: samplers.QMCSampler(seed=seed),
        }[self.sampler]()

    def ask(self) -> Trial | None:
        import numpy as np
        from optuna.trial import Trial as Asked
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        # Others wait for their turn, or another sweep is choosing their overrides at this moment.
        begun = [trial for trial in trials if self._fits(trial)]
        for trial in begun:
            if trial.number in self._seen:
                continue
            self._seen.add(trial.number)
            if trial.state == TrialState.COMPLETE:
                # It is listed; if its folder was removed, it is run again.
                return Trial(self._words(trial))
            if trial.state == TrialState.RUNNING:
                # Its sweep was killed; or is alive, and the run is left to it.
                return self._trial(Asked(self._study, trial._trial_id))
        if len({trial.number for trial in begun} - self._failed) >= self.n_trials:
            return None
        # With one sequence for each call, two that share the study would draw the same overrides.
        seed = np.random.SeedSequence([self.seed, len(begun)]).generate_state(1)[0]
        self._study.sampler = self._sampler(int(seed))
        while True:
            try:
                trial = self._study.ask(self._space)
            except (TypeError, ValueError):  # of the queue, whose values are no choices
                continue
            if self._fits(trial):
                break
            self._study.tell(trial, state=TrialState.FAIL)
        self._seen.add(trial.number)
        return self._trial(trial)

    def _trial(self, trial: Any) -> "_OptunaTrial":
        return _OptunaTrial(self._study, trial, self._words(trial), self.metric)

    def report(self) -> str:
        import optuna

        states = (optuna.trial.TrialState.COMPLETE,)
        ended = [trial for trial in self._study.get_trials(states=states) if self._fits(trial)]
        if not ended:
            return "No trial has come to its end yet."
        sought = min if self.direction == "minimize" else max
        best = sought(ended, key=lambda trial: trial.value)
        overrides = " ".join(f"{key}={value}" for key, value in best.params.items())
        return f"Best of {len(self._study.get_trials())} trials: {best.value:.5g} by {overrides}"


class _OptunaTrial(Trial):
    def __init__(
        self, study: Any, trial: Any, overrides: Sequence[str], metric: str | None
    ) -> None:
        super().__init__(overrides)
        self._study, self._trial, self._metric = study, trial, metric
        # A trial that goes on has reported before.
        self._reported = set(study.get_trials()[trial.number].intermediate_values)
        self._pruned = False

    def prune(self, scores: Sequence[Mapping[str, float]]) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with suppress(UpdateFinishedTrialError):  # by another sweep of the same overrides
            for score in scores:
                step, value = score["samples_seen"], self._value(score)
                if step not in self._reported and value is not None:
                    self._reported.add(step)
                    self._trial.report(value, step)
        state = self._study.get_trials(deepcopy=False)[self._trial.number].state
        if state.is_finished():
            self._pruned = state == TrialState.PRUNED
            return self._pruned
        # Once is enough: it may give one more score on its way out.
        self._pruned = self._pruned or (bool(self._reported) and self._trial.should_prune())
        return self._pruned

    def _value(self, scores: Mapping[str, float]) -> float | None:
        names = [name for name in scores if name != "samples_seen"]
        name = self._metric or ("fid" if "fid" in names else next(iter(names), None))
        return None if name is None else scores.get(name)

    def tell(self, outcome: Outcome, summary: Mapping[str, Any]) -> str | None:
        from optuna.trial import TrialState

        if outcome.state == "interrupted":
            if not self._pruned:
                return None  # it stays running, for the next call
            self._end(state=TrialState.PRUNED)
            return "pruned"
        if outcome.state == "failed":
            self._end(state=TrialState.FAIL)
            return None
        metrics = summary.get("metrics", {})
        headline = {name: metrics[name] for name in summary.get("headline", ())}
        value = self._value(metrics if self._metric else headline)
        protocols = summary.get("protocols", {}).items()
        like = [n for n, record in protocols if self._metric and is_meant(self._metric, n, record)]
        if value is None and self._metric and len(like) == 1:
            value = metrics[like[0]]
        if value is not None and math.isfinite(value):
            self._end(value)
            return None
        self._end(state=TrialState.FAIL)
        if value is not None:
            return f"its score is {value}"
        if self._metric and like:
            return f"hydra.sweeper.metric={self._metric}: which one of {', '.join(like)}?"
        return f"it has no number {self._metric or '(metrics=none?)'}: {', '.join(metrics)}"

    def _end(self, *value: float, **state: Any) -> None:
        """Tell the study, unless another sweep of the same overrides has done so."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):  # at this very moment
            self._study.tell(self._trial, *value, skip_if_finished=True, **state)


def parse(overrides: Sequence[str], params: Mapping[str, Any]) -> dict[str, Override]:
    """Words by key; the last of each counts, and those of the command line before `params`.

    Raises:
        SettingError: for an override that cannot be read.
    """
    parser = OverridesParser.create()
    parsed = {}
    for text in [*(f"{key}={value}" for key, value in params.items()), *overrides]:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise SettingError(f"Cannot read {text!r}: write key=value.\n{reason}") from error
        parsed[override.get_key_element()] = override
    return parsed


def values(key: str, override: Override) -> list[str]:
    """The overrides that a discrete choice stands for.

    Raises:
        SettingError: for a pattern that nothing matches.
    """
    if isinstance(pattern := override.value(), Glob):
        names = pattern.filter(sorted(path.stem for path in (CONF / key).glob("*.yaml")))
        if not names:
            raise SettingError(f"{override.input_line}: no choice of {key} is like that.")
        return [f"{key}={name}" for name in names]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def distribution(key: str, override: Override) -> Any:
    """Optuna's distribution of an override.

    `tag(log, interval(1e-5, 1e-2))` is for magnitudes, `int(interval(1, 9))` for whole numbers.

    Raises:
        SettingError: if it cannot be, such as a logarithm of 0.
    """
    from optuna import distributions

    sweep = override.value()
    log = isinstance(sweep, Sweep) and "log" in sweep.tags
    try:
        if isinstance(sweep, IntervalSweep):
            whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
            kind = distributions.IntDistribution if whole else distributions.FloatDistribution
            return kind(sweep.start, sweep.end, log=log)
        if isinstance(sweep, RangeSweep) and not sweep.shuffle:
            steps = list(sweep.range())
            whole = all(isinstance(step, int) for step in steps)
            kind = distributions.IntDistribution if whole else distributions.FloatDistribution
            return kind(steps[0], steps[-1], step=sweep.step)
    except (ValueError, IndexError) as error:
        raise SettingError(f"{override.input_line}: {error}") from error
    choices = [text.partition("=")[2] for text in values(key, override)]
    return distributions.CategoricalDistribution(choices)
