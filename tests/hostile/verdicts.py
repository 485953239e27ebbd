"""Whether what came of a command is right."""

import csv
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

from tests.hostile.folders import SECRET, Case, Place
from tests.hostile.harness import MEGABYTES, READING, SECONDS, Outcome, drive, prepare, remove

LINES, WIDTH = 3, 400  # of an error
WIDEST = 4000  # line that a terminal can be asked to show
# In Markdown: a character behind a backslash, a piece of code.
LITERAL = r"\\[^\w\s]|(`+)(?!`).*?(?<!`)\1(?!`)"
OWN = ("LEAVES", "error: all is lost")  # how lines begin that a folder wants to have of its own


def tried(
    case: Case, commands: Sequence[str], work: Path
) -> Iterator[tuple[Outcome, list[str], Place]]:
    """What comes of commands on the folder of a case, and what is wrong with it.

    Those that write get a folder each.

    Args:
        work: where folders and honest runs are made.
    """
    reading = [command for command in commands if command in READING]
    groups = [reading] * bool(reading) + [[c] for c in commands if c not in READING]
    for group in groups:
        root = work / f"{os.getpid()}-{case.name}"
        place = prepare(case, root, work / "bases", group[0] in ("continue", "resume"))
        for command in group:
            done = drive(command, case, place)
            yield done, complaints(case, place, done), place
        remove(root)


def complaints(case: Case, place: Place, outcome: Outcome) -> list[str]:
    """What is wrong; empty if all is well."""
    found = [*outcome.events, *of_process(outcome), *of_words(outcome)]
    if outcome.late:
        return found
    if case.kind == "honest" and outcome.status:
        found.append(f"an honest run fails: {first_line(outcome.stderr)}")
    if outcome.command in ("sample", "evaluate") and case.refused and not outcome.status:
        found.append("it was not refused")
    if outcome.command in ("status", "compare"):
        found += of_many([case], place, outcome)
    return found


def of_process(outcome: Outcome) -> list[str]:
    """Time, memory and the end."""
    found = []
    if outcome.late:
        found.append(f"took longer than {SECONDS:.0f} s")
    elif outcome.status < 0:
        found.append(f"died of signal {-outcome.status}")
    if outcome.megabytes > MEGABYTES:
        found.append(f"took {outcome.megabytes:,.0f} MB")
    return found


def of_words(outcome: Outcome) -> list[str]:
    """What it said."""
    found = []
    for text in (outcome.stdout, outcome.stderr):
        if "Traceback (most recent call last)" in text:
            return [f"traceback: {raised(text)[:200]!a}"]
        if bad := sorted({letter for letter in text if is_control(letter)}):
            found.append(f"shows control characters: {''.join(bad)[:20]!a}")
        if SECRET in text:
            found.append("shows the secret")
        if any(line.startswith(OWN) for line in text.splitlines()):
            found.append("shows a line of the folder's own")
        if (longest := max(map(len, text.splitlines()), default=0)) > WIDEST:
            found.append(f"shows a line of {longest:,} characters")
    if outcome.status == 1:
        found += of_error(outcome.stderr)
    elif outcome.status > 1:
        found.append(f"exit status {outcome.status}")
    return found


def raised(text: str) -> str:
    """The error of a traceback, which can have several lines."""
    lines = text.strip().splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("  File "))
    return next((line for line in lines[last:] if not line.startswith(" ")), lines[-1])


def of_error(text: str) -> list[str]:
    """Whether an error is short."""
    lines = text.rstrip("\n").splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
    if begin is None:
        return ["exit status 1 without an error"]
    message = lines[begin:]
    if len(message) > LINES:
        return [f"an error of {len(message)} lines"]
    if (longest := max(map(len, message))) > WIDTH:
        return [f"an error with a line of {longest:,} characters"]
    return []


def is_control(letter: str) -> bool:
    """Whether a terminal would obey it: controls, directions, lone surrogates."""
    return letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def first_line(text: str) -> str:
    """The error, or else the last that was said."""
    lines = text.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("error: ")), lines[-1])


# status and compare


def of_many(cases: list[Case], place: Place, outcome: Outcome) -> list[str]:
    """Whether the honest run is there, each bad one is named, and nothing shown is more than text.

    Args:
        cases: of which there are folders.
        place: of one of them.
    """
    if outcome.status:
        return [f"one bad folder hides the others: {first_line(outcome.stderr)[:200]!a}"]
    named = {case.name: name_of(case) for case in cases if case.listed}
    if outcome.command == "status":
        if not re.search(r"^honest +finished ", outcome.stdout, re.MULTILINE):
            return ["the honest run is not listed"]
        return missing(named, outcome.stdout)
    report = place.root / "out" / "report"
    if not (report / "comparison.json").exists():
        return ["no report was written"]
    found = json.loads((report / "comparison.json").read_text())
    folders = [entry["folder"] for entry in (*found["runs"], *found["left_out"])]
    wrong = missing(named, "\n".join(folders))
    if not any(run["folder"].endswith("/honest") and run["metrics"] for run in found["runs"]):
        wrong.append("the honest run is not compared")
    return wrong + of_report(report, any(case.kind == "honest" for case in cases))


def name_of(case: Case) -> str:
    """A pattern of the folder's name; what its end is shown as is not for us to say."""
    return rf"(^|[/ ]){case.name}" + ("" if case.suffix else r"\s")


def missing(patterns: Mapping[str, str], text: str) -> list[str]:
    """Which of the names are not in the text."""
    found = f"{text}\n"
    return [
        f"{name} is not named"
        for name, pattern in patterns.items()
        if not re.search(pattern, found, re.MULTILINE)
    ]


def of_report(folder: Path, policy: bool) -> list[str]:
    """Whether names are nothing but text in every format.

    Args:
        policy: whether to look for the page's content security policy as well.
    """
    page, table = (folder / "report.html").read_text(), (folder / "table.tex").read_text()
    notes = (folder / "table.md").read_text()
    found = [f"report.html: a tag {tag}" for tag in sorted(tags(page)) if "hostile" in tag]
    if policy and "Content-Security-Policy" not in page:
        found.append("report.html: no content security policy")
    if "\\hostile" in re.sub(r"(?<!\\)%.*", "", table):  # in a comment it is no command
        found.append("table.tex: a command of the folder's own")
    shown = re.sub(LITERAL, "", notes)
    if "<hostile" in shown or "[hostile](" in shown:
        found.append("table.md: a tag or a link of the folder's own")
    with (folder / "table.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    if formulas := [cell for cell in cells if is_formula(cell)]:
        found.append(f"table.csv: a formula {formulas[0][:40]!a}")
    for name, text in (("table.tex", table), ("table.md", notes), ("table.csv", "\n".join(cells))):
        if any(line.startswith(OWN) for line in text.splitlines()):
            found.append(f"{name}: a line of the folder's own")
        if any(map(is_control, text)):
            found.append(f"{name}: control characters")
    return found


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute it."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def tags(page: str) -> set[str]:
    """Tags of a page, with the names and values of their attributes."""
    found = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            found.add(f"{tag} {attrs}"[:200])

    Parser().feed(page)
    return found
