"""Meshes to voxels: .off, .obj and .stl files, which anybody may have written.

trimesh reads vertices and faces, and no file that a mesh names: no materials, textures or other
parts. The longest side is brought to the grid but for one voxel at each end, the middle to the
middle. A voxel is occupied if the surface passes through it, or if it is enclosed.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import binary_fill_holes

from src.errors import SettingError
from src.runs.stored import read_bytes

if TYPE_CHECKING:
    import trimesh

MOST_BYTES = 32 * 2**20  # of a file: text takes ten times as much as it is read
MOST_POINTS = 2**24  # of all triangles when they are cut to half a voxel
PORTION = 2**21  # of these points at a time
Up = Literal["y", "z"]


def read_mesh(path: Path, resolution: int, up: Up = "z", open_too: bool = False) -> np.ndarray:
    """The voxels (d, h, w) of a mesh, bool.

    Args:
        path: a file whose name ends in .off, .obj or .stl.
        resolution: side of the grid.
        up: the axis that points upwards: `z`, with the front to -y, or `y`, with the front to -z,
            as ShapeNet has it.
        open_too: take an open mesh as its surface and what that encloses.

    Raises:
        SettingError: if trimesh is not installed.
        OSError, ValueError: if it cannot be read, has no faces or too many, or is open.
    """
    mesh = _parse(read_bytes(path, MOST_BYTES), path.suffix[1:].lower(), resolution)
    if not (open_too or mesh.is_watertight):
        raise ValueError("is open, not the surface of a solid (data.open_meshes=true takes it)")
    solid = binary_fill_holes(_surface(mesh, resolution))  # x, y, z
    if up == "z":
        return solid.transpose(1, 2, 0)[:, ::-1]
    return solid.transpose(2, 1, 0)[:, ::-1, ::-1]


def _parse(content: bytes, ending: str, resolution: int) -> "trimesh.Trimesh":
    """A mesh in the coordinates of the grid, equal vertices merged."""
    try:
        import trimesh
    except ImportError as error:
        raise SettingError("data.root has meshes: pip install 'sparring[meshes]'") from error
    try:
        read = trimesh.load_mesh(
            io.BytesIO(content), file_type=ending, process=False, skip_materials=True
        )
        vertices, faces = np.asarray(read.vertices, np.float64), np.asarray(read.faces)
    except MemoryError:
        raise
    # Of a damaged file trimesh raises whatever its parsers meet: IndexError, KeyError ...
    except Exception as error:
        raise ValueError(f"it is no readable .{ending} mesh") from error
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError("has no faces" if not len(faces) else "has faces without vertices")
    used = vertices[faces]
    if not np.isfinite(used).all():
        raise ValueError("has numbers that are not finite")
    low, high = used.min((0, 1)), used.max((0, 1))
    with np.errstate(over="ignore"):
        side = (high - low).max()
    if not 1e-30 < side < 1e30:
        raise ValueError("has no extent, or none that can be measured")
    # A little less than the voxels between: what ends on their border would reach the next one.
    scale = (resolution - 2.001) / side
    vertices = (vertices - (low / 2 + high / 2)) * scale + resolution / 2
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.merge_vertices()
    a, b, c = mesh.faces.T
    mesh.update_faces((a != b) & (b != c) & (c != a))
    mesh.remove_unreferenced_vertices()
    return mesh


def _surface(mesh: "trimesh.Trimesh", resolution: int) -> np.ndarray:
    """The voxels (x, y, z) through which the surface passes."""
    from trimesh.remesh import subdivide_to_size

    corners = mesh.vertices[mesh.faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    points = 4 ** np.ceil(np.log2(np.maximum(2 * longest, 1)))  # a halving makes four of one
    if points.sum() > MOST_POINTS:
        raise ValueError("has too large a surface: too many long triangles")
    grid = np.zeros((resolution,) * 3, bool)
    edges = np.flatnonzero(np.diff(np.cumsum(points) // PORTION)) + 1
    for faces in np.split(mesh.faces, edges):
        if len(faces):
            cut, _ = subdivide_to_size(mesh.vertices, faces, 0.5, max_iter=12)
            grid[tuple(np.floor(cut).astype(int).clip(0, resolution - 1).T)] = True
    return grid
