"""Run folders that a stranger wrote: nothing runs, nothing is lost, honest runs are still there.

The quick part shows most of them to `status` and `compare` at once, and the worst to `sample`. What
fails can be looked at alone: `python -m tests.hostile --cases NAME --commands COMMAND`.
"""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import verdicts
from tests.hostile.corpus import CASES, WORST
from tests.hostile.folders import SECRET, Case, Place
from tests.hostile.harness import COMMANDS, drive, observed, prepare, remove, warm
from tests.hostile.verdicts import complaints, of_many, of_process, of_report, of_words, tried

# Of one honest run; no checkpoints, which neither of the two opens, and nothing that takes seconds.
SHOWN = [
    case
    for case in CASES
    if case.base == "gan"
    and not case.name.startswith(("ckpt", "resume"))
    and not any(word in case.name for word in ("million", "megabyte", "spaces", "comment"))
]
TOGETHER = 60.0  # seconds that a command may take for all folders


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A folder for honest runs and for cases; pytest's own could not remove the deepest."""
    warm(training=False)
    folder = Path(tempfile.mkdtemp(prefix="hostile-")).resolve()
    yield folder
    remove(folder)


def test_there_are_many() -> None:
    kinds = [case.kind for case in CASES]
    assert kinds.count("hostile") >= 60
    assert kinds.count("damaged") >= 60


def test_one_bad_folder_never_hides_the_others(work: Path) -> None:
    """All folders side by side, each spoilt in its own way, and an honest run among them."""
    for case in SHOWN:
        place = prepare(case, work / "all", work / "bases", linked=True)
    for command in ("status", "compare"):
        done = drive(command, SHOWN[0], place, TOGETHER)
        wrong = [*done.events, *of_process(done), *of_words(done), *of_many(SHOWN, place, done)]
        assert not wrong, f"{command}: {wrong}"


@pytest.mark.parametrize(("name", "harmless", "harmful"), [
    ("report.html", "<p>&lt;hostile&gt;", "<p><hostile>"),
    ("table.tex", r"5 \% % \hostile", r"5 \% \hostile"),
    ("table.md", r"`a <hostile>` \<hostile> [hostile\](a)", r"`a` <hostile>"),
    ("table.md", r"\`a <b>\`", r"\`a <hostile>\`"),
    ("table.csv", "a,-1e3,'=1", "a,=1"),
    ("table.csv", "a", '"a\nLEAVES"'),
])  # fmt: skip
def test_what_harms_a_report(name: str, harmless: str, harmful: str, tmp_path: Path) -> None:
    for each in ("report.html", "table.tex", "table.md", "table.csv"):
        (tmp_path / each).write_text("")
    (tmp_path / name).write_text(harmless)
    assert of_report(tmp_path, policy=False) == []
    (tmp_path / name).write_text(harmful)
    assert len(of_report(tmp_path, policy=False)) == 1


def fill_memory(_: Place) -> None:
    assert b"x" * 200_000_000


OFFENCES = {
    "the payload ran": lambda place: place.proof.write_text(""),
    "wrote": lambda place: (place.outside / "secret.txt").write_text(""),
    "changed": lambda place: (place.outside / "secret.txt").write_text(""),
    "made": lambda place: (place.outside / "new").mkdir(),
    "removed": lambda place: (place.outside / "empty").rmdir(),
    "moved": lambda place: (place.outside / "empty").rename(place.root / "out/new"),
    "linked": lambda place: (place.outside / "new").symlink_to("/"),
    "read": lambda place: (place.folder / "link").read_text(),
    "os.system": lambda _: os.system("true"),
    "started": lambda _: subprocess.run(["true"], check=True),
    "socket.": lambda _: socket.create_connection(("192.0.2.1", 9)),
    "unpickled": lambda _: pickle.loads(pickle.dumps(len)),
    "ran code": lambda place: exec(compile("0", str(place.folder / "evil.py"), "exec")),
    "took longer": lambda _: time.sleep(60),
    "died of signal 9": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "traceback": lambda _: int("x"),
    "MB": fill_memory,
    "control characters": lambda _: print("\x1b[2J"),
    "without an error": lambda _: sys.exit(1),
    "an error of 4 lines": lambda _: sys.exit("error: a\nb\nc\nd"),
    "shows the secret": lambda _: print(SECRET),
}


@pytest.mark.slow
@pytest.mark.parametrize("offence", OFFENCES)
def test_the_harness_sees(offence: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MEGABYTES", 100)
    place = prepare(CASES[0], work / "seen", work / "bases")
    (place.folder / "link").symlink_to(place.outside / "secret.txt")
    done = observed(lambda: OFFENCES[offence](place), "sample", place, 0.5)
    found = complaints(CASES[0], place, done)
    remove(work / "seen")
    assert any(offence in text for text in found), found


def test_the_harness_lets_honest_work_pass(work: Path) -> None:
    place = prepare(CASES[0], work / "seen", work / "bases")

    def read_and_write() -> None:
        shutil.copy(place.folder / "summary.json", place.root / "out")
        (place.root / "tmp/new").mkdir()
        print((place.outside / "pictures/00.png").read_bytes()[:4], file=sys.stderr)

    assert complaints(CASES[0], place, observed(read_and_write, "sample", place)) == []
    remove(work / "seen")


@pytest.mark.parametrize("name", WORST[::3])  # the slow test has all of them
def test_a_sample_of_it(name: str, work: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    ((_, wrong, _),) = tried(case, ["sample"], work)
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_command(case: Case, work: Path) -> None:
    found = [(done.command, wrong) for done, wrong, _ in tried(case, COMMANDS, work) if wrong]
    assert found == []
