"""What a case is, and the tools that spoil a copy of an honest run folder.

A case is a name and a function that changes a folder. In what it writes, `@PROOF@`, `@OUTSIDE@`,
`@FOLDER@` and `@RUNS@` stand for the places of the case, which its table cannot know.
"""

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from PIL import Image

SECRET = "the secret of the person at the keyboard"
PAYLOAD = "touch @PROOF@"  # what a case runs, if it can
HERE = "STAND-IN"  # for what cannot be dumped


@dataclass(frozen=True)
class Place:
    """Where a case lives.

    Attributes:
        root: holds `runs/` with the folder of the case and an honest run, and `outside/`, of which
            nothing may be changed, nor anything but the pictures be read.
        name: of the folder.
        base: an honest run, to be copied.
    """

    root: Path
    name: str
    base: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def proof(self) -> Path:
        """The file that a payload makes."""
        return self.root / "proof"

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def fill(self, value: Any) -> Any:
        """Put the places into text, bytes or what is made of them."""
        if isinstance(value, Mapping):
            return {self.fill(key): self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        if isinstance(value, bytes):
            return value if b"@" not in value else self.fill(value.decode("latin-1")).encode(
                "latin-1"
            )  # fmt: skip
        if isinstance(value, str) and "@" in value:
            for token in ("proof", "outside", "folder", "runs"):
                value = value.replace(f"@{token.upper()}@", str(getattr(self, token)))
        return value


Make = Callable[[Place], None]


@dataclass(frozen=True)
class Case:
    """One folder that is not as it should be.

    Attributes:
        name: what it is, in a few words joined by hyphens.
        kind: `hostile` means harm, `damaged` had an accident, `honest` is a control.
        make: spoils a copy of an honest run.
        base: which one: gan, vae or toy.
        refused: whether `sample` and `evaluate` must end in an error.
        listed: whether `status` and `compare` must name it: it looks like a run.
        suffix: what the folder's name has beside that of the case.
        draws: whether `train` draws its pictures, which take longer than all else.
    """

    name: str
    kind: Literal["hostile", "damaged", "honest"]
    make: Make
    base: Literal["gan", "vae", "toy"] = "gan"
    refused: bool = False
    listed: bool = True
    suffix: str = ""
    draws: bool = False

    @property
    def folder(self) -> str:
        return self.name + self.suffix


def hostile(name: str, *steps: Make, **about: Any) -> Case:
    """A case that tries to do harm."""
    return Case(name, "hostile", several(*steps), **about)


def damaged(name: str, *steps: Make, **about: Any) -> Case:
    """A case of an accident."""
    return Case(name, "damaged", several(*steps), **about)


def several(*steps: Make) -> Make:
    """One step after the other."""

    def make(place: Place) -> None:
        for step in steps:
            step(place)

    return make


def build(place: Place, case: Case, interrupted: bool = False, linked: bool = False) -> None:
    """Make the folder of a case, beside an honest run and what lies outside.

    Args:
        interrupted: says so, of a run that was finished; `train` then goes on with it.
        linked: shares files with the honest run, for commands that only read.
    """
    if not place.outside.exists():
        _make_outside(place)
        shutil.copytree(place.base, place.runs / "honest", symlinks=True)
    copy = os.link if linked else shutil.copy2
    shutil.copytree(place.base, place.folder, copy_function=copy)
    if interrupted:
        entry("summary.json", "status", "interrupted")(place)
    case.make(place)


def _make_outside(place: Place) -> None:
    shutil.copytree(place.base, place.outside / "run")
    (place.outside / "secret.txt").write_text(SECRET)
    for name, text in (("progress.json", "{}"), ("evaluations.json", "[]"), ("log.txt", SECRET)):
        (place.outside / "run" / name).write_text(text)
    for folder in ("empty", "cache/images", "pictures"):
        (place.outside / folder).mkdir(parents=True)
    for name in ("cache/notes.tmp", "cache/images/foreign.npy.tmp", "cache/images/x-0.json.tmp"):
        (place.outside / name).write_text("somebody else's")
    for i in range(12):
        picture = Image.linear_gradient("L").resize((32, 32)).rotate(30 * i)
        picture.save(place.outside / "pictures" / f"{i:02d}.png")
    (place.outside / "bomb.pth").write_bytes(place.fill(b"cos\nsystem\n(S'touch @PROOF@'\ntR."))


# Steps: config.yaml


def change(node: dict, key: str, value: Any) -> None:
    """Set a dotted key in nested dictionaries, made where there are none, and lists."""
    *path, last = key.split(".")
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[int(last) if isinstance(node, list) else last] = value


def edited(function: Callable[[dict], Any]) -> Make:
    """Change the configuration as a dictionary, in place."""

    def make(place: Place) -> None:
        config = yaml.load((place / "config.yaml").read_text(), yaml.CSafeLoader)
        function(config)
        config = place.fill(config)
        try:
            text = yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False)
        except UnicodeEncodeError:  # half of a character
            text = yaml.dump(config, Dumper=yaml.SafeDumper, sort_keys=False)
        content(place / "config.yaml", text)

    return make


def setting(key: str, value: Any) -> Make:
    """Set a key of the configuration."""
    return edited(lambda config: change(config, key, value))


def settings(values: Mapping[str, Any]) -> Make:
    """Set keys of the configuration."""
    return several(*(setting(key, value) for key, value in values.items()))


def without(key: str) -> Make:
    """Leave a key out of the configuration."""
    *path, last = key.split(".")
    return edited(lambda config: reduce(dict.__getitem__, path, config).pop(last))


def spelt(key: str, text: str | Callable[[], str]) -> Make:
    """Set a key of the configuration to YAML as it is spelt here, on one line."""

    def make(place: Place) -> None:
        setting(key, HERE)(place)
        spelling = place.fill(text if isinstance(text, str) else text())
        path = place / "config.yaml"
        content(path, path.read_text().replace(HERE, spelling))

    return make


def rewritten(function: Callable[[str], str | bytes]) -> Make:
    """Change the configuration as text."""

    def make(place: Place) -> None:
        content(place / "config.yaml", place.fill(function((place / "config.yaml").read_text())))

    return make


# Steps: JSON


def summarised(function: Callable[[dict], Any]) -> Make:
    """Change the summary as a dictionary, in place."""

    def make(place: Place) -> None:
        path = place / "summary.json"
        found = json.loads(path.read_text())
        function(found)
        content(path, json.dumps(found))

    return make


def entry(file: str, key: str, value: Any) -> Make:
    """Set a key of a JSON file."""

    def make(place: Place) -> None:
        path = place / file
        found = json.loads(path.read_text())
        change(found, key, place.fill(value))
        content(path, json.dumps(found))

    return make


def spelt_entry(file: str, key: str, text: str) -> Make:
    """Set a key of a JSON file to what is spelt here, which JSON may not know."""

    def make(place: Place) -> None:
        entry(file, key, HERE)(place)
        path = place / file
        content(path, path.read_text().replace(f'"{HERE}"', text))

    return make


# Steps: files


def content(path: Path, data: str | bytes) -> None:
    """Write text or bytes, into a file of their own: another folder may share the old one."""
    path.unlink(missing_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def clear(path: Path) -> None:
    """Remove what is there, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def removed(*files: str) -> Make:
    """Leave files or folders out."""
    return lambda place: [clear(place / file) for file in files]


def holding(file: str, data: Any) -> Make:
    """Let a file hold this text, these bytes, this JSON, or what a function gives."""

    def make(place: Place) -> None:
        found = data() if callable(data) else data
        clear(place / file)
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        text = found if isinstance(found, str | bytes) else json.dumps(found)
        content(place / file, place.fill(text))

    return make


def cut(file: str, keep: float) -> Make:
    """Keep the first share of a file."""

    def make(place: Place) -> None:
        data = (place / file).read_bytes()
        content(place / file, data[: int(keep * len(data))])

    return make


def link(file: str, target: str) -> Make:
    """Put a symbolic link in the place of a file or folder."""

    def make(place: Place) -> None:
        clear(place / file)
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).symlink_to(place.fill(target))

    return make


def pipe(file: str) -> Make:
    """Put a named pipe, which nobody writes to, in the place of a file or folder."""

    def make(place: Place) -> None:
        clear(place / file)
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(place / file)

    return make


def folder(file: str) -> Make:
    """Put an empty folder in the place of a file."""

    def make(place: Place) -> None:
        clear(place / file)
        (place / file).mkdir(parents=True)

    return make


# Steps: checkpoints/last.ckpt

CHECKPOINT = "checkpoints/last.ckpt"


def checkpoint(function: Callable[[dict], Any]) -> Make:
    """Change the checkpoint in place, or put what the function returns in its place."""

    def make(place: Place) -> None:
        found = torch.load(place / CHECKPOINT, weights_only=True)
        changed = function(found)
        out = io.BytesIO()
        torch.save(found if changed is None else changed, out)
        content(place / CHECKPOINT, out.getvalue())

    return make


def saved(key: str, value: Any) -> Make:
    """Set a dotted key of the checkpoint."""
    return checkpoint(lambda found: change(found, key, value))


@cache
def spaces(count: int) -> str:
    """Much of nothing; made once."""
    return " " * count
