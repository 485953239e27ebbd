import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.config.composition import plain
from src.errors import SettingError
from src.runs.metrics_file import cut_back, read_metrics
from src.runs.wandb_access import run_id, wandb_mode
from src.training.loggers import CSVMetrics, TensorBoardLogger, WandbLogger
from src.training.trainer import build_loggers
from tests.conftest import composed

KEY = "a" * 40


# The CSV file


def log(folder: Path, *rows: tuple[int, dict[str, float]]) -> None:
    logger = CSVMetrics(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step=step)


ROWS = (
    (64, {"seconds": 0.1, "loss": 1 / 3}),
    (128, {"seconds": 0.2, "loss": 1e-9}),
    (128, {"fid": 12.5}),
    (192, {"seconds": 0.3, "loss": float("nan")}),
    (192, {"kid": 7.0}),
    (256, {"seconds": 0.4, "loss": 2.0}),
)


def test_a_row_per_clock_and_a_header_that_grows(tmp_path: Path) -> None:
    log(tmp_path, *ROWS)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "samples_seen,seconds,loss,fid,kid",
        "64,0.1,0.3333333333333333,,",
        "128,0.2,1e-09,12.5,",
        "192,0.3,nan,,7.0",
        "256,0.4,2.0,,",
    ]
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[0] == {"samples_seen": 64, "seconds": 0.1, "loss": 1 / 3}
    assert rows[1] == {"samples_seen": 128, "seconds": 0.2, "loss": 1e-9, "fid": 12.5}
    assert isinstance(rows[0]["samples_seen"], int)


def test_a_usual_row_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    logger = CSVMetrics(str(tmp_path))
    nodes = []
    for step, metrics in ((1, {"a": 1}), (2, {"a": 2}), (3, {"a": 3, "b": 4}), (4, {"b": 5})):
        logger.log_metrics(metrics, step=step)
        nodes.append(path.stat().st_ino)
    assert nodes[0] == nodes[1] != nodes[2] == nodes[3]


@pytest.mark.parametrize("clock", [0, 63, 64, 128, 200, 256, 1000])
@pytest.mark.parametrize("half_a_row", ["", "320,0.5", "320,0.5,1.0,,1"])
def test_cut_back_gives_the_file_of_that_clock(tmp_path: Path, clock: int, half_a_row: str) -> None:
    log(tmp_path / "then", *[row for row in ROWS if row[0] <= clock])
    log(tmp_path / "now", *ROWS)
    then, now = tmp_path / "then" / "metrics.csv", tmp_path / "now" / "metrics.csv"
    with now.open("a") as file:
        file.write(half_a_row)
    cut_back(now, clock)
    assert now.exists() == then.exists() == (clock >= 64)
    if now.exists():
        assert now.read_bytes() == then.read_bytes()
    log(tmp_path / "now", *[row for row in ROWS if row[0] > clock])
    log(tmp_path / "whole", *ROWS)
    assert now.read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_cut_back_of_nothing(tmp_path: Path) -> None:
    cut_back(tmp_path / "metrics.csv", 100)
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize(("header", "row", "told"), [
    ("samples_seen," + ",".join(f"c{i}" for i in range(1000)), "1" + ",1" * 1000, "columns"),
    ("samples_seen," + ",".join(f"c{i}" for i in range(999)), "1\n" + "," * 2_000_000, "cells"),
    (r"samples_seen,loss/$\frac$", "1,1", "cannot be called"),
    ("samples_seen,loss/\x1b[31m", "1,1", "cannot be called"),
    ("samples_seen," + "1" * 100_000, "1,1", "cannot be called"),
    ("samples_seen,loss", f"-{'9' * 400},1", "samples_seen is -999"),
    ("samples_seen,loss", "-1,1", "samples_seen is -1"),
    ("samples_seen,loss", f"{2**53},1", "samples_seen is 9007"),
    ("samples_seen,loss", "1.5,1", "1.5"),
])  # fmt: skip
def test_a_metrics_file_of_strangers(header: str, row: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(SettingError, match=told) as caught:
        cut_back(tmp_path / "metrics.csv", 100)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_a_wide_metrics_file_is_read(tmp_path: Path) -> None:
    names = [f"loss/{i}" for i in range(999)]
    row = "1" + ",2.5" * 999
    (tmp_path / "metrics.csv").write_text(f"samples_seen,{','.join(names)}\n{row}\n")
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"samples_seen": 1} | dict.fromkeys(names, 2.5)
    ]


def test_what_is_logged_can_be_read(tmp_path: Path) -> None:
    """Whatever a callback of one's own calls its numbers."""
    log(tmp_path, (1, {"$x$": 1.0, "lr-Adam/pg1": 2.0, "a\nb": 3.0}))
    (row,) = read_metrics(tmp_path / "metrics.csv")
    assert row == {"samples_seen": 1, "_x_": 1.0, "lr-Adam/pg1": 2.0, "a_b": 3.0}


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Cannot write"):
        log(tmp_path / "file", (1, {"a": 1}))


# TensorBoard


def read_back(folder: Path) -> EventAccumulator:
    """A run's files, as TensorBoard itself reads them."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_tensorboards_files_read_back(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.new("L", (4, 6), 200).save(picture)
    for clock, clocks in ((0, (0, 64, 128, 192)), (128, (192, 256))):  # killed after 192
        logger = TensorBoardLogger(str(tmp_path), clock, {"model": {"lr": 0.1}, "seed": 3})
        for step in clocks:
            logger.log_metrics({"loss/d": clock + step / 2}, step=step)
        logger.log_image("samples", [str(picture)], step=clocks[-1])
        logger.log_summary({"metrics": {"fid": 1.5}})
        logger.finish()
    events = read_back(tmp_path)
    curve = [(event.step, event.value) for event in events.Scalars("loss/d")]
    assert curve == [(0, 0), (64, 32), (128, 64), (192, 224), (256, 256)]
    image = Image.open(io.BytesIO(events.Images("samples")[-1].encoded_image_string))
    assert (image.size, image.getpixel((0, 0))) == ((4, 6), (200, 200, 200))
    assert [event.value for event in events.Scalars("final/fid")][-1] == 1.5
    assert yaml.safe_load((tmp_path / "tensorboard" / "hparams.yaml").read_text()) == {
        "model.lr": 0.1, "seed": 3,
    }  # fmt: skip


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(SettingError, match=r"not installed.*\n.*sparring\[tensorboard\]"):
        TensorBoardLogger(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["logger=csv"], ["CSVMetrics"]),
        (["logger=tensorboard"], ["CSVMetrics", "TensorBoardLogger"]),
        (["logger=wandb"], ["CSVMetrics", "WandbLogger"]),
        (["logger=wandb", "wandb.mode=disabled"], ["CSVMetrics"]),
        (["logger=[wandb,tensorboard]"], ["CSVMetrics", "WandbLogger", "TensorBoardLogger"]),
        (
            [
                "logger=csv",
                "+logger.own._target_=lightning.pytorch.loggers.CSVLogger",
                "+logger.own.save_dir=own",
            ],
            ["CSVMetrics", "CSVLogger"],
        ),
    ],
)
def test_which_loggers_a_run_has(words: list[str], kinds: list[str], tmp_path: Path) -> None:
    settings = plain(composed("wandb.mode=offline", *words))
    with build_loggers(settings, tmp_path) as built:
        assert [type(logger).__name__ for logger in built] == kinds


# Weights & Biases


@pytest.fixture
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A user that W&B has never seen; it reads the environment anew."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()


def inspect(folder: Path) -> dict[str, list[dict]]:
    """The records of an offline run by their type, as W&B's own reader sees them."""
    program = Path(sys.executable).with_name("wandb")
    command = [str(program), "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records: dict[str, list[dict]] = {}
    for record in map(json.loads, lines.splitlines()):
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


@pytest.mark.usefixtures("no_account")
def test_an_offline_run_reads_back(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.new("L", (4, 4)).save(picture)
    folder = tmp_path / "run"
    config = {"model": {"lr": 0.1}, "seed": 3}
    for clocks in ((0, 64, 128), (128, 192)):  # the second process resumes at 64
        logger = WandbLogger(
            str(folder), "offline", project="toys", group="sweep", name="me", tags=["x"],
            config=config,
        )  # fmt: skip
        for clock in clocks:
            logger.log_metrics({"loss/d": clock / 2}, step=clock)
            logger.log_image("samples", [str(picture)], step=clock)
        logger.log_summary({"status": "finished", "protocols": {"fid": {"n_fake": 10}}})
        logger.finalize("success")  # as Lightning does
        logger.finish(failed=clocks[0] == 0)
    first, second = sorted((folder / "wandb").glob("offline-run-*"))
    both = [inspect(first), inspect(second)]

    runs = [records["run"][0] for records in both]
    assert runs[0]["run_id"] == runs[1]["run_id"] == run_id(folder)
    assert first.name.endswith(f"-{run_id(folder)}")
    for run in runs:
        assert run["resume"] is True  # `wandb sync` of the second folder appends to the first
        assert (run["project"], run["run_group"], run["display_name"]) == ("toys", "sweep", "me")
        assert run["tags"] == ["x"]
        update = run["config"]["update"]
        assert {name: update[name] for name in config} == config

    rows = [[entry["item"] for entry in records["history"]] for records in both]
    assert [row["samples_seen"] for row in rows[0]] == [0, 64, 128]
    assert [row["_step"] for row in rows[0] + rows[1]] == [0, 64, 128, 128, 192]
    assert [row["loss/d"] for row in rows[1]] == [64, 96]
    assert not any("trainer/global_step" in row for part in rows for row in part)
    axes = {m.get("name") or m.get("glob_name"): m.get("step_metric") for m in both[0]["metric"]}
    assert axes["*"] == "samples_seen"
    stored = rows[1][1]["samples.filenames"][0]
    assert (second / "files" / stored).read_bytes() == picture.read_bytes()

    summary: dict = {}
    for update in both[1]["summary"]:
        summary |= update["update"]
    assert summary["status"] == "finished"
    assert [records["exit"][0]["exit_code"] for records in both] == [1, 0]


@pytest.mark.usefixtures("no_account")
def test_what_users_of_wandb_group_and_sort_by(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for name in ("config.yaml", "summary.json", "checkpoints/last.ckpt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "codes.html").write_text("<p>codes</p>")
    Image.new("L", (4, 4)).save(tmp_path / "progress.gif")
    choices = {"model": "dcgan", "data": "mnist", "model/loss": "hinge", "experiment": None,
               "model/optimizer@model.g_optimizer": "adam"}  # fmt: skip
    logger = WandbLogger(str(folder), "offline", tags=["mine", "dcgan"], choices=choices,
                         config={"seed": 3}, artifact=True)  # fmt: skip
    for step, fid in enumerate((9.0, 4.0, 5.0)):
        logger.log_metrics({"fid": fid, "is10k_mnist": fid, "loss/d": fid}, step=step)
    logger.log_page("codes_page", tmp_path / "codes.html", 3)
    logger.log_page("progress", tmp_path / "progress.gif", 3)
    logger.log_summary({"status": "finished", "metrics": {"fid": 5.0}})
    logger.finish()
    (place,) = (folder / "wandb").glob("offline-run-*")
    records = inspect(place)
    (run,) = records["run"]
    assert run["job_type"] == "train"
    assert run["tags"] == ["mine", "dcgan", "mnist"]
    assert run["config"]["update"]["choices"] == {
        "model": "dcgan", "data": "mnist", "loss": "hinge", "g_optimizer": "adam",
    }  # fmt: skip
    summary: dict = {}
    for update in records["summary"]:
        summary |= update["update"]
    assert summary["fid"] == {"min": 4}
    assert summary["is10k_mnist"] == {"max": 9}
    assert summary["loss/d"] == 5
    last = records["history"][-1]["item"]
    for name, source in (("codes_page.path", "codes.html"), ("progress.path", "progress.gif")):
        logged = (place / "files" / last[name]).read_bytes()
        assert (tmp_path / source).read_bytes() in logged
    (artifact,) = records["artifact"]
    assert artifact["type"] == "model"
    entries = artifact["manifest"]["contents"]
    assert {entry["path"] for entry in entries} == {
        "config.yaml", "summary.json", "checkpoints/last.ckpt",
    }  # fmt: skip


@pytest.mark.usefixtures("no_account")
def test_a_run_that_was_not_closed_does_not_take_the_next_ones_rows(tmp_path: Path) -> None:
    first, second = (WandbLogger(str(tmp_path / name), "offline") for name in "ab")
    first.log_metrics({"loss": 1.0}, step=1)
    second.log_metrics({"loss": 2.0}, step=2)
    second.finish()
    for name, loss in (("a", 1), ("b", 2)):
        (folder,) = (tmp_path / name / "wandb").glob("offline-run-*")
        assert [row["item"]["loss"] for row in inspect(folder)["history"]] == [loss]


def test_two_folders_are_two_runs(tmp_path: Path) -> None:
    assert run_id(tmp_path / "a") == run_id(tmp_path / "a") != run_id(tmp_path / "b")


class Server(http.server.BaseHTTPRequestHandler):
    """Answers to one key only."""

    viewer: object = None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = (
            self.headers["Authorization"]
            == "Basic YXBpOmFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
        )
        body = json.dumps({"data": {"viewer": self.viewer}}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(no_account: pytest.MonkeyPatch) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}"
        no_account.setenv("WANDB_BASE_URL", address)
        yield address
        running.shutdown()


@pytest.fixture
def silence(no_account: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        no_account.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield


@pytest.fixture
def closed_port(no_account: pytest.MonkeyPatch) -> None:
    no_account.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")


@pytest.mark.usefixtures("no_account")
def test_no_key(capsys: pytest.CaptureFixture) -> None:
    assert wandb_mode("auto") == "offline"
    line = capsys.readouterr().out
    assert "no key is configured" in line
    assert "wandb sync" in line
    assert line.count("\n") == 1
    with pytest.raises(SettingError, match=r"wandb.mode=online: no key is configured"):
        wandb_mode("online")


@pytest.mark.parametrize("where", ["silence", "closed_port"])
def test_a_key_and_no_server(
    no_account: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    where: str,
    capsys: pytest.CaptureFixture,
) -> None:
    request.getfixturevalue(where)
    no_account.setenv("WANDB_API_KEY", KEY)
    start = time.perf_counter()
    assert wandb_mode("auto") == "offline"
    assert time.perf_counter() - start < 5
    assert "does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("source", ["environment", "netrc"])
def test_a_server_that_takes_the_key(
    server: str, no_account: pytest.MonkeyPatch, source: str, capsys: pytest.CaptureFixture
) -> None:
    if source == "environment":
        no_account.setenv("WANDB_API_KEY", KEY)
    else:
        host = server.removeprefix("http://")
        Path(os.environ["NETRC"]).write_text(f"machine {host}\n login user\n password {KEY}\n")
    no_account.setattr(Server, "viewer", {"id": "me"})
    assert wandb_mode("auto") == wandb_mode("online") == "online"
    no_account.setattr(Server, "viewer", None)
    assert wandb_mode("auto") == "offline"
    assert "does not know the key" in capsys.readouterr().out


@pytest.mark.usefixtures("server")
def test_a_server_that_refuses_the_key(
    no_account: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    no_account.setenv("WANDB_API_KEY", "b" * 40)
    assert wandb_mode("auto") == "offline"
    assert "refuses the key" in capsys.readouterr().out


def test_a_malformed_key(no_account: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    no_account.setenv("WANDB_API_KEY", "abc")
    assert wandb_mode("auto") == "offline"
    assert "the key cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "mode"),
    [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled")],
)
def test_wandbs_own_mode_decides_first(
    no_account: pytest.MonkeyPatch, environment: str, mode: str, capsys: pytest.CaptureFixture
) -> None:
    no_account.setenv("WANDB_MODE", environment)
    assert wandb_mode("auto") == mode
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_is_said_is_done(mode: str) -> None:
    assert wandb_mode(mode) == mode


def test_a_copy_of_a_run_has_an_id_of_its_own(tmp_path: Path) -> None:
    first = run_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    copied = run_id(tmp_path / "copy")
    assert copied != first
    assert run_id(tmp_path / "copy") == copied
    assert run_id(tmp_path / "a") == first
    (tmp_path / "a").rename(tmp_path / "moved")
    assert run_id(tmp_path / "moved") == first
    shutil.copytree(tmp_path / "moved", tmp_path / "again")
    assert run_id(tmp_path / "again") not in (first, copied)
    (tmp_path / "again" / "wandb" / "folder").write_bytes(b"\xff\x00")
    assert run_id(tmp_path / "again") not in (first, copied)
