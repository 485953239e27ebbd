"""Voxels as meshes: the surface where the occupancy is 1/2, by marching cubes (scikit-image).

In a mesh x is the width, to the right, y the height, upwards, and z the depth, towards the viewer,
as glTF has it; the cube of the voxels has sides of 1. Around the cube all is empty, so that every
surface is closed.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from src.errors import SettingError
from src.runs.files import write_atomically

if TYPE_CHECKING:
    import trimesh

ENDINGS = (".obj", ".stl", ".glb")
GAP = 1.2  # between the middles of shapes that lie side by side


def surface(occupancy: Tensor) -> "trimesh.Trimesh":
    """The mesh of one shape, in a cube around the origin; without faces if nothing is occupied.

    Args:
        occupancy: (r, r, r) in [0, 1]: depth, height, width.
    """
    trimesh, measure = _libraries()
    if not (occupancy > 0.5).any():
        return trimesh.Trimesh()
    # Depth and height are turned round, so that the axes are (z, y, x) as in a mesh.
    field = F.pad(occupancy.float().cpu().flip(0, 1), [1] * 6)
    vertices, faces, _, _ = measure.marching_cubes(field.numpy(), 0.5)
    # A value is that of the middle of a voxel, and the first voxel is the margin.
    vertices = (vertices - 0.5) / len(occupancy) - 0.5
    return trimesh.Trimesh(vertices[:, ::-1], faces)


def write_mesh(x: Tensor, path: Path, columns: int | None = None) -> None:
    """Write shapes side by side and row below row.

    Several are objects in .obj and .glb, with the names `shape_1`, `shape_2` ..., and one mesh in
    .stl, which knows no objects. Empty ones leave their place free.

    Args:
        x: occupancies (n, 1, d, h, w) in [0, 1].
        path: ends in .obj, .stl or .glb.
        columns: shapes per row; None makes a square.

    Raises:
        SettingError: if all are empty, or trimesh or scikit-image is not installed.
    """
    trimesh, _ = _libraries()
    columns = columns or math.ceil(math.sqrt(len(x)))
    meshes = {}
    for i, occupancy in enumerate(x[:, 0]):
        mesh = surface(occupancy)
        if len(mesh.faces):
            mesh.apply_translation([GAP * (i % columns), -GAP * (i // columns), 0])
            meshes[f"shape_{i + 1}"] = mesh
    if not meshes:
        raise SettingError(f"out={path}: no voxel is occupied, so there is no surface to write.")
    ending = path.suffix[1:].lower()
    whole = trimesh.Scene(meshes)
    if ending == "stl" or len(meshes) == 1:
        whole = trimesh.util.concatenate(list(meshes.values()))
    write_atomically(path, whole.export(file_type=ending))


def _libraries() -> tuple[Any, Any]:
    try:
        import trimesh
        from skimage import measure
    except ImportError as error:
        raise SettingError(
            "Meshes need further packages: pip install 'sparring[meshes]'"
        ) from error
    return trimesh, measure
