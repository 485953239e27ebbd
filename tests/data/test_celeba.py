"""CelebA's layout in its forms, and attributes as labels."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.data import celeba
from src.data.celeba import CelebA, parse_table
from src.data.procedural import faces
from src.errors import SettingError

NAMES = [f"{i + 1:06d}.jpg" for i in range(20)]
ATTRIBUTES = ("Male", "Smiling", "Young")


def value(row: int, column: int) -> int:
    return (row + 1) >> column & 1


@pytest.fixture
def root(tmp_path: Path, write_images: Callable) -> Path:
    root = tmp_path / "celeba"
    write_images(root / "img_align_celeba", NAMES, size=(178, 218))
    lines = [
        f"{name} " + " ".join(f"{2 * value(i, k) - 1:2d}" for k in range(3))
        for i, name in enumerate(NAMES)
    ]
    (root / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(NAMES)), " ".join(ATTRIBUTES) + " ", *lines, ""])
    )
    return root


def load(root: Path, **settings: object) -> CelebA:
    defaults = {
        "name": "celeba",
        "kind": "images",
        "channels": 3,
        "resolution": 32,
        "labels": [],
        "source": "real",
        "root": str(root),
        "cache": str(root.parent / "cache"),
        "label": None,
        "crop": None,
        "resize": "crop",
        "filter": "lanczos",
        "background": "white",
        "max_broken": 0.001,
        "batch_size": 4,
        "seed": 0,
    }
    data = CelebA(**defaults | settings)
    data.setup()
    return data


def test_official_layout(root: Path) -> None:
    data = load(root, label="Smiling")
    assert data.spec.shape == (3, 32, 32)
    assert data.spec.classes == ("not Smiling", "Smiling")
    assert len(data.splits["train"].x) == 18
    assert len(data.splits["test"].x) == 2
    rows = {"train": [i for i in range(20) if i % 10 != 9], "test": [9, 19]}
    for split, indices in rows.items():
        assert data.splits[split].y.tolist() == [value(i, 1) for i in indices]
        expected = [[value(i, k) for k in range(3)] for i in indices]
        assert data.attributes[split].tolist() == expected
    assert data.attribute_names == ATTRIBUTES
    assert data.data_id["label"] == "Smiling"
    assert data.data_id["crop"] is None
    assert load(root).splits["train"].y is None


def test_partition_file(root: Path) -> None:
    numbers = [0] * 12 + [1] * 3 + [2] * 5
    lines = [f"{name} {number}" for name, number in zip(NAMES, numbers, strict=True)]
    (root / "list_eval_partition.txt").write_text("\n".join(lines))
    data = load(root, label="Male")
    assert data.data_id["splits"] == {"train": 12, "val": 3, "test": 5}
    assert data.splits["test"].y.tolist() == [value(i, 0) for i in range(15, 20)]


def test_only_the_test_partition_is_there(root: Path) -> None:
    (root / "list_eval_partition.txt").write_text("".join(f"{name} 2\n" for name in NAMES))
    assert len(load(root).splits["train"].x) == 18


def test_all_forms_are_the_same_data(root: Path, tmp_path: Path, zipped: Callable) -> None:
    first = load(root, label="Young")
    inner = load(root / "img_align_celeba", label="Young")
    packed = load(zipped(root, tmp_path / "celeba.zip"), label="Young")
    assert first.data_id == inner.data_id == packed.data_id
    assert torch.equal(first.splits["test"].y, packed.splits["test"].y)
    beside = tmp_path / "beside"
    beside.mkdir()
    zipped(root / "img_align_celeba", beside / "img_align_celeba.zip")
    (beside / "list_attr_celeba.csv").write_text(
        "image_id,Male,Smiling,Young\n"
        + "".join(
            f"{name},{','.join(str(2 * value(i, k) - 1) for k in range(3))}\n"
            for i, name in enumerate(NAMES)
        )
    )
    assert load(beside, label="Young").data_id == first.data_id


def test_data_id_follows_what_the_data_are(root: Path) -> None:
    first = load(root)
    assert load(root, seed=7, batch_size=2, flip=True).data_id == first.data_id
    assert load(root, crop=100).data_id["hash"] != first.data_id["hash"]
    assert load(root, crop=178).data_id["hash"] == first.data_id["hash"]
    table = root / "list_attr_celeba.txt"
    table.write_text(table.read_text().replace(f"{NAMES[0]}  1", f"{NAMES[0]} -1"))
    assert load(root).data_id["hash"] != first.data_id["hash"]


def test_broken_image_keeps_labels_in_place(root: Path) -> None:
    path = root / "img_align_celeba" / NAMES[4]
    path.write_bytes(path.read_bytes()[:-300])
    data = load(root, label="Smiling", max_broken=0.1)
    kept = [i for i in range(20) if i % 10 != 9 and i != 4]
    assert data.splits["train"].y.tolist() == [value(i, 1) for i in kept]
    assert data.data_id["broken"] == 1


def test_unknown_attribute_names_the_nearest(root: Path) -> None:
    with pytest.raises(SettingError, match=r"data\.label=smilling.*Did you mean Smiling\?"):
        load(root, label="smilling")


def test_labels_without_a_file(root: Path) -> None:
    (root / "list_attr_celeba.txt").unlink()
    with pytest.raises(SettingError, match=r"data\.label=Smiling needs list_attr_celeba\.txt"):
        load(root, label="Smiling")
    assert load(root).attributes == {}


def test_short_and_damaged_tables(root: Path) -> None:
    table = root / "list_attr_celeba.txt"
    whole = table.read_text()
    table.write_text("\n".join(whole.splitlines()[:-3]))
    with pytest.raises(SettingError, match=r"no line for 3 of 20 images, the first 000018\.jpg"):
        load(root)
    table.write_text(whole[:-4])
    with pytest.raises(SettingError, match="damaged"):
        load(root)
    table.write_text(whole.replace(" 1", " x", 1))
    with pytest.raises(SettingError, match="damaged"):
        load(root)
    table.write_text(whole)
    (root / "list_eval_partition.txt").write_text("".join(f"{name} 5\n" for name in NAMES))
    with pytest.raises(SettingError, match="split 5"):
        load(root)


def test_tables_parse() -> None:
    columns, rows, values = parse_table("p", "a.jpg 0\nb.jpg 2\n")
    assert columns == ()
    assert rows == {"a.jpg": 0, "b.jpg": 1}
    assert values.tolist() == [[0], [2]]


@pytest.mark.parametrize("channels", [1, 3])
def test_drawn_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    monkeypatch.setattr(celeba, "DRAWN", {"train": (30, 0), "test": (6, 1)})
    root = tmp_path / "celeba"
    data = load(root, source="builtin", label="Eyeglasses", channels=channels)
    assert data.data_id["name"] == "faces"
    assert data.data_id["source"] == "builtin"
    assert data.splits["train"].x.shape == (30, channels, 32, 32)
    images, labels = faces.render_faces(6, 32, 1)
    if channels == 3:
        assert torch.equal(data.splits["test"].x, images)
    else:
        grey = images.float().mean(1, keepdim=True)
        assert (data.splits["test"].x - grey).abs().mean() < 20
    assert torch.equal(data.attributes["test"], labels)
    factors = dict(zip(data.factor_names, data.factors["test"].T, strict=True))
    tilt = faces.sample_factors(6, 1)[:, faces.INDEX["tilt"]]
    assert torch.equal(factors["tilt"], tilt)
    hats = labels[:, faces.ATTRIBUTES.index("Wearing_Hat")]
    assert torch.equal(factors["Wearing_Hat"], hats.float())
    column = faces.ATTRIBUTES.index("Eyeglasses")
    assert torch.equal(data.splits["test"].y, labels[:, column])
    monkeypatch.setattr(faces, "render", lambda *_: pytest.fail("drawn again"))
    again = load(root, source="builtin", label="Eyeglasses", channels=channels, seed=3)
    assert again.data_id == data.data_id
    with pytest.raises(SettingError, match="Did you mean Eyeglasses"):
        load(root, source="builtin", label="eyeglases", channels=channels)
