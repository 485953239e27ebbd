"""The commands that README and docs tell people to type are checked as if they were typed."""

import re
from pathlib import Path

import pytest

from src.command import quoted
from src.config import check, check_compare, check_evaluate, check_sample, compose

ROOT = Path(__file__).parent.parent
CHECKS = {
    "train": check,
    "sample": check_sample,
    "evaluate": check_evaluate,
    "compare": check_compare,
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[tuple[str, list[str]]]:
    """(command, words) of every `python -m src.<command> ...` on the pages, comments left out."""
    found = []
    for page in PAGES:
        for match in re.finditer(r"python -m src\.(\w+)([^\n`#]*)", page.read_text()):
            words = match[2].split()
            if match[1] in CHECKS and "--help" not in words and "-m" not in words:
                found.append((match[1], [word.replace("run=...", "run=x") for word in words]))
    return found


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
