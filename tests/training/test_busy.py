"""Other programs on the cores that a training wants are noticed."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from src.training import busy


@pytest.mark.parametrize(
    ("running", "cores", "threads", "advice"),
    [
        (1, 2, 2, None),
        (2, 2, 2, "1.0 of 2 cores busy, and 2 threads .*\n.*OMP_NUM_THREADS=1 "),
        (2, 2, 1, None),  # one thread waits for no other
        (9, 2, 2, "2.0 of 2 cores busy.*\n.*OMP_NUM_THREADS=1 "),
        (7, 16, 8, None),  # torch takes physical cores, here half of them
        (13, 16, 8, "12.0 of 16 cores busy.*\n.*OMP_NUM_THREADS=4 "),
    ],
)
def test_threads_that_have_to_share_cores(
    running: int,
    cores: int,
    threads: int,
    advice: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "loadavg").write_text(f"0.91 0.78 0.83 {running}/350 4711\n")
    monkeypatch.setattr(busy, "LOADAVG", tmp_path / "loadavg")
    monkeypatch.setattr(busy.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(busy.os, "sched_getaffinity", lambda _: range(cores), raising=False)
    said = busy.describe_contention()
    if advice is None:
        assert said is None
    else:
        assert re.search(advice, said)
        # Who is on the cores of a job that has but some of them is not known.
        monkeypatch.setattr(busy.os, "sched_getaffinity", lambda _: range(cores - 1))
        assert busy.describe_contention() is None


def test_systems_that_do_not_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "LOADAVG", tmp_path / "none")
    assert busy.other_threads() == 0
    assert busy.describe_contention() is None


@pytest.mark.skipif(not busy.LOADAVG.exists(), reason="no /proc/loadavg")
def test_a_program_that_computes_is_counted() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        deadline = time.monotonic() + 20
        while busy.other_threads() < 0.7:
            assert time.monotonic() < deadline
    finally:
        process.kill()
        process.wait()
