"""Runs that were trained compare, and the folders that other tests write have their shape."""

import json
from pathlib import Path

from src.report.build import compare
from src.report.read import read_runs
from tests.conftest import Fit
from tests.report.synthetic import write_run

RING = ("model=gan", "data=ring", "metrics=auto", "metrics.n=200", "budget=200")
RING += ("~callbacks.curves",)


def test_trained_runs(fit: Fit, tmp_path: Path) -> None:
    for rate in (1e-3, 1e-5):
        folder = tmp_path / "ring" / "gan" / f"lr={rate}" / "seed=0"
        fit(*RING, f"model.g_optimizer.lr={rate}", folder=folder)
    records, left_out = read_runs([str(tmp_path)])
    found = compare(records, left_out)
    assert left_out == []
    (table,) = found.tables
    assert table.metric == "sliced_wasserstein200_exact"
    names = {group.name for group in table.groups}
    assert names == {"gan g_optimizer.lr=0.001", "gan g_optimizer.lr=1e-05"}
    run = found.runs[0]
    assert run.curve.samples == [100, 200]
    assert sorted(run.curve.seconds) == run.curve.seconds
    assert run.curve.seconds[-1] == run.cost["seconds"] > 0
    assert run.provenance["choices"]["model"] == "gan"
    assert [samples for samples, _ in records[0].frames()] == [0, 100, 200]

    made = write_run(tmp_path / "synthetic")
    real = json.loads((Path(run.folder) / "summary.json").read_text())
    synthetic = json.loads((made / "summary.json").read_text())
    assert set(real) == set(synthetic)
    for key in ("metric", "n_fake", "data_id", "seed", "real"):
        assert key in real["protocols"][table.metric]
        assert key in synthetic["protocols"]["fid10k_mnist"]
