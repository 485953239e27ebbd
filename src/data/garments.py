"""Photographs of clothes: any folder of them, or drawn garments where there is none."""

from src.data.base import identity
from src.data.cache import fingerprint
from src.data.drawn import drawn
from src.data.folder import Folder
from src.data.procedural import dice, garments, sdf
from src.data.spec import Split

DRAWN = {"train": (5_000, 0), "test": (500, 1)}  # images and seed


class Garments(Folder):
    """Images as `Folder` reads them; the stand-in has no classes."""

    mirrors = ()
    stands_in = "5,500 drawn garments"

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        if not self.builtin:
            return super().load()
        resolution = self.spec.shape[-1]
        rows = {split: garments.sample_factors(n, seed) for split, (n, seed) in DRAWN.items()}
        images, content = drawn(
            lambda progress: (
                garments.render(factors, kinds, resolution, progress=progress)
                for factors, kinds in rows.values()
            ),
            {split: n for split, (n, _) in DRAWN.items()},
            self.spec.shape,
            self.cache,
            "garments",
            (garments, sdf, dice),
            DRAWN,
        )
        splits = {split: Split(x) for split, x in images.items()}
        return splits, identity("garments", "builtin", splits, fingerprint(content))
