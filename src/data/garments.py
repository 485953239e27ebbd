"""Photographs of clothes: any folder of them, or drawn garments where there is none."""

from pathlib import Path

import torch
from tqdm import tqdm

from src.data.base import identity
from src.data.cache import Write, entry, fingerprint
from src.data.folder import Folder
from src.data.procedural import dice, garments, sdf
from src.data.spec import Split, grey

DRAWN = {"train": (5_000, 0), "test": (500, 1)}  # images and seed


class Garments(Folder):
    """A folder or zip as `Folder` reads it; the stand-in has no classes."""

    def _arrange(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        return ({}, {}) if self.builtin else super()._arrange()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        if not self.builtin:
            return super().load()
        channels, resolution = self.spec.shape[:2]
        drawn = {split: garments.sample_factors(n, seed) for split, (n, seed) in DRAWN.items()}
        total = sum(n for n, _ in DRAWN.values())

        def produce(write: Write) -> dict[str, object]:
            bar = tqdm(total=total, desc="drawing garments", unit="img", delay=1.5, disable=None)
            with bar:
                for factors, kinds in drawn.values():
                    x = garments.render(factors, kinds, resolution, progress=bar.update)
                    write((grey(x) if channels == 1 else x).numpy())
            return {}

        code = [Path(module.__file__).read_text() for module in (garments, sdf, dice)]
        x, info = entry(
            self.files.cache,
            f"garments-{resolution}px",
            [code, DRAWN],
            self.spec.shape,
            total,
            produce,
        )
        parts = torch.from_numpy(x).split([n for n, _ in DRAWN.values()])
        splits = {split: Split(part) for split, part in zip(DRAWN, parts, strict=True)}
        return splits, identity("garments", "builtin", splits, fingerprint(info["hash"]))
