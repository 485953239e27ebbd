"""Data sets that are drawn: made once, and kept in the cache."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.cache import Write, entry
from src.data.spec import grey

Progress = Callable[[int], object]  # is told how many more samples are done


def drawn(
    draw: Callable[[Progress], Iterable[Tensor]],
    sizes: Mapping[str, int],
    shape: tuple[int, ...],
    cache: str | Path,
    name: str,
    code: Iterable[ModuleType],
    made_of: object,
) -> tuple[dict[str, Tensor], str]:
    """Images or voxels of each split, drawn now if the cache does not have them.

    Args:
        draw: gives uint8 images (k, 3, r, r) or bool voxels (k, 1, r, r, r), those of the first
            split first.
        sizes: samples of each split.
        shape: (c, r, r) of the result, where images of one channel become grey; or (1, r, r, r).
        cache: folder of the cache.
        name: for the file in the cache, and for the progress bar.
        code: modules that draw: another text, other images.
        made_of: what else decides the content, JSON-like.

    Returns:
        Images uint8 (n, c, r, r), or voxels bool (n, 1, r, r, r), of each split, and a hash of
        them all.
    """
    total, images = sum(sizes.values()), len(shape) == 3

    def produce(write: Write) -> dict[str, object]:
        unit = "img" if images else "solid"
        with tqdm(total=total, desc=f"drawing {name}", unit=unit, delay=1.5, disable=None) as bar:
            for x in draw(bar.update):
                write((grey(x) if images and shape[0] == 1 else x).numpy())
        return {}

    text = [Path(module.__file__).read_text() for module in code]
    label = f"{name}-{shape[-1]}{'px' if images else '^3'}"
    x, info = entry(cache, label, [text, made_of], shape, total, produce)
    x = torch.from_numpy(x)
    parts = (x if images else x.view(torch.bool)).split(list(sizes.values()))
    return dict(zip(sizes, parts, strict=True)), info["hash"]
