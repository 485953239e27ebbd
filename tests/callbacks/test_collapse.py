from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.callbacks import collapse
from src.callbacks.collapse import Collapse, distinct
from src.data.toy import ring
from src.errors import SettingError, TrainingError
from src.runs.metrics_file import read_metrics
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import IMAGES, POINTS, Staged, Tiny


# The tiny trainings have 15 iterations.
@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "START", 0)


CLOCKS = [14, 28, 42, 56, 63, 77, 91, 105]  # an eighth each


class Shrinking(Tiny):
    """Samples are the data's normal law, at `scales[i]` of its width in the i-th eighth."""

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__(POINTS)
        self.scales = scales

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z * self.scales[CLOCKS.index(self.samples_seen)]


def diversities(folder: Path) -> list[float]:
    rows = read_metrics(folder / "metrics.csv")
    assert [row["samples_seen"] for row in rows] == CLOCKS
    return [row["diversity"] for row in rows]


def test_distinct() -> None:
    targets = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    x = torch.tensor([[1.0, 1.0], [-9.0, 0.0], [6.0, 1.0], [2.0, 2.1]])
    assert distinct(x, targets) == 2
    assert distinct(x.view(4, 1, 2, 1), targets.view(3, 1, 2, 1)) == 2
    assert distinct(targets, targets) == 3


@pytest.mark.parametrize(
    ("kept", "least", "most"), [(8, 0.8, 1.2), (4, 0.35, 0.65), (1, 0.05, 0.2)]
)
def test_diversity_is_the_share_of_the_modes(kept: int, least: float, most: float) -> None:
    """Of eight modes on a ring, of which a sampler keeps some: seed 0, n = 128."""
    data = ring(2, radius=2.0, std=0.02)
    generator = torch.Generator().manual_seed(0)
    targets, others, fake = (data.sample(n, generator) for n in (128, 128, 2000))
    which = torch.cdist(fake, data.modes.float()).argmin(1)
    fake = fake[which < kept][:128]
    assert least < distinct(fake, targets) / distinct(others, targets) < most


def test_diversity_is_that_of_the_data_where_samples_are(fit: Callable, tmp_path: Path) -> None:
    csv = [CSVMetrics(str(tmp_path))]
    fit(Collapse(), model=Shrinking([1.0] * 7 + [0.01]), loggers=csv)
    values = diversities(tmp_path)
    assert all(0.7 < value < 1.4 for value in values[:7])
    assert values[7] < 0.15


@pytest.mark.parametrize(
    ("scales", "at"),
    [
        ([1, 1, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01], 63),
        ([0.01, 0.01, 1, 0.01, 0.01, 1, 0.01, 0.01], None),
        ([0.01, 0.01, 0.01, 1, 0.01, 0.01, 0.01, 0.01], 91),
    ],
)
def test_one_warning_after_three_low_checks(
    fit: Callable, capsys: pytest.CaptureFixture, scales: list[float], at: int | None
) -> None:
    _, model = fit(Collapse(), model=Shrinking(scales))
    told = capsys.readouterr().err
    assert told.count("Mode collapse") == (at is not None)
    if at:
        assert f"in 3 checks in a row, at {at} samples" in told
    assert model.samples_seen == 105


def test_no_warning_in_a_run_of_a_few_iterations(
    fit: Callable, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "START", 100)
    fit(Collapse(), model=Shrinking([0.01] * 8))
    assert "Mode collapse" not in capsys.readouterr().err


class ShrinkingInStages(Shrinking, Staged):
    """Its second and last stage has begun at the fourth check."""


def test_no_warning_while_layers_have_not_learned(
    fit: Callable, capsys: pytest.CaptureFixture
) -> None:
    fit(Collapse(), model=ShrinkingInStages([0.01] * 8))
    assert "in 3 checks in a row, at 77 samples" in capsys.readouterr().err


def test_stop(fit: Callable) -> None:
    model = Shrinking([0.01] * 8)
    with pytest.raises(TrainingError, match=r"(?s)Mode collapse.*at 42 samples.*r1") as error:
        fit(Collapse(patience=2, stop=True), model=model)
    assert str(error.value).count("\n") == 1
    assert model.samples_seen == 42


@pytest.mark.parametrize("stop_at", [28, 49, 63])
def test_a_resume_counts_on_and_does_not_repeat_itself(
    fit: Callable, capsys: pytest.CaptureFixture, stop_at: int
) -> None:
    scales = [1] + [0.01] * 7
    fit(Collapse(), model=Shrinking(scales), stop_at=stop_at)
    before = capsys.readouterr().err
    fit(Collapse(), model=Shrinking(scales), resume=True)
    assert (before + capsys.readouterr().err).count("Mode collapse") == 1
    assert ("at 56 samples" in before) == (stop_at > 56)


def test_a_collapse_within_classes(fit: Callable, tmp_path: Path) -> None:
    """One image per class: as different as the classes are, and yet collapsed."""

    class OneEach(Tiny):
        conditional = True

        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return (2.0 * labels.view(-1, 1, 1, 1) - 1).expand(len(z), 1, 8, 8)

    model = OneEach(IMAGES)
    model.conditional = True
    fit(Collapse(), model=model, loggers=[CSVMetrics(str(tmp_path))])
    assert max(diversities(tmp_path)) < 0.2


def test_training_is_left_alone(fit: Callable, tmp_path: Path) -> None:
    models = [
        fit(*callbacks, folder=tmp_path / str(i))[1]
        for i, callbacks in enumerate([(), (Collapse(every=10),)])
    ]
    assert torch.equal(models[0].mean, models[1].mean)


def test_settings() -> None:
    with pytest.raises(SettingError, match=r"callbacks\.collapse\.n=1"):
        Collapse(n=1)
    with pytest.raises(SettingError, match=r"callbacks\.collapse\.patience=0"):
        Collapse(patience=0)
