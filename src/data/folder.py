"""Any folder or zip of images; subfolders are classes.

What the arrangement of the files says:

    root/cat/1.jpg, root/dog/7.png ...            two classes, every tenth image held out
    root/train/cat/1.jpg, root/test/cat/2.jpg ... the same with a test split of its own
    root/1.jpg ...                                no classes
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule, identity
from src.data.cache import decode, fingerprint
from src.data.loader import Reading
from src.data.sources import NEEDED, arrange, image_names, image_root
from src.data.spec import DataSpec, Split
from src.errors import SettingError
from src.transforms.degradations import Degradation


class Folder(DataModule):
    """Images of a folder or zip.

    Args:
        name: name of the set, for records and for the cache.
        kind: images.
        channels: 3, or 1 for grey.
        resolution: side of the images in pixels, after crop and resize.
        labels: empty: the classes are the subfolders.
        source: `real`, or `builtin` where something stands in for it, see `garments.py`.
        root: the folder or zip.
        cache: folder of decoded images.
        crop: side of the centred square that is cut out, in pixels of the files; None takes the
            largest.
        resize: filter, antialiased, from that square to `resolution`.
        max_broken: share of the files that may be unreadable and are left out.
        batch_size: samples per batch.
        seed: seed of the order and of the flips.
        flip: mirror each training image with probability 1/2.
        reading: see `DataModule`.
        degradation: see `DataModule`.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1, 3],
        resolution: PositiveInt,
        labels: Sequence[str],
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        crop: PositiveInt | None,
        resize: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"],
        max_broken: Share,
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        self.builtin = source == "builtin"
        if root is None:
            raise SettingError(f"data.root is not set.\nSet it to {NEEDED['Folder']}.")
        self.files = ImageFiles(root, name, cache, channels, resolution, crop, resize, max_broken)
        self.groups, self.classes = self._arrange()
        spec = DataSpec(
            kind, (channels, resolution, resolution), tuple(sorted(set(self.classes.values())))
        )
        super().__init__(spec, batch_size, seed, flip, reading, degradation)
        self.name = name

    def _arrange(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Names of the files in each split, and the class of each."""
        return arrange(image_names(self.files.root))

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        images, kept, made_by = self.files.decode(self.groups)
        index = {name: i for i, name in enumerate(self.spec.classes)}
        splits = {}
        for split, x in images.items():
            y = torch.tensor([index[self.classes[n]] for n in kept[split]]) if index else None
            splits[split] = Split(x, y)
        content = fingerprint(made_by.pop("images"), _labels(splits), list(index))
        return splits, identity(self.name, "real", splits, content, **made_by)


class ImageFiles:
    """Image files of a folder or zip on their way to splits of uint8 tensors.

    Args:
        root: what the user calls the place; the images may lie in CelebA's own folder or in a
            single zip there.
        name: for the cache.
        cache: see `Folder`, as the rest.
        channels: 3 or 1.
        resolution: resolution of the result.
        crop: crop of the centred square, or None.
        resize: filter.
        max_broken: share that may be left out.
    """

    def __init__(
        self,
        root: str,
        name: str,
        cache: str,
        channels: int,
        resolution: int,
        crop: int | None,
        resize: str,
        max_broken: float,
    ) -> None:
        for setting, value in (("resolution", resolution), ("crop", crop)):
            if value is not None and value <= 0:
                raise SettingError(f"data.{setting}={value} must be positive.")
        if not 0 <= max_broken < 1:
            raise SettingError(f"data.max_broken={max_broken} must be a share from 0 to below 1.")
        self.root = image_root(Path(root).expanduser())
        self.name, self.cache, self.channels, self.resolution = name, cache, channels, resolution
        self.crop, self.resize, self.max_broken = crop, resize, max_broken

    def decode(
        self, groups: dict[str, list[str]]
    ) -> tuple[dict[str, Tensor], dict[str, list[str]], dict[str, object]]:
        """Decode the named files of each split, from the cache if they have not changed.

        Returns:
            Per split uint8 (n, c, h, w) and the names of these n; then what belongs in `data_id`,
            with `images`, the hash of all pixels.
        """
        x, info = decode(
            self.root,
            [name for names in groups.values() for name in names],
            cache=self.cache,
            name=self.name,
            resolution=self.resolution,
            channels=self.channels,
            crop=self.crop,
            resize=self.resize,
            max_broken=self.max_broken,
        )
        split_of = {name: split for split, names in groups.items() for name in names}
        kept: dict[str, list[str]] = {split: [] for split in groups}
        for name in info["names"]:
            kept[split_of[name]].append(name)
        # Splits follow each other in the entry, so that each is a view of the mapped file.
        sizes = [len(names) for names in kept.values()]
        images = dict(zip(kept, torch.from_numpy(x).split(sizes), strict=True))
        made_by = {
            "images": info["hash"],
            "crop": self.crop,
            "resize": self.resize,
            "broken": len(info["broken"]),
        }
        return images, kept, made_by


def _labels(splits: dict[str, Split]) -> np.ndarray:
    labels = [split.y.numpy() for split in splits.values() if split.y is not None]
    return np.concatenate(labels) if labels else np.empty(0)
