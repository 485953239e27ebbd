"""Pictures of a comparison: what the first run of each group drew over its training.

All runs draw from the codes of one seed at the same times of their budget, so that frames of
different variants can be looked at side by side. Small WebP files as data addresses.

Runs may be those of strangers: only PNG files of a stated, bearable size are decoded, and what is
shown is always drawn anew.
"""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from src.report.comparison import Comparison, Picture
from src.report.read import Record, data_address
from src.runs.run import evenly
from src.runs.stored import read_png

TILES = 8  # of a grid, in either direction
THREADS = 4  # each holds one decoded picture


class Size(NamedTuple):
    """Size of pictures: the longest side in pixels, frames of a group, WebP's quality."""

    side: int
    frames: int
    quality: int


# The first that fits into the megabytes, or the last.
SIZES = (Size(460, 8, 75), Size(320, 6, 65), Size(240, 4, 55), Size(160, 2, 50))


def add_pictures(comparison: Comparison, records: Mapping[str, Record], megabytes: float) -> None:
    """Give the first run of each group its pictures.

    Args:
        records: records of the runs, by their folder.
        megabytes: size of all pictures; they are scaled down to it, at most to the last of SIZES.
    """
    firsts = {group.runs[0] for table in comparison.tables for group in table.groups}
    runs = [run for run in comparison.runs if run.id in firsts and run.folder in records]
    there = {run.id: records[run.folder].frames() for run in runs}
    pitch = {run.id: _pitch(records[run.folder]) for run in runs}
    with ThreadPoolExecutor(THREADS) as pool:  # Pillow works outside of the interpreter's lock
        for size in SIZES:
            # The last frames have the most to show; the others are about as large.
            lasts = [(there[run.id][-1][1], pitch[run.id], size) for run in runs if there[run.id]]
            bytes_each = sum(map(len, pool.map(_encode, lasts))) / max(len(lasts), 1)
            n = sum(len(evenly(there[run.id], size.frames)) for run in runs)
            if bytes_each * n < megabytes * 1e6:
                break
        for run in runs:
            chosen = evenly(there[run.id], size.frames)
            images = pool.map(_encode, [(path, pitch[run.id], size) for _, path in chosen])
            run.pictures = [
                Picture(samples, image)
                for (samples, _), image in zip(chosen, images, strict=True)
                if image
            ]


def _pitch(record: Record) -> int | None:
    """Pixels from one tile to the next in `src.pictures.grids.grid`; None for points."""
    shape = (record.summary.get("data_id") or {}).get("shape") or ()
    if len(shape) != 3 or min(shape) < 1:
        return None
    largest = max(shape[1:])
    return max(1, 64 // largest) * largest + 2


def _encode(frame: tuple[Path, int | None, Size]) -> str:
    """The picture, at most eight tiles wide and high; empty if it cannot be read."""
    path, pitch, size = frame
    try:
        picture = read_png(path, TILES * pitch + 2 if pitch else None)
        picture.thumbnail((size.side, size.side))
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=size.quality, method=1)
    except (OSError, ValueError):
        return ""
    return data_address(out.getvalue(), "image/webp")
