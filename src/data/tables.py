"""Tables that lie beside images and name the class of each, and perhaps its split.

    dataset.json                   {"labels": [["00000/img00000000.png", 3], ...]}, as StyleGAN's
                                   dataset_tool writes it; null means that there are no classes
    metadata.csv, metadata.jsonl   a column `file_name`, as Hugging Face's ImageFolder reads it
    any .csv or .tsv               a column with the names of images, and one with their classes

Images are named relative to the table or to the root, or by the last part alone, with an ending or
without. Columns of the same title in several tables are one column. A class is a column of a name
that says so, or the only one whose values repeat. A column that is called a partition or the like
is no class: its words are splits, or its numbers, as in CelebA: 0 (train), 1 and 2 (held out).
"""

import csv
import io
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from src.data.containers import DAMAGED, Container
from src.data.layout import Layout, hold_out, split_role
from src.data.listing import is_hidden
from src.runs.escape import line
from src.runs.stored import Limits, parse_json

ENDINGS = (".csv", ".tsv", ".jsonl")
DATASET_TOOL = "dataset.json"
MOST_TABLES = 20
LIMITS = Limits(size=256 * 2**20, nodes=20_000_000)
LOOKED_AT = 200  # rows in which the column of names is sought
CLASS = (
    "label", "class", "category", "target", "labels", "classes", "class_name", "label_name"
)  # fmt: skip
SPLIT = {"split", "subset", "partition", "set", "fold", "usage"}
PARTITIONS = {"0": "train", "1": "test", "2": "test"}
NUMBER = re.compile(r"-?[0-9]{1,18}")
Row = Mapping[str, str]


@dataclass
class Table:
    """Facts on images by tables.

    Attributes:
        name: of the tables that name the classes, for messages.
        classes: class by image, as text; empty if the tables have none.
        splits: role of the split by image, if they say that.
        splits_name: of the tables that name the splits.
        remarks: what was not understood.
        certain: the classes are called so.
        instead_of_folders: where there is such a table, folders are no classes.
    """

    name: str
    classes: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    splits_name: str = ""
    remarks: list[str] = field(default_factory=list)
    certain: bool = False
    instead_of_folders: bool = False


@dataclass
class Column:
    """A column of one table, or of several.

    Attributes:
        files: the tables.
        values: value by image; those that are empty are left out.
    """

    files: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def repeats(self) -> bool:
        """True if it can be the class: there are several values, and fewer than images."""
        return 1 < len(set(self.values.values())) <= max(2, len(self.values) // 2)


def find_table(container: Container, images: Sequence[str]) -> Table | None:
    """The facts on images in a container's tables; None if no table names any."""
    files = sorted(name for name in container.names if not is_hidden(name))
    tools = [name for name in files if posixpath.basename(name) == DATASET_TOOL]
    if tools and (table := _read_dataset_tool(container, tools[0], _Index(images))):
        return table
    tables = [name for name in files if name.lower().endswith(ENDINGS) and not _is_submission(name)]
    columns: dict[str, Column] = {}
    index = _Index(images) if tables else None
    for name in tables[:MOST_TABLES]:
        try:
            rows = _rows(name, _text(container.read(name, LIMITS.size)))
        except DAMAGED:  # some table of somebody; images are read without it
            continue
        for title, values in _columns(name, rows, index).items():
            column = columns.setdefault(title, Column())
            column.files.append(name)
            column.values |= values
    return _interpret(columns) if columns else None


def apply(table: Table, layout: Layout) -> Layout:
    """The layout that folders tell, corrected by a table.

    Splits and classes of the table stand above those of the folders, and images without a line in
    it are left out; but what is only taken for classes stands below them.
    """
    classes, splits = layout.classes, layout.splits
    listed = {name for own in splits.values() for name in own}
    remarks, left_out = [*layout.remarks, *table.remarks], dict(layout.left_out)

    def keep(known: Mapping[str, str], of: str) -> None:
        if lost := len(listed - known.keys()):
            left_out[f"without a line in {of}"] = lost
        listed.intersection_update(known)

    if table.classes and (table.certain or not classes):
        classes = table.classes
        remarks = [f"Classes are those of {table.name}.", *table.remarks]
        keep(classes, table.name)
    elif table.instead_of_folders:
        classes = {}
    if table.splits:
        remarks.append(f"Splits are those of {table.splits_name}.")
        keep(table.splits, table.splits_name)
        named = sorted(listed)
        splits = {r: [n for n in named if table.splits[n] == r] for r in ("train", "test")}
        if not splits["train"]:
            splits = hold_out(named)
    kept = {s: [n for n in own if n in listed] for s, own in splits.items()}
    kept = {split: own for split, own in kept.items() if own}
    if "train" not in kept:
        return replace(layout, remarks=[f"{table.name} names no image to train on."])
    if len(kept) < len(splits):  # such as Kaggle's tests without labels
        kept = hold_out(kept["train"])
    classes = {name: classes[name] for own in kept.values() for name in own} if classes else {}
    order = layout.class_names if classes == layout.classes else in_order(classes.values())
    return Layout(kept, classes, order, remarks, left_out)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Classes by number if all are numbers, else by name."""
    names = set(names)
    if all(map(NUMBER.fullmatch, names)):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


class _Index:
    """Images by the names that a table may call them."""

    def __init__(self, images: Sequence[str]) -> None:
        self.full = set(images)
        self.short: dict[str, str | None] = {}
        for name in images:
            for key in {posixpath.basename(name), PurePosixPath(name).stem}:
                self.short[key] = None if key in self.short else name  # None: more than one
        self.stems = {str(PurePosixPath(name).with_suffix("")): name for name in images}

    def find(self, text: str, folder: str) -> str | None:
        """The image that a table in a folder calls so."""
        text = text.strip().replace("\\", "/").removeprefix("./").lstrip("/")
        for name in (posixpath.join(folder, text), text):
            if name in self.full:
                return name
            if name in self.stems:
                return self.stems[name]
        return self.short.get(posixpath.basename(text)) if text else None


def _text(content: bytes) -> str:
    """UTF-8, with or without a byte-order mark; Excel's UTF-16; else bytes as Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rows(name: str, text: str) -> list[Row]:
    """Rows of a table, by the names of the columns: their numbers where it has no head.

    Raises:
        ValueError: if it is no table.
    """
    if name.lower().endswith(".jsonl"):
        lines = [parse_json(text, LIMITS) for text in text.splitlines() if text.strip()]
        if not all(isinstance(row, dict) for row in lines):
            raise ValueError("a line is no object")
        return [{k: str(v) for k, v in row.items() if type(v) in (str, int)} for row in lines]
    separator = max(",;\t", key=text[: text.find("\n") + 1 or None].count)
    try:
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return [dict(zip(map(str, range(len(row))), row, strict=True)) for row in lines]


def _columns(name: str, rows: list[Row], index: _Index) -> dict[str, dict[str, str]]:
    """The columns of a table that say something on images, by their titles: value by image.

    What is the same for all is left out, unless it is the split.
    """
    folder = posixpath.dirname(name)

    def count(column: str, rows: Sequence[Row]) -> int:
        return sum(index.find(row.get(column, ""), folder) is not None for row in rows)

    some = rows[1 : LOOKED_AT + 1] or rows
    columns = list(rows[0]) if rows else []
    if not columns:
        return {}
    names = max(columns, key=lambda column: count(column, some))
    if count(names, some) < max(1, len(some) // 2):
        return {}
    if name.lower().endswith(".jsonl"):
        titles = {column: column.strip().lower() for column in columns}
    elif not count(names, rows[:1]):
        titles = {column: rows[0][column].strip().lower() for column in columns}
        rows = rows[1:]
    else:  # without a head, the name of the file may say what it is
        stem = PurePosixPath(name).stem.lower()
        titles = {column: stem if "partition" in stem else column for column in columns}
    named = {index.find(row.get(names, ""), folder): row for row in rows}
    named.pop(None, None)
    found = {}
    for column, title in reversed(titles.items()):
        values = {image: row.get(column, "").strip() for image, row in named.items()}
        if column != names and (len(set(values.values())) > 1 or _names_split(title)):
            found[title] = {image: value for image, value in values.items() if value}
    return dict(reversed(found.items()))


def _interpret(columns: dict[str, Column]) -> Table:
    """Classes and splits in columns, by their titles."""
    table = Table(_list(columns.values()))
    for title in filter(_names_split, list(columns)):
        values = columns[title].values
        numbers = {} if "fold" in title else PARTITIONS  # folds are held out in turn
        roles = {image: numbers.get(v) or split_role(v) for image, v in values.items()}
        if values and all(roles.values()) and not table.splits:
            table.splits, table.splits_name = roles, _list([columns[title]])
        if all(roles.values()) or all(map(NUMBER.fullmatch, values.values())):
            del columns[title]
    repeated = {title: column for title, column in columns.items() if column.repeats}
    title = next((title for title in CLASS if title in repeated), None)
    table.certain = title is not None
    if title is None and len(repeated) == 1:
        title = next(iter(repeated))
    if title is not None:
        table.name, table.classes = _list([repeated[title]]), repeated[title].values
    elif repeated:
        shown = line(", ".join(repeated), 80)
        of = _list(repeated.values())
        table.remarks.append(f"Which column of {of} is the class is not clear: {shown}.")
    return table


def _list(columns: Iterable[Column]) -> str:
    """The tables of some columns: "train/metadata.csv and test/metadata.csv"."""
    files = list(dict.fromkeys(file for column in columns for file in column.files))
    others = f"{len(files) - 1} other tables" if len(files) > 2 else "".join(files[1:])
    return " and ".join(line(name, 60) for name in (files[0], others) if name)


def _names_split(title: str) -> bool:
    return title in SPLIT or "partition" in title or "split" in title


def _is_submission(name: str) -> bool:
    """True of what Kaggle's contests show for a form: its labels are none."""
    return "submission" in posixpath.basename(name).lower()


def _read_dataset_tool(container: Container, name: str, index: _Index) -> Table | None:
    """The facts in a `dataset.json`; None if somebody else has made it."""
    shown = line(name, 60)
    table = Table(shown, certain=True, instead_of_folders=True)
    try:
        content = parse_json(container.read(name, LIMITS.size), LIMITS)
        if "labels" not in content:
            return None
        labels = content["labels"]
        pairs = list(labels.items() if isinstance(labels, dict) else labels or [])
        read = {index.find(file, posixpath.dirname(name)): label for file, label in pairs}
    except (*DAMAGED, AttributeError, TypeError) as error:
        table.remarks.append(f"{shown} cannot be read ({line(str(error), 60)}): no classes.")
        return table
    read.pop(None, None)
    if read and all(type(label) is int for label in read.values()):
        table.classes = {file: str(label) for file, label in read.items()}
    else:
        kind = "vectors" if any(map(_is_list, read.values())) else "none"
        table.remarks.append(f"The labels of {shown} are {kind}: no classes.")
    return table


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
