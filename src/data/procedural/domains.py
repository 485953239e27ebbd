"""Scenes drawn twice: the built-in stand-ins for two domains, whose true translation is known.

    drawing   faces         A line drawing          B colours
    palette   faces         A colours               B flat paint of twelve colours
    glasses   faces         A without               B with glasses
    age       faces         A young                 B old
    season    landscapes    A summer                B winter
    dusk      landscapes    A day                   B dusk
    stripes   animals       A plain                 B striped
    focus     animals       A sharp all over        B sharp in front, blurred behind
    weave     garments      A smooth cloth          B woven cloth

Scene i of a domain depends on (seed, i) only, and is the same in both.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import Tensor

from src.data.loader import degrade
from src.data.procedural import dice, faces, garments, sdf
from src.data.spec import to_model, to_uint8
from src.distributed.noise import SampleDraws
from src.transforms import degradations
from src.transforms.degradations import Degradation, LineDrawing, Palette

CODE = (dice, faces, garments, sdf, degradations)
AT_ONCE = 500

Progress = Callable[[int], object]
# n scenes by a seed, with a side of r pixels: uint8 (k, 3, r, r) at a time, k told when it is done.
Draw = Callable[[int, int, int, Progress], Iterator[Tensor]]


class Change(NamedTuple):
    """What differs between two domains.

    Attributes:
        scene: what is drawn: name of the data in records.
        a: draws the one domain.
        b: draws the other.
    """

    scene: str
    a: Draw
    b: Draw


def _faces(
    n: int,
    seed: int,
    resolution: int,
    progress: Progress,
    degradation: Degradation | None = None,
) -> Iterator[Tensor]:
    for rows in faces.sample_factors(n, seed).split(AT_ONCE):
        x = faces.render(rows, resolution)
        if degradation:
            draws = SampleDraws(range(len(x)))  # not random, and asked for by none
            # In float64, so that rounding hides what differs between machines.
            x = degrade(degradation, to_model(x).double(), draws)
            x = to_uint8(x).expand(-1, 3, -1, -1)
        yield x
        progress(len(x))


CHANGES = {
    "drawing": Change("faces", partial(_faces, degradation=LineDrawing(0.8)), _faces),
    "palette": Change("faces", _faces, partial(_faces, degradation=Palette(1.0))),
}
