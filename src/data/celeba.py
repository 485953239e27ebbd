"""CelebA (Liu et al. 2015): 202,599 aligned faces of 178 x 218 with 40 binary attributes.

The official layout is `img_align_celeba/000001.jpg ...`, `list_attr_celeba.txt` and
`list_eval_partition.txt`, or the same in the folders `Img/`, `Anno/` and `Eval/`; an archive of it,
Kaggle's tables with commas, and any other images will do. The default crop is the
largest centred square, 178 of 178 x 218, as in mimicry's table of CelebA-64 (reference values
depend on it).

The stand-in without files are procedurally drawn faces with attributes of the same names.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from posixpath import basename
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule, identity
from src.data.cache import Framing, fingerprint
from src.data.containers import DAMAGED, FolderFiles
from src.data.drawn import Progress, drawn
from src.data.folder import decode_splits
from src.data.image_sets import FileImages
from src.data.layout import arrange, count_phrase
from src.data.listing import CELEBA_DEPTH, folders_within, image_root
from src.data.loader import Reading
from src.data.procedural import canvas, dice, faces, sdf
from src.data.sources import label_classes
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.runs.escape import line
from src.runs.stored import decode, read_text
from src.transforms.degradations import Degradation

MOST_TEXT = 256 * 2**20  # bytes of a file of attributes: CelebA's has 27 MB
PARTITIONS = ("train", "val", "test")  # by their numbers in list_eval_partition.txt
DRAWN = {"train": (20_000, 0), "test": (2_000, 1)}  # faces and seed of the stand-in
# Of the binary and continuous factors of drawn faces, the ten that move the image most when one of
# them alone is drawn anew: by 60 % (the background) to 3 % (yaw) of what another face would.
FACTORS = (
    "Bright_Background", "tilt", "x", "Dark_Skin", "y", "scale", "Looking_Left", "backdrop_hue",
    "Wearing_Hat", "yaw",
)  # fmt: skip


class CelebA(DataModule):
    """Faces, labelled by one of their attributes if wished.

    Args:
        name: name of the set, for records and for the cache.
        kind: images.
        channels: 3, or 1 for grey.
        resolution: side of the images in pixels, after crop and resize.
        labels: empty: `label` makes the classes.
        source: `real`, or `builtin` for drawn faces (`auto` is resolved before).
        root: the folder or archive.
        cache: folder of decoded and drawn images.
        label: the attribute that is the class, or None.
        crop: see `Framing`.
        resize: see `Framing`.
        filter: see `Framing`.
        background: see `Framing`.
        max_broken: share of the files that may be unreadable and are left out.
        batch_size: samples per batch.
        seed: seed of the order and of the flips.
        flip: mirror each training image with probability 1/2.
        reading: see `DataModule`.
        degradation: see `DataModule`.
    """

    needed = "a folder with img_align_celeba/ and list_attr_celeba.txt, a zip of it, or any images"
    looks_for = "src.data.sources.no_faces"
    stands_in = "20,000 drawn faces"

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1, 3],
        resolution: PositiveInt,
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str,
        cache: str,
        label: str | None,
        crop: PositiveInt | None,
        resize: Literal["crop", "pad", "stretch"],
        filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"],
        background: Literal["white", "grey", "black"],
        max_broken: Share,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        classes = label_classes(label) if label else ()
        spec = DataSpec(kind, (channels, resolution, resolution), classes)
        super().__init__(spec, batch_size, seed, flip, reading, degradation)
        self.framing = Framing(
            resolution=resolution, channels=channels, crop=crop, resize=resize, filter=filter,
            background=background,
        )  # fmt: skip
        self.name, self.cache, self.max_broken = name, cache, max_broken
        self.given_root, self.label = Path(root).expanduser(), label
        self.builtin = source == "builtin"
        if not self.builtin:
            self.files = FileImages(image_root(self.given_root, CELEBA_DEPTH))

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        images, made_by = self._draw() if self.builtin else self._read()
        splits = {split: Split(x, self._labels(split)) for split, x in images.items()}
        known = [self.attributes[split].numpy() for split in self.attributes]
        content = fingerprint(made_by.pop("images"), *known, list(self.attribute_names))
        name, source = ("faces", "builtin") if self.builtin else (self.name, "real")
        return splits, identity(name, source, splits, content, label=self.label, **made_by)

    def _labels(self, split: str) -> Tensor | None:
        if self.label is None:
            return None
        return self.attributes[split][:, self.attribute_names.index(self.label)].long()

    def _know(self, attribute_names: tuple[str, ...]) -> None:
        """Take the names of the attributes, and refuse a label that is none of them.

        Called before any image is decoded, which can take minutes.
        """
        self.attribute_names = attribute_names
        if self.label is None:
            return
        if not self.attribute_names:
            raise SettingError(
                f"data.label={self.label} needs list_attr_celeba.txt beside the images.\n"
                f"Put it into data.root={self.given_root}, or set data.label=null."
            )
        if self.label not in self.attribute_names:
            lower = {name.lower(): name for name in self.attribute_names}
            near = difflib.get_close_matches(self.label.lower(), lower, 1)
            raise SettingError(
                f"data.label={self.label}: there is no such attribute."
                f"{f' Did you mean {lower[near[0]]}?' if near else ''}\n"
                f"Attributes: {', '.join(self.attribute_names)}"
            )

    def _read(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        names = self.files.listing.names
        table = self._table("list_attr_celeba", names)
        self._know(table[0] if table else ())
        splits = self._partition(names) or arrange(names).splits
        images, kept, made_by, self.remarks = decode_splits(
            self.files, splits, self.framing, self.name, self.cache, self.max_broken
        )
        self.files.close()
        if left_out := count_phrase(self.files.listing.left_out.items()):
            self.remarks.insert(0, f"Left out: {left_out}.")
        if table is not None:
            _, rows, values = table
            self.attributes = {
                split: values[[rows[basename(name)] for name in members]]
                for split, members in kept.items()
            }
        return images, made_by

    def _partition(self, names: list[str]) -> dict[str, list[str]] | None:
        """The official splits, where the file is there and they are not empty."""
        table = self._table("list_eval_partition", names)
        if table is None:
            return None
        _, rows, values = table
        numbers = values[[rows[basename(name)] for name in names], 0].tolist()
        if max(numbers) >= len(PARTITIONS):
            raise SettingError(
                f"data.root={self.given_root}: list_eval_partition has the split {max(numbers)}; "
                f"known are 0 (train), 1 (val) and 2 (test)."
            )
        groups: dict[str, list[str]] = {split: [] for split in PARTITIONS}
        for name, number in zip(names, numbers, strict=True):
            groups[PARTITIONS[number]].append(name)
        groups = {split: members for split, members in groups.items() if members}
        # Some of the images only, such as the test partition: there is nothing to train on.
        return groups if "train" in groups else None

    def _table(
        self, stem: str, names: list[str]
    ) -> tuple[tuple[str, ...], dict[str, int], Tensor] | None:
        """A text file of CelebA: column names, row of each image, and values; None without file."""
        path, text = self._text(stem)
        if text is None:
            return None
        columns, rows, values = parse_table(path, text)
        missing = [name for name in names if basename(name) not in rows]
        if missing:
            raise SettingError(
                f"data.root={self.given_root}: {path} has no line for {len(missing):,} of "
                f"{len(names):,} images, the first {missing[0]}.\n"
                f"Get the file anew, or remove it to train without it."
            )
        return columns, rows, values

    def _text(self, stem: str) -> tuple[str, str | None]:
        """Name and text of a file in the archive of the images, beside them or above them."""
        files = [f"{stem}{ending}" for ending in (".txt", ".csv")]
        container = self.files.container
        if not isinstance(container, FolderFiles):
            for name in container.names:
                if basename(name) in files:
                    with self._reading(name):
                        return name, decode(container.read(name, MOST_TEXT))
        for folder in self._places():
            for file in files:
                if (path := folder / file).is_file():
                    with self._reading(path):
                        return str(path), read_text(path, MOST_TEXT)
        return "", None

    def _places(self) -> Iterator[Path]:
        """Folders in which the tables may lie: as given, above the images, and in `Anno/`, `Eval/`
        there."""
        yield from folders_within(self.given_root, CELEBA_DEPTH)
        for above in (self.files.root, *self.files.root.parents[:2]):
            yield from (above, above / "Anno", above / "Eval")

    @contextmanager
    def _reading(self, path: str | Path) -> Iterator[None]:
        try:
            yield
        except DAMAGED as error:
            raise SettingError(
                f"data.root={self.given_root}: {path} cannot be read: {line(str(error))}.\n"
                "Get the file anew, or remove it to train without it."
            ) from error

    def _draw(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        self._know(faces.ATTRIBUTES)
        factors = {s: faces.sample_factors(n, seed) for s, (n, seed) in DRAWN.items()}
        resolution = self.spec.shape[-1]

        def draw(progress: Progress) -> Iterator[Tensor]:
            for part in torch.cat(list(factors.values())).split(500):
                yield faces.render(part, resolution)
                progress(len(part))

        images, content = drawn(
            draw,
            {split: n for split, (n, _) in DRAWN.items()},
            self.spec.shape,
            self.cache,
            "faces",
            (faces, canvas, sdf, dice),
            DRAWN,
        )
        self.attributes = {split: faces.attributes(rows) for split, rows in factors.items()}
        columns = [faces.INDEX[name] for name in FACTORS]
        self.factors = {split: rows[:, columns] for split, rows in factors.items()}
        self.factor_names = FACTORS
        return images, {"images": content}


def parse_table(path: str, text: str) -> tuple[tuple[str, ...], dict[str, int], Tensor]:
    """Read `list_attr_celeba.txt`, `list_eval_partition.txt`, or their form with commas.

    Args:
        path: for errors.
        text: text of the file: perhaps the count, perhaps the names of the columns, then a line for
            each image: its name, then integers.

    Returns:
        Names of the k columns (empty if there are none), from image name to row, and the values
        int64 (n, k) with -1 turned to 0.

    Raises:
        SettingError: if a line is not of this form.
    """
    lines = text.removeprefix("\ufeff").replace(",", " ").split("\n")
    lines = [line for line in lines if line and not line.isspace()]
    if lines and lines[0].strip().isdigit():
        lines = lines[1:]
    columns: tuple[str, ...] = ()
    if lines and not lines[0].split()[-1].lstrip("-").isdigit():
        columns = tuple(word for word in lines[0].split() if word != "image_id")
        lines = lines[1:]
    parts = [line.split(maxsplit=1) for line in lines]
    width = len(columns) or 1
    try:
        flat = np.fromstring(" ".join(values for _, values in parts), dtype=np.int64, sep=" ")
        values = torch.from_numpy(flat.reshape(len(lines), width)).clamp_(min=0)
    except ValueError as error:
        raise SettingError(
            f"data.root: {path} is damaged: its lines must be an image's name and {width} integers."
            f"\nGet the file anew, or remove it to train without it."
        ) from error
    return columns, {name: row for row, (name, _) in enumerate(parts)}, values
