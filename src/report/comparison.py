"""Content of a comparison: tables of groups with a verdict, their runs, notes.

Everything here is plain data: `dataclasses.asdict(comparison)` is the JSON that `compare` writes
and that its page embeds. Two numbers stand in one `Table` only if they were measured by the same
protocol on the same data; a `Group` is what is compared (a variant), its runs differ by the seed.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Picture:
    """One frame of a run's fixed codes: `image` is a `data:image/webp;base64,...` address."""

    samples: int
    image: str


@dataclass
class Curve:
    """One run's scorings: the table's metric and its best so far, where they were taken."""

    samples: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)


@dataclass
class Cell:
    """One column's number of one group: over its runs; `sd` is None with one run."""

    mean: float
    sd: float | None
    n: int
    best: float
    values: list[float]


@dataclass
class Column:
    """One column of a table; `lower_is_better` is None where nothing is better (parameters)."""

    key: str
    label: str
    unit: str
    lower_is_better: bool | None
    help: str


@dataclass
class Group:
    """Runs that differ by the seed only (or that agree in the keys asked for).

    `letters` is the compact letter display: groups that share a letter cannot be told apart.
    It is empty where nothing was judged, or where letters would not suffice.
    """

    id: str
    name: str
    runs: list[str]
    values: dict[str, Cell]
    letters: str
    config: dict[str, Any]


@dataclass
class Pair:
    """Two groups compared: `ratio` a/b (or difference a - b on a plain scale) with its interval.

    `distinct` says whether they differ at the verdict's level, corrected for all pairs at once.
    """

    a: str
    b: str
    p: float
    ratio: float
    low: float
    high: float
    distinct: bool


@dataclass
class Verdict:
    """Conclusion from a table in one to three sentences, and the test behind it."""

    text: str
    method: str
    alpha: float
    pairs: list[Pair] = field(default_factory=list)


@dataclass
class Table:
    """Groups measured by one protocol on one data set: only these may be ranked."""

    id: str
    data: str
    metric: str
    lower_is_better: bool
    real: float | None
    protocol: dict[str, Any]
    columns: list[Column]
    groups: list[Group]
    verdict: Verdict
    warnings: list[str] = field(default_factory=list)


@dataclass
class RunEntry:
    """One scored run: the table and the group it counts in, its numbers and where they are from."""

    id: str
    table: str
    group: str
    seed: int
    folder: str
    status: str
    metrics: dict[str, float]
    cost: dict[str, Any]
    provenance: dict[str, Any]
    config: dict[str, Any]
    curve: Curve
    pictures: list[Picture] = field(default_factory=list)


@dataclass
class LeftOut:
    """A run that is in no table, and why: unfinished, failed, damaged or never scored."""

    folder: str
    status: str
    reason: str


@dataclass
class Comparison:
    """Everything that a comparison says; `notes` are plain sentences for its help."""

    title: str
    created: str
    by: list[str]
    metric: str
    tables: list[Table]
    runs: list[RunEntry]
    left_out: list[LeftOut]
    notes: list[str]
