from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.callbacks.equilibrium import Equilibrium
from src.callbacks.quality import Quality
from src.config.checks import check
from src.config.composition import compose, run_folder
from src.errors import SettingError
from src.losses.adversarial import NonSaturating
from src.runs.metrics_file import read_metrics
from src.training.checkpoints import load_checkpoint
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import POINTS, Spread, Tiny


class Levelled(Tiny):
    """D says `level(samples seen)` of all samples."""

    def __init__(self, level: Callable[[int], float], real_label: float = 1.0) -> None:
        super().__init__(POINTS)
        self.level, self.loss, self.packing = level, NonSaturating(real_label), 1

    @property
    def judge(self) -> "Levelled":
        return self

    def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full((len(x),), self.level(self.samples_seen)).logit()


def from_40(seen: int) -> float:
    return 0.52 if seen >= 40 else 0.8


def rule(**settings: float) -> Equilibrium:
    return Equilibrium(**{"patience": 3, "every": 7} | settings)


def test_stops_when_it_has_held_for_a_while(
    fit: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """At 42, 49 and 56 of 100, with final scores and the checkpoint of the end."""
    quality, equilibrium = Quality(), rule()
    _, model = fit(
        quality,
        equilibrium,
        model=Levelled(from_40),
        scorers=[Spread()],
        loggers=[CSVMetrics(str(tmp_path))],
    )
    assert model.samples_seen == 56
    assert quality.shared.history[-1]["samples_seen"] == 56
    assert equilibrium.shared.stopped == "equilibrium: D within 0.05 of 1/2 at 3 checks in a row"
    assert "Stopped at 56 samples. equilibrium" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["sparring"]["samples_seen"] == 56
    rows = read_metrics(tmp_path / "metrics.csv")
    values = [row["d_prob/imbalance"] for row in rows if "d_prob/imbalance" in row]
    assert values == pytest.approx([0.3] * 5 + [0.02] * 3, abs=1e-6)


@pytest.mark.parametrize(
    "level",
    [
        lambda _: 0.5,  # never told them apart
        lambda seen: 0.8 if seen < 40 or seen % 21 == 0 else 0.5,  # two checks at most
        lambda seen: 0.56 if seen > 40 else 0.9,  # not near enough
    ],
)
def test_goes_on(fit: Callable, level: Callable) -> None:
    equilibrium = rule()
    assert fit(equilibrium, model=Levelled(level))[1].samples_seen == 105
    assert equilibrium.shared.stopped is None


def test_sure_and_wrong_of_half_of_them_is_no_equilibrium(fit: Callable) -> None:
    class Split(Levelled):
        def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            return 8.0 * (torch.arange(len(x)) % 2 * 2 - 1)

    assert fit(rule(), model=Split(from_40))[1].samples_seen == 105


def test_smoothed_labels_end_at_half_of_their_value(fit: Callable) -> None:
    def level(seen: int) -> float:
        return 0.41 if seen >= 40 else 0.8

    assert fit(rule(), model=Levelled(level, real_label=0.9))[1].samples_seen == 56
    assert fit(rule(), model=Levelled(level))[1].samples_seen == 105


@pytest.mark.parametrize("stop_at", [14, 42, 49, 56])
def test_a_resumed_run_stops_at_the_same_sample(fit: Callable, stop_at: int) -> None:
    fit(rule(), model=Levelled(from_40), stop_at=stop_at)
    quality = Quality()
    model = fit(rule(), quality, model=Levelled(from_40), scorers=[Spread()], resume=True)[1]
    assert model.samples_seen == 56
    assert quality.shared.history[-1]["samples_seen"] == 56


def test_a_model_without_a_discriminator_is_passed_over(
    fit: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Tiny, "critic_logits")
    assert fit(rule())[1].samples_seen == 105


@pytest.mark.parametrize("setting", ["margin", "patience", "n"])
def test_settings_must_be_positive(setting: str) -> None:
    with pytest.raises(SettingError, match=rf"callbacks\.equilibrium\.{setting}=0"):
        Equilibrium(**{setting: 0})


def test_the_preset() -> None:
    """It bears on the result, unlike other callbacks."""
    settings = compose("train", ["callbacks=equilibrium", "model=gaussian_gan", "data=gaussian"])
    check(settings)
    assert "equilibrium" in settings.callbacks
    assert run_folder(settings) == "gaussian/gaussian_gan/callbacks=equilibrium/seed=0"
    other = compose("train", ["callbacks.collapse.n=3"])
    assert run_folder(other) == "mnist/dcgan/default/seed=0"
    check(compose("train", ["callbacks=equilibrium", "model=vae"]))
    wrong = compose("train", ["callbacks=equilibrium", "model.loss._target_=src.losses.x.Hinge"])
    with pytest.raises(SettingError, match=r"callbacks\.equilibrium cannot be used with model"):
        check(wrong)
