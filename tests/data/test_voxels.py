"""Voxels of files: sets, folders and meshes, what is left out, what a stranger could have made."""

import contextlib
import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from src.cli import resolve_source
from src.config.checks import check
from src.config.composition import compose, plain
from src.data import array_files, meshes
from src.data.array_files import parse_npy
from src.data.base import DataModule
from src.data.meshes import read_mesh
from src.data.procedural.solids import render, sample_factors
from src.data.voxel_files import as_cube, parse_binvox
from src.errors import SettingError
from src.pictures.files import write_samples
from src.training.instantiate import build_data

QUICK = ("model=gan", "metrics=none", "trainer=cpu", "data.resolution=16")


def load(root: Path, *words: str, data: str = "voxels") -> DataModule:
    cache = root.parent / "cache"
    words = (f"data={data}", f"data.root={root}", f"data.cache={cache}", *words)
    settings = compose("train", [*QUICK, *words])
    check(settings)
    resolve_source(settings)
    module = build_data(plain(settings))
    module.setup()
    return module


def shapes(n: int, seed: int = 0, resolution: int = 16) -> np.ndarray:
    return render(sample_factors(n, seed), ["chair", "mug"], resolution)[:, 0].numpy()


def packed(grids: np.ndarray) -> np.ndarray:
    return np.packbits(grids.reshape(len(grids), -1), axis=1)


def to_xyz(grids: np.ndarray) -> np.ndarray:
    """(n, d, h, w) to (n, x, y, z): x is the width, y the depth, z the height upwards."""
    return grids[:, :, ::-1].transpose(0, 3, 1, 2)


def binvox(grid: np.ndarray) -> bytes:
    """A grid (d, h, w) as a file, its front to -z."""
    values = grid[:, ::-1, ::-1].transpose(2, 0, 1).ravel()  # x, z, y
    runs, start = b"", 0
    for end in [*(np.flatnonzero(np.diff(values)) + 1), len(values)]:
        while start < end:
            k = min(255, end - start)
            runs, start = runs + bytes([int(values[start]), k]), start + k
    side = len(grid)
    head = f"#binvox 1\ndim {side} {side} {side}\ntranslate 0 0 0\nscale 1\ndata\n"
    return head.encode() + runs


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_a_set_of_packed_bits(tmp_path: Path) -> None:
    grids = shapes(12)
    crumbs = np.zeros((16, 16, 16), bool)
    crumbs[::3, ::3, ::3] = True
    bad = np.stack([np.zeros_like(crumbs), crumbs])
    root = tmp_path / "modelnet10"
    root.mkdir()
    np.savez(
        root / "modelnet10_32.npz",
        x_train=packed(to_xyz(np.concatenate([grids[:4], bad, grids[4:8]]))),
        y_train=np.arange(10, dtype=np.uint8) % 3,
        x_test=packed(to_xyz(grids[8:])),
        y_test=np.array([0, 1, 2, 0]),
    )
    (root / "classes.txt").write_text("bathtub\nbed\nchair\n")
    data = load(root, data="modelnet10")
    told = data.describe()
    assert "Left out: 2 of 14" in told
    assert "x_train[4] is empty" in told
    assert "x_train[5] is in 216 pieces" in told
    assert data.spec.classes == ("bathtub", "bed", "chair")
    kept = torch.from_numpy(np.concatenate([grids[:4], grids[4:8]]))
    assert torch.equal(data.splits["train"].x[:, 0], kept)
    assert data.splits["train"].y.tolist() == [0, 1, 2, 0, 0, 1, 2, 0]
    assert torch.equal(data.splits["test"].x[:, 0], torch.from_numpy(grids[8:]))
    assert data.data_id["broken"] == 2
    assert data.data_id["source"] == "real"
    some = load(root, "data.labels=[chair,bed]", "data.max_broken=0.5", data="modelnet10")
    assert some.spec.classes == ("chair", "bed")
    assert some.splits["train"].y.tolist() == [1, 0, 1, 0]
    with pytest.raises(
        SettingError, match=r"too many files are no solids, for data\.max_broken=0\.1"
    ):
        load(root, "data.max_broken=0.1", data="modelnet10")
    with pytest.raises(SettingError, match="no class sofa"):
        load(root, "data.labels=[sofa]", data="modelnet10")


def test_a_set_with_an_array_for_each_class(tmp_path: Path) -> None:
    chairs, mugs = shapes(20), shapes(10, 1)
    np.savez(tmp_path / "own.npz", **{"a/chair": packed(chairs), "mug": mugs})
    data = load(tmp_path / "own.npz")
    assert data.spec.classes == ("a/chair", "mug")
    assert data.splits["train"].y.bincount().tolist() == [18, 9]
    assert torch.equal(
        data.splits["test"].x[:, 0], torch.from_numpy(np.stack([*chairs[9::10], mugs[9]]))
    )


@pytest.mark.parametrize("axes", ["dhw", "xyz"])
def test_a_folder_of_all_formats(axes: str, tmp_path: Path) -> None:
    """`axes` are those of arrays; a .binvox file has its own."""
    grids, root = shapes(20), tmp_path / "own"
    arrays = grids if axes == "dhw" else to_xyz(grids)
    for i, grid in enumerate(grids):
        folder = root / ("chair" if i < 10 else "mug")
        folder.mkdir(parents=True, exist_ok=True)
        name = folder / f"{i:02d}"
        if i % 3 == 0:
            np.save(name.with_suffix(".npy"), arrays[i].astype(np.float32))
        elif i % 3 == 1:
            np.savez_compressed(name.with_suffix(".npz"), arrays[i].astype(np.int64))
        else:
            name.with_suffix(".binvox").write_bytes(binvox(grid))
    (root / "mug" / "readme.txt").write_text("no grid")
    data = load(root, f"data.axes={axes}")
    assert data.spec.classes == ("chair", "mug")
    held = [9, 19]
    assert torch.equal(data.splits["test"].x[:, 0], torch.from_numpy(grids[held]))
    assert torch.equal(data.splits["train"].x[:, 0], torch.from_numpy(np.delete(grids, held, 0)))
    again = load(root, f"data.axes={axes}")
    assert again.data_id == data.data_id
    np.save(root / "chair" / "00.npy", grids[1])
    assert load(root, f"data.axes={axes}").data_id["hash"] != data.data_id["hash"]


def chair() -> trimesh.Trimesh:
    """A seat, a leg in its middle and a back, z upwards, the front to -y: three closed boxes."""
    sizes = (1.0, 1.0, 0.2), (0.2, 0.2, 0.9), (1.0, 0.2, 1.0)
    boxes = [trimesh.creation.box(size) for size in sizes]
    for box, place in zip(boxes, ((0, 0, 1), (0, 0, 0.45), (0, 0.4, 1.5)), strict=True):
        box.apply_translation(place)
    return trimesh.util.concatenate(boxes)


@pytest.mark.parametrize("ending", ["off", "obj", "stl", "ascii"])
def test_a_mesh_becomes_the_solid_that_it_encloses(ending: str, tmp_path: Path) -> None:
    mesh, name = chair(), {"ascii": "stl"}.get(ending, ending)
    written = mesh.export(file_type="stl_ascii" if ending == "ascii" else ending)
    path = tmp_path / f"chair.{name.upper()}"
    path.write_bytes(written.encode() if isinstance(written, str) else written)
    solid = read_mesh(path, 16)
    # Two units high are 14 voxels, from 1 to 15; depth, height from the top, width.
    occupied = np.argwhere(solid)
    assert occupied[:, 1].min() == 1
    assert occupied[:, 1].max() == 14
    assert np.argwhere(solid[:, 2])[:, 0].min() >= 9  # the back is thin, and away from the viewer
    assert solid[7:9, 12, 7:9].all()  # the leg
    assert solid[:, 12].sum() <= 9
    assert solid[5, 7].sum() == 8  # the seat is half as wide as it is high
    # The same chair with y upwards and the front to -z.
    mesh.vertices = mesh.vertices[:, [0, 2, 1]] * [-1, 1, 1]
    path = tmp_path / "again.off"
    path.write_text(mesh.export(file_type="off"))
    assert (read_mesh(path, 16, "y") ^ solid).sum() <= 0.2 * solid.sum()


def test_a_ball_has_its_volume(tmp_path: Path) -> None:
    path = tmp_path / "ball.stl"
    path.write_bytes(trimesh.creation.icosphere(3, 7.0).export(file_type="stl"))
    solid = read_mesh(path, 32)
    assert solid[16, 16, 16]  # not the surface alone
    # All voxels that it touches: between the ball and one that is a voxel wider.
    assert 4 / 3 * np.pi * 15**3 < solid.sum() < 4 / 3 * np.pi * 16.2**3


def test_meshes_in_a_folder(tmp_path: Path) -> None:
    root, mesh = tmp_path / "own", chair()
    root.mkdir()
    for i in range(10):
        (root / f"{i}.off").write_text(mesh.export(file_type="off"))
    mesh.update_faces(np.arange(len(mesh.faces)) > 0)
    (root / "hole.off").write_text(mesh.export(file_type="off"))
    (root / "nothing.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    far = trimesh.creation.icosphere(2, 1.0)
    crumbs = trimesh.util.concatenate(
        [far.copy().apply_translation(place) for place in ((0, 0, 0), (9, 9, 9), (0, 9, 0))]
    )
    (root / "parts.off").write_text(crumbs.export(file_type="off"))
    data = load(root, "data.max_broken=0.3")
    (told,) = data.remarks
    assert "Left out: 3 of 13 shapes" in told
    assert "hole.off is open" in told
    assert "nothing.off has no faces" in told
    assert "parts.off is in 3 pieces" in told
    assert len(told.splitlines()) == 1
    assert len(data.splits["train"].x) == 9
    with pytest.raises(SettingError, match="too many files are no solids"):
        load(root)
    taken = load(root, "data.max_broken=0.3", "data.open_meshes=true")
    assert "hole.off" not in taken.remarks[0]
    assert taken.data_id["hash"] != data.data_id["hash"]


TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.off", "", "no readable .off"),
        ("a.off", "OFF\n9999999999999 1 0\n" + TRIANGLE, "no readable .off"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 7\n", "no readable .off"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 -2\n", "no readable .off"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE.replace("1", "nan") + "3 0 1 2\n", "not finite"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE.replace("1", "0") + "3 0 1 2\n", "no extent"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE.replace("1", "1e200") + "3 0 1 2\n", "no extent"),
        ("a.off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 2\n", "is open"),
        ("a.obj", "v 0 0 0\nf 1 2 3\n", "no readable .obj"),
        ("a.obj", "mtllib /etc/passwd\nusemtl a\n", "has no faces"),
        ("a.stl", bytes(80) + b"\xff\xff\xff\xff" + bytes(50), "has no faces"),
        ("a.stl", "solid a\nendsolid a\n", "has no faces"),
        ("a.stl", b"\xff\xfe\x00", "has no faces"),
    ],
)
def test_meshes_of_strangers(name: str, content: str | bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=told):
        read_mesh(path, 16)


def test_damaged_meshes_are_refused_in_one_way(tmp_path: Path) -> None:
    """Any bytes changed, or the file cut anywhere: voxels, or a ValueError."""
    random = np.random.default_rng(0)
    for ending in ("off", "obj", "stl"):
        whole = chair().export(file_type=ending)
        whole = whole.encode() if isinstance(whole, str) else whole
        path = tmp_path / f"a.{ending}"
        for _ in range(60):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), random.integers(1, 4)):
                damaged[place] = random.integers(256)
            path.write_bytes(
                damaged[: random.integers(len(whole))] if random.random() < 0.3 else damaged
            )
            with contextlib.suppress(ValueError):
                assert read_mesh(path, 16, open_too=True).shape == (16, 16, 16)


def test_a_mesh_names_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("mtllib other.mtl\n" + chair().export(file_type="obj"))
    (tmp_path / "other.mtl").mkdir()  # to read it would fail
    assert read_mesh(path, 16).any()


def test_meshes_that_would_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.off"
    path.write_text("OFF\n3 9000 0\n" + TRIANGLE + "3 0 1 2\n" * 9000)
    with pytest.raises(ValueError, match="too large a surface"):
        read_mesh(path, 16, open_too=True)
    monkeypatch.setattr(meshes, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="is larger than"):
        read_mesh(path, 16)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    path.write_text("OFF")
    with pytest.raises(SettingError, match=r"pip install 'sparring\[meshes\]'"):
        read_mesh(path, 16)


def test_samples_that_are_written_can_be_read(tmp_path: Path) -> None:
    x = torch.from_numpy(shapes(20))[:, None].float() * 0.9
    write_samples(x, tmp_path / "made.npz", 4)
    data = load(tmp_path / "made.npz")
    assert torch.equal(data.splits["train"].x[0], x[0] > 0.5)
    write_samples(x[:4], tmp_path / "made.png", 2)
    assert (tmp_path / "made.png").exists()


def test_resolutions() -> None:
    fine = shapes(1, resolution=32)[0]
    coarse = as_cube(fine, "dhw", 16)
    assert np.array_equal(coarse, fine.reshape(16, 2, 16, 2, 16, 2).any(axis=(1, 3, 5)))
    assert np.array_equal(as_cube(as_cube(coarse, "dhw", 32), "dhw", 16), coarse)
    assert np.array_equal(as_cube(fine[None], "dhw", 32), fine)
    assert np.array_equal(as_cube(0.2 + 0.4 * fine, "dhw", 32), fine)  # above 1/2
    assert np.array_equal(as_cube(-3 * fine.astype(int), "dhw", 32), fine)  # not 0
    for grid, told in (
        (np.ones((30, 30, 30)), r"30\^3 cannot be brought to 16\^3"),
        (np.ones((16, 16, 8)), "no cube, but 16 x 16 x 8"),
        (np.full((16, 16, 16), np.nan), "not finite"),
        (np.ones((1, 2, 3, 4, 5)), "no cube"),
        (np.ones(64), "no cube, but 64"),  # packed bits are bytes
    ):
        with pytest.raises(ValueError, match=told):
            as_cube(grid, "dhw", 16)


class Bomb:
    def __reduce__(self) -> tuple[Callable, tuple]:
        return pytest.fail, ("it was unpickled",)


def header(shape: str, descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (header("(100000, 100000, 100000)") + bytes(8), "states 1,000,000,000,000,000 bytes"),
        (header("(2, 2, 2)") + bytes(7), "states 8 bytes, and there are 7"),
        (header("(2, 2, 2)", "|O") + pickle.dumps(Bomb()), "object and not numbers"),
        (npy(np.array([Bomb()], dtype=object)), "object and not numbers"),
        (npy(np.array(["a"])), "not numbers"),
        (header("(-2, -4, 1)") + bytes(8), "states 8 bytes"),
        (header("__import__('os').abort()"), "no array"),
        (b"", "no array"),
        (b"no array", "no array"),
    ],
)
def test_npy_files_of_strangers(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        as_cube(parse_npy(content), "dhw", 16)


def test_damaged_files_are_refused_in_one_way() -> None:
    """Any byte of a header changed, or the file cut anywhere: an array, or a ValueError."""
    random = np.random.default_rng(0)
    whole = npy(shapes(1)[0]), binvox(shapes(1)[0])
    for content, parse in zip(whole, (parse_npy, parse_binvox), strict=True):
        for _ in range(300):
            damaged = bytearray(content)
            for place in random.integers(0, 140, random.integers(1, 4)):
                damaged[place] = random.integers(256)
            if random.random() < 0.3:
                damaged = damaged[: random.integers(len(damaged))]
            with contextlib.suppress(ValueError):
                as_cube(parse(bytes(damaged)), "dhw", 16)


HEAD = b"#binvox 1\ndim %d %d %d\ndata\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD % (9999, 9999, 9999) + b"\1\xff" * 4, "more than 256"),
        (HEAD % (0, 0, 0), "more than 256"),
        (HEAD % (2, 2, 2) + b"\1\7", "have 7 voxels"),
        (HEAD % (2, 2, 2) + b"\1\xff" * 99, "have 25,245 voxels"),
        (HEAD % (2, 2, 2) + b"\1\4\0", "cut short"),
        (b"#binvox 2\ndim 2 2 2\ndata\n\1\10", "version 1"),
        (b"#binvox 1\n" + b"x" * 2000 + b"\ndim 2 2 2\ndata\n\1\10", "version 1"),
        (b"", "version 1"),
    ],
)
def test_binvox_files_of_strangers(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_binvox(content)


def test_archives_of_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One short message each."""

    def refused(told: str) -> None:
        with pytest.raises(SettingError, match=told) as caught:
            load(tmp_path / "set.npz")
        assert len(str(caught.value).splitlines()) <= 2
        assert len(str(caught.value)) < 600

    good = packed(shapes(4))
    path = tmp_path / "set.npz"
    path.write_bytes(b"PK\3\4 no zip")
    refused("cannot be read")
    np.savez(path, x_train=good, y_train=np.arange(4))
    refused("classes.txt")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    refused("y_train does not name a class")
    np.savez(path, x_train=good, y_train=np.arange(4) % 2)
    refused("no array 'x_test'")
    np.savez(path, chair=np.array([Bomb()], dtype=object))
    refused("object and not numbers")
    np.savez(path, chair=np.ones((3, 7), np.uint8))
    refused("no set of cubes")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chair.npy", bytes(2**20))
    monkeypatch.setattr(array_files, "MOST_TOTAL", 2**19)
    refused("it has 1 MB, more than 0")


def test_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root, told in (
        (tmp_path / "empty", "no voxels there"),
        (tmp_path / "no", "no such folder"),
    ):
        with pytest.raises(SettingError, match=told):
            load(root)
