"""The commands that README and docs tell people to type are checked as if they were typed."""

import re
import shlex
from pathlib import Path

import pytest

from src.cli import quoted
from src.config.checks import check, check_compare, check_evaluate, check_sample, check_status
from src.config.composition import compose
from src.sweeps.search import Grid, Optuna

ROOT = Path(__file__).parent.parent
CHECKS = {
    "train": check,
    "sample": check_sample,
    "evaluate": check_evaluate,
    "status": check_status,
    "compare": check_compare,
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[tuple[str, list[str]]]:
    """(command, words) of every `python -m src.<command> ...` on the pages, comments left out."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", "")
        for match in re.finditer(r"python -m src\.(\w+)([^\n`#]*)", text):
            words = shlex.split(match[2])
            if match[1] in CHECKS and not {"--help", "-m"} & set(words):
                found.append((match[1], [word.replace("run=...", "run=x") for word in words]))
    return found


def sweeps() -> list[list[str]]:
    """The words of every sweep on the pages."""
    texts = [page.read_text().replace("\\\n", "") for page in PAGES]
    found = [m[1] for text in texts for m in re.finditer(r"src\.train -m ([^\n`#]*)", text)]
    return [shlex.split(words) for words in found if "..." not in words]


@pytest.mark.parametrize("words", sweeps(), ids=lambda words: " ".join(words)[:60])
def test_sweep_of_the_pages_is_right(words: list[str], tmp_path: Path) -> None:
    source = Optuna() if "hydra/sweeper=optuna" in words else Grid()
    source.begin([quoted(word) for word in words], tmp_path / "sweep.json")
    check(compose("train", source.ask().overrides))


def test_pages_show_commands() -> None:
    assert {command for command, _ in commands()} == set(CHECKS)


@pytest.mark.parametrize(("command", "words"), commands(), ids=lambda value: str(value)[:60])
def test_command_of_the_pages_is_right(command: str, words: list[str]) -> None:
    CHECKS[command](compose(command, [quoted(word) for word in words]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs").rglob("*.png"), *(ROOT / "docs").rglob("*.gif")]
    assert pictures
    assert not [picture.name for picture in pictures if picture.stat().st_size > 200_000]


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([\w-]+)", (ROOT / "README.md").read_text()))
    assert {"train", "test", "lint"} <= named <= targets
