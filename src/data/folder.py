"""Any folder or archive of images; subfolders or a table beside them name the classes.

What the arrangement of the files says is told in `layout.py`, what tables say in `tables.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule, identity
from src.data.cache import Framing, decode, fingerprint
from src.data.downloads import fetch
from src.data.image_sets import ImageSet
from src.data.kinds import open_set
from src.data.layout import Layout, choose, count_phrase
from src.data.listing import HUB, has_set
from src.data.loader import Reading
from src.data.parquet import from_hub
from src.data.sources import DOWNLOADS
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.runs.escape import line
from src.transforms.degradations import Degradation


class Folder(DataModule):
    """Images of a folder, an archive or a file of arrays.

    Args:
        name: name of the set, for records and for the cache.
        kind: images.
        channels: 3, or 1 for grey.
        resolution: side of the images in pixels.
        labels: classes that are taken, in this order; empty takes all that are there, None makes
            the images unlabelled.
        source: `real`, or `builtin` where something stands in for it, see `garments.py`.
        root: the folder or file.
        cache: folder of decoded images.
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

    needed = "a folder with images, or a zip, tar or tar.gz of them"
    looks_for = "src.data.sources.no_set"
    mirrors = "src.data.sources.set_addresses"

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1, 3],
        resolution: PositiveInt,
        labels: Sequence[str] | None,
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
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
        self.builtin = source == "builtin"
        if root is None:
            raise SettingError(f"data.root is not set.\nSet it to {self.needed}.")
        self.framing = Framing(
            resolution=resolution, channels=channels, crop=crop, resize=resize, filter=filter,
            background=background,
        )  # fmt: skip
        self.name, self.cache, self.max_broken = name, cache, max_broken
        self.layout = Layout({})
        if not self.builtin:
            place = from_hub(root, cache) if root.startswith(HUB) else Path(root).expanduser()
            if name in DOWNLOADS and not has_set(place):
                fetch(place, name)
            self.files = open_set(place)
            self.layout = choose(self.files.layout(blocks=not labels), labels)
        spec = DataSpec(kind, (channels, resolution, resolution), self.layout.class_names)
        super().__init__(spec, batch_size, seed, flip, reading, degradation)

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        layout = self.layout
        images, kept, made_by, remarks = decode_splits(
            self.files, layout.splits, self.framing, self.name, self.cache, self.max_broken
        )
        self.files.close()
        index = {name: i for i, name in enumerate(self.spec.classes)}
        splits = {}
        for split, x in images.items():
            y = torch.tensor([index[layout.classes[n]] for n in kept[split]]) if index else None
            splits[split] = Split(x, y)
        if left_out := count_phrase(layout.left_out.items()):
            remarks = [f"Left out: {left_out}.", *remarks]
        self.remarks = layout.remarks + remarks
        content = fingerprint(made_by.pop("images"), _labels(splits), list(index))
        return splits, identity(self.name, "real", splits, content, **made_by)


class Decoded(NamedTuple):
    """Images of a set after decoding.

    Attributes:
        images: per split uint8 (n, c, h, w).
        names: per split the names of these n.
        made_by: what belongs in `data_id`, with `images`, the hash of all pixels.
        remarks: sentences on what is broken, and what is there twice.
    """

    images: dict[str, Tensor]
    names: dict[str, list[str]]
    made_by: dict[str, object]
    remarks: list[str]


def decode_splits(
    source: ImageSet,
    splits: dict[str, list[str]],
    framing: Framing,
    name: str,
    cache: str,
    max_broken: float,
) -> Decoded:
    """Decode the named images of each split, from the cache if they have not changed.

    Args:
        source: the set.
        splits: names of the images of each split.
        framing: size of the results.
        name: for the cache.
        cache: folder of the cache.
        max_broken: share of the files that may be unreadable and are left out.

    Raises:
        SettingError: if a setting or too many files are wrong.
    """
    if not 0 <= max_broken < 1:
        raise SettingError(f"data.max_broken={max_broken} must be a share from 0 to below 1.")
    ordered = [name for names in splits.values() for name in names]
    x, info = decode(source, ordered, framing, cache=cache, name=name, max_broken=max_broken)
    split_of = {name: split for split, names in splits.items() for name in names}
    kept: dict[str, list[str]] = {split: [] for split in splits}
    for each in info["names"]:
        kept[split_of[each]].append(each)
    # Splits follow each other in the entry, so that each is a view of the mapped file.
    sizes = [len(names) for names in kept.values()]
    images = dict(zip(kept, torch.from_numpy(x).split(sizes), strict=True))
    made_by = {
        "images": info["hash"],
        "crop": framing.crop,
        "resize": framing.filter,
        "broken": len(info["broken"]),
    }
    if framing.resize != "crop":
        made_by["fit"] = framing.resize
    remarks = []
    if broken := info["broken"]:
        first, reason = next(iter(broken.items()))
        remarks.append(f"Broken: {len(broken):,}, the first {line(first, 60)}: {line(reason, 80)}.")
    remarks += count_copies(info["twins"], [split_of[each] for each in info["names"]])
    return Decoded(images, kept, made_by, remarks)


def count_copies(twins: list[list[int]], splits: list[str]) -> list[str]:
    """A remark on held-out images that are training images too.

    Args:
        twins: pairs (i, j) of equal images, see `cache.decode`.
        splits: split of each image.
    """
    first = dict(twins)
    trained = {first.get(i, i) for i, split in enumerate(splits) if split == "train"}
    held_out = [i for i, split in enumerate(splits) if split != "train"]
    copies = sum(first.get(i, i) in trained for i in held_out)
    if not copies:
        return []
    return [f"Of the {len(held_out):,} held out, {copies:,} are exact copies of training images."]


def _labels(splits: dict[str, Split]) -> np.ndarray:
    labels = [split.y.numpy() for split in splits.values() if split.y is not None]
    return np.concatenate(labels) if labels else np.empty(0)
