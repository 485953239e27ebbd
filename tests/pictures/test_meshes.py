"""Meshes of voxels: closed, as large as the voxels, the right way round, and read back."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from src.data.procedural.solids import KINDS, render, sample_factors
from src.errors import SettingError
from src.pictures.meshes import ENDINGS, GAP, surface, write_mesh

SOLIDS = render(sample_factors(6, 0), KINDS, 16)


def box(side: int = 16) -> Tensor:
    """In front, above and on the left: the first quarter of each axis."""
    x = torch.zeros(side, side, side)
    x[: side // 4, : side // 4, : side // 4] = 1
    return x


def test_a_box_is_where_its_voxels_are() -> None:
    mesh = surface(box())
    assert mesh.is_watertight
    low, high = mesh.bounds
    # x to the right, y upwards, z towards the viewer, in a cube around the origin.
    np.testing.assert_allclose(low, [-0.5, 0.25, 0.25], atol=0.01)
    np.testing.assert_allclose(high, [-0.25, 0.5, 0.5], atol=0.01)
    # Edges are cut off, no more.
    assert 0.75 * 0.25**3 < mesh.volume <= 0.25**3


def test_the_surface_follows_the_occupancy_between_voxels() -> None:
    """Half-occupied neighbours push it outwards by half a voxel at most."""
    x = torch.zeros(16, 16, 16)
    x[4:12, 4:12, 4:12] = 1
    x[12, 4:12, 4:12] = 0.5 + 1e-3  # behind
    assert surface(x).bounds[0, 2] == pytest.approx(0.5 - 12.5 / 16, abs=1e-3)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read_back_closed(ending: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.rand(SOLIDS.shape, generator=generator)
    x = SOLIDS * (1 - noise) + ~SOLIDS * noise  # as a model's occupancies are
    path = tmp_path / f"shapes{ending}"
    write_mesh(x, path, columns=3)
    mesh = trimesh.load_mesh(path)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    if ending == ".glb":
        named = trimesh.load_scene(path).geometry
        assert list(named) == [f"shape_{i + 1}" for i in range(len(x))]
        assert all(part.is_watertight for part in named.values())
    if ending == ".obj":
        assert path.read_text().count("\no shape_") == len(x)
    assert mesh.volume == pytest.approx(sum(surface(each).volume for each in x[:, 0]), rel=1e-4)
    assert mesh.volume == pytest.approx(SOLIDS.float().mean((1, 2, 3, 4)).sum().item(), rel=0.35)
    # Three side by side, in two rows.
    width, height, depth = mesh.extents
    assert 2 * GAP < width < 3 * GAP
    assert GAP < height < 2 * GAP
    assert depth < 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_nothing_has_no_surface(tmp_path: Path) -> None:
    assert len(surface(torch.zeros(8, 8, 8)).faces) == 0
    with pytest.raises(SettingError, match="no voxel is occupied"):
        write_mesh(torch.zeros(2, 1, 8, 8, 8), tmp_path / "x.stl")
    write_mesh(torch.stack([torch.zeros(16, 16, 16), box()])[:, None], tmp_path / "x.stl")
    assert trimesh.load_mesh(tmp_path / "x.stl").bounds[0, 0] == pytest.approx(GAP - 0.5, abs=0.01)


def test_without_the_packages_their_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SettingError, match=r"sparring\[meshes\]"):
        write_mesh(box()[None, None], tmp_path / "x.stl")
