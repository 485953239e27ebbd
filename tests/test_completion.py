"""Tab completion: what is offered, and that bash and zsh put it on the line."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.cli import HELP
from src.completion import candidates, complete, script

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sparring tr", ["train", "translate"]),
        ("sparring train model=dcg", ["model=dcgan"]),
        ("/opt/bin/sparring train model=dcg", ["model=dcgan"]),
        ("python -m src.train model=dcg", ["model=dcgan"]),
        (".venv/bin/python3.12 -m src.train model=dcg", ["model=dcgan"]),
        ("python src/train.py model=dcg", ["model=dcgan"]),
        ("python -m src train model=dcg", ["model=dcgan"]),
        ("sparring train model=gan,dcg", ["model=gan,dcgan"]),
        ("sparring train mod", ["model.", "model/", "model="]),
        ("sparring train model/pen", ["model/penalty="]),
        ("sparring train model/loss=hi", ["model/loss=hinge"]),
        ("sparring train model=vae model.obj", ["model.objective."]),
        ("sparring train model=gan model.obj", []),
        ("sparring train model=nonsense existing=re", ["existing=restart", "existing=resume"]),
        ("sparring train trainer.precision=bf", ["trainer.precision=bf16-mixed"]),
        ("sparring train experiment=notes/full/seas", ["experiment=notes/full/season"]),
        ("sparring sample what=l", ["what=layers", "what=levels"]),
        ("sparring train ~callbacks.heal", ["~callbacks.health."]),
        ("sparring train --mul", ["--multirun"]),
        ("sparring nothing model=dcg", []),
        ("python other.py model=dcg", []),
        ("ls model=dcg", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", f"{line} and more")
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setenv("SPARRING_ZSH", "5.9")
    assert sorted(candidates(HELP)) == sorted(offered)


@pytest.mark.parametrize("flag", ["--config-dir {}", "--config-dir={}", "-cd {}"])
def test_choices_of_ones_own(flag: str, tmp_path: Path) -> None:
    """Of a folder that a word before names; its keys are those of the choice."""
    for place, text in (("data/stripes", "tilt: 3"), ("mine/odd", ""), ("model/dcgan2", "")):
        path = tmp_path / f"{place}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    words = flag.format(tmp_path).split()
    assert list(complete("train", words, "data=strip")) == ["data=stripes"]
    assert list(complete("train", words, "model=dcgan")) == ["model=dcgan", "model=dcgan2"]
    assert list(complete("train", words, "min")) == ["mine="]
    assert list(complete("train", [*words, "data=stripes"], "data.ti")) == ["data.tilt="]
    assert list(complete("train", [], "data=strip")) == []
    *before, start = flag.format(f"{tmp_path}/mod").split()
    assert [text[-7:] for text in complete("train", before, start)] == ["/model/"]


@pytest.mark.parametrize(
    ("typed", "replaced", "ends"),
    [
        ("run=", "", [r"it\'s/", r"my\ run/", r"my\ runs/"]),
        ("run=", "run=", [r"run=it\'s/", r"run=my\ run/", r"run=my\ runs/"]),
        ("run=my", "my", [r"my\ run/", r"my\ runs/"]),
        ("run=my\\", "my\\", [r"my\ run/", r"my\ runs/"]),
        (r"run=my\ r", r"my\ r", [r"my\ run/", r"my\ runs/"]),
        ('"run=my r', "run=my r", ["run=my run/", "run=my runs/"]),
        ("'run=my r", "run=my r", ["run=my run/", "run=my runs/"]),
        ("run='my 'r", "'my 'r", ["'my 'run/", "'my 'runs/"]),
        ('"run"=my', "my", [r"my\ run/", r"my\ runs/"]),
        ('run="i', "i", ["it's/"]),
        ("'run=i", "run=i", [r"run=it'\''s/"]),
        ("'run=it'\\''", "'", ["'s/"]),
        (r"run=my\ runs/", r"my\ runs/", [r"my\ runs/seed=0\*/", r"my\ runs/seed=0\`/"]),
        ('"run=my runs/', "run=my runs/", [r"run=my runs/seed=0*/", r"run=my runs/seed=0\`/"]),
        ("'run=my runs/'", "'run=my runs/'", [rf"'run=my runs/'seed=0\{sign}/" for sign in "*`"]),
    ],
)
def test_what_bash_puts_in_place_of_a_part(
    typed: str, replaced: str, ends: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All begin with what was typed of it, and read as the same path."""
    for name in ("my run", "my runs/seed=0*", "my runs/seed=0`", "it's", "my runs/seed\n"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    line = f"sparring sample in='a b' {typed}"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.delenv("SPARRING_ZSH", raising=False)
    monkeypatch.setenv("SPARRING_REPLACED", replaced)
    assert candidates(HELP) == ends


# Control-T shows what is on the line.
SHOW_LINE = {
    "bash": """\nbind -x '"\\C-t": printf "<<%s>>" "$READLINE_LINE"'\n""",
    "zsh": """\nshow() { print -rn -- "<<$BUFFER>>" }; zle -N show; bindkey '^T' show\n""",
}
# What Tab makes of a line. Where several fit, what they begin with is completed.
LINES = (
    ("sparring train model=dcg", "sparring train model=dcgan"),
    ("python -m src.train model/loss=hi", "python -m src.train model/loss=hinge"),
    ("sparring train data.root=in/a", r"sparring train data.root=in/a\ d"),
    ("sparring train data.root=in/a\\", r"sparring train data.root=in/a\ d"),
    (r"sparring train data.root=in/a\ d", r"sparring train data.root=in/a\ d"),
    ('sparring train "data.root=in/a d', 'sparring train "data.root=in/a d'),
    ("sparring train 'data.root=in/a d", "sparring train 'data.root=in/a d"),
    ("sparring train 'data.root=in/i", r"sparring train 'data.root=in/it'\''s "),
    (r"sparring train data.root=in/b\*", r"sparring train data.root=in/b\*"),
    ('sparring train "data.root=in/b*', 'sparring train "data.root=in/b*'),
    ("python -m src.train data.root=in/a", r"python -m src.train data.root=in/a\ d"),
    ('python -m src.train "data.root=in/a d', 'python -m src.train "data.root=in/a d'),
    ("sparring train 'run=a b' model=dcg", "sparring train 'run=a b' model=dcgan"),
)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell(shell: str, tmp_path: Path) -> None:
    program = os.environ.get(f"SPARRING_TEST_{shell.upper()}") or shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "sparring"
    command.write_text(f"#!{sys.executable}\nfrom src.__main__ import main\nmain()\n")
    command.chmod(0o755)
    flags = ["--norc", "--noprofile"] if shell == "bash" else ["-f"]
    places = [str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {"PATH": os.pathsep.join(places), "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    environment |= {"HOME": str(tmp_path), "PS1": "$ ", "PYTHONDONTWRITEBYTECODE": ""}
    (tmp_path / "install").write_text(script(shell) + SHOW_LINE[shell])
    for name in ("in/a dir", "in/a drive", "in/it's 1", "in/it's 2", "in/b*1", "in/b*2", "in/b-1"):
        (tmp_path / name).mkdir(parents=True)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [program, *flags, "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
        env=environment, start_new_session=True, close_fds=True,
    ) as process:  # fmt: skip
        try:
            os.write(ours, b". ./install; echo rea''dy\n")
            assert "ready" in _read(ours, "ready")
            for typed, wanted in LINES:
                os.write(ours, f"{typed}\t\x14".encode())
                assert f"<<{wanted}>>" in _read(ours, ">>")
                os.write(ours, b"\x15")  # forget the line
            os.write(ours, b'sparring train "data.root=in/a d\t\t')
            shown = _read(ours, "drive/")
            assert "in/a dir/" in shown
            assert "in/a drive/" in shown
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def _read(terminal: int, wanted: str, seconds: float = 60.0) -> str:
    """What a terminal shows, until it shows what is wanted."""
    shown, deadline = "", time.monotonic() + seconds
    while wanted not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
