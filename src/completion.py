"""Tab completion in bash and zsh, of `sparring train ...` and `python -m src.train ...`.

The shell hands over the line up to the cursor and gets the words that could stand there: choices
of a group, keys of the configuration that the words before it compose, values of a setting that has
few, and files. torch is not imported for it.
"""

import ast
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from src.config import composition
from src.config.signatures import Parameter, signature
from src.errors import SettingError

# `complete -o default`: where we say nothing, file names are completed, as for any other program.
# Line by line, since `COMPREPLY=( $(...) )` would also expand the `*` of a name.
_BASH = """\
_sparring_completion() {
    local program="$1" replaced="$2" entry
    case "$COMP_LINE" in
        *python*\\ -m\\ src*|*python*\\ *src/*.py*) set -- "$program" -m src ;;
        *python*) return ;;
        *) set -- "$program" ;;
    esac
    COMPREPLY=()
    while IFS= read -r entry; do
        [ -z "$entry" ] || COMPREPLY+=("$entry")
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" SPARRING_ZSH="$ZSH_VERSION" \\
        SPARRING_REPLACED="$replaced" "$@" completion query 2>/dev/null)
}
complete -o nospace -o default -F _sparring_completion sparring python python3"""
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""
# The command, and the words after it, of a line up to the cursor.
_CALLS = re.compile(
    r"\s*(?:\S*sparring|\S*python[\d.]*\s+-m\s+src)\s+(?P<first>\S*)(?P<rest>(\s.*)?)"
    r"|\s*\S*python[\d.]*\s+(?:-m\s+src\.|\S*src/)(?P<module>\w+)(?:\.py)?(?P<more>\s.*)"
)
CONFIG_DIR = ("--config-dir", "-cd")
# Settings that are paths, whose values are completed as such.
FILES = ("run", "runs", "in", "mask", "out", "metrics.weights", "hydra.run.dir", "hydra.sweep.dir")


def script(shell: str) -> str:
    """The text that `eval` takes to install the completion in this shell, `bash` or `zsh`."""
    return (_ZSH if shell == "zsh" else "") + _BASH


def candidates(commands: Iterable[str]) -> list[str]:
    """Words that fit at the cursor of `COMP_LINE`, as the shell takes them.

    zsh takes whole words and quotes them itself. bash puts what all of them begin with in place of
    `SPARRING_REPLACED`, the end of the line as typed: each must begin with just that text, or what
    was typed is lost.
    """
    text = os.environ.get("COMP_LINE", "")
    text = text[: int(os.environ.get("COMP_POINT") or len(text))]
    call = _CALLS.fullmatch(text)
    if call is None:
        return []
    name, rest = call["module"] or call["first"], call["more"] or call["rest"] or ""
    if rest:
        words, word, quote = _split(rest)
        found = sorted(complete(name, words, word)) if name in commands else []
    else:
        word, quote = name, ""
        found = sorted(entry for entry in (*commands, "completion") if entry.startswith(name))
    found = [entry for entry in found if entry.isprintable()]  # the others cannot be typed
    if os.environ.get("SPARRING_ZSH"):
        return [_quote(entry, "") for entry in found]
    replaced = os.environ.get("SPARRING_REPLACED", "")
    return [replaced + _quote(entry[len(word) :], quote) for entry in found]


def _split(text: str) -> tuple[list[str], str, str]:
    """The words of a line, the one at its end, and what is open there: a quote or a backslash."""
    escaped = len(text) - len(text.rstrip("\\"))
    for quote in ("", '"', "'"):
        try:  # the mark is part of the last word, which may be empty
            *words, last = shlex.split(f"{text}\0{quote}")
        except ValueError:  # it is another quote that is open
            continue
        return words, last.removesuffix("\0"), quote or "\\" * (escaped % 2)
    raise AssertionError(text)


def _quote(text: str, within: str) -> str:
    """A text as it is typed after an open quote, after a backslash, or after neither."""
    if within == "'":
        return text.replace("'", r"'\''")
    special = r'[\\"$`]' if within == '"' else r"[\s'\"\\$&;()<>|*?`!{}\[\]#]"
    escaped = re.sub(f"({special})", r"\\\1", text)
    return escaped.removeprefix("\\") if within == "\\" else escaped


def complete(name: str, words: list[str], word: str) -> Iterator[str]:
    """Words that begin with `word` and could stand in a command after other words.

    Args:
        name: name of the command.
        words: overrides and flags before it, which may be wrong.
        word: what is there of the last one.
    """
    if words and words[-1] in CONFIG_DIR:
        yield from (path for path in _files(word) if path.startswith(word))
        return
    flag, equals, start = word.partition("=")
    if flag in CONFIG_DIR and equals:
        yield from (f"{flag}={path}" for path in _files(start) if path.startswith(start))
        return
    if word.startswith("-"):
        flags = ("--help", "--version", "--cfg", "--config-dir", "--multirun")
        yield from (flag for flag in flags if flag.startswith(word))
        return
    key, equals, value = word.partition("=")
    bare = key.lstrip("+~")
    places = [composition.CONF, *_own_folders(words)]
    if not equals:
        mark = key[: len(key) - len(bare)]
        for entry in {*_groups(name, bare, places), *_keys(_settings(name, words), bare)}:
            yield f"{mark}{entry}"
        return
    done, comma, last = value.rpartition(",")  # of a sweep
    before = f"{key}={done}{comma}"
    if any((place / bare).is_dir() for place in places):
        choices = sorted({choice for place in places for choice in _choices(place, bare)})
    elif bare in FILES or bare.startswith("data.root"):
        choices = _files(last)
    else:
        choices = _values(name, bare, OmegaConf.select(_settings(name, words), bare))
    yield from (f"{before}{choice}" for choice in choices if choice.startswith(last))


def _own_folders(words: list[str]) -> list[Path]:
    """Folders of the user's own choices, of `--config-dir`."""
    given = [after for flag, after in pairwise(words) if flag in CONFIG_DIR]
    given += [word.partition("=")[2] for word in words if word.partition("=")[0] in CONFIG_DIR]
    return [Path(folder).expanduser() for folder in given if folder]


def _groups(name: str, word: str, places: Iterable[Path]) -> Iterator[str]:
    """Groups of choices, one level at a time: `model=`, and `model/` for its parts."""
    if name == "train":
        known = [group for place in places for group in composition.groups(place)]
        known = [group for group in known if not group.startswith("experiment/")]
    else:
        known = ["metrics"] if name == "evaluate" else []
    for group in known:
        if group.startswith(word):
            first, slash, _ = group[len(word) :].partition("/")
            yield f"{word}{first}{slash or '='}"


def _choices(place: Path, group: str) -> list[str]:
    """Choices of a group below a folder; experiments lie in folders of their own."""
    folder = place / group
    paths = folder.rglob("*.yaml") if group == "experiment" else folder.glob("*.yaml")
    return [str(path.relative_to(folder).with_suffix("")) for path in paths]


def _settings(name: str, words: list[str]) -> Any:
    """The configuration that words compose, as far as they do."""
    own = ",".join(f"'file://{folder.resolve()}'" for folder in _own_folders(words))
    words = [text for text in words if "=" in text and not text.startswith("-")]
    words += [f"hydra.searchpath=[{own}]"] if own else []
    for given in (words, []):
        try:
            return composition.compose(name, given)
        except SettingError:
            continue
    return OmegaConf.create()


def _keys(config: Any, word: str) -> Iterator[str]:
    """Keys of a configuration, one level at a time: `model.` and `budget=`."""
    path, dot, start = word.rpartition(".")
    node = OmegaConf.select(config, path) if path else config
    if not OmegaConf.is_dict(node):
        return
    for key in node:
        if str(key).startswith(start) and (start or not str(key).startswith("_")):
            inner = OmegaConf.is_dict(node._get_node(key))
            yield f"{path}{dot}{key}{'.' if inner else '='}"


def _values(name: str, key: str, now: Any) -> list[str]:
    """Values of a setting: those that its type lists, or the one that it has."""
    path, _, last = key.rpartition(".")
    schema = {"": name.capitalize(), "trainer": "Trainer", "wandb": "Wandb"}.get(path)
    parameters: Mapping[str, Parameter] = {}
    if schema and not (name == "compare" and path):
        parameters = signature(f"src.config.settings.{schema}")
    if last in parameters:
        nodes = ast.walk(parameters[last].annotation)
        literals = [node.value for node in nodes if isinstance(node, ast.Constant)]
        if texts := [value for value in literals if isinstance(value, str)]:
            return texts
    if isinstance(now, bool):
        return ["true", "false"]
    return [] if now is None or OmegaConf.is_config(now) else [str(now)]


def _files(start: str) -> Iterator[str]:
    """Files and folders whose path begins so."""
    place, slash, _ = start.rpartition("/")
    folder = Path(f"{place}{slash}" or ".").expanduser()
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.startswith("."):
            yield f"{place}{slash}{path.name}{'/' if path.is_dir() else ''}"
