"""IDX files: read right or refused with what is wrong with them."""

import gzip
import hashlib
import struct
import threading
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.mnist import CLASSES, MNIST, digits, download, read_idx, resized
from src.errors import SettingError
from tests.conftest import composed

SIZES = {"train": 30, "t10k": 10}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def files() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {}
    for split, n in SIZES.items():
        made[f"{split}-images-idx3-ubyte"] = random.integers(0, 256, (n, 28, 28), np.uint8)
        made[f"{split}-labels-idx1-ubyte"] = random.integers(0, 10, n, np.uint8)
    return made


def write(folder: Path, packed: bool = False) -> Path:
    folder.mkdir(parents=True)
    for name, array in files().items():
        data = gzip.compress(idx(array), mtime=0) if packed else idx(array)
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(data)
    return folder


def mnist(root: Path, **settings: object) -> MNIST:
    defaults = {
        "name": "mnist",
        "kind": "images",
        "channels": 1,
        "resolution": 28,
        "labels": [str(i) for i in range(10)],
        "source": "real",
        "root": str(root),
        "cache": str(root / "cache"),
        "batch_size": 8,
        "seed": 0,
    }
    data = MNIST(**defaults | settings)
    data.setup()
    return data


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read(tmp_path: Path, packed: bool) -> None:
    write(tmp_path / "MNIST" / "raw", packed)
    data = mnist(tmp_path)
    train, test = data.splits["train"], data.splits["test"]
    assert train.x.shape == (30, 1, 28, 28)
    assert test.x.shape == (10, 1, 28, 28)
    assert train.x.dtype == torch.uint8
    assert train.y.dtype == torch.int64
    assert np.array_equal(train.x[:, 0], files()["train-images-idx3-ubyte"])
    assert np.array_equal(test.y, files()["t10k-labels-idx1-ubyte"])
    assert data.data_id["name"] == "mnist"
    assert data.data_id["source"] == "real"
    assert data.spec.shape == (1, 28, 28)
    assert len(data.spec.classes) == 10


def test_data_id_is_that_of_the_content(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b" / "raw", packed=True)
    first = mnist(tmp_path / "a").data_id
    assert first == mnist(tmp_path / "b", seed=1, batch_size=4).data_id
    assert first != mnist(tmp_path / "a", resolution=32).data_id
    changed = files()["train-labels-idx1-ubyte"]
    changed[0] = (changed[0] + 1) % 10
    (tmp_path / "a" / "train-labels-idx1-ubyte").write_bytes(idx(changed))
    assert first["hash"] != mnist(tmp_path / "a").data_id["hash"]


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_file(tmp_path: Path, packed: bool) -> None:
    folder = write(tmp_path / "raw", packed)
    path = next(folder.glob("train-images*"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SettingError) as error:
        mnist(tmp_path)
    for word in ("data.root", path.name, "cut short", f"{16 + 30 * 784:,} bytes expected"):
        assert word in str(error.value)
    if not packed:
        assert f"{16 + 30 * 784 - 2000:,} found" in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08\x01\0\0\0\0\0\0\0\0\0\0\0\0", "not 00000803"),
        (idx(np.zeros((2, 28, 28), np.uint8)) + b"x", "too long"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(SettingError, match=words):
        read_idx(tmp_path, "images", 3)


def test_damaged_gzip(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(idx(np.arange(100, dtype=np.uint8))))
    data[-6] ^= 1  # in the checksum
    (tmp_path / "labels.gz").write_bytes(data)
    with pytest.raises(SettingError, match="damaged"):
        read_idx(tmp_path, "labels", 1)


def test_no_more_is_decompressed_than_is_stated(tmp_path: Path) -> None:
    small = idx(np.arange(8, dtype=np.uint8))
    (tmp_path / "fitting.gz").write_bytes(gzip.compress(small))
    assert read_idx(tmp_path, "fitting", 1).tolist() == list(range(8))
    (tmp_path / "longer.gz").write_bytes(gzip.compress(small + bytes(200_000_000), 1))
    (tmp_path / "much.gz").write_bytes(
        gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + bytes(1000))
    )
    (tmp_path / "ended.gz").write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 0)))
    tracemalloc.start()
    for name, words in (("longer", "too long"), ("much", "more than")):
        with pytest.raises(SettingError, match=words) as caught:
            read_idx(tmp_path, name, 1)
        assert len(str(caught.value).splitlines()) <= 3
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert len(read_idx(tmp_path, "ended", 1)) == 0


def test_short_and_foreign_labels(tmp_path: Path) -> None:
    folder = write(tmp_path / "raw")
    path = folder / "train-labels-idx1-ubyte"
    labels = files()[path.name]
    path.write_bytes(idx(labels[:-3]))
    with pytest.raises(SettingError, match=r"30 images.*27 labels"):
        mnist(tmp_path)
    labels[4] = 12
    path.write_bytes(idx(labels))
    with pytest.raises(SettingError, match="label 12"):
        mnist(tmp_path)
    path.unlink()
    with pytest.raises(SettingError, match="train-labels"):
        mnist(tmp_path)


def test_resolutions() -> None:
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    assert resized(x, 28) is x
    padded = resized(x, 32)
    assert torch.equal(padded[..., 2:-2, 2:-2], x)
    assert padded.long().sum() == x.long().sum()
    flat = torch.full((3, 1, 28, 28), 77, dtype=torch.uint8)
    for side in (14, 64):
        assert torch.equal(resized(flat, side), torch.full((3, 1, side, side), 77).byte())


@pytest.mark.parametrize("builtin", [False, True])
def test_some_classes_are_taken(builtin: bool, tmp_path: Path) -> None:
    write(tmp_path / "raw")
    source = "builtin" if builtin else "real"
    whole = mnist(tmp_path, source=source)
    data = mnist(tmp_path, source=source, labels=[9, "2"])
    assert data.spec.classes == ("9", "2")
    for key, split in whole.splits.items():
        kept = (split.y == 2) | (split.y == 9)
        assert torch.equal(data.splits[key].x, split.x[kept])
        assert torch.equal(data.splits[key].y, (split.y[kept] == 2).long())
    assert data.data_id["hash"] != whole.data_id["hash"]
    assert mnist(tmp_path, source=source, labels=[]).data_id == whole.data_id


@pytest.mark.parametrize("name", CLASSES)
def test_the_presets_name_the_classes(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    assert tuple(composed(f"data={name}").data.labels) == known
    write(tmp_path / "raw")
    chosen = {"name": name, "labels": [known[7], known[2]]}
    assert mnist(tmp_path, **chosen).spec.classes == (known[7], known[2])
    stand_in = mnist(tmp_path, source="builtin", **chosen)
    assert stand_in.spec.classes == ("7", "2")
    assert stand_in.splits["train"].y.unique().tolist() == [0, 1]
    # All of them in another order are taken in it too, while other names are new ones.
    turned = mnist(tmp_path, name=name, labels=known[::-1])
    assert torch.equal(turned.splits["train"].y, 9 - mnist(tmp_path).splits["train"].y)
    named = mnist(tmp_path, name=name, labels=[f"class {k}" for k in range(10)])
    assert torch.equal(named.splits["train"].y, mnist(tmp_path).splits["train"].y)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["3", "11"], "11 is no class of mnist.\nAll: 0, 1"),
        (["3", "3"], "3 is named twice"),
        (["3"] * 10, "3 is named twice"),
    ],
)
def test_classes_that_are_not_there(labels: list[str], said: str, tmp_path: Path) -> None:
    for source in ("real", "builtin"):
        with pytest.raises(SettingError, match=said):
            mnist(tmp_path, source=source, labels=labels)


def test_a_class_without_images(tmp_path: Path) -> None:
    folder = write(tmp_path / "raw")
    for name, values in files().items():
        if "labels" in name:
            (folder / name).write_bytes(idx(values % 5))
    assert mnist(tmp_path, labels=["4", "0"]).spec.classes == ("4", "0")
    with pytest.raises(SettingError, match=r"data\.labels: there is no 8 in .*, split train"):
        mnist(tmp_path, labels=["0", "8"])


def test_digits_stand_in(tmp_path: Path) -> None:
    data = mnist(tmp_path, source="builtin", name="fashion_mnist", labels=["shirt"] * 10)
    assert data.data_id["name"] == "digits"
    assert data.data_id["source"] == "builtin"
    assert data.spec.classes == tuple("0123456789")
    train, test = data.splits["train"], data.splits["test"]
    assert (len(train.x), len(test.x)) == (1498, 299)
    assert train.y.bincount().min() > 130
    assert test.y.bincount().min() > 20
    assert data.data_id == mnist(tmp_path, source="builtin", seed=5).data_id
    x = digits()["train"].x.float() / 255
    # As MNIST (0.131 and 0.308): mostly black, strokes nearly white, a margin of 4 pixels.
    assert 0.12 < x.mean() < 0.20
    assert 0.28 < x.std() < 0.37
    assert x[..., :4].max() == 0
    assert x[..., -4:, :].max() == 0


def test_download_arrives_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    served = write(tmp_path / "served", packed=True)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sums = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in sorted(served.iterdir())]
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(datasets.MNIST, "resources", [*sums[:3], (sums[3][0], "0" * 32)])
    with pytest.raises(SettingError, match=r"data\.root=.*download of mnist failed"):
        download(tmp_path / "root", "mnist")
    assert [p.name for p in (tmp_path / "root").iterdir()] == [".mnist.lock"]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    assert mnist(tmp_path / "root").data_id["size"] == 30
    server.shutdown()
    server.server_close()
