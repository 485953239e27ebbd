"""Whatever becomes of a check of benchmarks/gpu_check.py, it is reported and the others are run.

The checks themselves are not run here: `make gpu-check` does it.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import Bench, CheckError
from src.config import checks
from src.config import composition as config
from src.runs.run import Run

Checked = Callable[..., tuple[int, dict[str, Any]]]


def good(bench: Bench) -> None:
    bench.record(answer=42, rate=float("nan"))


def broken(bench: Bench) -> None:
    bench.record(before=1)
    raise ValueError("it is broken")


def killed(_: Bench) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow(bench: Bench) -> None:
    bench.record(child=subprocess.Popen(["sleep", "60"]).pid)
    time.sleep(60)


def calls(bench: Bench) -> None:
    bench.command("call", "no_such_module")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checked:
    """`checked([good, ...], *words, limit=...)`: exit status and report of such checks."""

    def run(checks: list[Callable], *words: str, limit: float = 20) -> tuple[int, dict[str, Any]]:
        def look(bench: Bench) -> None:
            bench.record(gpu=None, processor="of this test")

        plan = replace(gpu_check.PLANS["cpu"], limit=limit)
        monkeypatch.setattr(gpu_check, "CHECKS", {check.__name__: check for check in checks})
        monkeypatch.setattr(gpu_check, "look", look)
        monkeypatch.setitem(gpu_check.PLANS, "cpu", plan)
        out = tmp_path / "report.json"
        status = gpu_check.main(["--work", str(tmp_path / "work"), "--out", str(out), *words])
        return status, json.loads(out.read_text())

    return run


def test_all_is_well(checked: Checked, capsys: pytest.CaptureFixture) -> None:
    status, report = checked([good])
    assert status == 0
    assert report["device"] == "cpu"
    assert report["machine"]["processor"] == "of this test"
    result = report["checks"]["good"]
    assert (result["passed"], result["answer"], result["rate"]) == (True, 42, "nan")
    assert result["seconds"] >= 0
    assert "error" not in result
    assert "1 passed in" in capsys.readouterr().out


def test_what_fails_takes_no_other_along(checked: Checked, capsys: pytest.CaptureFixture) -> None:
    status, report = checked([broken, killed, calls, good])
    assert status == 1
    results = report["checks"]
    assert [result["passed"] for result in results.values()] == [False, False, False, True]
    assert results["broken"]["error"].endswith("ValueError: it is broken")
    assert results["broken"]["before"] == 1
    assert results["killed"]["error"] == "exit status -9"
    assert "no_such_module\nended with status 1" in results["calls"]["error"]
    assert "No module named no_such_module" in results["calls"]["error"]
    said = capsys.readouterr().out
    assert "ValueError: it is broken" in said
    assert "1 passed, 3 failed in" in said


def test_a_check_over_its_limit_ends_with_all_that_it_started(checked: Checked) -> None:
    start = time.monotonic()
    status, report = checked([slow, good], limit=0.5)
    assert time.monotonic() - start < 10
    assert status == 1
    assert [result["passed"] for result in report["checks"].values()] == [False, True]
    assert "over its limit" in report["checks"]["slow"]["error"]
    stat = Path(f"/proc/{report['checks']['slow']['child']}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_what_no_longer_fits_is_not_run(checked: Checked) -> None:
    status, report = checked([good, broken], "--limit", "3")
    assert status == 0
    for result in report["checks"].values():
        assert result["passed"] is None
        assert result["error"].startswith("not run")


def test_only(checked: Checked, capsys: pytest.CaptureFixture) -> None:
    assert list(checked([broken, good], "--only", "good")[1]["checks"]) == ["good"]
    with pytest.raises(SystemExit):
        checked([broken, good], "--only", "god")
    assert "invalid choice: 'god'" in capsys.readouterr().err


def test_a_machine_that_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(gpu_check, "look", broken)
    assert gpu_check.main(["--work", str(tmp_path)]) == 1
    assert "it is broken" in capsys.readouterr().out


def test_runs_are_of_the_device_and_finite(tmp_path: Path) -> None:
    run = Run(tmp_path / "seed=0")
    run.folder.mkdir()
    cpu, cuda = (
        Bench("test", gpu_check.PLANS["cpu"], device, tmp_path, None) for device in ("cpu", "cuda")
    )
    run.update_summary(status="finished", device="cpu, 2 threads", headline=["fid"])
    run.update_summary(metrics={"fid": 1.0, "reverse_kl": float("nan")})
    assert cpu.finished(run)["metrics"]["fid"] == 1
    with pytest.raises(CheckError, match="trained on cpu, 2 threads, not on cuda"):
        cuda.finished(run)
    assert cuda.finished(run, "cpu")
    run.update_summary(device="NVIDIA H100 80GB HBM3")
    assert cuda.finished(run)
    with pytest.raises(CheckError, match="not on cpu"):
        cpu.finished(run)
    run.update_summary(metrics={"fid": float("nan")})
    with pytest.raises(CheckError, match=r"not finite: {'fid': nan}"):
        cuda.finished(run)
    run.update_summary(status="running")
    with pytest.raises(CheckError, match="is running"):
        cuda.finished(run)


@pytest.mark.parametrize(
    "names",
    [("ring", "probes", "tiny"), pytest.param(tuple(gpu_check.VARIANTS), marks=pytest.mark.slow)],
    ids=["three", "all"],
)
def test_variants_can_be_typed(names: tuple[str, ...], tmp_path: Path) -> None:
    bench = Bench("test", gpu_check.PLANS["cuda"], "cuda", tmp_path, None)
    for name in names:
        _, *words = bench.training(gpu_check.VARIANTS[name])
        checks.check(config.compose("train", words))


def test_all_presets_are_among_the_variants() -> None:
    presets = {path.stem for path in (config.CONF / "model").glob("*.yaml")}
    assert presets < set(gpu_check.VARIANTS)
    assert set(gpu_check.PLANS["cpu"].families) < set(gpu_check.VARIANTS)


def test_data_and_device_in_the_words(tmp_path: Path) -> None:
    plan = gpu_check.PLANS["cpu"]
    cpu = Bench("test", plan, "cpu", tmp_path, tmp_path / "data").training("model=ae data=mnist")
    assert "trainer=cpu" in cpu
    assert f"data.root={tmp_path}/data/mnist" in cpu
    toy = Bench("test", plan, "cuda", tmp_path, tmp_path / "data").training("data=ring")
    assert "trainer=cpu" not in toy
    assert "data.source=builtin" in toy
