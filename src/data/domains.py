"""Two domains of images without pairs, for `model=cyclegan` and its like.

    root/trainA/1.jpg ..., root/trainB/x.png ...   two sets, of different sizes and names
    root/testA/..., root/testB/...                 held out; else every tenth of a set

This is the form of CycleGAN's own data sets. A is the source and B the target, or the other way
round with `direction=b_to_a`. The folder may be an archive.

What stands in for them are scenes that are drawn twice (`stand_ins.py`), so that the truth is
known. A model that needs no pairs is not shown any; one that learns from pairs can be trained on
the same images.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from torch import Tensor

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule, identity
from src.data.cache import Framing, fingerprint
from src.data.drawn import drawn
from src.data.folder import decode_splits
from src.data.image_sets import FileImages
from src.data.listing import image_root
from src.data.loader import Reading
from src.data.procedural import domains
from src.data.spec import DataSpec, Split
from src.errors import SettingError

DRAWN = {"train": (4_500, 0), "test": (500, 1)}  # scenes and seed


class Domains(DataModule):
    """Images of two domains, of a folder or archive, or drawn.

    Args:
        name: name of the set, for records and for the cache.
        kind: images.
        channels: of the targets: 3, or 1 for grey.
        source_channels: of the sources.
        resolution: side of both in pixels, after crop and resize.
        direction: `a_to_b`: A is the source and B the target; or the other way round.
        labels: empty: domains have no classes.
        source: `real`, or `builtin` for drawn scenes (`auto` is resolved before).
        stand_in: what differs between the two pictures of a drawn scene.
        root: the folder or archive.
        cache: folder of decoded and drawn images.
        crop: see `Framing`.
        resize: see `Framing`.
        filter: see `Framing`.
        background: see `Framing`.
        max_broken: share of the files that may be unreadable and are left out.
        batch_size: images of each domain per batch.
        seed: seed of the orders and of the flips.
        flip: mirror each training image with probability 1/2.
        reading: see `DataModule`.
    """

    needed = "a folder with trainA/ and trainB/ (testA/, testB/), of any two kinds of images"
    looks_for = "src.data.sources.no_images"
    stands_in = "5,000 scenes that are drawn twice (data.stand_in)"

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
        stand_in: Literal[
            "drawing", "palette", "glasses", "age", "season", "dusk", "stripes", "focus", "weave"
        ],
        root: str,
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
    ) -> None:
        self.builtin = source == "builtin"
        size = (resolution, resolution)
        spec = DataSpec(
            kind,
            (channels, *size),
            source=DataSpec(kind, (source_channels, *size)),
            paired=self.builtin,
        )
        super().__init__(spec, batch_size, seed, flip, reading)
        self.name, self.stand_in, self.direction = name, stand_in, direction
        self.root, self.cache, self.max_broken = root, cache, max_broken
        self.framing = Framing(
            resolution=resolution, channels=channels, crop=crop, resize=resize, filter=filter,
            background=background,
        )  # fmt: skip

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        read = self._draw if self.builtin else self._read
        sides = {"a": self.spec.source, "b": self.spec}
        if self.direction == "b_to_a":
            sides = {"b": self.spec.source, "a": self.spec}
        (self.sources, of_sources), (targets, of_targets) = (
            read(side, spec.shape) for side, spec in sides.items()
        )
        both = targets.keys() & self.sources.keys()  # only one side may have a third split
        self.sources = {split: x for split, x in self.sources.items() if split in both}
        splits = {split: Split(x) for split, x in targets.items() if split in both}
        made_by = {"direction": self.direction, "source_hash": of_sources.pop("images")}
        made_by["source_splits"] = {split: len(x) for split, x in self.sources.items()}
        # The first hash is of the targets alone: what is kept of their features goes by it.
        content = fingerprint(of_targets.pop("images"))
        name, origin = (self.name, "real")
        if self.builtin:
            name, origin = domains.CHANGES[self.stand_in].scene, "builtin"
            made_by["stand_in"] = self.stand_in
        return splits, identity(name, origin, splits, content, **made_by, **of_targets)

    def _read(
        self, side: Literal["a", "b"], shape: tuple[int, ...]
    ) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Images (n, c, r, r) of each split of a domain, and what made them."""
        files = FileImages(image_root(Path(self.root).expanduser()))
        splits = arrange_domain(files.listing.names, side.upper(), self.root)
        framing = replace(self.framing, channels=shape[0])
        images, _, made_by, remarks = decode_splits(
            files, splits, framing, f"{self.name}-{side}", self.cache, self.max_broken
        )
        files.close()
        self.remarks += [f"{side.upper()}: {remark}" for remark in remarks]
        return images, made_by

    def _draw(
        self, side: Literal["a", "b"], shape: tuple[int, ...]
    ) -> tuple[dict[str, Tensor], dict[str, object]]:
        """The same of a drawn domain."""
        change = domains.CHANGES[self.stand_in]
        draw = {"a": change.a, "b": change.b}[side]
        images, content = drawn(
            lambda progress: (
                x for n, seed in DRAWN.values() for x in draw(n, seed, shape[-1], progress)
            ),
            {split: n for split, (n, _) in DRAWN.items()},
            shape,
            self.cache,
            f"{change.scene}-{self.stand_in}-{side}",
            domains.CODE,
            [DRAWN, self.stand_in, side],
        )
        return images, {"images": content}


def arrange_domain(names: list[str], side: Literal["A", "B"], root: object) -> dict[str, list[str]]:
    """Names of one domain's images in each split.

    Args:
        names: names of all images.
        side: which domain.
        root: for messages.

    Raises:
        SettingError: if it has none to train on.
    """
    groups: dict[str, list[str]] = {}
    places = set()
    for split in ("train", "test", "val"):
        for name in names:
            folder = PurePosixPath(name).parent
            if folder.name == f"{split}{side}":
                groups.setdefault(split, []).append(name)
                places.add(str(folder.parent))
    if len(places) > 1:
        first, second, *_ = sorted(places)
        raise SettingError(
            f"data.root={root}: there are domains in {first} and in {second}.\n"
            "Set data.root to one of these folders."
        )
    train = groups.get("train", [])
    if not train:
        raise SettingError(
            f"data.root={root}: no images in train{side}.\n"
            "Two domains are the folders trainA and trainB, and testA and testB if there are some."
        )
    if "test" in groups:
        return groups
    if "val" in groups:
        return {"train": train, "test": groups["val"]}
    if len(train) < 2:
        raise SettingError(
            f"data.root={root}: train{side} has one image, and none is held out.\n"
            f"Add images, or a folder test{side}."
        )
    held_out = train[9::10] or train[-1:]
    left = set(held_out)
    return {"train": [name for name in train if name not in left], "test": held_out}
