"""What a finished training says."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from src.config.composition import plain
from src.runs.run import Run
from src.training.summary import report
from tests.conftest import composed


def test_only_pictures_that_are_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Run(tmp_path)) as run:
        run.open(plain(composed("model=gan")), "continue")
    summary = {"status": "finished", "samples_seen": 100, "seconds": 1.0, "metrics": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"protocols": {}}))
    report(Run(tmp_path), repeated=False)
    said = capsys.readouterr().out
    assert "Pictures" not in said
    assert "src.sample" not in said  # without a checkpoint
    (tmp_path / "samples").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("")
    for name in ("0000000100.png", "final.png", "curves.png"):
        (tmp_path / "samples" / name).write_text("")
    report(Run(tmp_path), repeated=False)
    said = capsys.readouterr().out
    assert f"Pictures: {tmp_path}/samples (final.png, curves.png)\n" in said
    assert f"python -m src.sample run={tmp_path}" in said
