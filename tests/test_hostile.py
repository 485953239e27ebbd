"""Run folders that a stranger wrote: nothing runs, nothing is lost, honest runs are still there.

The quick part shows most of them to `status` and `compare` at once, and the worst to `sample`. What
fails can be looked at alone: `python -m tests.hostile --cases NAME --commands COMMAND`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.corpus import CASES, WORST
from tests.hostile.folders import Case
from tests.hostile.harness import COMMANDS, drive, prepare, remove, warm
from tests.hostile.verdicts import of_many, of_process, of_words, tried

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


@pytest.mark.parametrize("name", WORST)
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
