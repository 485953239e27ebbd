"""Views of voxels: orthographic, shaded pictures of batches, each sample from a side of its own.

The faces between a voxel that is occupied (more than 1/2) and one that is not, if they look towards
the viewer, are covered with points so closely that each pixel behind a face gets one. Of all points
on a pixel the nearest is seen: a depth buffer, which is one minimum by scatter.

    brightness = ambient + (1 - ambient) max(0, normal . light)

The normal is the direction in which the blurred occupancy falls, so that slopes of voxels look
smooth, mixed with the face's own, so that a thin plate has one.

In voxels (d, h, w) the depth d grows away from the viewer at azimuth 0, h downwards and w to the
right, as in pixels (h, w).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

AMBIENT = 0.3
FRAME = 1.45  # half side of a picture, where the cube's is 1
FINE = 2  # pixels that are averaged, in both directions: antialiasing
LIGHT = (-35.0, 45.0)  # azimuth and elevation in degrees, from the viewer's
AT_ONCE = 2**21  # voxels
EMPTY = 2**40  # a depth behind all others
Angle = Tensor | float


def render(
    x: Tensor,
    azimuth: Angle = 35.0,
    elevation: Angle = 25.0,
    light: tuple[Angle, Angle] = LIGHT,
    resolution: int = 96,
) -> Tensor:
    """Pictures of voxels, white where there is nothing.

    Args:
        x: occupancies (n, 1, d, h, w), of which more than 1/2 is solid.
        azimuth: (n,) or one for all, in degrees: the viewer walks to the right around it.
        elevation: likewise: the viewer looks down.
        light: azimuth and elevation of the light, relative to the viewer.
        resolution: side of the pictures in pixels.

    Returns:
        (n, 1, resolution, resolution) in [-1, 1].
    """
    angles = [
        torch.as_tensor(angle, dtype=torch.float32, device=x.device).expand(len(x)) * math.pi / 180
        for angle in (azimuth, elevation, *light)
    ]
    size = max(1, AT_ONCE // x[0].numel())
    parts = zip((x > 0.5).split(size), *(angle.split(size) for angle in angles), strict=True)
    return torch.cat([_draw(solid[:, 0], *part, resolution) for solid, *part in parts])


def frame(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """A picture's axes in space (n, 3, 3): right, down, and away from the viewer, as (z, y, x)."""
    sin, cos, rise, flat = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    nothing = torch.zeros_like(sin)
    right = torch.stack([sin, nothing, cos], -1)
    down = torch.stack([-cos * rise, flat, sin * rise], -1)
    away = torch.stack([cos * flat, rise, -sin * flat], -1)
    return torch.stack([right, down, away], 1)


def _draw(
    solid: Tensor, azimuth: Tensor, elevation: Tensor, beside: Tensor, above: Tensor, side: int
) -> Tensor:
    """Pictures (n, 1, side, side) of voxels (n, d, h, w); angles in radians."""
    n, device, side = len(solid), solid.device, side * FINE
    sizes = torch.tensor(solid.shape[1:], device=device)
    axes = frame(azimuth, elevation)
    light = frame(azimuth + beside, elevation + above)[:, 2].neg()
    around = F.pad(solid, [1] * 6)
    # Twice by boxes of 3, since once by one of 5 would leave no slope beside a thin plate.
    soft = F.avg_pool3d(F.pad(solid[:, None].float(), [3] * 6), 3, 1)
    soft = F.avg_pool3d(soft, 3, 1)[:, 0]  # as large as `around`
    # With a margin of one pixel, for what lies beyond the picture.
    buffer = torch.full((n * (side + 2) ** 2,), EMPTY, device=device)
    # From space to columns, rows, and a whole number that grows with the depth.
    unit = torch.tensor([side / 2 / FRAME, side / 2 / FRAME, 2.0**20], device=device)
    origin = torch.tensor([side / 2 + 1, side / 2 + 1, 2.0**21], device=device)
    screen = axes.mT * unit  # (n, 3, 3)
    for axis in range(3):
        # Of one voxel's face: points across it, in units of a voxel, from its middle.
        width = 2 / sizes[[i for i in range(3) if i != axis]].min()
        k = math.ceil(1.3 * float(width) * side / (2 * FRAME)) + 1
        line = (torch.arange(k, device=device) + 0.5) / k - 0.5
        u, v = torch.meshgrid(line, line, indexing="ij")
        flat = torch.zeros_like(u)
        for sign in (1, -1):
            patch = [u, v]
            patch.insert(axis, flat + 0.5 * sign)
            patch = torch.stack(patch, -1).flatten(0, 1)  # (k k, 3)
            beyond = around.roll(-sign, axis + 1)[:, 1:-1, 1:-1, 1:-1]
            seen = (sign * axes[:, 2, axis] < 0)[:, None, None, None]
            which, *voxel = (solid & ~beyond & seen).nonzero(as_tuple=True)
            own = torch.zeros(3, device=device)
            own[axis] = sign
            shade = _shade(soft, which, voxel, own, light)
            # The middles of faces and the patch are projected apart: there are few of these.
            centre = (torch.stack(voxel, -1) + 0.5) * (2 / sizes) - 1
            centre = (centre[:, None] @ screen[which])[:, 0] + origin
            around_it = (patch * (2 / sizes)) @ screen  # (n, k k, 3)
            column, row, depth = (
                (centre[:, i, None] + around_it[which, :, i]).long() for i in range(3)
            )
            place = row.clamp_(0, side + 1) * (side + 2) + column.clamp_(0, side + 1)
            place += which[:, None] * (side + 2) ** 2
            # Depth before shade in one number, so that the nearest point brings its shade along.
            key = depth * 256 + shade[:, None]
            buffer.scatter_reduce_(0, place.flatten(), key.flatten(), "amin")
    level = torch.where(buffer == EMPTY, 255, buffer % 256)
    level = level.view(n, 1, side + 2, side + 2)[..., 1:-1, 1:-1]
    return F.avg_pool2d(level.float(), FINE) / 127.5 - 1


def _shade(soft: Tensor, which: Tensor, voxel: list[Tensor], own: Tensor, light: Tensor) -> Tensor:
    """Levels (m,) from 0 to 250 of faces with the normal `own` of some voxels of some samples."""
    step = own.long().tolist()
    # The blurred occupancy around the place before the face; `soft` has a margin of one voxel.
    at = [i + 1 + move for i, move in zip(voxel, step, strict=True)]
    fall = []
    for axis, size in enumerate(soft.shape[1:]):
        low, high = (
            [(i + s * (j == axis)).clamp(0, soft.shape[j + 1] - 1) for j, i in enumerate(at)]
            for s in (-1, 1)
        )
        fall.append((soft[which, *low] - soft[which, *high]) * (size / 2))
    normal = F.normalize(torch.stack(fall, -1), dim=-1) + 0.5 * own
    lit = (F.normalize(normal, dim=-1) * light[which]).sum(-1).clamp(min=0)
    return ((AMBIENT + (1 - AMBIENT) * lit) * 250).long()
