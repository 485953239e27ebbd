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

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from src.data.loader import degrade
from src.data.procedural import ageing, animals, canvas, dice, faces, garments, landscapes, sdf
from src.data.procedural.canvas import check_resolution
from src.data.spec import to_model, to_uint8
from src.distributed.noise import SampleDraws
from src.transforms import degradations
from src.transforms.degradations import Degradation, LineDrawing, Palette

CODE = (
    sys.modules[__name__],
    *(ageing, animals, canvas, degradations, dice, faces, garments, landscapes, sdf),
)
AT_ONCE = 500

Progress = Callable[[int], object]
# n scenes by a seed, with a side of r pixels: uint8 (k, 3, r, r) at a time. The last argument is
# told how many more are done.
Draw = Callable[[int, int, int, Progress], Iterator[Tensor]]


class Change(NamedTuple):
    """The two pictures of a scene.

    Attributes:
        scene: what is drawn: name of the data in records.
        a: draws the one domain.
        b: draws the other.
    """

    scene: str
    a: Draw
    b: Draw


def _scenes(module: Any, **look: Any) -> Draw:
    """Landscapes, animals or garments, as their module draws them."""

    def draw(n: int, seed: int, resolution: int, progress: Progress) -> Iterator[Tensor]:
        check_resolution(resolution, "scenes")
        factors = module.sample_factors(n, seed)
        factors = factors if isinstance(factors, tuple) else (factors,)
        yield module.render(*factors, resolution, progress=progress, **look)

    return draw


def _faces(
    degradation: Degradation | None = None,
    factors: Callable[[int, int], Tensor] = faces.sample_factors,
    render: Callable[[Tensor, int], Tensor] = faces.render,
) -> Draw:
    """Faces, degraded if it is asked for."""

    def draw(n: int, seed: int, resolution: int, progress: Progress) -> Iterator[Tensor]:
        for rows in factors(n, seed).split(AT_ONCE):
            x = render(rows, resolution)
            if degradation:
                draws = SampleDraws(range(len(x)))  # not random, and asked for by none
                # In float64, so that rounding hides what differs between machines.
                x = to_uint8(degrade(degradation, to_model(x).double(), draws))
                x = x.expand(-1, 3, -1, -1)
            yield x
            progress(len(x))

    return draw


CHANGES = {
    "drawing": Change("faces", _faces(LineDrawing(0.8)), _faces()),
    "palette": Change("faces", _faces(), _faces(Palette(1.0))),
    "glasses": Change(
        "faces",
        _faces(factors=lambda n, seed: faces.glasses_factors(n, seed)[0]),
        _faces(factors=lambda n, seed: faces.glasses_factors(n, seed)[1]),
    ),
    "age": Change("faces", _faces(), _faces(render=ageing.render)),
    "season": Change(
        "landscapes", _scenes(landscapes, look="summer"), _scenes(landscapes, look="winter")
    ),
    "dusk": Change(
        "landscapes", _scenes(landscapes, look="summer"), _scenes(landscapes, look="dusk")
    ),
    "stripes": Change("animals", _scenes(animals, striped=False), _scenes(animals, striped=True)),
    "focus": Change(
        "animals",
        _scenes(animals, striped=False),
        _scenes(animals, striped=False, shallow=True),
    ),
    "weave": Change("garments", _scenes(garments), _scenes(garments, woven=True)),
}
