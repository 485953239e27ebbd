"""Cases in files: links, pipes, pictures, curves, what programs leave, and places."""

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from tests.hostile.folders import (
    CHECKPOINT,
    Make,
    Place,
    content,
    cut,
    damaged,
    folder,
    holding,
    hostile,
    link,
    pipe,
    removed,
    several,
    spaces,
)

FRAME = "samples/0000000250.png"
# All that a run folder can have, and what `outside/run` has under the same name.
NAMES = (
    *("config.yaml", "summary.json", "metrics.csv", "progress.json", "evaluations.json"),
    *("checkpoints", CHECKPOINT, "samples", FRAME, "samples/final.png", ".lock", "log.txt"),
)
READ = ("config.yaml", "checkpoints", CHECKPOINT)  # of which no sample can do without
PROGRESS = {
    "samples_seen": 100, "budget": 500, "seconds": 1.0, "rate": 100.0, "time": 0.0,
    "stage": "training", "scores": [{"samples_seen": 50, "fid": 3.0}],
}  # fmt: skip
NUMBER = {
    "name": "fid100_x", "value": 3.0, "samples_seen": 500,
    "protocol": {"metric": "fid", "data_id": {"name": "digits"}},
}  # fmt: skip


def short(name: str) -> str:
    """A file's name in the name of a case."""
    return name.strip(".").replace("/", "-").replace(".", "-").replace("_", "-")


@cache
def bomb(side: int) -> bytes:
    """A PNG of side x side white pixels, a thousandth of their size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    packer, row = zlib.compressobj(1), bytes(1 + side // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def long_text_chunk() -> bytes:
    """A PNG whose comment unpacks to 100 MB."""
    data = bomb(8)
    text = b"x\0\0" + zlib.compress(bytes(100_000_000), 1)
    crc = struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:33] + struct.pack(">I", len(text)) + b"zTXt" + text + crc + data[33:]


SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>hostile()</script></svg>'
HTML = "<html><script>hostile()</script></html>"
EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%pipe%touch @PROOF@\nrun\nshowpage\n"


def many_files(place: Place) -> None:
    """As many pictures as a careless loop makes."""
    data = (place / FRAME).read_bytes()
    content(place / FRAME, data)
    for i in range(5000):
        os.link(place / FRAME, place / f"samples/{1000 + i:010d}.png")


def nested(place: Place) -> None:
    """Folders, a thousand deep; no path is that long."""
    here = os.open(place.folder, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("deep" * 20, dir_fd=here)
        below = os.open("deep" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def no_run(*steps: Make) -> Make:
    """The steps of a folder that is none of a run."""

    def make(place: Place) -> None:
        removed("config.yaml", "summary.json", ".lock", "checkpoints", "samples", "metrics.csv")(
            place
        )
        several(*steps)(place)

    return make


def inner_runs(place: Place) -> None:
    """Runs in a run, which are to be overlooked."""
    for inner in ("inner", "samples/inner", "wandb/run/files"):
        (place / inner).mkdir(parents=True)
        for name in ("config.yaml", "summary.json", ".lock"):
            content(place / inner / name, (place / name).read_bytes())


def beside(name: str, data: object) -> Make:
    """The record of a sweep beside the runs."""

    def make(place: Place) -> None:
        holding(f"../.sweeps/{place.name}{name}", data)(place)

    return make


def beside_as(step: Callable[[str], Make]) -> Make:
    """As `beside`, of what is no file."""

    def make(place: Place) -> None:
        step(f"../.sweeps/{place.name}.json")(place)

    return make


LINKS = [
    *(
        hostile(f"link-{short(name)}-outside", link(name, f"@OUTSIDE@/run/{name}"),
                refused=name in READ)
        for name in NAMES
    ),
    *(
        hostile(f"link-{short(name)}-to-the-secret", link(name, "@OUTSIDE@/secret.txt"),
                refused=name in READ)
        for name in ("config.yaml", "summary.json", "samples/final.png", "wandb/id",
                     "checkpoints/.last.ckpt", "checkpoints/.previous")
    ),
    *(
        hostile(f"link-{short(name)}-to-itself", link(name, f"@FOLDER@/{name}"),
                refused=name in READ)
        for name in ("config.yaml", "summary.json", CHECKPOINT, "samples", FRAME, ".lock")
    ),
    *(
        hostile(f"link-{short(name)}-to-zeros", link(name, "/dev/zero"), refused=name in READ)
        for name in ("config.yaml", "summary.json", "metrics.csv", "progress.json",
                     "evaluations.json", CHECKPOINT, FRAME, ".lock")
    ),
    hostile("link-config-yaml-upwards", link("config.yaml", "../honest/config.yaml"), refused=True),
    hostile("link-wandb-outside", link("wandb", "@OUTSIDE@/empty")),
    hostile("link-samples-to-the-system", link("samples", "/")),
    hostile("link-log-to-the-terminal", link("log.txt", "/dev/tty")),
]  # fmt: skip

PIPES = [
    *(hostile(f"pipe-{short(name)}", pipe(name), refused=name in READ) for name in NAMES),
    *(
        damaged(f"folder-{short(name)}", folder(name), refused=name in READ)
        for name in NAMES
        if "." in name
    ),
    damaged("file-samples", holding("samples", "x")),
    damaged("file-checkpoints", holding("checkpoints", "x"), refused=True),
]

PICTURES = [
    hostile("picture-bomb", holding(FRAME, lambda: bomb(30_000))),
    hostile("picture-bomb-as-the-last", holding("samples/0000000999.png", lambda: bomb(30_000))),
    hostile("picture-below-the-bomb-limit", holding("samples/0000000999.png",
                                                    lambda: bomb(13_000))),
    hostile("picture-with-a-long-comment", holding(FRAME, long_text_chunk)),
    hostile("picture-an-svg", holding(FRAME, SVG)),
    hostile("picture-a-page", holding(FRAME, HTML)),
    hostile("picture-an-eps", holding("samples/0000000999.png", EPS)),
    hostile("picture-of-a-late-time", holding("samples/" + "9" * 240 + ".png", lambda: bomb(64))),
    hostile("pictures-by-the-thousand", many_files),
    hostile("picture-with-digits-of-elsewhere", holding("samples/١٢٣.png", lambda: bomb(64))),
    hostile("codes-with-a-script", holding("samples/codes.html", HTML)),
    hostile("picture-called-by-a-script", holding(
        "samples/<hostile onload=1>.png", lambda: bomb(64))),
    damaged("picture-empty", holding(FRAME, b"")),
    damaged("picture-cut", cut(FRAME, 0.5)),
    damaged("picture-of-words", holding(FRAME, "no picture")),
    damaged("picture-of-one-pixel", holding("samples/0000000999.png", lambda: bomb(8))),
    damaged("pictures-missing", removed("samples")),
]  # fmt: skip

HEAD = "samples_seen,seconds,loss\n"
CURVES = [
    hostile("curves-of-a-million-columns", holding("metrics.csv",
        lambda: "samples_seen,seconds," + ",".join(f"c{i}" for i in range(10**6)) + "\n50,1\n")),
    hostile("curves-of-a-cell-of-50-megabytes", holding("metrics.csv",
        lambda: f'{HEAD}50,1,"{spaces(50_000_000)}"\n')),
    hostile("curves-of-two-million-rows", holding("metrics.csv",
        lambda: HEAD + "50,1,2\n" * 2_000_000)),
    hostile("curves-of-5000-digits", holding("metrics.csv", HEAD + "9" * 5000 + ",1,2\n")),
    hostile("curves-with-escapes", holding("metrics.csv",
        "samples_seen,seconds,\x1b[31m\u202e<hostile>\n50,1,2\n")),
    hostile("curves-back-in-time", holding("metrics.csv", HEAD + "-50,-1,2\n1e308,1e308,2\n")),
    damaged("curves-of-words", holding("metrics.csv", HEAD + "fifty,one,x\n")),
    damaged("curves-nan", holding("metrics.csv", HEAD + "nan,nan,nan\n50,inf,nan\n")),
    damaged("curves-empty", holding("metrics.csv", b"")),
    damaged("curves-headless", holding("metrics.csv", "50,1,2\n100,2,3\n")),
    damaged("curves-cut", cut("metrics.csv", 0.7)),
    damaged("curves-with-nul", holding("metrics.csv", b"samples_seen,seconds\n50,\0\n")),
    damaged("curves-of-noise", holding("metrics.csv", bytes(range(256)) * 10)),
    damaged("curves-of-zeros", holding("metrics.csv", bytes(5000))),
    damaged("curves-without-a-clock", holding("metrics.csv", "loss\n1\n")),
    damaged("curves-with-columns-twice", holding("metrics.csv",
        "samples_seen,samples_seen,seconds\n50,x,1\n")),
    damaged("curves-with-cells-too-many", holding("metrics.csv", HEAD + "50,1,2,3,4\n")),
]  # fmt: skip

PLACES = [
    hostile("runs-in-a-run", inner_runs),
    hostile("folders-a-thousand-deep", no_run(nested), listed=False),
    hostile("folders-a-thousand-deep-in-a-run", nested),
    hostile("links-to-the-parent", no_run(link("a", ".."), link("b", ".."), link("c", "../..")),
            listed=False),
    hostile("link-to-the-parent-in-a-run", link("a", ".."), link("b", "..")),
    hostile("link-to-the-system", no_run(link("all", "/")), listed=False),
    hostile("modules-in-the-folder", *(holding(f"{name}.py", "open('@PROOF@', 'w')")
            for name in ("evil", "yaml", "sitecustomize", "conftest"))),
    hostile("name-with-an-escape", several(), suffix="\x1b[2J\x1b[31m"),
    hostile("name-with-a-newline", several(), suffix="\nerror: all is lost"),
    hostile("name-from-right-to-left", several(), suffix="\u202efdp"),
    hostile("name-of-a-script", several(), suffix="<hostile onload=1>"),
    hostile("name-of-a-formula", several(), suffix="=HYPERLINK(1)|$x$\\hostile{}%"),
    hostile("name-of-no-text", several(), suffix="\udcff\udcfe"),
    damaged("folder-empty", no_run(), listed=False),
    damaged("record-of-a-sweep-of-noise", beside("1.json", bytes(range(256)))),
    damaged("record-of-a-sweep-a-list", beside("2.json", [1])),
    damaged("record-of-a-sweep-of-nulls", beside("3.json", {"runs": [None]})),
    hostile("record-of-a-sweep-with-escapes", beside("4.json", {"runs": [
        {"name": "\x1b[2J\u202e", "state": "waiting", "note": "\x1b[31m"}]})),
    hostile("record-of-a-sweep-of-brackets", beside("5.json", "[" * 100_000)),
    hostile("record-of-a-sweep-a-pipe", beside_as(pipe)),
    hostile("record-of-a-sweep-a-link", beside_as(
        lambda name: link(name, "@OUTSIDE@/secret.txt"))),
]  # fmt: skip

BEATS = [
    damaged("progress-without-a-stage", holding(
        "progress.json", {k: v for k, v in PROGRESS.items() if k != "stage"})),
    damaged("progress-cut", holding("progress.json", '{"samples_seen": 1')),
    damaged("progress-a-list", holding("progress.json", [1])),
    damaged("progress-of-words", holding("progress.json", PROGRESS | {"samples_seen": "x"})),
    damaged("progress-of-nothing", holding("progress.json", PROGRESS | {"budget": 0, "rate": 0})),
    damaged("progress-nan", holding("progress.json", PROGRESS | {"rate": float("nan")})),
    hostile("progress-of-a-far-future", holding("progress.json", PROGRESS | {"time": -1e300})),
    hostile("progress-of-400-digits", holding("progress.json", PROGRESS | {"budget": 10**400})),
    hostile("progress-with-escapes", holding(
        "progress.json", PROGRESS | {"stage": "\x1b[31mred\u202e\nerror: x"})),
    hostile("progress-of-brackets", holding("progress.json", "[" * 100_000)),
    damaged("evaluations-a-dict", holding("evaluations.json", {"fid": 3})),
    damaged("evaluations-cut", holding("evaluations.json", "[{")),
    damaged("evaluations-of-nulls", holding("evaluations.json", [None])),
    damaged("evaluations-without-a-protocol", holding(
        "evaluations.json", [{k: v for k, v in NUMBER.items() if k != "protocol"}])),
    damaged("evaluations-of-words", holding("evaluations.json", [NUMBER | {"value": "x"}])),
    hostile("evaluations-of-brackets", holding("evaluations.json", "[" * 100_000)),
    hostile("evaluations-of-400-digits", holding(
        "evaluations.json", [NUMBER | {"value": 10**400}])),
    hostile("evaluations-nan", holding("evaluations.json", [NUMBER | {"value": float("nan")}])),
    hostile("evaluations-by-the-million", holding(
        "evaluations.json", lambda: f"[{','.join(['{}'] * 1_000_000)}]")),
]  # fmt: skip

CASES = [
    *(replace(case, draws=True) for case in (*LINKS, *PIPES, *PICTURES, *CURVES)),
    *PLACES,
    *BEATS,
]
