"""Data sets that are drawn: made once, and kept in the cache of images."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from tqdm import tqdm

from src.data.cache import Write, entry
from src.data.spec import grey

Progress = Callable[[int], object]  # is told how many more images are done


def drawn(
    draw: Callable[[Progress], Iterable[Tensor]],
    sizes: Mapping[str, int],
    shape: tuple[int, ...],
    cache: str | Path,
    name: str,
    code: Iterable[ModuleType],
    made_of: object,
) -> tuple[dict[str, Tensor], str]:
    """Images of each split, drawn now if the cache does not have them.

    Args:
        draw: gives uint8 images (k, 3, r, r), those of the first split first.
        sizes: images of each split.
        shape: (c, r, r) of the result; with one channel the images become grey.
        cache: folder of the cache.
        name: for the file in the cache, and for the progress bar.
        code: modules that draw: another text, other images.
        made_of: what else decides the content, JSON-like.

    Returns:
        Uint8 (n, c, r, r) of each split, and a hash of them all.
    """
    total = sum(sizes.values())

    def produce(write: Write) -> dict[str, object]:
        bar = tqdm(total=total, desc=f"drawing {name}", unit="img", delay=1.5, disable=None)
        with bar:
            for x in draw(bar.update):
                write((grey(x) if shape[0] == 1 else x).numpy())
        return {}

    text = [Path(module.__file__).read_text() for module in code]
    x, info = entry(cache, f"{name}-{shape[-1]}px", [text, made_of], shape, total, produce)
    parts = torch.from_numpy(x).split(list(sizes.values()))
    return dict(zip(sizes, parts, strict=True)), info["hash"]
