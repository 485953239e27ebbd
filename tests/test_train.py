"""What a finished training says."""

import json
from pathlib import Path

import pytest

from src.runs.run import Run
from src.training.summary import report


def test_only_pictures_that_are_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"status": "finished", "samples_seen": 100, "seconds": 1.0, "metrics": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"protocols": {}}))
    report(Run(tmp_path), repeated=False)
    assert "Pictures" not in capsys.readouterr().out
    (tmp_path / "samples").mkdir()
    for name in ("0000000100.png", "final.png", "curves.png"):
        (tmp_path / "samples" / name).write_text("")
    report(Run(tmp_path), repeated=False)
    assert f"Pictures: {tmp_path}/samples (final.png, curves.png)\n" in capsys.readouterr().out
