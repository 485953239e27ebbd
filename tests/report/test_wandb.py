"""Weights & Biases as a source, by objects of the shape that its API gives, and as a sink."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import yaml
from PIL import Image

from src import compare as command
from src.cli import launch
from src.config.checks import check_compare
from src.errors import SettingError
from src.report.build import compare
from src.report.frames import add_pictures
from src.report.read import read_runs
from src.report.wandb_runs import read_wandb
from src.runs.metrics_file import CLOCK
from tests.report.synthetic import sweep, write_run
from tests.training.test_loggers import inspect, no_account  # noqa: F401


class Run:
    """A run folder as `wandb.Api` shows it: what `train` logged there, and how it comes back."""

    def __init__(self, folder: Path, state: str = "finished") -> None:
        self.folder, self.state = folder, state
        self.name, self.id, self.group = "/".join(folder.parts[-4:]), folder.name, "sweep"
        self.path = ["me", "toys", self.id]
        self.config = yaml.safe_load((folder / "config.yaml").read_text())
        summary = json.loads((folder / "summary.json").read_text())
        keys = {"_step": 1000, "_timestamp": 1.7e9, "samples": {"_type": "images/separated"}}
        # Before its end a run's summary has the last value of each curve only.
        self.summary_metrics = {**keys, **(summary if state == "finished" else {CLOCK: 500})}

    def scan_history(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        """Rows that have all the keys, as the server filters them."""
        if "seconds" in keys:
            for line in (self.folder / "metrics.csv").read_text().splitlines()[1:]:
                samples, seconds, _ = line.split(",")
                yield {CLOCK: int(samples), "seconds": float(seconds)}
        else:
            for path in sorted((self.folder / "samples").glob("0*.png")):
                name = f"media/images/samples_{path.stem}_0.png"
                picture = {"_type": "images/separated", "format": "png", "filenames": [name]}
                yield {CLOCK: int(path.stem), "samples": picture | {"count": 1}}

    def file(self, name: str) -> SimpleNamespace:
        """`.download(root=..., exist_ok=...)` writes below the root by the file's whole name."""

        def download(root: str, exist_ok: bool) -> None:
            assert exist_ok
            target = Path(root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            stem = Path(name).stem.removeprefix("samples_").removesuffix("_0")
            shutil.copy(self.folder / "samples" / f"{stem}.png", target)

        return SimpleNamespace(download=download)


class Api:
    """One project."""

    def __init__(self, runs: list[Run]) -> None:
        self.all = runs

    def runs(self, path: str, filters: dict[str, Any], lazy: bool) -> list[Run]:
        if path != "me/toys":
            raise ValueError(f"Could not find project {path}")
        assert lazy is False  # or each run's configuration is asked for by itself
        return [run for run in self.all if filters.get("group", run.group) == run.group]


def test_runs_of_the_server_compare_as_their_folders_do(tmp_path: Path) -> None:
    for model, fid in (("dcgan", 5.0), ("vae", 400.0)):
        for seed in (0, 1):
            write_run(tmp_path, model, seed, fid + seed, frames=3)
    folders = sorted(path.parent for path in tmp_path.rglob("config.yaml"))
    records, left_out = read_wandb("wandb:me/toys/sweep", Api([Run(f) for f in folders]))
    assert left_out == []
    there, here = compare(records, []), compare(*read_runs([str(tmp_path)]))
    add_pictures(there, {record.place: record for record in records}, 6)
    add_pictures(here, {r.place: r for r in read_runs([str(tmp_path)])[0]}, 6)
    assert there.tables == here.tables
    for remote, local in zip(there.runs, here.runs, strict=True):
        assert remote.folder.startswith("me/toys/seed=")
        assert remote.folder.endswith(Path(local.folder).relative_to(tmp_path).as_posix())
        assert (remote.curve, remote.pictures) == (local.curve, local.pictures)
        assert remote.provenance == local.provenance
    assert len(there.runs[0].pictures) == 3


def test_who_is_left_out_there(tmp_path: Path) -> None:
    runs = [Run(write_run(tmp_path, seed=0))]
    runs += [Run(write_run(tmp_path, seed=i + 1), state) for i, state in
             enumerate(("running", "crashed", "failed"))]  # fmt: skip
    runs += [Run(write_run(tmp_path, seed=seed)) for seed in (5, 6, 7)]
    runs[-3].config["plugins"] = ["mypkg"]
    runs[-2].config = {"lr": 0.1}
    runs[-1].config = {"made_by": "compare"}
    records, left_out = read_wandb("wandb:me/toys", Api(runs))
    assert len(records) == 1
    states = [entry.status for entry in left_out]
    assert states == ["running", "crashed", "failed", "not allowed", "damaged"]


def test_runs_of_another_program_are_damaged(tmp_path: Path) -> None:
    """Its settings may have the names of ours; and W&B writes NaN as a word, which is no damage."""
    runs = [Run(write_run(tmp_path, seed=seed)) for seed in range(4)]
    runs[0].config = {"model": "resnet", "data": "imagenet", "budget": 3}
    runs[1].summary_metrics |= {"metrics": {"fid10k_mnist": "abc"}}
    runs[2].summary_metrics |= {"metrics": {"fid10k_mnist": "NaN"}}
    records, left_out = read_wandb("wandb:me/toys", Api(runs))
    assert [(entry.status, entry.reason) for entry in left_out] == [
        ("damaged", "callbacks is missing"),
        ("damaged", "summary: metrics.fid10k_mnist is 'abc'."),
    ]
    found = compare(records, left_out)
    assert [run.seed for run in found.runs] == [3]
    assert "fid10k_mnist is not a number" in [entry.reason for entry in found.left_out]


def _compared(words: list[str], capsys: pytest.CaptureFixture) -> str:
    launch("compare", check_compare, command.compare, [*words, "out=null"])
    return capsys.readouterr().out


def test_lists_may_name_folders_and_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    projects = {f"wandb:me/toys/{model}": [Run(write_run(tmp_path / "there", model))]
                for model in ("lsgan", "vae")}  # fmt: skip
    monkeypatch.setattr(
        "src.report.wandb_runs.read_wandb",
        lambda address, **_: read_wandb("wandb:me/toys", Api(projects[address])),
    )
    write_run(tmp_path / "here", "dcgan")
    for words in (
        f"runs=[wandb:me/toys/lsgan,wandb:me/toys/vae,{tmp_path}/here]",
        f"runs=[{tmp_path}/here,wandb:me/toys/lsgan,wandb:me/toys/vae]",
    ):
        told = _compared([words], capsys)
        assert {"dcgan", "lsgan", "vae"} <= set(told.split())
    told = _compared(["runs=[wandb:me/toys/lsgan]"], capsys)
    assert "lsgan" in told
    assert "dcgan" not in told
    with pytest.raises(SystemExit, match=r"runs=\[\]: .*\n.*runs=outputs"):
        _compared(["runs=[]"], capsys)


@pytest.mark.parametrize(("address", "told"), [
    ("wandb:", "write wandb:entity/project"),
    ("wandb:me", "write wandb:entity/project"),
    ("wandb:me/other", "cannot be read: Could not find project me/other"),
    ("wandb:me/toys/nothing", "there is no run"),
])  # fmt: skip
def test_addresses(tmp_path: Path, address: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        read_wandb(address, Api([Run(write_run(tmp_path))]))


def test_the_api_has_what_the_stand_in_has() -> None:
    """Names and arguments that are used, in the installed version of wandb."""
    import inspect as signatures

    from wandb.apis.public import File
    from wandb.apis.public import Run as PublicRun

    def arguments(function: Any) -> set[str]:
        return set(signatures.signature(function).parameters)

    assert {"path", "filters", "lazy"} <= arguments(wandb.Api.runs)
    assert "keys" in arguments(PublicRun.scan_history)
    assert "name" in arguments(PublicRun.file)
    assert {"root", "exist_ok"} <= arguments(File.download)
    for name in ("config", "summary_metrics", "state", "path", "name"):
        assert hasattr(PublicRun, name) or name in PublicRun.__init__.__code__.co_names, name


@pytest.mark.usefixtures("no_account")
def test_a_comparison_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sweep(tmp_path / "outputs", "vae", vae=400.0)
    for seed in range(3):
        write_run(tmp_path / "outputs", "dcgan", seed, 5 + seed / 10, frames=2)
    words = ["out=null", "wandb.log=true", "wandb.mode=offline", "wandb.project=toys"]
    launch("compare", check_compare, command.compare, words)
    assert "Logged to W&B, offline" in capsys.readouterr().out
    (folder,) = tmp_path.rglob("offline-run-*")
    records = inspect(folder)
    assert records["run"][0]["project"] == "toys"
    assert records["run"][0]["job_type"] == "compare"
    assert records["run"][0]["config"]["update"]["made_by"] == "compare"
    (artifact,) = records["artifact"]  # holds a table that has media
    stored = {entry["path"]: entry["local_path"] for entry in artifact["manifest"]["contents"]}
    table = json.loads(Path(stored["comparison/t1_fid10k_mnist.table.json"]).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["variant"], row["letters"], row["n"]) for row in rows] == [
        ("dcgan", "a", 3), ("vae", "b", 3),
    ]  # fmt: skip
    assert rows[0]["fid10k_mnist"] == pytest.approx(5.1)
    picture = stored[rows[0]["samples drawn"]["path"]]
    assert Image.open(picture).size == (460, 460)
    assert rows[1]["samples drawn"] is None
    summary: dict = {}
    for update in records["summary"]:
        summary |= update["update"]
    assert "better than the others" in summary["verdict/t1_fid10k_mnist"]
    assert records["exit"][0]["exit_code"] == 0
