"""Pairs of images, a source and its target, for `model=pix2pix` and its like.

What the arrangement of the files says:

    root/trainA/1.jpg, root/trainB/1.jpg, root/testA/2.jpg ...   paired by their names
    root/train/1.jpg, root/test/2.jpg ...                        both in one image, side by side
    root/1.jpg ...                                               the same, every tenth held out

The second is the form of pix2pix's own data sets. A is the source and B the target, or the other
way round with `direction=b_to_a`. The folder may be an archive.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from torch import Tensor

from src.config.ranges import PositiveInt
from src.data.base import DataModule, identity
from src.data.cache import Framing, decode, fingerprint
from src.data.image_sets import FileImages
from src.data.layout import arrange
from src.data.listing import image_root
from src.data.loader import Reading
from src.data.spec import DataSpec, Split
from src.errors import SettingError

COMPARED = 100  # pairs whose sizes are looked at


class Pairs(DataModule):
    """Pairs of a folder or archive.

    Args:
        name: name of the set, for records and for the cache.
        kind: images.
        channels: of the targets: 3, or 1 for grey.
        source_channels: of the sources.
        resolution: side of both in pixels, after crop and resize.
        direction: whether A or B is the source.
        labels: empty: pairs have no classes.
        source: `real`: nothing stands in for it.
        root: the folder or archive.
        cache: folder of decoded images.
        crop: of both images, see `Framing`, as the next three.
        resize: see `Framing`.
        filter: see `Framing`.
        background: see `Framing`.
        batch_size: pairs per batch.
        seed: seed of the order and of the flips.
        flip: mirror both images of a training pair with probability 1/2.
        reading: see `DataModule`.
    """

    needed = (
        "a folder with trainA/ and trainB/ (testA/, testB/), or train/ with pairs side by side in "
        "one image"
    )
    looks_for = "src.data.sources.no_images"

    def __init__(
        self,
        name: str,
        kind: Literal["images"],
        channels: Literal[1, 3],
        source_channels: Literal[1, 3],
        resolution: PositiveInt,
        direction: Literal["a_to_b", "b_to_a"],
        labels: list[str],
        source: Literal["auto", "real", "builtin"],
        root: str | None,
        cache: str,
        crop: PositiveInt | None,
        resize: Literal["crop", "pad", "stretch"],
        filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"],
        background: Literal["white", "grey", "black"],
        batch_size: int,
        seed: int,
        flip: bool = False,
        reading: Reading | None = None,
    ) -> None:
        if root is None:
            raise SettingError(f"data.root is not set.\nSet it to {self.needed}.")
        size = (resolution, resolution)
        spec = DataSpec(kind, (channels, *size), source=DataSpec(kind, (source_channels, *size)))
        super().__init__(spec, batch_size, seed, flip, reading)
        self.name, self.cache, self.direction = name, cache, direction
        self.framing = Framing(
            resolution=resolution, channels=channels, crop=crop, resize=resize, filter=filter,
            background=background,
        )  # fmt: skip
        self.files = FileImages(image_root(Path(root).expanduser()))
        self.groups, self.side_by_side = arrange_pairs(self.files.listing.names, self.files.root)
        self._compare_sizes()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        sides = {"a_to_b": ("a", "b"), "b_to_a": ("b", "a")}[self.direction]
        sources, source_hash = self._decode(sides[0], self.spec.source.shape[0])
        targets, content = self._decode(sides[1], self.spec.shape[0])
        self.files.close()
        self.sources = sources
        splits = {split: Split(x) for split, x in targets.items()}
        # The first hash is of the targets alone: what is kept of their features goes by it.
        framing = self.framing
        made_by = {"direction": self.direction, "crop": framing.crop, "resize": framing.filter}
        if framing.resize != "crop":
            made_by["fit"] = framing.resize
        made_by["source_hash"] = source_hash
        return splits, identity(self.name, "real", splits, fingerprint(content), **made_by)

    def _decode(self, side: Literal["a", "b"], channels: int) -> tuple[dict[str, Tensor], str]:
        """Images (n, c, r, r) of each split on one side, and a hash of them all."""
        place = 0 if side == "a" else 1
        half = ("left", "right")[place] if self.side_by_side else None
        x, info = decode(
            self.files,
            [pair[place] for pairs in self.groups.values() for pair in pairs],
            replace(self.framing, channels=channels, half=half),
            cache=self.cache,
            name=f"{self.name}-{side}",
            max_broken=0.0,
        )
        sizes = [len(pairs) for pairs in self.groups.values()]
        parts = torch.from_numpy(x).split(sizes)
        return dict(zip(self.groups, parts, strict=True)), info["hash"]

    def _compare_sizes(self) -> None:
        """Refuse pairs of two files with different sizes, which would not lie on each other."""
        if self.side_by_side:
            return
        pairs = [pair for pairs in self.groups.values() for pair in pairs]
        for pair in pairs[:: max(1, len(pairs) // COMPARED)]:
            sizes = []
            for name in pair:
                try:
                    with self.files.open(name) as image:
                        sizes.append(image.size)
                except Exception:  # `decode` says what is wrong with it
                    return
            if sizes[0] != sizes[1]:
                shown = [f"{name} has {w} x {h}" for name, (w, h) in zip(pair, sizes, strict=True)]
                raise SettingError(
                    f"data.root={self.files.root}: the two images of a pair must have one size; "
                    f"{' and '.join(shown)} pixels."
                )


Pair = tuple[str, str]  # names of A and B; one name twice if they are one file


def arrange_pairs(names: list[str], root: Path) -> tuple[dict[str, list[Pair]], bool]:
    """Pairs of each split, and whether both images of a pair are one file.

    Args:
        names: names of all images.
        root: for messages.

    Raises:
        SettingError: if an image has no counterpart, or several.
    """
    sides: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        folder, stem = PurePosixPath(name).parent.name, PurePosixPath(name).stem
        for split in ("train", "test", "val"):
            if folder in (f"{split}A", f"{split}B"):
                other = sides.setdefault((split, folder[-1]), {}).setdefault(stem, name)
                if other != name:
                    raise SettingError(
                        f"data.root={root}: {other} and {name} are both {stem} of {folder}.\n"
                        "Remove one of them, or set data.root to the folder of one set of pairs."
                    )
    if not sides:
        splits = arrange(names).splits
        return {split: [(name, name) for name in own] for split, own in splits.items()}, True
    groups: dict[str, list[Pair]] = {}
    for split in ("train", "test", "val"):
        a, b = sides.get((split, "A"), {}), sides.get((split, "B"), {})
        if alone := sorted(a.keys() ^ b.keys()):
            raise SettingError(
                f"data.root={root}: {split}A has {len(a):,} images and {split}B {len(b):,}; "
                f"without a counterpart: {', '.join(alone[:3])}{' ...' if alone[3:] else ''}.\n"
                "The two images of a pair have the same name, but for its ending."
            )
        if a:
            groups[split] = [(a[stem], b[stem]) for stem in sorted(a)]
    if "train" not in groups:
        raise SettingError(f"data.root={root}: no pairs in trainA and trainB.")
    if "test" not in groups:
        pairs = groups["train"]
        held = groups.pop("val", None)
        groups["test"] = held or pairs[9::10]
        groups["train"] = pairs if held else [p for i, p in enumerate(pairs) if i % 10 != 9]
    return {split: pairs for split, pairs in groups.items() if pairs}, False
