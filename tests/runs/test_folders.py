"""A walk visits every folder once and comes to an end."""

import os
from pathlib import Path

import pytest

from src.runs.folders import walk


def places(root: Path) -> list[str]:
    return [str(place.relative_to(root)) for place, _, _ in walk(root)]


def test_it_agrees_with_os_walk(tmp_path: Path) -> None:
    for name in ("b/c", "a", "b/d/e"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    expected = []
    for place, folders, files in os.walk(tmp_path):
        folders.sort()
        expected.append((Path(place), folders, files))
    assert list(walk(tmp_path)) == expected


def test_what_the_caller_takes_out_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for _, folders, _ in walk(tmp_path):
        folders.clear()
    visited = []
    for place, folders, _ in walk(tmp_path):
        visited.append(place)
        folders.clear()
    assert visited == [tmp_path]


def test_links_are_followed_once(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "a").mkdir(parents=True)
    (other / "inside").mkdir(parents=True)
    (root / "link").symlink_to(other)
    (root / "again").symlink_to(other)
    assert places(root) == [".", "a", "again", "again/inside"]


def test_links_to_the_root_or_above_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    for name, target in {"self": root, "up": tmp_path, "slash": "/", "loop": "loop"}.items():
        (root / "a" / name).symlink_to(target)
    (root / "a" / "gone").symlink_to("nowhere")
    assert places(root) == [".", "a"]


def test_depth_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("a")
        os.chdir("a")
    os.chdir(tmp_path)
    visited = [place for place, _, _ in walk(tmp_path)]
    for place in visited[:0:-1]:  # pytest's own cleaning up is recursive
        place.rmdir()
    assert len(visited) == 1501


def test_a_link_never_renames_what_is_there(tmp_path: Path) -> None:
    """However early its name comes: both the folder and what is below keep their own paths."""
    (tmp_path / "mine" / "run" / "inside").mkdir(parents=True)
    (tmp_path / "a_theirs").mkdir()
    (tmp_path / "a_theirs" / "x").symlink_to("../mine/run")
    (tmp_path / "a_theirs" / "y").symlink_to("../mine/run/inside")
    (tmp_path / "a_link").symlink_to("mine")
    assert places(tmp_path) == [".", "a_theirs", "mine", "mine/run", "mine/run/inside"]
