"""The one reader of what comes from outside: stored configurations, summaries, records of caches.

A run folder can be written by anybody. So a file is read only if it is a regular one of a bounded
size, and holds nothing but dictionaries with text keys, lists, text, numbers, booleans and null, of
bounded depth and number. What is not known is an error: YAML's tags, anchors, dates and merge keys,
JSON's repeated keys, integers beyond 64 bits, text that is no text. Standard library and PyYAML
only; nothing here imports torch.
"""

import io
import json
import os
import re
import reprlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from src.errors import SettingError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser is several times as fast
NUMBER = int | float
MOST_PIXELS = 20_000_000  # of a picture, and bytes of its file: 8 x 8 images of 512 pixels have 17
MOST_SIDE = 2**14


class Limits(NamedTuple):
    """Bounds on the size of a stored value.

    Attributes:
        size: bytes of the file.
        depth: depth of values inside of each other.
        nodes: values altogether.
    """

    size: int = 16 * 2**20
    depth: int = 40
    nodes: int = 500_000


FILE = Limits()
CONFIG = Limits(size=2**20, nodes=20_000)
# The record of a decoded image set has the name of each of its images.
RECORD = Limits(size=2**30, nodes=20_000_000)


# Files


def read_bytes(path: Path, most: int = FILE.size, flags: int = 0) -> bytes:
    """The content of a regular file; a pipe or a device is never waited for.

    Args:
        path: path of the file.
        most: bytes of it.
        flags: flags of `os.open`, beside those for reading.

    Raises:
        OSError: if there is none, or it cannot be read.
        ValueError: if it is none, or has more than `most` bytes.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if about.st_size > most:
            raise ValueError(f"it is larger than {most / 2**20:.0f} MB")
        return file.read(about.st_size)  # curves may grow meanwhile


def read_text(path: Path, most: int = FILE.size) -> str:
    """Read a file as UTF-8 text, with the same checks.

    Raises:
        OSError: if there is none, or it cannot be read.
        ValueError: as `read_bytes`, or if it is not UTF-8.
    """
    return decode(read_bytes(path, most))


def read_png(path: Path, edge: int | None = None) -> "Image.Image":  # noqa: F821
    """A picture (RGB) of a run, or its upper left corner.

    Args:
        path: path of a PNG file, and no link.
        edge: side of the corner in pixels.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no PNG, damaged, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    file = io.BytesIO(read_bytes(path, MOST_PIXELS, os.O_NOFOLLOW))
    try:
        with Image.open(file, formats=["PNG"]) as image:  # nothing is decoded yet
            width, height = image.size
            if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
                raise ValueError(f"it has {width} x {height} pixels")
            edge = edge or MOST_SIDE
            return image.crop((0, 0, min(edge, width), min(edge, height))).convert("RGB")
    except MemoryError:
        raise
    except UnidentifiedImageError as error:  # whose text is the address of an object
        raise ValueError("it is no PNG") from error
    except Exception as error:  # Pillow raises IndexError, AssertionError and others for damage
        raise ValueError(str(error) or type(error).__name__) from error


def decode(content: bytes) -> str:
    """UTF-8 to text.

    Raises:
        ValueError: if it is something else.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (at byte {error.start:,})") from error


# JSON


def parse_json(text: str | bytes, limits: Limits = FILE) -> Any:
    """Plain values of a JSON text; NaN and infinities are numbers, as Python writes them.

    Raises:
        ValueError: if it is no JSON, or goes beyond the limits.
    """
    text = decode(text) if isinstance(text, bytes) else text
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError as error:
        raise ValueError(f"it is deeper than {limits.depth}") from error
    check_plain(value, limits)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{reprlib.repr(twice)} is there twice")
    return found


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{text[:20]}... has more than 64 bits")
    return int(text)


# YAML


def parse_yaml(text: str | bytes, limits: Limits = CONFIG) -> Any:
    """Plain values of a YAML text.

    The events of PyYAML's parser are turned into values here, and not by its constructors: these
    follow aliases, and make tuples, sets, dates and more, which later steps mistake for others.

    Raises:
        ValueError: if it is no YAML, goes beyond the limits, or has more than plain values.
    """
    text = decode(text) if isinstance(text, bytes) else text
    try:
        value = _build(yaml.parse(text, Loader=LOADER), limits)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{error.problem}{line}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    check_plain(value, limits)
    return value


def _build(events: Iterator[yaml.Event], limits: Limits) -> Any:
    """The value of the only document; iterative, since the depth is the writer's choice."""
    scalar, nodes = _Scalars(), 0
    documents: list[Any] = []
    # The containers around the next value, and of each the key that waits for its value.
    around: list[tuple[list | dict, list[str]]] = [(documents, [])]
    for event in events:
        where = f"line {event.start_mark.line + 1}"
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            around.pop()
        if isinstance(event, DocumentStartEvent) and (documents or event.version or event.tags):
            raise ValueError(f"{where}: one plain document is expected")
        if not isinstance(event, NodeEvent):
            continue  # the marks of documents and of the stream
        if isinstance(event, AliasEvent) or event.anchor:
            raise ValueError(f"{where}: values must not refer to others (&, *)")
        if event.tag:  # even plain ones: we never write them
            raise ValueError(f"{where}: tags such as {event.tag[:40]} are no plain values")
        nodes += 1
        if nodes > limits.nodes or len(around) > limits.depth:
            raise ValueError(f"{where}: too many values, or too deep ones")
        if isinstance(event, ScalarEvent):
            value = scalar(event, where)
        else:
            value = {} if isinstance(event, MappingStartEvent) else []
        _place(value, *around[-1], where)
        if not isinstance(event, ScalarEvent):
            around.append((value, []))
    return documents[0] if documents else None


def _place(value: Any, container: list | dict, key: list[str], where: str) -> None:
    """Put a value where it belongs: into a list, or behind the key that waits, or as the key."""
    if isinstance(container, list):
        container.append(value)
    elif key:
        container[key.pop()] = value
    elif not isinstance(value, str):
        raise ValueError(f"{where}: a key must be text, not {reprlib.repr(value)}")
    elif value in container:
        raise ValueError(f"{where}: {reprlib.repr(value)} is there twice")
    else:
        key.append(value)


class _Scalars(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Text, numbers, booleans and null, by the rules of PyYAML's safe loader."""

    PLAIN = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))

    def __init__(self) -> None:
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)

    def __call__(self, event: ScalarEvent, where: str) -> Any:
        tag = self.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in self.PLAIN:
            kind = tag.rpartition(":")[2]
            raise ValueError(f"{where}: {event.value[:40]} is no plain value, but a {kind}")
        if tag == self.PLAIN[-1]:
            return event.value
        if len(event.value) > 100:
            raise ValueError(f"{where}: {event.value[:20]}... has too many digits")
        return self.construct_object(yaml.ScalarNode(tag, event.value))


def write_yaml(value: Any) -> str:
    """The text that `parse_yaml` reads."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # the same list in two places is written twice
        return True


# Values


def check_plain(value: Any, limits: Limits = FILE) -> None:
    """Look through values, of whatever origin, for what a file could not hold.

    Raises:
        ValueError: for anything but dictionaries with text keys, lists, text, numbers, booleans and
            null; integers beyond 64 bits, text that UTF-8 cannot spell; more or deeper values than
            the limits say.
    """
    nodes, waiting = 0, [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if nodes > limits.nodes or depth > limits.depth:
            raise ValueError("it has too many values, or too deep ones")
        if type(value) is str:
            _check_text(value)
        elif type(value) is int:
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{reprlib.repr(value)} has more than 64 bits")
        elif type(value) is dict:
            for key in value:
                if type(key) is not str:
                    raise ValueError(f"a key must be text, not {reprlib.repr(key)}")
                _check_text(key)
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif type(value) is list:
            waiting += [(inner, depth + 1) for inner in value]
        elif value is not None and type(value) not in (bool, float):
            raise ValueError(f"{reprlib.repr(value)} is no plain value")


def _check_text(text: str) -> None:
    if "\0" in text or not (text.isascii() or _is_utf8(text)):
        raise ValueError(f"{reprlib.repr(text)} is no text")


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # a half of a surrogate pair
        return False


def is_amount(value: Any) -> bool:
    """True if a value is a finite number from 0 up: samples, seconds, bytes."""
    return type(value) in (int, float) and 0 <= value < 2**63


def is_count(value: Any) -> bool:
    """True if a value is a whole number from 0 up that a float holds exactly."""
    return type(value) is int and 0 <= value < 2**53


# What the names of curves and numbers are made of: `loss/d`, `iw50_200_test`, `lr-Adam/pg1`, and in
# `fid10k_my faces` the name that somebody gave to a data set.
_NAME = r"\w /.,:+=()@%-"


def is_name(value: Any) -> bool:
    """True if a value can name a curve or a number: up to 200 plain characters."""
    return isinstance(value, str) and bool(re.fullmatch(rf"\w[{_NAME}]{{0,199}}", value))


def as_name(text: str) -> str:
    """A text as a name of a curve or a number, with `_` for what cannot be in one."""
    name = re.sub(rf"[^{_NAME}]", "_", text[:200])
    return name if is_name(name) else f"_{name[:199]}"


def expect(value: Any, shape: Any, place: str) -> None:
    """Check what was read against a shape.

    Args:
        value: plain values.
        shape: a type, a function that says whether a value is right, [shape of each entry], or
            {key: shape of its value}, in which "*" is every key and a key with a question mark may
            be absent or null.
        place: for the message.

    Raises:
        SettingError: naming the place and what is there instead.
    """
    if isinstance(shape, FunctionType):
        wrong = not shape(value)
    else:
        kind = type(shape) if isinstance(shape, dict | list) else shape
        truth = isinstance(value, bool) and kind in (int, NUMBER)  # Python's are integers too
        wrong = truth or not isinstance(value, kind)
    if wrong:
        raise SettingError(f"{place} is {'missing' if value is None else reprlib.repr(value)}.")
    inside = f"{place}." if ": " in place else f"{place}: "
    if isinstance(shape, list):
        if all(type(entry) is shape[0] for entry in value):  # a million names, quickly
            return
        for i, entry in enumerate(value):
            expect(entry, shape[0], f"{inside}{i}")
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            for name in value if key == "*" else [key.removesuffix("?")]:
                if not key.endswith("?") or value.get(name) is not None:
                    expect(value.get(name), inner, f"{inside}{name}")


@contextmanager
def naming(path: Path | str, cure: str = "") -> Iterator[None]:
    """Tell of what is wrong inside of a `with` block as what is wrong with a file.

    Raises:
        SettingError: in the place of OSError and ValueError.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingError(f"{path} is damaged: {reason}.{cure}") from error
