"""Photographs of clothes: any folder of them, or drawn garments where there is none."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.base import identity
from src.data.cache import Write, entry, fingerprint
from src.data.folder import Folder
from src.data.procedural import dice, garments, sdf
from src.data.spec import Split, grey

DRAWN = {"train": (5_000, 0), "test": (500, 1)}  # images and seed


class Garments(Folder):
    """A folder or zip as `Folder` reads it; the stand-in has the kinds of garment as classes."""

    def _arrange(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        if not self.builtin:
            return super()._arrange()
        return {}, {kind: kind for kind in garments.KINDS}

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        if not self.builtin:
            return super().load()
        images, kinds, content = self._draw()
        order = torch.tensor([self.spec.classes.index(kind) for kind in garments.KINDS])
        splits = {split: Split(x, order[kinds[split]]) for split, x in images.items()}
        return splits, identity("garments", "builtin", splits, fingerprint(content))

    def _draw(self) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
        """Images and kinds by split, and the hash of all pixels."""
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
        kinds = {split: each for split, (_, each) in drawn.items()}
        parts = torch.from_numpy(x).split([len(each) for each in kinds.values()])
        return dict(zip(kinds, parts, strict=True)), kinds, info["hash"]
