"""Text that is printed at the end of a training."""

from src.config.checks import translates
from src.config.plugins import prefixes
from src.runs.escape import line
from src.runs.provenance import git_commit
from src.runs.records import beside
from src.runs.run import Run
from src.runs.spelling import as_typed
from src.runs.stored import expect, is_amount
from src.runs.wall import PARTS

PICTURES = (
    *("final.png", "progress.gif", "curves.png", "neighbours.png", "codes.html", "shapes.png"),
    *("shapes.html", "turntable.gif", "picture.png", "reals.png"),
)
REPORTED = {"samples_seen": is_amount, "seconds": is_amount, "metrics": dict, "protocols": dict}
REPORTED |= {"wall?": dict.fromkeys(PARTS, is_amount)}  # older runs have none


def report(run: Run, repeated: bool) -> None:
    """Print the scores, the paths of the pictures, and what to do next.

    Raises:
        SettingError: if the summary of a finished run lacks what belongs there.
    """
    summary = run.summary
    expect(summary, REPORTED, f"{run / 'summary.json'} is damaged")
    place = line(str(run.folder), 400)
    if repeated:
        print(f"{place} is finished; existing=restart trains it anew.")
        if summary.get("git") != (now := git_commit()):
            then = line(str(summary.get("git")))
            print(f"It was trained by the code of commit {then}; this is {now}.")
    print(f"\n{summary['samples_seen']:,} samples in {summary['seconds']:.0f} s of training")
    if wall := summary.get("wall"):
        parts = (f"{part} {seconds:.0f}" for part, seconds in wall.items() if seconds >= 0.5)
        print(f"Wall time {sum(wall.values()):.0f} s: {', '.join(parts)}")
    metrics = summary["metrics"]
    protocols = {k: record for k, record in summary["protocols"].items() if k in metrics}
    width = max(map(len, protocols), default=0)
    for name, record in protocols.items():
        known = beside(record)
        print(f"  {line(name):<{width}}  {metrics[name]:<8.4g}{f'   ({known})' if known else ''}")
    shown = [name for name in PICTURES if (run / "samples" / name).is_file()]
    if shown:
        print(f"\nPictures: {place}/samples ({', '.join(shown)})")
    if (table := run / "profile" / "fit-table.txt").is_file():
        print(f"\nProfile: {line(str(table), 400)}")
        if (trace := run / "profile" / "trace.json").is_file():
            print(f"  and {line(str(trace), 400)}, for ui.perfetto.dev or chrome://tracing")
    asked = f" 'plugins=[{','.join(run.plugins)}]'" if run.plugins else ""
    commands = _uses(run, place) if run.checkpoint is not None else []
    if run.folder.name.startswith("seed="):  # outputs/<data>/<model>/<variant>/seed=<n>
        commands.append(f"compare runs={line(str(run.folder.parents[2]), 400)}")
    print("\nNext:")
    for command in commands:
        print(as_typed(f"  python -m src.{command}{asked}"))
    elsewhere = "" if run.folder.name.startswith("seed=") else " and another hydra.run.dir"
    print(f"  the same command with seed=1{elsewhere}, or with existing=restart to begin anew")


def _uses(run: Run, place: str) -> list[str]:
    """Commands that use the trained model, without their program."""
    model = run.settings["model"]
    commands = []
    if translates(model, prefixes(run.plugins)):
        files = "in=photo.jpg out=new.png"
        if run.settings["data"]["kind"] == "voxels":
            files = f"in={place}/samples/picture.png out=shape.glb"
        commands.append(f"translate run={place} {files}")
    if "translator" not in model:
        commands.append(f"sample run={place} n=64 out=grid.png")
    return [*commands, f"evaluate run={place}"]
