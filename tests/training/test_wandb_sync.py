"""A sweep that was kept offline, uploaded by `wandb sync` to a small server of this test.

The server understands as much of W&B's protocol as `wandb sync` speaks: runs are upserted by
GraphQL, rows are streamed, files are put where the answer to `createRunFiles` says.
"""

import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.report.build import compare
from src.report.read import read_runs
from src.report.wandb_runs import read_wandb
from tests.conftest import UNDRAWN

ROOT = Path(__file__).parents[2]


class Uploaded:
    """What the server has of a run."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}


class Server(http.server.BaseHTTPRequestHandler):
    runs: defaultdict[str, Uploaded]

    def do_POST(self) -> None:
        content = self._content()
        parts = self.path.split("/")
        if self.path == "/graphql":
            asked = json.loads(content)
            self._reply({"data": self._answer(asked["query"], asked.get("variables") or {})})
            return
        if parts[-1] == "file_stream":  # /files/<entity>/<project>/<run>/file_stream
            rows = json.loads(content).get("files", {}).get("wandb-history.jsonl", {})
            self.runs[parts[-2]].rows += map(json.loads, rows.get("content", []))
        self._reply({})

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        self.runs[run].files[name] = self._content()
        self._reply({})

    def _answer(self, query: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if "createRunFiles" in query:
            host = f"http://127.0.0.1:{self.server.server_port}/upload/{given['run']}"
            files = [{"name": name, "uploadUrl": f"{host}/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "upsertBucket" not in query:
            return {}
        known = {key: value for key, value in given.items() if value is not None}
        self.runs[given["name"]].about |= known
        project = {"id": "1", "name": given["project"], "entity": {"id": "1", "name": "me"}}
        bucket = {"id": "1", "name": given["name"], "project": project, "historyLineCount": 0}
        bucket |= {"displayName": given["displayName"], "config": "{}", "sweepName": None}
        return {"upsertBucket": {"inserted": True, "bucket": bucket}}

    def _content(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        packed = self.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(content) if packed else content

    def _reply(self, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Server.runs = defaultdict(Uploaded)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


class Api:
    """The server's runs as `wandb.Api` gives them."""

    def runs(self, path: str, filters: Mapping[str, str], lazy: bool) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                path=["me", "toys", name],
                name=run.about["displayName"],
                state="finished",
                config={
                    key: entry["value"]
                    for key, entry in json.loads(run.about["config"]).items()
                    if key != "_wandb"
                },
                summary_metrics=json.loads(run.files["wandb-summary.json"]),
                scan_history=lambda keys, rows=run.rows: [r for r in rows if {*keys} <= {*r}],
            )
            for name, run in Server.runs.items()
            if run.about["groupName"] == filters["group"]
        ]


@pytest.mark.slow
def test_an_offline_sweep_is_uploaded(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"}
    words = ["model=gaussian_gan", "data=gaussian", "seed=0,1", "budget=80", "metrics.n=1000"]
    words += ["wandb.project=toys", "wandb.tags=[first]", "trainer=cpu"]
    kept = [word for word in UNDRAWN if not word.endswith(".samples")]
    train = [sys.executable, "-m", "src", "train", "-m", *words, *kept]
    subprocess.run(train, cwd=tmp_path, env=environment, check=True, capture_output=True)
    folders = [str(path) for path in tmp_path.glob("outputs/*/*/*/*/wandb/offline-run-*")]
    assert len(folders) == 2

    del environment["WANDB_MODE"]
    environment |= {"WANDB_API_KEY": "a" * 40, "no_proxy": "127.0.0.1"}
    environment["WANDB_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"
    sync = [sys.executable, "-m", "wandb", "sync", *folders]
    subprocess.run(sync, cwd=tmp_path, env=environment, check=True, capture_output=True)

    assert len(Server.runs) == 2
    groups = set()
    for run in Server.runs.values():
        about, config = run.about, json.loads(run.about["config"])
        groups.add(about["groupName"])
        assert about["project"] == "toys"
        assert about["jobType"] == "train"
        assert about["tags"] == ["first", "gaussian_gan", "gaussian"]
        assert config["choices"]["value"]["loss"] == "non_saturating"
        assert [row["samples_seen"] for row in run.rows] == sorted(
            row["samples_seen"] for row in run.rows
        )
        assert run.rows[-1]["samples_seen"] == 80
        assert any(name.startswith("media/images/samples") for name in run.files)
    (group,) = groups
    assert "seed" in group

    records, left_out = read_wandb(f"wandb:me/toys/{group}", Api())
    assert left_out == []
    there, here = compare(records, []), compare(*read_runs([str(tmp_path / "outputs")]))
    (one,), (other,) = (table.groups for table in (there.tables[0], here.tables[0]))
    for name, cell in other.values.items():
        rounded = name in ("seconds", "images_per_second")  # in metrics.csv
        exact = {"rel": 0.02} if rounded else {"rel": 1e-12}
        assert sorted(one.values[name].values) == pytest.approx(sorted(cell.values), **exact)
    assert len(other.values["frechet1k_exact"].values) == 2
