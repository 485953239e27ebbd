"""What is printed and written, by the command as it is typed."""

import base64
import csv
import io
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig
from PIL import Image

from src import compare as command
from src.checks import check_compare
from src.command import launch
from tests.report.synthetic import sweep, write_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sweep(tmp_path / "outputs", "dcgan", "lsgan", "vae", dcgan=5, lsgan=5, vae=400)
    write_run(tmp_path / "outputs", "wgan", summary={"status": "failed", "error": "it is nan"})
    return tmp_path


def compare(*words: str) -> None:
    launch("compare", check_compare, command.compare, list(words))


def test_the_terminal(runs: Path, capsys: pytest.CaptureFixture) -> None:
    compare("out=null")
    told = capsys.readouterr().out
    assert "\033[" not in told
    lines = told.splitlines()
    assert lines[0].startswith("mnist (real), 1 x 28 x 28, 60,000 train + 10,000 test")
    assert lines[1] == "fid10k_mnist, less is better; held-out real data: 1.18"
    table = [line for line in lines if re.match(r"  (dcgan|lsgan|vae|  )", line)]
    assert len({len(line) for line in table[1:4]}) == 1  # aligned
    first = re.search(r"(dcgan|lsgan)\s+a\s+(\S+) ± (\S+)\*\s", told)
    assert 4 < float(first[2]) < 6
    assert re.search(r"vae\s+b\s+\d+ ± \d+ \s", told)
    assert "vae is worse, by more than noise." in told
    assert "it is nan" in told
    assert [path.name for path in runs.iterdir()] == ["outputs"]


@pytest.mark.usefixtures("runs")
def test_a_colour_terminal(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    compare("out=null")
    assert "\033[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    compare("out=null")
    assert "\033[" not in capsys.readouterr().out


def test_markdown_latex_csv_and_json(runs: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("t.md", "t.tex", "t.csv", "t.json"):
        compare(f"out=written/{name}")
    assert "Written: written/t.json" in capsys.readouterr().out
    markdown = (runs / "written" / "t.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert len({line.count("|") for line in rows}) == 1
    assert markdown.count("**") >= 2
    latex = (runs / "written" / "t.tex").read_text()
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    assert r"\toprule" in latex
    assert r"fid10k\_mnist" in latex
    assert r"\textsuperscript{a}" in latex
    assert not re.search(r"(?<!\\)_", latex)
    body = latex.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    columns = latex.partition(r"\begin{tabular}{")[2].partition("}")[0]
    assert [line.count("&") for line in body.splitlines() if "&" in line] == [len(columns) - 1] * 3
    read = list(csv.DictReader(io.StringIO((runs / "written" / "t.csv").read_text())))
    assert [row["group"] for row in read][2] == "vae"
    assert float(read[2]["fid10k_mnist"]) > 300
    assert {row["fid10k_mnist.n"] for row in read} == {"3"}
    held = json.loads((runs / "written" / "t.json").read_text())
    assert held["tables"][0]["groups"][2]["name"] == "vae"
    assert held["left_out"][0]["reason"] == "it is nan"


def picture_of(address: str) -> Image.Image:
    data = address.removeprefix("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_and_of_the_first_seed(runs: Path) -> None:
    for seed in (0, 1):
        write_run(runs / "pictures", "dcgan", seed, frames=12)
    compare("runs=pictures", "out=p.json")
    first, second = json.loads((runs / "p.json").read_text())["runs"]
    assert [picture["samples"] for picture in first["pictures"]][::7] == [0, 1000]
    assert len(first["pictures"]) == 8
    assert second["pictures"] == []
    assert picture_of(first["pictures"][0]["image"]).size == (460, 460)  # of 10 x 16 tiles 8 x 8


def test_pictures_get_smaller_if_they_must(runs: Path) -> None:
    write_run(runs / "pictures", "dcgan", frames=12)
    compare("runs=pictures", "out=p.json", "pictures_mb=0.001")
    (run,) = json.loads((runs / "p.json").read_text())["runs"]
    assert [picture["samples"] for picture in run["pictures"]] == [0, 1000]
    sides = [picture_of(picture["image"]).size for picture in run["pictures"]]
    assert sides == [(160, 160)] * 2


def test_a_damaged_picture_is_left_out(runs: Path) -> None:
    folder = write_run(runs / "pictures", "dcgan", frames=3)
    (folder / "samples" / "0000000500.png").write_bytes(b"\x89PNG")
    compare("runs=pictures", "out=p.json")
    (run,) = json.loads((runs / "p.json").read_text())["runs"]
    assert [picture["samples"] for picture in run["pictures"]] == [0, 1000]


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(("words", "told"), [
    (["out=table.docx"], "out=table.docx: .docx is no format"),
    (["out=v1.0"], "a folder, whose name has no dot, gets all of them"),
    (["runs=[]"], "runs=[]: no place is named"),
    (["runs=nowhere"], "runs=nowhere does not exist"),
    (["metric=fd"], "metric=fd: no finished run has it"),
    (["bi=model"], "bi: there is no such setting."),
    (["wandb.lok=true"], "wandb.lok: there is no such setting. Did you mean wandb.log?"),
    (["by=3.5"], "by=3.5 must be"),
    (["pictures_mb=0"], "pictures_mb=0 must be positive: megabytes of pictures."),
])  # fmt: skip
def test_errors_are_short(words: list[str], told: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        compare(*words)
    assert told in str(caught.value)
    assert str(caught.value).count("\n") <= 2
    assert capsys.readouterr().out == ""


def test_folders_with_commas_and_lists(runs: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(runs / "outputs", variant="penalty=r1,width=8", words=("model/penalty=r1",))
    compare("runs=outputs/mnist/dcgan/penalty=r1,width=8", "out=null")
    assert "There is only one variant" in capsys.readouterr().out
    compare("runs=[outputs/mnist/vae,outputs/mnist/lsgan]", "out=null")
    assert "dcgan" not in capsys.readouterr().out


def test_200_runs_in_5_seconds_without_torch(tmp_path: Path) -> None:
    """Twenty variants of ten seeds, among them three damaged folders."""
    for size in range(20):
        for seed in range(10):
            fid, variant = 5 + size + seed, f"latent.dim={size}"
            folder = write_run(tmp_path, "gan", seed, fid, latent=size + 2, variant=variant)
            if seed == 0 and size < 3:
                (folder / "summary.json").write_text('{"status')
    program = (
        "import sys\n"
        "from src.compare import compare, launch, check_compare\n"
        "launch('compare', check_compare, compare)\n"
        "assert 'torch' not in sys.modules and 'lightning' not in sys.modules\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, f"runs={tmp_path}", f"out={tmp_path}/x.json"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor: the clock on the wall is that of the neighbours too.
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("damaged") == 3
    assert len(json.loads((tmp_path / "x.json").read_text())["runs"]) == 197
    assert seconds < 5


def test_settings_are_what_the_command_takes() -> None:
    from src.config import compose

    config: DictConfig = compose("compare", [])
    check_compare(config)
    assert config.out == "outputs/compare/report.html"


def test_help_names_every_setting(capsys: pytest.CaptureFixture) -> None:
    compare("--help")
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    for name in ("runs:", "out:", ".tex", "no dot", "wandb:", "wandb.log", "mode", "project"):
        assert name in told
