from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.callbacks.health import Health
from src.callbacks.records import Records
from src.errors import SettingError, TrainingError
from src.runs.metrics_file import read_metrics
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import POINTS, StopAt, Tiny


def test_the_guilty_term_is_named(fit: Callable) -> None:
    with pytest.raises(TrainingError, match=r"loss/mean is nan at 63 samples") as error:
        fit(Records(every=20), Health(), model=Tiny(POINTS, spoil=50))
    assert str(error.value).count("\n") == 2
    assert "fine" not in str(error.value)


def test_a_healthy_run_goes_through(fit: Callable) -> None:
    assert fit(Records(every=20), Health())[1].samples_seen == 105


def test_a_broken_model_does_not_overwrite_a_good_checkpoint(fit: Callable, tmp_path: Path) -> None:
    fit(Health(), stop_at=42)
    path = tmp_path / "checkpoints" / "last.ckpt"
    good = path.read_bytes()
    with pytest.raises(TrainingError, match=r"the weight mean is not finite at 70 samples"):
        fit(Health(), StopAt(70), model=Tiny(POINTS, spoil=50), resume=True)
    assert path.read_bytes() == good
    assert torch.load(path, weights_only=True)["state_dict"]["mean"].isfinite().all()


class Spoiling(Tiny):
    """Two players' terms and a lazy penalty, of which `term` becomes NaN in iteration `at`."""

    def __init__(self, term: str, at: int) -> None:
        super().__init__(POINTS)
        self.term, self.at, self.good = term, at, 1.0

    def iterate(self, draw: Callable) -> None:
        self.samples_seen += len(draw().x)
        # What was spoilt stays so, and spoils the others of the next iterations.
        for name in ("loss/d", "loss/penalty", "loss/g"):
            if name != "loss/penalty" or self.iteration % 4 == 0:
                if self.iteration == self.at and name == self.term:
                    self.good = float("nan")
                self.record(**{name: torch.tensor(self.good)})
        self.update("mean", self.mean.square().sum() * self.good)


@pytest.mark.parametrize("gradients", [0, 1, 10])
@pytest.mark.parametrize(
    ("term", "at"),
    [("loss/d", 7), ("loss/penalty", 8), ("loss/g", 9), ("loss/penalty", 0), ("loss/penalty", 4)],
)
def test_of_many_terms_the_first_to_go_is_named(
    fit: Callable, term: str, at: int, gradients: int
) -> None:
    """Though all of them are NaN when they are fetched, twenty samples apart."""
    with pytest.raises(TrainingError, match=rf"{term} is nan"):
        fit(Records(every=40), Health(gradients), model=Spoiling(term, at))


@pytest.mark.parametrize("resumed_at", [21, 42, 49])
def test_so_it_is_after_a_resume(fit: Callable, resumed_at: int) -> None:
    fit(Records(every=40), Health(), model=Spoiling("loss/penalty", 8), stop_at=resumed_at)
    model = Spoiling("loss/penalty", 8)
    with pytest.raises(TrainingError, match="loss/penalty is nan"):
        fit(Records(every=40), Health(), model=model, resume=True)


def test_an_infinite_gradient_of_a_finite_loss(fit: Callable) -> None:
    class Steep(Tiny):
        def iterate(self, draw: Callable) -> None:
            self.samples_seen += len(draw().x)
            loss = self.mean.square().sum()
            if self.iteration == 5:
                loss = loss + (self.mean - self.mean.detach()).abs().sqrt().sum()  # 0, slope inf
            self.record(**{"loss/mean": loss})
            self.update("mean", loss)

    with pytest.raises(TrainingError, match=r"gradient/mean is (nan|inf)"):
        fit(Records(every=20), Health(gradients=1), model=Steep(POINTS))


def test_gradient_norms(fit: Callable, tmp_path: Path) -> None:
    """|grad of mean^2| = 2 |mean|, in one of three iterations."""

    class Parabola(Tiny):
        def iterate(self, draw: Callable) -> None:
            self.samples_seen += len(draw().x)
            if self.iteration % 3 == 0:
                norms.append(2 * float(self.mean.detach().norm()))
            self.update("mean", self.mean.square().sum())

    norms: list[float] = []
    fit(
        Records(every=7), Health(gradients=3), model=Parabola(POINTS),
        loggers=[CSVMetrics(str(tmp_path))],
    )  # fmt: skip
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["samples_seen"] for row in rows if "gradient/mean" in row] == [7, 28, 49, 70, 91]
    logged = [row["gradient/mean"] for row in rows if "gradient/mean" in row]
    assert logged == pytest.approx(norms, 1e-5)


def test_gradient_norms_are_not_asked_for(fit: Callable, tmp_path: Path) -> None:
    fit(Records(), Health(gradients=0), loggers=[CSVMetrics(str(tmp_path))])
    assert not any("gradient/mean" in row for row in read_metrics(tmp_path / "metrics.csv"))
    with pytest.raises(SettingError, match=r"callbacks\.health\.gradients=-1"):
        Health(gradients=-1)


def test_watching_changes_nothing(fit: Callable, tmp_path: Path) -> None:
    models = [
        fit(Records(every=20), *callbacks, folder=tmp_path / str(i))[1]
        for i, callbacks in enumerate([(), (Health(gradients=1),)])
    ]
    assert torch.equal(models[0].mean, models[1].mean)
