"""What is printed and written, by the command as it is typed."""

import base64
import csv
import io
import json
import math
import os
import re
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from omegaconf import DictConfig
from PIL import Image

from src import compare as command
from src.cli import launch
from src.config.checks import check_compare
from src.errors import SettingError
from src.report import frames, wandb_log, write
from src.report.against import plot
from src.report.comparison import Comparison, LeftOut
from src.report.read import Record
from src.runs import escape
from tests.report.example import METRIC, example
from tests.report.synthetic import sweep, write_run
from tests.runs.test_escape import HOSTILE


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
    assert re.search(r"vae\s+b\s+[\d.]+ ± [\d.]+ \s", told)
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
    (["runs=[]"], "runs=[]: no folder is named"),
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
    assert done.stdout.count("\n  damaged ") == 3
    assert len(json.loads((tmp_path / "x.json").read_text())["runs"]) == 197
    assert seconds < 5


def test_settings_are_what_the_command_takes() -> None:
    from src.config.composition import compose

    config: DictConfig = compose("compare", [])
    check_compare(config)
    assert config.out == "outputs/compare/report.html"


def test_help_names_every_setting(capsys: pytest.CaptureFixture) -> None:
    compare("--help")
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    for name in ("runs:", "out:", ".tex", "no dot", "wandb:", "wandb.log", "mode", "project"):
        assert name in told


# What strangers wrote


def strange(names: Sequence[str]) -> Comparison:
    """A comparison in which all text of the runs is one of the names."""
    made = example(variants=len(names), seeds=2, tables=2, scorings=3, side=8)
    for table in made.tables:
        for group, name in zip(table.groups, names, strict=True):
            group.name, group.config = name, {name: name}
        table.data = names[4]
        table.verdict.text = table.verdict.method = f"{' and '.join(names)}."
        table.warnings = list(names)
        table.columns = [replace(c, label=n) for c, n in zip(table.columns, names, strict=False)]
    made.left_out = [LeftOut(name, name, name) for name in names]
    made.title = names[0]
    return made


ORDINARY = ["x"] * len(HOSTILE)


@pytest.mark.parametrize("form", [write.text, write.markdown, write.latex])
def test_names_stay_on_their_lines(form: Callable[[Comparison], str]) -> None:
    told = form(strange(HOSTILE))
    told.encode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\ufeff]", told)
    assert told.count("\n") == form(strange(ORDINARY)).count("\n")


def test_colours_are_ours_only() -> None:
    told = write.text(strange(HOSTILE), colour=True)
    codes = {write.BOLD, write.GREEN, write.DIM, write.YELLOW, write.PLAIN}
    assert set(re.findall("\x1b[^m]*m", told)) <= codes
    assert re.sub("\x1b[^m]*m", "", told).replace("\n", "").isprintable()
    assert "a\\u202eb" in told


def test_markdown_has_no_marks_of_others() -> None:
    told, expected = (write.markdown(strange(names)) for names in (HOSTILE, ORDINARY))
    bars = [[len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line[:1] == "|"]
            for text in (told, expected)]  # fmt: skip
    assert bars[0] == bars[1]
    outside = re.sub(r"(`+).*?[^`]\1(?!`)|\\.|</?span>", "", told)
    assert not re.search(r"[<\[\]`]|https?://|^#+ *$", outside, re.MULTILINE)
    assert outside.count("**") == expected.count("**")


def test_latex_has_no_commands_of_others() -> None:
    told, expected = (
        re.sub("^%.*", "", write.latex(strange(names)), flags=re.MULTILINE)
        for names in (HOSTILE, ORDINARY)
    )
    escaped = {rf"\{name}" for name in ("textbackslash", "textless", "textgreater", "textbar",
                                        "textasciitilde", "textasciicircum")}  # fmt: skip
    commands = [set(re.findall(r"\\[A-Za-z]+", text)) - escaped for text in (told, expected)]
    assert commands[0] == commands[1]
    bare = re.sub(r"\$\\pm\$|\\.", "", told)
    assert not re.search(r"[$#_^~%]", bare)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"^ *[\[*]", told, re.MULTILINE)


def test_csv_has_no_formulas() -> None:
    made = strange(HOSTILE)
    for table in made.tables:
        for i, name in enumerate(("=1+1", "group")):  # names of metrics are headings
            table.groups[i].values[name] = table.groups[i].values[METRIC]
            table.columns.append(replace(table.columns[0], key=name))
    head, *rows = csv.reader(io.StringIO(write.comma_separated(made), newline=""))
    assert "'=1+1" in head
    for cell in (cell for row in (head, *rows) for cell in row):
        assert cell[:1] not in tuple("=+@\t\r")
        assert not cell.startswith("-") or math.isfinite(float(cell))
    assert len(rows) == 2 * len(HOSTILE)
    assert [row[head.index("group")] for row in rows[:2]] == [*map(escape.csv_cell, HOSTILE[:2])]


def test_json_is_json() -> None:
    made = strange(HOSTILE)
    made.runs[0].metrics[METRIC] = math.nan
    made.tables[0].groups[0].values[METRIC].values[:] = [math.inf, -math.inf]

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    told = write.as_json(made)
    told.encode()
    held = json.loads(told, parse_constant=refuse)
    assert [group["name"] for group in held["tables"][0]["groups"]] == list(HOSTILE)
    assert held["runs"][0]["metrics"][METRIC] is None
    assert held["tables"][0]["groups"][0]["values"][METRIC]["values"] == [None, None]


def test_numbers_that_overflow_are_told() -> None:
    made = strange(ORDINARY)
    for cell in made.tables[0].groups[0].values.values():
        cell.mean = cell.sd = math.inf
    assert "inf" in write.text(made)


@pytest.mark.parametrize("kind", [".svg", ".png"])
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
def test_names_are_no_formulas_in_a_figure(kind: str) -> None:
    names = (*HOSTILE[:4], "$\\frac{$", "$$", "_hidden", "a$b$c")
    made = strange(names)
    for group, place in zip(made.tables[0].groups, (1, 2) * 4, strict=True):
        group.config = {"x": place, "y": group.name}
    content = plot(made, "x", [METRIC], kind)
    if kind == ".svg":
        text = content.decode()
        assert "<img" not in text
        for name in ("$\\frac{$", "$$", "_hidden", "a$b$c"):
            assert f"<!--  {name} -->" in text or f"<!-- {name} -->" in text


@pytest.mark.parametrize("value", [math.inf, math.nan, "x\x1b"])
def test_what_has_no_place_on_an_axis(value: object) -> None:
    made = strange(ORDINARY)
    for group in made.tables[0].groups:
        group.config = {"x": value}
    with pytest.raises(SettingError, match=r"only numbers have a place") as caught:
        plot(made, "x", [METRIC], ".svg")
    assert "\x1b" not in str(caught.value)


def test_names_at_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key becomes a file's name there: none leads out of the folder."""
    logged, begun = {}, {}
    run = SimpleNamespace(log=logged.update, summary={}, finish=lambda: None, dir=".")
    monkeypatch.setattr(wandb, "init", lambda **settings: begun.update(settings) or run)
    made = strange(HOSTILE)
    evil = "../../../x\x1b"
    for table in made.tables:
        table.columns = [replace(table.columns[0], key=evil), *table.columns[1:]]
        table.metric = evil
        for group in table.groups:
            group.values[evil] = group.values[METRIC]
            group.values["letters"] = group.values[METRIC]
        table.columns.append(replace(table.columns[0], key="letters"))
    wandb_log.log(made, {"mode": "offline", "project": "x", "group": None}, tmp_path)
    assert list(logged) == ["comparison/table0__x_", "comparison/table1__x_"]
    assert begun["name"].isprintable()
    table = logged["comparison/table0__x_"]
    assert [row[0] for row in table.data] == [escape.line(name) for name in HOSTILE]
    assert len(set(table.columns)) == len(table.columns)


# Pictures that strangers drew


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *others: bytes, pixels: bytes = b"") -> bytes:
    """A grey picture that is as large as it says, whatever its pixels are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels or bytes(min(10**6, (width + 1) * height))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(others) + body + chunk(b"IEND", b"")


def encoded(path: Path) -> str:
    return frames._encode((path, 58, frames.SIZES[0]))


BAD = {
    "nothing": b"",
    "text": b"GIF89a or so",
    "huge": png(8001, 8000),
    "bomb": png(60_000, 60_000),
    "two heads": png(4, 4, chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))),
    "no pixels": png(0, 5),
    "cut": png(64, 64)[:-30],
    "damaged": png(64, 64, pixels=b"\x09" * 20)[:-40] + b"x" * 28,
    "text that grows": png(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "a palette of nothing": png(4, 4, chunk(b"PLTE", b""), chunk(b"pHYs", b"")),
    "half a profile": png(4, 4, chunk(b"iCCP", b"abc")),  # an IndexError of Pillow 13
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_raise_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.png").write_bytes(BAD[name])
    assert encoded(tmp_path / "1.png") == ""


def test_pictures_are_png_files_only(tmp_path: Path) -> None:
    """A pipe does not hang, a link shows nothing of others, other formats are not tried."""
    (tmp_path / "good.png").write_bytes(png(64, 64))
    assert picture_of(encoded(tmp_path / "good.png")).size == (64, 64)
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for kind in ("GIF", "JPEG", "PPM", "TIFF"):
        Image.new("L", (8, 8)).save(tmp_path / f"{kind}.png", kind)
    bad = [path for path in tmp_path.iterdir() if path.name != "good.png"]
    assert len(bad) == 7
    assert [encoded(path) for path in (*bad, tmp_path / "none.png")] == [""] * 8


def test_damage_of_any_byte_raises_nothing(tmp_path: Path) -> None:
    whole = png(16, 16, chunk(b"tEXt", b"a\0b"), chunk(b"gAMA", struct.pack(">I", 45455)))
    path = tmp_path / "1.png"
    for i in range(len(whole)):
        for value in (0, 255, whole[i] ^ 1):
            path.write_bytes(whole[:i] + bytes([value]) + whole[i + 1 :])
            encoded(path)


@pytest.mark.parametrize("shape", [[1, 0, 0], [1, -5, 3], [1, 10**15, 10**15], [3], None])
def test_any_shape_of_the_data(tmp_path: Path, shape: list[int] | None) -> None:
    (tmp_path / "1.png").write_bytes(png(64, 64))
    summary = {"data_id": {"shape": shape}}
    record = Record("x", {}, summary, frames=lambda: [(1, tmp_path / "1.png")])
    made = example(variants=1, seeds=1, tables=1, scorings=2, side=8)
    frames.add_pictures(made, {made.runs[0].folder: record}, 1)
    assert picture_of(made.runs[0].pictures[0].image).size == (64, 64)


def test_digits_agree_within_a_column() -> None:
    """A column with a spread shows it in every row, with as many decimals."""
    head, *rows = [
        re.split(r"  +", line.strip()) for line in write.text(example()).splitlines()[3:9]
    ]
    for name in ("FID", "IS", "precision", "recall"):
        at = head.index(name) - len(head)
        cells = [row[at].rstrip("*") for row in rows]
        assert all(" ± " in cell for cell in cells), cells
        decimals = {len(part.partition(".")[2]) for cell in cells for part in cell.split(" ± ")}
        assert len(decimals) == 1, cells


def test_a_row_per_run() -> None:
    made = example()
    head, *rows = csv.reader(io.StringIO(write.runs_as_csv(made), newline=""))
    assert head[:4] == ["table", "group", "seed", "folder"]
    assert len(rows) == len(made.runs)
    first = dict(zip(head, rows[0], strict=True))
    assert float(first[METRIC]) == made.runs[0].metrics[METRIC]
    groups = {group.name for table in made.tables for group in table.groups}
    assert {row[1] for row in rows} == groups


def test_tables_have_labels() -> None:
    labels = re.findall(r"\\label{(.*?)}", write.latex(example()))
    assert len(set(labels)) == len(example().tables)
    assert all(re.fullmatch("tab:[a-z0-9-]+", label) for label in labels)
