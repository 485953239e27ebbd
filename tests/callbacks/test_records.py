from collections.abc import Callable
from pathlib import Path

import pytest

from src.callbacks.records import Records
from src.runs.metrics_file import cut_back, read_metrics
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import POINTS, Staged


def terms(path: Path) -> list[dict[str, float]]:
    """Rows without what a clock on the wall says."""
    rows = read_metrics(path)
    return [{k: v for k, v in row.items() if not k.startswith("s") or "seen" in k} for row in rows]


def test_rows_and_columns(fit: Callable, tmp_path: Path) -> None:
    records = Records(every=20)
    _, model = fit(records, loggers=[CSVMetrics(str(tmp_path))])
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["samples_seen"] for row in rows] == [21, 42, 63, 84, 105]
    assert list(rows[0]) == ["samples_seen", "seconds", "samples_per_second", "loss/mean", "fine"]
    assert all(row["fine"] == 1 for row in rows)
    assert records.shared.terms["loss/mean"] == rows[-1]["loss/mean"]
    assert rows[-1]["seconds"] == pytest.approx(model.seconds, abs=0.1)
    gain = rows[-1]["seconds"] - rows[-2]["seconds"]
    assert rows[-1]["samples_per_second"] == pytest.approx(21 / gain, rel=1e-6)


def test_the_stage_is_a_column(fit: Callable, tmp_path: Path) -> None:
    fit(Records(every=20), model=Staged(POINTS), loggers=[CSVMetrics(str(tmp_path))])
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["stage"] for row in rows] == [1, 1, 2, 2, 2]


def test_a_row_every_200th_of_the_budget(fit: Callable, tmp_path: Path) -> None:
    fit(Records(), budget=2800, loggers=[CSVMetrics(str(tmp_path))])
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["samples_seen"] for row in rows] == list(range(14, 2801, 14))


@pytest.mark.parametrize("stop_at", [7, 42, 49])
def test_rows_are_the_same_after_a_kill(fit: Callable, tmp_path: Path, stop_at: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(Records(every=20), folder=whole, loggers=[CSVMetrics(str(whole))])
    fit(Records(every=20), folder=killed, loggers=[CSVMetrics(str(killed))], stop_at=stop_at)
    # Rows that the killed run wrote after its checkpoint, and half a row.
    with (killed / "metrics.csv").open("a") as file:
        file.write("98,1,1,0.5,1\n99,1,1,0.")
    cut_back(killed / "metrics.csv", stop_at)
    fit(Records(every=20), folder=killed, loggers=[CSVMetrics(str(killed))], resume=True)
    assert terms(killed / "metrics.csv") == terms(whole / "metrics.csv")
