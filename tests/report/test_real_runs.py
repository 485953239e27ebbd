"""Runs that were trained compare, and the folders that other tests write have their shape."""

import json
from pathlib import Path

from src.report.build import compare
from src.report.read import read_runs
from tests.conftest import Fit
from tests.report.synthetic import write_run

RING = ("model=gan", "data=ring", "metrics=auto", "metrics.n=200", "budget=1024")


def test_trained_runs(fit: Fit, tmp_path: Path) -> None:
    for seed in (0, 1):
        for rate in (1e-3, 1e-5):
            words = (f"seed={seed}", f"model.g_optimizer.lr={rate}")
            folder = tmp_path / "ring" / "gan" / f"lr={rate}" / f"seed={seed}"
            fit(*RING, *words, folder=folder)
    records, left_out = read_runs([str(tmp_path)])
    found = compare(records, left_out)
    assert left_out == []
    (table,) = found.tables
    assert table.metric == "frechet200_exact"
    assert {group.name for group in table.groups} == {
        "gan g_optimizer.lr=0.001", "gan g_optimizer.lr=1e-05",
    }  # fmt: skip
    assert all(len(group.values["frechet200_exact"].values) == 2 for group in table.groups)
    run = found.runs[0]
    assert run.curve.samples == [256, 512, 768, 1024]
    assert sorted(run.curve.seconds) == run.curve.seconds
    assert run.curve.seconds[-1] == run.cost["seconds"] > 0
    assert run.provenance["choices"]["model"] == "gan"
    assert len(records[0].frames()) > 2

    made = write_run(tmp_path / "synthetic")
    real = json.loads((Path(run.folder) / "summary.json").read_text())
    synthetic = json.loads((made / "summary.json").read_text())
    assert set(real) == set(synthetic)
    for key in ("metric", "n_fake", "data_id", "seed", "real"):
        assert key in real["protocols"][table.metric]
        assert key in synthetic["protocols"]["fid10k_mnist"]
