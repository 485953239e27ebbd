"""Parquet of the Hugging Face kind: a column of image files, and perhaps one of labels.

    root/data/train-00000-of-00001.parquet ...    splits by the names of files and folders
    hf://OWNER/NAME                               the same from the hub, where the network allows

The names of the classes are in the file's metadata (`ClassLabel`). Rows are read in groups as they
are stored. Of an image only its bytes are taken: a path that a row names is not opened. It needs
the extra `hf`.
"""

import json
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from src.data.containers import MOST_BYTES
from src.data.image_sets import ImageSet, opened
from src.data.layout import Layout, hold_out, split_of_words
from src.data.listing import HUB, find_parquet
from src.data.tables import in_order
from src.errors import SettingError
from src.runs.escape import line

IMAGE = ("image", "img", "images", "pixel_values")
LABEL = ("label", "labels", "fine_label", "class", "target")
MOST_GROUP = 2**32  # bytes of one group of rows, unpacked
MOST_ROWS = 20_000_000  # of a file
KEPT = 4  # groups in memory
CURE = "Install it: pip install 'sparring[hf]'."


class ParquetImages(ImageSet):
    """Rows of all .parquet at a place."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise SettingError(f"data.root={root} holds Parquet.\n{CURE}") from error
        paths = find_parquet(root)
        with self._reading():
            self._files = [parquet.ParquetFile(path) for path in paths]
            for file in self._files:
                self._check(file)
        self._splits = [split_of_words(str(path.relative_to(root.parent))) for path in paths]
        self._group = lru_cache(KEPT)(self._read_group)
        self._lock = Lock()
        self._version = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths
        ]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, NotImplementedError, LookupError) as error:  # and pyarrow's
            raise SettingError(
                f"data.root={self.root} cannot be read: {line(str(error), 150)}."
            ) from error

    def _check(self, file: Any) -> None:
        groups = [file.metadata.row_group(g) for g in range(file.metadata.num_row_groups)]
        if any(group.total_byte_size > MOST_GROUP for group in groups):
            raise ValueError("a group of its rows is too large")
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"it has {file.metadata.num_rows:,} rows, more than {MOST_ROWS:,}")
        if self._column(file, IMAGE) is None:
            raise ValueError(f"it has no column of images ({', '.join(IMAGE)})")

    def _column(self, file: Any, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in file.schema_arrow.names), None)

    @cached_property
    def _kinds(self) -> list[str]:
        """Names of the classes in the first file's metadata; empty if they are not there."""
        try:
            about = json.loads((self._files[0].schema_arrow.metadata or {})[b"huggingface"])
            names = about["info"]["features"][self._column(self._files[0], LABEL)]["names"]
        except (KeyError, TypeError, ValueError):
            return []
        unique = isinstance(names, list) and all(type(n) is str for n in names)
        return names if unique and len(set(names)) == len(names) else []

    def layout(self, blocks: bool = True) -> Layout:
        named: dict[str, list[str]] = {"train": [], "test": []}
        labels: list[int] = []
        for k, (file, split) in enumerate(zip(self._files, self._splits, strict=True)):
            named[split or "train"] += [f"{k}[{i}]" for i in range(file.metadata.num_rows)]
            if column := self._column(file, LABEL):
                with self._reading():
                    values = file.read([column])[column].to_pylist()
                labels += [value for value in values if type(value) is int]
        names = [f"{k}[{i}]" for k, f in enumerate(self._files) for i in range(f.metadata.num_rows)]
        if not names:
            raise SettingError(f"data.root={self.root}: no images there.")
        splits = named if all(named.values()) else hold_out(names)
        if len(labels) < len(names):
            return Layout(splits)
        if self._kinds and 0 <= min(labels) <= max(labels) < len(self._kinds):
            classes = {name: self._kinds[v] for name, v in zip(names, labels, strict=True)}
            return Layout(splits, classes, tuple(self._kinds))
        classes = {name: str(v) for name, v in zip(names, labels, strict=True)}
        return Layout(splits, classes, in_order(classes.values()))

    def identity(self, name: str) -> tuple[object, ...]:
        return (name, *self._version)

    def open(self, name: str) -> AbstractContextManager[Image.Image]:
        k, _, row = name.removesuffix("]").partition("[")
        content = self._content(int(k), int(row))
        if not isinstance(content, bytes):
            raise ValueError("has no bytes of an image file")
        if len(content) > MOST_BYTES:
            raise ValueError("is too large")
        return opened(content)

    def _content(self, k: int, row: int) -> Any:
        group = bisect_right(self._starts[k], row) - 1
        with self._lock:  # rows come in order: others wait for the group that they need
            value = self._group(k, group)[row - self._starts[k][group]].as_py()
        return value.get("bytes") if isinstance(value, dict) else value

    @cached_property
    def _starts(self) -> list[list[int]]:
        """The first row of each group of each file."""
        sizes = [
            [f.metadata.row_group(g).num_rows for g in range(f.metadata.num_row_groups)]
            for f in self._files
        ]
        return [list(accumulate(own, initial=0)) for own in sizes]

    def _read_group(self, k: int, group: int) -> Any:
        column = self._column(self._files[k], IMAGE)
        return self._files[k].read_row_group(group, [column])[column]

    def close(self) -> None:
        self._group.cache_clear()


def from_hub(root: str, cache: str | Path) -> Path:
    """The folder of a data set of the hub, downloaded if it is not there: its Parquet files.

    Args:
        root: `hf://OWNER/NAME`.
        cache: folder of the cache.

    Raises:
        SettingError: if it cannot be downloaded.
    """
    name = root.removeprefix(HUB)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise SettingError(f"data.root={root} is a data set of the hub.\n{CURE}") from error
    target = Path(cache).expanduser() / "hub" / name.replace("/", "__")
    if find_parquet(target):
        return target
    part = target.with_name(f".{target.name}")
    try:
        # A branch to which the hub converts the files of every set.
        snapshot_download(
            name,
            repo_type="dataset",
            revision="refs/convert/parquet",
            allow_patterns="*.parquet",
            local_dir=part,
        )
        os.replace(part, target)
    except Exception as error:  # of many kinds: no network, no such set, no right to it
        reason = line(str(error).strip().partition("\n")[0], 150)
        raise SettingError(f"data.root={root}: the download failed: {reason}") from error
    return target
