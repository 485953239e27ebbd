"""Large images in overlapping tiles: no seam is seen, and the network's memory is that of a tile.

If a network looks no further than a margin, each tile is given that much of its surroundings, which
is cut off from the result: what is left is bit for bit what the whole image would give, up to the
order of sums. If it has no such bound (a norm over the image, a U-Net), tiles overlap by a quarter
and fade into each other.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

OVERLAP = 1 / 4  # of a tile's side, without a margin


def translate_tiles(
    translate: Callable[[Tensor], Tensor],
    source: Tensor,
    channels: int,
    scale: int,
    tile: int,
    margin: int | None,
    multiple: int = 1,
    done: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Translate one image of any size.

    Args:
        translate: sources (1, c', h', w') to targets (1, c, scale h', scale w'), in [-1, 1].
        source: (c', h', w') as uint8.
        channels: c.
        scale: how many times the target's sides are the source's.
        tile: side of a tile without its surroundings, in pixels of the source.
        margin: how far the network looks, in the same; None if there is no bound.
        multiple: what sides of sources must be multiples of.
        done: is told the pixels of the source that are done.

    Returns:
        (c, scale h', scale w') as uint8.
    """
    _, h, w = source.shape
    out = torch.empty(channels, scale * h, scale * w, dtype=torch.uint8)
    around = int(OVERLAP * tile / 2) if margin is None else margin
    tile, around = (max(multiple, n // multiple * multiple) for n in (tile, around + multiple - 1))
    if margin is not None or (h <= tile and w <= tile):
        for (top, bottom), (left, right) in _squares(h, w, tile):
            part, y, x = _around(source, top, bottom, left, right, around, multiple)
            result = translate(part)[0]
            y, x = scale * (top - y), scale * (left - x)
            high, wide = scale * (bottom - top), scale * (right - left)
            kept = _to_bytes(result[:, y : y + high, x : x + wide])
            out[:, scale * top : scale * bottom, scale * left : scale * right] = kept
            done((bottom - top) * (right - left))
        return out
    # Sums of the whole result: four bytes a number, beside the one of the result itself.
    total = torch.zeros(channels + 1, scale * h, scale * w)
    for (top, bottom), (left, right) in _squares(h, w, tile):
        part, y, x = _around(source, top, bottom, left, right, around, multiple)
        result = translate(part)[0].cpu().float()
        high, wide = min(result.shape[1], scale * (h - y)), min(result.shape[2], scale * (w - x))
        weight = _fade(high, 2 * scale * around)[:, None] * _fade(wide, 2 * scale * around)
        place = total[:, scale * y : scale * y + high, scale * x : scale * x + wide]
        place[:-1] += result[:, :high, :wide] * weight
        place[-1] += weight
        done((bottom - top) * (right - left))
    for i in range(channels):
        out[i] = _to_bytes(total[i].div_(total[-1]))
    return out


def _squares(h: int, w: int, tile: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            yield (top, min(top + tile, h)), (left, min(left + tile, w))


def _around(
    source: Tensor, top: int, bottom: int, left: int, right: int, around: int, multiple: int
) -> tuple[Tensor, int, int]:
    """A tile with its surroundings (1, c, h, w) in [-1, 1], and where it begins in the image.

    At the lower and right edge it is filled up to a multiple, by its mirror image.
    """
    _, h, w = source.shape
    y, x = max(top - around, 0), max(left - around, 0)
    part = source[:, y : min(bottom + around, h), x : min(right + around, w)]
    part = part[None].float() / 127.5 - 1
    below, beside = -part.shape[2] % multiple, -part.shape[3] % multiple
    while below or beside:  # a mirror reaches as far as the image goes
        step = min(below, part.shape[2] - 1), min(beside, part.shape[3] - 1)
        part = F.pad(part, (0, step[1], 0, step[0]), mode="reflect")
        below, beside = below - step[0], beside - step[1]
    return part, y, x


def _fade(n: int, width: int) -> Tensor:
    """(n,): 1 in the middle, and a line down to almost 0 within `width` of both ends."""
    ramp = (torch.arange(n) + 0.5) / max(width, 1)
    return torch.minimum(ramp, ramp.flip(0)).clamp(max=1)


def _to_bytes(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().clamp(0, 255).byte().cpu()
