"""The notebook of the documentation runs as it stands, in an empty folder."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


def test_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All cells one after the other, with the budget and the seeds of a test."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            text = "".join(cell["source"]).replace("budget=4_000", "budget=400")
            text = text.replace('"metrics.n": 500', '"metrics.n": 50').replace("(0, 1)", "(0,)")
            exec(compile(text, "quickstart.ipynb", "exec"), names)
    assert "fid50_digits" in capsys.readouterr().out
    assert names["images"].shape == (16, 1, 28, 28)
    frame = names["table"].to_frame()
    assert frame["runs"].tolist() == [1, 1]
