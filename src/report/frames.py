"""Pictures of a comparison: what the first run of each group drew over its training.

All runs draw from the codes of one seed at the same times of their budget, so that frames of
different variants can be looked at side by side. Small WebP files as data addresses.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from src.report.comparison import Comparison, Picture
from src.report.read import Record, data_address

TILES = 8  # of a grid, in either direction
BUDGET = 6_000_000  # bytes of all pictures; a page should stay under 10 MB
# Longest side in pixels, frames per group and quality: the first that fits into the budget.
SIZES = ((460, 8, 75), (320, 6, 65), (240, 4, 55), (160, 2, 50))


def add_pictures(comparison: Comparison, records: Mapping[str, Record]) -> None:
    """Give the first run of each group its pictures.

    Args:
        records: of the runs, by their place.
    """
    firsts = {group.runs[0] for table in comparison.tables for group in table.groups}
    runs = [run for run in comparison.runs if run.id in firsts and run.folder in records]
    there = [records[run.folder].frames() for run in runs]
    for side, most, quality in SIZES:
        frames = [
            (run, samples, path, records[run.folder])
            for run, own in zip(runs, there, strict=True)
            for samples, path in spread(own, most)
        ]
        with ThreadPoolExecutor() as pool:  # Pillow works outside of the interpreter's lock
            images = list(
                pool.map(lambda frame: _encode(frame[2], _pitch(frame[3]), side, quality), frames)  # noqa: B023
            )
        if sum(map(len, images)) < BUDGET:
            break
    for run in runs:
        run.pictures = [
            Picture(samples, image)
            for (owner, samples, *_), image in zip(frames, images, strict=True)
            if owner is run and image
        ]


def spread(frames: Sequence[tuple[int, Path]], most: int) -> list[tuple[int, Path]]:
    """At most so many frames, evenly chosen, with the first and the last."""
    if len(frames) <= most:
        return list(frames)
    return [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]


def _pitch(record: Record) -> int | None:
    """Pixels from one tile to the next, as `src.pictures.grid` draws them; None for points."""
    shape = (record.summary.get("data_id") or {}).get("shape") or ()
    if len(shape) != 3:
        return None
    largest = max(shape[1:])
    return max(1, 64 // largest) * largest + 2


def _encode(path: Path, pitch: int | None, side: int, quality: int) -> str:
    """The picture, at most eight tiles wide and high; empty if it cannot be read."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (OSError, SyntaxError):  # Pillow's word for a damaged PNG
        return ""
    if pitch:
        edge = TILES * pitch + 2
        picture = picture.crop((0, 0, min(edge, picture.width), min(edge, picture.height)))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=quality, method=3)
    return data_address(out.getvalue(), "image/webp")
