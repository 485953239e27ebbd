"""A damaged folder is named with what is wrong in it; the others are compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.report.build import compare
from src.report.frames import add_pictures
from src.report.read import read_run, read_runs
from tests.report.synthetic import write_run

ENTRY = {"name": "fid50k", "value": 4.5, "samples_seen": 1000, "protocol": {"metric": "fid"}}


@pytest.mark.parametrize(("name", "content", "told"), [
    ("summary.json", "", "summary.json is damaged: Expecting value"),  # after a power cut
    ("summary.json", '{"status": "fini', "summary.json is damaged: Unterminated string"),
    ("summary.json", b"\xff\xfe", "summary.json is damaged: it is not UTF-8"),
    ("summary.json", "[]", "summary.json is damaged: its content is []"),
    ("config.yaml", "", "config.yaml is damaged, or not that of a run: it is no configuration"),
    ("config.yaml", None, "there is no config.yaml"),
    ("config.yaml", "model: [", "did not find expected node content"),
    ("config.yaml", b"\0\0\0", "unacceptable character"),
    ("config.yaml", "a: &a [*a]", "values must not refer to others"),
    ("evaluations.json", "", "evaluations.json is damaged: Expecting value"),
    ("evaluations.json", "null", "evaluations.json is damaged: its content is missing"),
    ("evaluations.json", "{}", "evaluations.json is damaged: its content is {}"),
    ("evaluations.json", "[1]", "evaluations.json is damaged: its content: 0 is 1"),
    ("evaluations.json", "[{}]", "its content: 0.name is missing"),
    ("metrics.csv", "samples_seen,seconds\n1,x\n", "metrics.csv is damaged: could not convert"),
    ("metrics.csv", f"samples_seen,seconds\n1,{'1' * 200_000}\n", "field larger"),
])  # fmt: skip
def test_damaged_files(tmp_path: Path, name: str, content: str | bytes | None, told: str) -> None:
    folder = write_run(tmp_path, seed=0)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    _damaged(tmp_path, folder, told)


@pytest.mark.parametrize(("entry", "value", "told"), [
    ("status", ["finished"], "status is ['finished']"),
    ("metrics", [1], "metrics is [1]"),
    ("metrics", {"fid10k_mnist": "abc"}, "metrics.fid10k_mnist is 'abc'"),
    ("protocols", ["fid"], "protocols is ['fid']"),
    ("protocols", {"fid10k_mnist": None}, "protocols.fid10k_mnist is missing"),
    ("choices", ["dcgan"], "choices is ['dcgan']"),
    ("choices", {"model": 3}, "choices.model is 3"),
    ("data_id", "mnist", "data_id is 'mnist'"),
    ("data_id", {"name": "x", "hash": "y", "shape": 28}, "data_id.shape is 28"),
    ("data_id", {"hash": "y"}, "data_id.name is missing"),
    ("scores", "none", "scores is 'none'"),
    ("scores", [{"fid10k_mnist": 5.0}], "scores.0.samples_seen is missing"),
    ("scores", [{"samples_seen": 1, "fid10k_mnist": None}], "scores.0.fid10k_mnist is missing"),
    ("seconds", "20", "seconds is '20'"),
    ("samples_seen", "1000", "samples_seen is '1000'"),
    ("parameters", 5000, "parameters is 5000"),
    ("peak_memory", "1 GiB", "peak_memory is '1 GiB'"),
])  # fmt: skip
def test_damaged_summaries(tmp_path: Path, entry: str, value: Any, told: str) -> None:
    folder = write_run(tmp_path, seed=0, summary={entry: value})
    _damaged(tmp_path, folder, f"summary.json is damaged: its content: {told}")


@pytest.mark.parametrize(("key", "value", "told"), [
    ("seed", "abc", "seed=abc must be int"),
    ("seed", None, "seed=None must be int"),
    ("model", None, "model=None cannot be"),
    ("model", "dcgan", "model='dcgan' cannot be"),
    ("data", None, "data=None cannot be"),
])  # fmt: skip
def test_damaged_settings(tmp_path: Path, key: str, value: Any, told: str) -> None:
    folder = write_run(tmp_path, seed=0)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | {key: value}))
    _damaged(tmp_path, folder, told)


def _damaged(root: Path, folder: Path, told: str) -> None:
    good = write_run(root, seed=1)
    found = compare(*read_runs([str(root)]))
    assert [run.folder for run in found.runs] == [str(good)]
    (left_out,) = found.left_out
    assert (left_out.folder, left_out.status) == (str(folder), "damaged")
    assert told in left_out.reason
    assert len(left_out.reason) <= 200


@pytest.mark.parametrize("entry", [
    "metrics", "protocols", "choices", "data_id", "scores", "seconds", "samples_seen", "parameters",
    "peak_memory", "headline", "stopped", "error", "git", "versions",
])  # fmt: skip
def test_what_is_not_known_is_no_damage(tmp_path: Path, entry: str) -> None:
    for seed in range(2):
        folder = write_run(tmp_path, seed=seed, summary={entry: None})
    summary = json.loads((folder / "summary.json").read_text())
    del summary[entry]
    (folder / "summary.json").write_text(json.dumps(summary))
    write_run(tmp_path, seed=2)
    records, left_out = read_runs([str(tmp_path)])
    assert (len(records), left_out) == (3, [])
    found = compare(records, [])
    add_pictures(found, {record.place: record for record in records}, 6)
    assert found.tables


def test_evaluations_of_a_run_without_scores(tmp_path: Path) -> None:
    folder = write_run(tmp_path, summary={"metrics": None, "protocols": None})
    (folder / "evaluations.json").write_text(json.dumps([ENTRY, ENTRY | {"samples_seen": 1}]))
    record = read_run(folder)
    assert record.summary["metrics"] == {"fid50k": 4.5}
    assert record.summary["protocols"] == {"fid50k": {"metric": "fid"}}
