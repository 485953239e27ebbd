"""Which runs a sweep has."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from src.config.composition import CONF
from src.errors import SettingError
from src.sweeps.search import Grid, Optuna, Trial
from src.sweeps.worker import Outcome

LR = "model.g_optimizer.lr"


def grid(*words: str, **arguments: object) -> list[list[str]]:
    source = Grid(**arguments)
    source.begin(words, Path("unused"))
    trials = []
    while (trial := source.ask()) is not None:
        trials.append(trial.overrides)
    return trials


# All combinations


def test_all_combinations_the_last_word_first() -> None:
    assert grid("model=gan,dcgan", "budget=7", "seed=range(2)") == [
        ["model=gan", "budget=7", "seed=0"],
        ["model=gan", "budget=7", "seed=1"],
        ["model=dcgan", "budget=7", "seed=0"],
        ["model=dcgan", "budget=7", "seed=1"],
    ]


def test_words_that_are_no_choices_stay_as_they_are() -> None:
    words = ["~callbacks.codes", "+a.b=[1,2]", "data.root='a,b=c'", "wandb.group=null"]
    assert grid(*words) == [words]


def test_choices_of_all_kinds() -> None:
    assert [trial[0] for trial in grid("a='x,y',[1,2],null")] == [
        "a='x,y'",
        "a=[1,2]",
        "a=null",
    ]
    wgans = sorted(path.stem for path in (CONF / "model").glob("wgan*.yaml"))
    assert [trial[0] for trial in grid("model=glob(wgan*)")] == [f"model={name}" for name in wgans]
    assert len(wgans) > 1


def test_params_of_a_file_and_the_last_word_of_the_command_line() -> None:
    params = {"seed": "range(3)", "model": "gan,vae"}
    assert grid("seed=7", params=params) == [["seed=7", "model=gan"], ["seed=7", "model=vae"]]


@pytest.mark.parametrize(
    ("word", "told"),
    [("lr=interval(0,1)", "optuna"), ("model=glob(nothing*)", "glob"), ("seed", "key=value")],
)
def test_what_cannot_be_enumerated(word: str, told: str) -> None:
    with pytest.raises(SettingError, match=told) as caught:
        grid(word)
    assert len(str(caught.value).splitlines()) <= 3


# Optuna: what a run would score is a function of its words here

optuna = pytest.importorskip("optuna")

SPACE = (f"{LR}=tag(log,interval(1e-5,1e-1))", "model=gan,vae", "budget=100")


def start(place: Path, *words: str, **arguments: object) -> Optuna:
    source = Optuna(**{"n_trials": 8, "startup": 3} | arguments)
    source.begin([*SPACE, *words], place / "sweep.json")
    return source


def score(trial: Trial) -> float:
    """Best for lr = 1e-3 and a VAE."""
    words = dict(word.split("=", 1) for word in trial.overrides)
    return (math.log10(float(words[LR])) + 3) ** 2 + (words["model"] == "gan")


def finish(trial: Trial) -> str | None:
    numbers = {"fid5k_mnist": 0.0, "fid": score(trial), "probe": 9.0}
    summary = {"metrics": numbers, "headline": ["probe", "fid"]}
    return trial.tell(Outcome("finished"), summary)


def test_it_finds_what_is_best(tmp_path: Path) -> None:
    source = start(tmp_path, n_trials=40)
    seen = []
    while (trial := source.ask()) is not None:
        assert trial.overrides[0] == "budget=100"
        seen.append(score(trial))
        assert finish(trial) is None
    assert len(seen) == 40
    # At random one in eight is below 0.25; here most of the later ones are.
    assert sum(value < 0.25 for value in seen[20:]) > 8
    assert "model=vae" in source.report()
    assert f"{min(seen):.5g}" in source.report()


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    source = start(tmp_path)
    first = [source.ask() for _ in range(4)]
    finish(first[0])
    first[1].tell(Outcome("failed", "diverged"), {})
    first[2].tell(Outcome("interrupted", "killed"), {})  # and the fourth was on when all died
    again = start(tmp_path)
    second = []
    while (trial := again.ask()) is not None:
        second.append(trial)
        finish(trial)
    # One is done and only listed, two go on, one is tried again, and four are new.
    assert [trial.overrides for trial in second[:4]] == [first[i].overrides for i in (0, 2, 3, 1)]
    assert len(second) == 8
    assert len({tuple(trial.overrides) for trial in second}) == 8
    third = start(tmp_path, n_trials=9)
    rest = []
    while (trial := third.ask()) is not None:
        rest.append(trial)
        finish(trial)
    assert len(rest) == 9
    assert [trial.overrides for trial in second] == [trial.overrides for trial in rest[:1]] + [
        trial.overrides for trial in second[1:]
    ]


def test_two_sweeps_at_the_same_time_share_the_study(tmp_path: Path) -> None:
    first, second = start(tmp_path, n_trials=4), start(tmp_path, n_trials=4)
    here = first.ask()
    there = second.ask()  # trained by the first, and waited for by the second
    assert there.overrides == here.overrides
    own = second.ask()
    assert own.overrides != here.overrides
    assert finish(here) is None
    assert not there.prune([{"samples_seen": 9, "fid": 1.0}])
    assert finish(there) is None
    listed = {name: [] for name in ("first", "second")}
    finish(own)
    for _ in range(4):
        for name, source in (("first", first), ("second", second)):
            if trial := source.ask():
                listed[name].append(trial.overrides)
                finish(trial)
    assert first.ask() is second.ask() is None
    assert [trial.state.name for trial in first._study.trials] == ["COMPLETE"] * 4
    listed["first"].append(here.overrides)
    listed["second"] += [here.overrides, own.overrides]
    assert sorted(listed["first"]) == sorted(listed["second"])
    assert len({tuple(words) for words in listed["first"]}) == 4


def test_what_another_sweep_ended_early_or_saw_fail(tmp_path: Path) -> None:
    first, second = start(tmp_path, startup=1), start(tmp_path, startup=1)
    finish(first.ask())
    second.ask()
    here = [first.ask() for _ in range(2)]
    there = [second.ask() for _ in range(2)]
    first._study.tell(here[0]._trial, state=optuna.trial.TrialState.PRUNED)
    assert there[0].prune([])
    assert there[0].tell(Outcome("interrupted", "stopped"), {}) == "pruned"
    here[1].tell(Outcome("failed", "diverged"), {})
    assert not there[1].prune([{"samples_seen": 9, "fid": 1.0}])
    assert finish(there[1]) is None
    assert [trial.state.name for trial in first._study.trials] == ["COMPLETE", "PRUNED", "FAIL"]


def test_a_trial_without_its_words(tmp_path: Path) -> None:
    """Its sweep was killed, or is just about to choose them."""
    start(tmp_path)._study.ask()
    source = start(tmp_path, n_trials=2)
    trials = [source.ask() for _ in range(3)]
    assert trials[0].overrides != trials[1].overrides
    assert trials[2] is None


def test_what_failed_is_tried_once_more_by_each_call(tmp_path: Path) -> None:
    start(tmp_path).ask().tell(Outcome("failed", "diverged"), {})
    start(tmp_path)
    waiting = start(tmp_path)._study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert len(waiting) == 1


def test_what_is_sought() -> None:
    """It makes another sweep; how much and how does not."""
    assert Optuna(n_trials=3, sampler="random", startup=1, pruner="none", seed=1).aim == []
    for other in ({"metric": "fid"}, {"direction": "maximize"}, {"params": {"seed": 3}}):
        assert Optuna(**other).aim


@pytest.mark.parametrize("pruner", ["median", "none"])
def test_bad_runs_end_early(tmp_path: Path, pruner: str) -> None:
    source = start(tmp_path, pruner=pruner, startup=2)

    def scores(level: float, n: int) -> list[dict[str, float]]:
        return [{"samples_seen": 10 * i, "probe": 1.0, "fid": level} for i in range(1, n + 1)]

    for level in (12, 11, 10):
        good = source.ask()
        assert not good.prune(scores(level, 3))
        finish(good)
    bad = source.ask()
    assert not bad.prune([])
    assert bad.prune(scores(100, 2)) == (pruner == "median")
    note = bad.tell(Outcome("interrupted", "stopped"), {})
    assert note == ("pruned" if pruner == "median" else None)


def test_scores_that_are_not_there(tmp_path: Path) -> None:
    source = start(tmp_path, metric="kid")
    assert "fid" in finish(source.ask())
    nan = source.ask()
    note = nan.tell(Outcome("finished"), {"metrics": {"kid": math.nan}})
    assert "nan" in note
    with pytest.raises(ValueError, match="No trials are completed"):
        _ = source._study.best_trial
    assert "No trial" in source.report()


def test_a_bare_name_of_a_number(tmp_path: Path) -> None:
    """Such as compare takes."""
    protocols = {
        "cov_error10k_exact": {"metric": "cov_error"},
        "fid10k_mnist": {"metric": "fid"},
        "fid10k_inception": {"metric": "fid"},
    }
    numbers = {name: float(i) for i, name in enumerate(protocols)}
    summary = {"metrics": numbers, "headline": [], "protocols": protocols}
    source = start(tmp_path, metric="cov_error")
    assert source.ask().tell(Outcome("finished"), summary) is None
    assert source._study.best_value == 0.0
    note = start(tmp_path / "fid", metric="fid").ask().tell(Outcome("finished"), summary)
    assert "fid10k_mnist, fid10k_inception" in note


@pytest.mark.parametrize(
    ("words", "told"),
    [(["seed=0,1"], "seed"), ([f"{LR}=tag(log,interval(0,1))"], LR)],
)
def test_spaces_that_cannot_be_searched(tmp_path: Path, words: list[str], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        start(tmp_path, *words)


def test_no_space(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="nothing to search"):
        Optuna().begin(["seed=1"], tmp_path / "sweep.json")


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("int(interval(1,9))", optuna.distributions.IntDistribution(1, 9)),
        ("interval(0.5,9)", optuna.distributions.FloatDistribution(0.5, 9)),
        ("range(2,9,2)", optuna.distributions.IntDistribution(2, 8, step=2)),
        ("choice(a,b)", optuna.distributions.CategoricalDistribution(["a", "b"])),
        ("1,2", optuna.distributions.CategoricalDistribution(["1", "2"])),
    ],
)
def test_distributions(tmp_path: Path, text: str, distribution: Callable) -> None:
    source = start(tmp_path, f"x={text}")
    assert source._space["x"] == distribution


@pytest.mark.parametrize(("key", "kind"), [
    (LR, optuna.distributions.FloatDistribution(1e-9, 1e9)),
    ("model", optuna.distributions.CategoricalDistribution(["gan", "vae", "hydra.run.dir=/x"])),
])  # fmt: skip
def test_a_journal_of_strangers(
    key: str, kind: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Values outside of the space are neither run nor named as the best; those inside are."""
    source = start(tmp_path, n_trials=2)
    inside = source.ask()
    finish(inside)
    strange = {LR: 1e5, "model": "hydra.run.dir=/x"}[key]
    kinds = source._space | {key: kind}
    values = {LR: 1e-3, "model": "vae"} | {key: strange}
    frozen = optuna.trial.create_trial(params=values, distributions=kinds, value=-100.0)
    source._study.add_trial(frozen)
    source._study.enqueue_trial(values)  # would be asked for next
    again = start(tmp_path, n_trials=2)
    assert "Not counted: 1 trials" in capsys.readouterr().out
    asked = []
    while (trial := again.ask()) is not None:
        asked.append(trial.overrides)
        finish(trial)
    assert asked[0] == inside.overrides
    assert len(asked) == 2
    assert not any(f"{key}={strange}" in words for words in asked)
    assert str(strange) not in again.report()


def test_an_honest_journal_is_not_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    finish(start(tmp_path).ask())
    start(tmp_path)
    assert capsys.readouterr().out == ""
