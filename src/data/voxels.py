"""Shapes as voxels: ModelNet10, another set in one .npz, or any folder of grids or meshes.

    root.npz with x_train, y_train, x_test, y_test   a set, its classes named in classes.txt beside
    root.npz with an array for each class            the same, every tenth shape held out
    root/chair/1.binvox, root/table/7.off ...        a folder: subfolders are classes, as in
                                                     `folder.py`

Arrays of sets are (m, r, r, r) or (m, r^3 / 8) of packed bits. Shapes that are empty, or crumbs of
a surface that hang together nowhere, teach nothing: they are named and left out, and so are open
meshes.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.ndimage import label
from tqdm import tqdm

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule, identity
from src.data.cache import Write, entry, fingerprint
from src.data.containers import open_zip
from src.data.layout import arrange
from src.data.loader import Reading
from src.data.meshes import read_mesh
from src.data.sources import MESHES, find_voxels
from src.data.spec import DataSpec, Split
from src.data.voxel_files import as_cube, read_grids, unpacked
from src.errors import SettingError
from src.runs.escape import line
from src.runs.stored import read_text
from src.transforms.degradations import Degradation

SPLITS = ("train", "test")
MOST_NAMES = 2**16  # bytes of a file of classes
NAMED = 5  # of the grids that are left out
TOUCHING = np.ones((3, 3, 3))  # voxels that share a corner hang together


class _Grid(NamedTuple):
    """A grid that is to be read: its name, split, class, and numbers, or what is wrong with it."""

    name: str
    split: str
    kind: str
    numbers: np.ndarray | str


class Voxels(DataModule):
    """Voxels of a set in one file, or of a folder.

    Args:
        name: name of the set, for records and for the cache.
        kind: voxels.
        resolution: side of the cubes; those of the files are reduced or repeated to it.
        labels: the classes that are taken, in this order; none takes all that are there.
        axes: of .npy and .npz files: `dhw` (depth, height from the top, width), as
            `python -m src.sample` writes them, or `xyz` (x to the right, y away, z up).
        source: `real`: nothing stands in for it; `data=solids` is drawn.
        root: the file or folder.
        cache: folder of the grids as they were read.
        min_piece: share of its voxels that the largest piece of a shape must have.
        max_broken: share of the grids that may be empty, in crumbs or unreadable and are left out.
        batch_size: shapes per batch.
        seed: seed of the order and of the flips.
        flip: mirror each training shape left to right with probability 1/2.
        reading: see `DataModule`.
        degradation: the same.
        up: the axis of meshes that points upwards: `z` (ModelNet) or `y` (ShapeNet).
        open_meshes: take meshes that are not the surface of a solid too.
    """

    needed = (
        "a folder of .npy, .npz, .binvox grids or .off, .obj, .stl meshes, or one .npz that holds "
        "a set"
    )
    looks_for = "src.data.sources.no_voxels"

    def __init__(
        self,
        name: str,
        kind: Literal["voxels"],
        resolution: PositiveInt,
        labels: Sequence[str],
        axes: Literal["dhw", "xyz"],
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        min_piece: Share,
        max_broken: Share,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
        up: Literal["y", "z"] = "z",
        open_meshes: bool = False,
    ) -> None:
        if root is None:
            raise SettingError(f"data.root is not set.\nSet it to {self.needed}.")
        self.root = Path(root).expanduser()
        there = voxel_classes(self.root)
        if missing := [kind for kind in labels if kind not in there]:
            raise SettingError(
                f"data.labels: there is no class {line(missing[0], 40)} in data.root={root}.\n"
                f"Classes: {line(', '.join(there), 300) or 'none'}"
            )
        spec = DataSpec(kind, (1, *[resolution] * 3), tuple(labels) or there)
        super().__init__(spec, batch_size, seed, flip, reading, degradation)
        self.name, self.cache, self.axes, self.there = name, cache, axes, there
        self.min_piece, self.max_broken = min_piece, max_broken
        self.up, self.open_meshes = up, open_meshes

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        archive, files = find_voxels(self.root)
        paths = [archive] if archive else [self.root / file for file in files]
        states = [path.stat() for path in paths]
        identities = [
            [str(path.relative_to(self.root.parent)), state.st_size, state.st_mtime_ns]
            for path, state in zip(paths, states, strict=True)
        ]
        settings = [list(self.spec.classes), list(self.there), self.axes]
        settings += [self.min_piece, self.max_broken, self.up, self.open_meshes]
        # As many as the packed bits of the set could be, or one for each file.
        expected = 8 * states[0].st_size // self.spec.shape[-1] ** 3 if archive else len(files)
        x, info = entry(
            self.cache,
            f"{self.name}-{self.spec.shape[-1]}^3",
            [identities, settings],
            self.spec.shape,
            min(expected, 10**6),
            lambda write: self._produce(self._grids(archive, files), write),
        )
        if info["broken"]:
            total = len(info["names"]) + len(info["broken"])
            self.remarks = [_left_out(info["broken"], total)]
        # A name begins with its split and the number of its class.
        parts = [name.split("/", 2) for name in info["names"]]
        x = torch.from_numpy(x).view(torch.bool)
        sizes = {split: sum(part[0] == split for part in parts) for split in SPLITS}
        classes = list(self.spec.classes)
        y = torch.tensor([int(part[1]) for part in parts]) if classes else None
        splits, start = {}, 0
        for split, size in sizes.items():
            if size:
                own = slice(start, start + size)
                splits[split] = Split(x[own], None if y is None else y[own])
            start += size
        if "train" not in splits:
            raise SettingError(f"data.root={self.root}: there is no shape to train on.")
        labels = np.empty(0) if y is None else y.numpy()
        content = fingerprint(info["hash"], list(sizes.values()), labels, classes)
        made_by = {"axes": self.axes, "min_piece": self.min_piece, "broken": len(info["broken"])}
        return splits, identity(self.name, "real", splits, content, **made_by)

    def _grids(self, archive: Path | None, files: list[str]) -> Iterator[_Grid]:
        """All grids, those of the training split first."""
        chosen = set(self.spec.classes)
        for split in SPLITS:
            if archive:
                yield from (g for g in self._of_set(archive, split) if g.kind in chosen)
                continue
            layout = arrange(files, blocks=False)
            kinds = layout.classes
            for file in layout.splits.get(split, ()):
                if kinds and kinds[file] not in chosen:
                    continue
                try:
                    numbers = self._read(self.root / file)
                except (OSError, ValueError) as error:
                    numbers = line(str(error)) or type(error).__name__
                yield _Grid(file, split, kinds.get(file, ""), numbers)

    def _read(self, path: Path) -> np.ndarray:
        """The one grid or mesh of a file."""
        if path.suffix.lower() in MESHES:
            return read_mesh(path, self.spec.shape[-1], self.up, self.open_meshes)
        ((_, numbers),) = read_grids(path)
        return numbers

    def _of_set(self, archive: Path, split: str) -> Iterator[_Grid]:
        """The grids of one split of a set."""
        try:
            arrays = dict(read_grids(archive))
            if "x_train" in arrays:
                grids, kinds = unpacked(arrays[f"x_{split}"]), arrays[f"y_{split}"]
                named = kinds.dtype.kind in "iu" and kinds.shape == grids.shape[:1]
                if not named or not np.isin(kinds, np.arange(len(self.there))).all():
                    raise ValueError(f"y_{split} does not name a class for each of x_{split}")
                for i, (grid, kind) in enumerate(zip(grids, kinds, strict=True)):
                    yield _Grid(f"x_{split}[{i}]", split, self.there[kind], grid)
                return
            for kind in self.there:
                for i, grid in enumerate(unpacked(arrays[kind])):
                    if (i % 10 == 9) == (split == "test"):
                        yield _Grid(f"{kind}[{i}]", split, kind, grid)
        except (OSError, ValueError, KeyError) as error:
            reason = f"no array {error}" if isinstance(error, KeyError) else line(str(error))
            raise SettingError(f"data.root={archive} cannot be read: {reason}.") from error

    def _produce(self, grids: Iterator[_Grid], write: Write) -> dict[str, Any]:
        names: list[str] = []
        broken: dict[str, str] = {}
        index = {kind: i for i, kind in enumerate(self.spec.classes)}
        for grid in tqdm(grids, desc=f"reading {line(self.name, 40)}", delay=1.5, disable=None):
            solid = self._cube(grid)
            if isinstance(solid, str):
                broken[grid.name] = solid
            else:
                names.append(f"{grid.split}/{index.get(grid.kind, 0)}/{grid.name}")
                write(solid[None, None])
        total = len(names) + len(broken)
        if len(broken) > self.max_broken * total:
            raise SettingError(
                f"data.root={self.root}: too many files are no solids, for data.max_broken="
                f"{self.max_broken:g}.\n"
                f"{_left_out(broken, total)}"
            )
        return {"names": names, "broken": broken}

    def _cube(self, grid: _Grid) -> np.ndarray | str:
        """Voxels (d, h, w), or what is wrong with them."""
        if isinstance(grid.numbers, str):
            return grid.numbers
        # The axes of .binvox and of meshes are those of their formats: they are read as these say.
        known = grid.name.lower().endswith((".binvox", *MESHES))
        axes = "dhw" if known else self.axes
        try:
            solid = as_cube(grid.numbers, axes, self.spec.shape[-1])
        except ValueError as error:
            return str(error)
        pieces, count = label(solid, TOUCHING)
        if not count:
            return "is empty"
        share = np.bincount(pieces.ravel())[1:].max() / solid.sum()
        if share < self.min_piece:
            return f"is in {count} pieces, of which the largest has {share:.0%}"
        return solid


def _left_out(broken: dict[str, str], total: int) -> str:
    """A line on the grids that are left out: each reason with the first two that have it."""
    reasons: dict[str, list[str]] = {}
    for name, reason in broken.items():
        reasons.setdefault(reason, []).append(line(name, 60))
    told = [
        f"{', '.join(names[:2])} {f'and {len(names) - 2:,} more ' if names[2:] else ''}{reason}"
        for reason, names in list(reasons.items())[:NAMED]
    ]
    more = sum(map(len, list(reasons.values())[NAMED:]))
    told += [f"{more:,} others"] if more else []
    return f"Left out: {len(broken):,} of {total:,} shapes: {line('; '.join(told), 400)}."


def voxel_classes(root: Path) -> tuple[str, ...]:
    """Names of the classes of a set of voxels, in the order of their indices; empty without any.

    Raises:
        SettingError: if there are no voxels, or they cannot be read.
    """
    archive, files = find_voxels(root)
    if not archive and not files:
        raise SettingError(f"data.root={root}: no voxels there.\nSet it to {Voxels.needed}.")
    if not archive:
        return arrange(files, blocks=False).class_names
    try:
        with open_zip(archive) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
        if "x_train" not in names:
            return tuple(sorted(names))
        lines = read_text(archive.parent / "classes.txt", MOST_NAMES).splitlines()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SettingError(f"data.root={archive}: its classes cannot be read: {error}.") from error
    return tuple(name.strip() for name in lines if name.strip())
