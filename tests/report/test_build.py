"""Which runs stand in which table and group, under which names, and with which words."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from src.errors import SettingError
from src.report import statistics
from src.report.build import compare
from src.report.comparison import Comparison
from src.report.read import read_runs
from src.report.statistics import Differences
from src.runs.run import Run
from tests.report.synthetic import DATA, sweep, write_run


def compared(root: Path, **settings: object) -> Comparison:
    found = compare(*read_runs([str(root)]), **settings)
    json.dumps(dataclasses.asdict(found), allow_nan=False)  # the page embeds it
    return found


def names(comparison: Comparison) -> list[str]:
    return [group.name for table in comparison.tables for group in table.groups]


def reasons(comparison: Comparison) -> dict[str, tuple[str, str]]:
    return {Path(e.folder).name: (e.status, e.reason) for e in comparison.left_out}


def test_groups_differ_in_more_than_the_seed(tmp_path: Path) -> None:
    fids = (4.0, 5.0, 6.0)
    for seed, fid in enumerate(fids):
        write_run(tmp_path, "dcgan", seed, fid)
        write_run(tmp_path, "vae", seed, 100 * fid)
    (table,) = compared(tmp_path).tables
    dcgan, vae = table.groups
    assert (dcgan.name, vae.name) == ("dcgan", "vae")
    cell = dcgan.values["fid10k_mnist"]
    assert cell.values == list(fids)
    assert (cell.mean, cell.sd, cell.n, cell.best) == (5, 1, 3, 4)
    assert dcgan.values["is10k_mnist"].best == pytest.approx(9 - 4 / 100)  # more is better
    assert dcgan.values["parameters"].mean == 5000
    assert dcgan.values["images_per_second"].mean == 50
    assert (table.metric, table.lower_is_better, table.real) == ("fid10k_mnist", True, 1.18)
    assert "mnist (real)" in table.data
    assert (dcgan.letters, vae.letters) == ("a", "b")
    assert table.verdict.text == "dcgan (FID 5) is better than the others, by more than noise."
    (pair,) = table.verdict.pairs
    assert (pair.a, pair.b, pair.distinct) == (dcgan.id, vae.id, True)
    assert pair.ratio == pytest.approx(0.01)
    assert pair.low < 0.01 < pair.high < 1


def test_what_is_not_told_apart_says_so(tmp_path: Path) -> None:
    sweep(tmp_path, "dcgan", "lsgan", "sngan", "vae", vae=60)
    (table,) = compared(tmp_path).tables
    assert [group.letters for group in table.groups] == ["a", "a", "a", "b"]
    assert "cannot be told apart from" in table.verdict.text
    assert "vae is worse, by more than noise" in table.verdict.text
    sweep(tmp_path / "same", "dcgan", "lsgan")
    (table,) = compared(tmp_path / "same").tables
    assert table.verdict.text.startswith("No difference is more than noise")
    assert not any(pair.distinct for pair in table.verdict.pairs)


def test_a_table_without_letters_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(tmp_path, "dcgan", "lsgan", "wgan", dcgan=2.0, lsgan=4.0, wgan=8.0, sd=0.01)
    (table,) = compared(tmp_path).tables
    assert [group.letters for group in table.groups] == ["a", "b", "c"]
    assert "No letters" not in table.verdict.text
    monkeypatch.setattr(statistics, "MOST_SETS", 2)
    (table,) = compared(tmp_path).tables
    assert [group.letters for group in table.groups] == ["", "", ""]
    assert "No letters are given" in table.verdict.text
    assert len(table.verdict.pairs) == 3


def test_one_seed_gets_no_verdict(tmp_path: Path) -> None:
    sweep(tmp_path, "dcgan", "vae", seeds=1, vae=500)
    (table,) = compared(tmp_path).tables
    assert table.verdict.method == "none: one seed"
    assert table.verdict.pairs == []
    assert [group.letters for group in table.groups] == ["", ""]
    sweep(tmp_path, "lsgan", "sngan", seeds=3)
    (table,) = compared(tmp_path).tables
    assert table.verdict.text.startswith("Of those with several seeds: ")
    assert "dcgan and vae have one seed: not judged." in table.verdict.text


def test_seeds_without_spread_get_no_verdict(tmp_path: Path) -> None:
    for model, fid in (("dcgan", 5.0), ("vae", 6.0)):
        for seed in (0, 1):
            write_run(tmp_path, model, seed, fid)
    assert compared(tmp_path).tables[0].verdict.method == "none: no spread"


def test_names_say_what_differs(tmp_path: Path) -> None:
    changed = (
        ("default", ()),
        ("a", ("model/penalty=r1",)),
        ("b", ("model.generator.width=32",)),
        ("c", ("budget=2000",)),
    )
    for variant, words in changed:
        write_run(tmp_path, "dcgan", words=words, variant=variant)
    write_run(tmp_path, "vae")
    found = compared(tmp_path)
    (table,) = found.tables
    assert set(names(found)) == {
        "dcgan penalty=none generator.width=64 budget=1000",
        "dcgan penalty=r1 generator.width=64 budget=1000",
        "dcgan penalty=none generator.width=32 budget=1000",
        "dcgan penalty=none generator.width=64 budget=2000",
        "vae",
    }
    widths = {
        group.config["model.generator.width"] for group in table.groups if "dcgan" in group.name
    }
    assert widths == {64, 32}


def test_names_without_recorded_choices(tmp_path: Path) -> None:
    for variant, words in (("x", ()), ("y", ("model/penalty=r1",))):
        folder = write_run(tmp_path, words=words, variant=variant)
        summary = json.loads((folder / "summary.json").read_text())
        del summary["choices"]
        (folder / "summary.json").write_text(json.dumps(summary))
    assert set(names(compared(tmp_path))) == {"dcgan penalty=no_penalty", "dcgan penalty=r1"}


def test_groups_by_keys(tmp_path: Path) -> None:
    write_run(tmp_path, "dcgan", 0)
    write_run(tmp_path, "dcgan", 0, words=("model/penalty=r1",), variant="r1")
    write_run(tmp_path, "lsgan", 0)
    by_model = compared(tmp_path, by=["model"])
    assert set(names(by_model)) == {"dcgan", "lsgan"}
    mixed, shared = by_model.tables[0].warnings
    assert mixed.startswith("Runs of different settings in one group: dcgan (model.")
    assert shared.startswith("Runs of one group share a seed")
    by_both = compared(tmp_path, by=["model", "penalty"])
    assert set(names(by_both)) == {"dcgan penalty=none", "dcgan penalty=r1", "lsgan penalty=none"}
    assert set(names(compared(tmp_path, by=["budget"]))) == {"budget=1000"}
    with pytest.raises(SettingError, match=r"by=bugdet is no setting.*\n.*budget\?"):
        compared(tmp_path, by=["bugdet"])
    with pytest.raises(SettingError, match=r"by=width fits several"):
        compared(tmp_path, by=["width"])


@pytest.mark.parametrize(("changes", "why"), [
    ({"seed": 1}, "seed 0 there, 1 here"),
    ({"extractor": {"name": "mnist", "hash": "beef"}}, "extractor.hash f00d there, beef here"),
    ({"data_id": DATA | {"hash": "0" * 16}}, "data_id.hash"),
])  # fmt: skip
def test_protocols_are_never_mixed(tmp_path: Path, changes: dict, why: str) -> None:
    write_run(tmp_path, "dcgan", 0, 5)
    write_run(tmp_path, "vae", 0, 50)
    write_run(tmp_path, "lsgan", 0, 1, measured=changes)
    first, second = compared(tmp_path).tables
    assert {group.name for group in first.groups} == {"dcgan", "vae"}
    assert [group.name for group in second.groups] == ["lsgan"]
    assert "Not in one table with table 1" in second.warnings[0]
    assert why in second.warnings[0]


def test_a_table_says_what_its_sources_are(tmp_path: Path) -> None:
    for seed, size in enumerate((4, 8)):
        degradation = {"degradation": {"name": "Mosaic", "size": size}}
        write_run(tmp_path, "dcgan", seed, measured={"data_id": DATA | degradation})
    small, large = (table.data for table in compared(tmp_path).tables)
    assert small.count(", Mosaic size=4, hash") == large.count(", Mosaic size=8, hash") == 1


def test_a_table_of_the_way_back_describes_its_own_samples(tmp_path: Path) -> None:
    there, back = DATA | {"hash": "aaaaaa"}, DATA | {"hash": "bbbbbb", "direction": "backwards"}
    folder = write_run(tmp_path, "dcgan", measured={"data_id": there})
    with_number(folder, "fid500_faces_back", 3.0, metric="fid", data_id=back)
    (table,) = compared(tmp_path, metric="fid500_faces_back").tables
    assert "direction backwards, hash bbbbbb" in table.data


def test_what_real_data_get_splits_no_table(tmp_path: Path) -> None:
    write_run(tmp_path, "dcgan", measured={"real": 1.18})
    write_run(tmp_path, "vae", measured={"real": 1.1800001})
    assert len(compared(tmp_path).tables) == 1


def test_a_metric_of_choice(tmp_path: Path) -> None:
    write_run(tmp_path, "dcgan", 0, 5)
    write_run(tmp_path, "vae", 0, 50)
    for metric in ("is", "is10k_mnist"):
        (table,) = compared(tmp_path, metric=metric).tables
        assert (table.metric, table.lower_is_better) == ("is10k_mnist", False)
        assert [group.name for group in table.groups] == ["dcgan", "vae"]
    with pytest.raises(
        SettingError, match=r"metric=fd: no finished run has it\.\nThey have: fid10k"
    ):
        compared(tmp_path, metric="fd")
    with pytest.raises(SettingError, match=r"metric=sharpness does not rank.*\n.*fid, is"):
        compared(tmp_path, metric="sharpness")


def test_evaluations_are_numbers_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    entry = {"name": "fid50k_mnist", "value": 4.5, "samples_seen": 1000}
    protocol = {"metric": "fid", "n_fake": 50000, "data_id": DATA}
    (folder / "evaluations.json").write_text(json.dumps([entry | {"protocol": protocol}]))
    found = compared(tmp_path, metric="fid50k_mnist")
    assert found.tables[0].groups[0].values["fid50k_mnist"].mean == 4.5
    assert {table.metric for table in compared(tmp_path).tables} == {"fid10k_mnist", "fid50k_mnist"}
    write_run(tmp_path, "vae")  # which has the first only, so that the other compares nothing
    (table,) = compared(tmp_path).tables
    assert table.metric == "fid10k_mnist"
    assert "there are also fid50k_mnist (1): metric=NAME" in table.warnings[-1]
    assert len(table.groups) == 2


def test_who_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, summary={"status": "failed", "error": "d_loss is nan"})
    running = Run(write_run(tmp_path, seed=2, summary={"status": "running"}))
    running.lock()
    write_run(tmp_path, seed=12, summary={"status": "running"})  # until it was killed
    write_run(tmp_path, seed=3, summary={"status": "interrupted"})
    write_run(tmp_path, seed=4, summary={"metrics": {}, "protocols": {}})
    write_run(tmp_path, seed=5, fid=math.nan)
    (write_run(tmp_path, seed=6) / "summary.json").write_text('{"status": "fini')
    (write_run(tmp_path, seed=7) / "config.yaml").write_text("model: [")
    (write_run(tmp_path, seed=8) / "config.yaml").unlink()
    write_run(tmp_path / "other", seed=0)
    (write_run(tmp_path, seed=9) / "summary.json").unlink()
    (write_run(tmp_path, seed=10) / "summary.json").write_text("[]")
    (write_run(tmp_path, seed=11) / "metrics.csv").write_text("samples_seen,seconds\n1,x\n")
    found = compared(tmp_path)
    assert [run.seed for run in found.runs] == [0]
    told = reasons(found)
    assert told["seed=1"] == ("failed", "d_loss is nan")
    assert told["seed=2"] == ("running", "at 1,000 samples")
    assert told["seed=12"][0] == "interrupted"
    assert "at 1,000 samples" in told["seed=2"][1]
    assert told["seed=3"][0] == "interrupted"
    assert told["seed=4"] == ("unscored", "has no scores")
    assert told["seed=5"] == ("undefined", "fid10k_mnist is not a number")
    assert told["seed=9"][0] == "begun"
    assert [told[f"seed={i}"][0] for i in (6, 7, 8, 10, 11)] == ["damaged"] * 5
    assert told["seed=0"][0] == "repeated"
    assert len(found.left_out) == 13
    (table,) = found.tables
    (warning,) = [text for text in table.warnings if "flatters" in text]
    assert warning.startswith("dcgan: 2 of 3 runs failed, or scored no number, and are not in")


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there is no run below"):
        read_runs([str(tmp_path)])
    with pytest.raises(SettingError, match="does not exist"):
        read_runs([str(tmp_path / "nowhere")])
    write_run(tmp_path, summary={"status": "running"})
    found = compared(tmp_path)
    assert found.tables == []
    assert len(found.left_out) == 1


def test_runs_are_found_by_patterns_and_lists(tmp_path: Path) -> None:
    for model in ("dcgan", "lsgan", "vae"):
        folder = write_run(tmp_path, model)
    (folder / "wandb" / "files").mkdir(parents=True)
    (folder / "wandb" / "files" / "config.yaml").write_text("a: 1")
    records, left_out = read_runs([f"{tmp_path}/mnist/*gan", str(tmp_path / "mnist" / "vae")])
    assert [Path(record.place).parts[-3] for record in records] == ["dcgan", "lsgan", "vae"]
    assert left_out == []
    records, _ = read_runs([str(folder), str(folder)])
    assert len(records) == 1


def test_curves_have_the_best_so_far_and_the_time(tmp_path: Path) -> None:
    scores = [
        {"samples_seen": 250, "fid10k_mnist": 9.0},
        {"samples_seen": 500, "fid10k_mnist": 4.0},
        {"samples_seen": 750, "fid10k_mnist": math.nan},
        {"samples_seen": 1000, "fid10k_mnist": 5.0},
    ]
    write_run(tmp_path, summary={"scores": scores})
    curve = compared(tmp_path).runs[0].curve
    assert curve.samples == [250, 500, 1000]
    assert curve.value == [9, 4, 5]
    assert curve.best == [9, 4, 4]
    assert curve.seconds == pytest.approx([5, 10, 20])


def warned(root: Path) -> str:
    return "\n".join(compared(root).tables[0].warnings)


def test_warnings(tmp_path: Path) -> None:
    sweep(tmp_path / "quiet", "dcgan", "lsgan", lsgan=20.0)
    assert warned(tmp_path / "quiet") == ""
    sweep(tmp_path / "floor", "dcgan", "lsgan", dcgan=1.1)
    assert "dcgan reached what held-out real data get (1.18)" in warned(tmp_path / "floor")
    sweep(tmp_path / "near", "dcgan", "lsgan", lsgan=5.2)
    assert "less than the 1.18 that held-out real data get" in warned(tmp_path / "near")
    sweep(tmp_path / "third", "dcgan", "lsgan", "vae", sd=0.001, dcgan=1.5, lsgan=1.6, vae=400.0)
    assert "dcgan and lsgan: told apart, by less than the 1.18" in warned(tmp_path / "third")
    scores = [{"samples_seen": s, "fid10k_mnist": f} for s, f in ((500, 8.0), (1000, 5.0))]
    write_run(tmp_path / "moving", summary={"scores": scores})
    assert "Still improving between the last two scorings: dcgan (-38 %)" in warned(
        tmp_path / "moving"
    )
    write_run(tmp_path / "unlike", "dcgan", summary={"device": "cpu", "git": "a"})
    write_run(tmp_path / "unlike", "vae", fid=50, summary={"samples_seen": 3000})
    told = warned(tmp_path / "unlike")
    assert "Trained on 1,000 to 3,000 samples" in told
    assert "different devices (cpu and cpu, 2 threads)" in told
    assert "2 versions of the code" in told


def test_a_seed_counts_once(tmp_path: Path) -> None:
    """A run and the same one trained on for longer are not two witnesses."""
    for seed, fid in enumerate((4.0, 4.4, 4.8)):
        for variant, factor in (("short", 1.0), ("long", 0.9)):
            longer = ("budget=2000",) if variant == "long" else ()
            write_run(tmp_path, "dcgan", seed, fid * factor, words=longer, variant=variant)
            write_run(tmp_path, "lsgan", seed, fid * factor + 1, words=longer, variant=variant)
    (table,) = compared(tmp_path, by=["model"]).tables
    once = Differences([np.log([3.8, 4.18, 4.56]), np.log([4.8, 5.18, 5.56])])
    assert table.verdict.pairs[0].p == pytest.approx(once.p[0, 1])
    assert table.groups[0].values["fid10k_mnist"].n == 6


def test_of_a_run_and_its_copy_the_run_counts(tmp_path: Path) -> None:
    write_run(tmp_path, variant="default")
    write_run(tmp_path, variant="budget=9000")  # copied to be trained on, and not yet begun
    found = compared(tmp_path)
    assert [Path(run.folder).parts[-2] for run in found.runs] == ["default"]
    assert found.left_out[0].status == "repeated"


def test_a_difference_below_the_noise_of_one_scoring(tmp_path: Path) -> None:
    """Seeds that agree to 0.1 %, whose numbers jumped by 5 % from one scoring to the next."""
    jumps = (1.05, 0.95, 1.0)
    for model, fid in (("dcgan", 15.0), ("lsgan", 15.3)):
        for seed, jump in enumerate(jumps):
            own = fid * (1 + seed / 1000)
            scores = [{"samples_seen": 500, "fid10k_mnist": own * jump}]
            scores.append({"samples_seen": 1000, "fid10k_mnist": own})
            write_run(tmp_path, model, seed, own, summary={"scores": scores})
    (table,) = compared(tmp_path).tables
    assert table.verdict.pairs[0].distinct
    assert any("dcgan and lsgan: a difference of the means, but less" in w for w in table.warnings)


def rewritten(folder: Path, **entries: object) -> None:
    """A summary with other entries, as somebody else may have written it."""
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def with_number(folder: Path, name: str, value: float, **protocol: object) -> None:
    """A summary with one number more."""
    summary = json.loads((folder / "summary.json").read_text())
    metrics, protocols = summary["metrics"] | {name: value}, summary["protocols"] | {name: protocol}
    rewritten(folder, metrics=metrics, protocols=protocols)


def test_one_run_does_not_choose_the_number_of_all(tmp_path: Path) -> None:
    """A headline that ranks before theirs, in one run only, hides none of the others."""
    for seed in range(3):
        folder = write_run(tmp_path, "dcgan", seed, 5.0)
        rewritten(folder, metrics={}, protocols={})
        with_number(folder, "modes10k", 8.0 - seed, metric="modes")
    with_number(folder, "fid", 1.0, metric="fid")
    found = compared(tmp_path)
    assert [table.metric for table in found.tables] == ["modes10k"]
    assert len(found.runs) == 3


def test_a_number_that_does_not_rank_is_left_out_alone(tmp_path: Path) -> None:
    for seed in range(3):
        folder = write_run(tmp_path, "dcgan", seed, 5.0)
    with_number(folder, "fid", 1.0, metric="sharpness")
    found = compared(tmp_path, metric="fid")
    assert len(found.runs) == 3


def test_thousands_of_numbers_are_one_damaged_run(tmp_path: Path) -> None:
    for seed in range(3):
        folder = write_run(tmp_path, "dcgan", seed, 5.0)
    many = {f"f{i}": {"metric": "fid", "i": i} for i in range(1500)}
    rewritten(folder, protocols=many, metrics=dict.fromkeys(many, 1.0))
    found = compared(tmp_path)
    assert len(found.runs) == 2
    assert "more than 200 numbers" in reasons(found)[folder.name][1]


def test_the_floor_is_what_all_runs_say(tmp_path: Path) -> None:
    for seed in range(3):
        folder = write_run(tmp_path, "dcgan", seed, 5.0)
    summary = json.loads((folder / "summary.json").read_text())
    for protocol in summary["protocols"].values():
        protocol["real"] = 50.0
    rewritten(folder, protocols=summary["protocols"])
    assert compared(tmp_path).tables[0].real is None
