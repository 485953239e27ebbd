"""The console script: one word before the settings of a command."""

import runpy
import sys

import pytest

import src
from src import console


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sparring", *words])
    console.main()


def test_version_and_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--version")
    assert capsys.readouterr().out.strip() == src.__version__
    call(monkeypatch)
    assert "sparring train model=dcgan" in capsys.readouterr().out


@pytest.mark.parametrize("command", console.COMMANDS)
def test_help_of_each_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, command, "--help")
    assert f"python -m src.{command}" in capsys.readouterr().out


def test_settings_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: seen.append((name, sys.argv[1:])))
    call(monkeypatch, "train", "model=dcgan", "-m")
    assert seen == [("src.train", ["model=dcgan", "-m"])]


def test_an_unknown_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"trian: there is no such command\. Did you mean train"):
        call(monkeypatch, "trian")
