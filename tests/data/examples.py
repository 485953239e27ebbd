"""Collections of images as people have them, made small: `make(kind, folder)`.

python -m tests.data.examples FOLDER     makes all of them there, and says what is read
"""

import csv
import io
import json
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Make = Callable[[Path], Path]  # writes into an empty folder, returns what `data.root` is set to
COLLECTIONS: dict[str, Make] = {}
EXIF_ORIENTATION, TURNED = 274, 6  # "the 0th row is the visual right-hand side"


def collection(make: Make) -> Make:
    COLLECTIONS[make.__name__] = make
    return make


def pixels(i: int, side: int = 12) -> np.ndarray:
    """A picture uint8 (side, side, 3) that differs from i to i."""
    return np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)


def content(i: int, format: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(i)).save(file, format)
    return file.getvalue()


def put(root: Path, names: Sequence[str]) -> Path:
    """A picture of its own under each name."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content(i))
    return root


def by_class(classes: Sequence[object], each: int = 10, before: str = "") -> list[str]:
    return [f"{before}{kind}/{i:02}.png" for kind in classes for i in range(each)]


def flat(n: int, before: str = "") -> list[str]:
    return [f"{before}{i:02}.png" for i in range(n)]


def write_table(path: Path, rows: Sequence[Sequence[object]], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)


# Splits


@collection
def training_testing(root: Path) -> Path:
    return put(root, [*by_class("012", 9, "training/"), *by_class("012", 1, "testing/")])


@collection
def train_test_in_capitals(root: Path) -> Path:
    return put(root, [*by_class("012", 9, "Train/"), *by_class("012", 1, "Test/")])


@collection
def stray_beside_splits(root: Path) -> Path:
    return put(root, [*by_class("012", 9, "train/"), *by_class("012", 1, "test/"), "cover.png"])


@collection
def stray_beside_classes(root: Path) -> Path:
    return put(root, [*by_class("012"), "cover.png"])


# Tables of labels


@collection
def dataset_tool_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        labels = []
        for i in range(40):
            name = f"{i // 20:05}/img{i:08}.png"
            archive.writestr(name, content(i))
            labels.append([name, i % 5])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return root / "set.zip"


@collection
def ffhq_folders(root: Path) -> Path:
    return put(root, [f"{i // 10 * 1000:05}/{i // 10 * 1000 + i % 10:05}.png" for i in range(35)])


@collection
def labels_csv(root: Path) -> Path:
    rows = [(f"{i:02}.png", "cat" if i % 2 else "dog") for i in range(20)]
    write_table(root / "labels.csv", [("filename", "label"), *rows])
    return put(root, flat(20))


@collection
def labels_csv_without_endings(root: Path) -> Path:
    rows = [(f"{i:02}", "cat" if i % 2 else "dog") for i in range(20)]
    write_table(root / "labels.csv", [("id", "breed"), *rows])
    return put(root, flat(20, "train/"))


@collection
def metadata_csv(root: Path) -> Path:
    for split, n in (("train", 18), ("test", 4)):
        rows = [(f"{i:02}.png", "yes" if i % 2 else "no") for i in range(n)]
        write_table(root / split / "metadata.csv", [("file_name", "label"), *rows])
    return put(root, [*flat(18, "train/"), *flat(4, "test/")])


@collection
def metadata_jsonl(root: Path) -> Path:
    lines = [json.dumps({"file_name": f"{i:02}.png", "label": i % 3}) for i in range(20)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return put(root, flat(20))


@collection
def csv_with_split(root: Path) -> Path:
    rows = [(f"{i:02}.png", i % 2, "test" if i > 15 else "train") for i in range(20)]
    write_table(root / "data.csv", [("image", "class", "split"), *rows])
    return put(root, flat(20, "images/"))


FACES = [f"{i + 1:06}.jpg" for i in range(20)]


def attribute_rows() -> list[tuple[object, ...]]:
    return [(name, 1 if i % 2 else -1, 1) for i, name in enumerate(FACES)]


def partition_rows() -> list[tuple[object, ...]]:
    return [(name, 0 if i < 14 else 1 if i < 17 else 2) for i, name in enumerate(FACES)]


def kaggle_celeba(root: Path, encoding: str = "utf-8") -> Path:
    write_table(
        root / "list_attr_celeba.csv",
        [("image_id", "Male", "Young"), *attribute_rows()],
        encoding,
    )
    write_table(
        root / "list_eval_partition.csv", [("image_id", "partition"), *partition_rows()], encoding
    )
    return put(root, [f"img_align_celeba/img_align_celeba/{name}" for name in FACES])


@collection
def celeba_with_byte_order_mark(root: Path) -> Path:
    return kaggle_celeba(root, "utf-8-sig")


@collection
def celeba_one_level_down(root: Path) -> Path:
    kaggle_celeba(root / "archive")
    return root


@collection
def celeba_img_anno_eval(root: Path) -> Path:
    put(root / "Img", [f"img_align_celeba/{name}" for name in FACES])
    for folder, name, head, rows in (
        ("Anno", "list_attr_celeba.txt", "20\nMale Young\n", attribute_rows()),
        ("Eval", "list_eval_partition.txt", "", partition_rows()),
    ):
        (root / folder).mkdir()
        text = head + "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (root / folder / name).write_text(text)
    return root


# Archives


def pack(root: Path, rename: Callable[[str], str]) -> Path:
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        for i, name in enumerate(by_class("ab")):
            info = zipfile.ZipInfo("x")
            info.filename = rename(name)
            archive.writestr(info, content(i))
    return root / "set.zip"


@collection
def zip_with_backslashes(root: Path) -> Path:
    return pack(root, lambda name: name.replace("/", "\\"))


@collection
def zip_with_dots(root: Path) -> Path:
    return pack(root, lambda name: f"./{name}")


def tarred(root: Path, name: str, mode: str) -> Path:
    with tarfile.open(root / name, mode) as archive:
        for i, member in enumerate(by_class("ab")):
            info = tarfile.TarInfo(f"./{member}")
            info.size = len(content(i))
            archive.addfile(info, io.BytesIO(content(i)))
    return root / name


@collection
def tar(root: Path) -> Path:
    return tarred(root, "set.tar", "w")


@collection
def tar_gz(root: Path) -> Path:
    return tarred(root, "set.tar.gz", "w:gz")


# Files


@collection
def link_to_parent(root: Path) -> Path:
    put(root / "set", by_class("ab"))
    (root / "set" / "a" / "up").symlink_to("..")
    (root / "set" / "again").symlink_to(".")
    return root / "set"


@collection
def link_to_itself(root: Path) -> Path:
    put(root, by_class("ab"))
    (root / "a" / "loop.png").symlink_to("loop.png")
    return root


@collection
def turned_by_exif(root: Path) -> Path:
    put(root, flat(9))
    image = Image.fromarray(pixels(9))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED
    image.save(root / "09.png", exif=exif)
    return root


@collection
def hidden_colours(root: Path) -> Path:
    for i in range(10):
        image = np.dstack([pixels(i), np.full((12, 12), 255, np.uint8)])
        image[:, :6, 3] = 0
        root.mkdir(exist_ok=True)
        Image.fromarray(image).save(root / f"{i}.png")
    return root


@collection
def other_endings(root: Path) -> Path:
    for i in range(40):
        end, format = [(".jpg", "jpeg"), (".jfif", "jpeg"), (".avif", "avif"), ("", "png")][i % 4]
        root.mkdir(exist_ok=True)
        (root / f"{i:02}{end}").write_bytes(content(i, format))
    (root / "README").write_text("no image")
    return root


@collection
def thumbnails(root: Path) -> Path:
    places = ["@eaDir/1.png/", "thumbs/", "__MACOSX/", ".@__thumb/"]
    put(root, [*by_class("ab"), *(f"a/{place}{i}.png" for place in places for i in range(3))])
    return root


@collection
def copies_across_splits(root: Path) -> Path:
    put(root, [*flat(20, "train/"), *flat(5, "test/")])  # those of test begin anew: 0 to 4 differ
    for i in range(3):
        (root / "test" / f"{i:02}.png").write_bytes((root / "train" / f"{i:02}.png").read_bytes())
    return root


@collection
def kaggle_idx(root: Path) -> Path:
    for stem, n in (("train", 20), ("t10k", 10)):
        x = np.arange(n * 28 * 28, dtype=np.uint8).reshape(n, 28, 28)
        head = struct.pack(">4I", 0x803, n, 28, 28)
        (root / f"{stem}-images.idx3-ubyte").write_bytes(head + x.tobytes())
        labels = bytes(i % 10 for i in range(n))
        (root / f"{stem}-labels.idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + labels)
    return root


# Arrays


def stack(n: int) -> np.ndarray:
    return np.stack([pixels(i) for i in range(n)])


@collection
def npz(root: Path) -> Path:
    y = np.arange(20) % 4
    arrays = {"x_train": stack(20), "y_train": y, "x_test": stack(5)[::-1], "y_test": y[:5]}
    np.savez_compressed(root / "set.npz", **arrays)
    return root / "set.npz"


@collection
def npy(root: Path) -> Path:
    np.save(root / "set.npy", stack(20)[..., 0])
    return root / "set.npy"


@collection
def npy_with_labels(root: Path) -> Path:
    np.save(root / "images.npy", stack(20))
    np.save(root / "labels.npy", np.arange(20) % 2)
    return root


@collection
def npy_of_objects(root: Path) -> Path:
    np.save(root / "set.npy", np.array([{}, "x"], object), allow_pickle=True)
    return root / "set.npy"


CIFAR_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
]  # fmt: skip


def cifar_rows(n: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """n rows as CIFAR-10 stores them: 1024 of red, of green, of blue."""
    x = np.random.default_rng(seed).integers(0, 256, (n, 3072), np.uint8)
    return x, [i % 10 for i in range(n)]


CIFAR_PARTS = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@collection
def cifar10_binary(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for seed, part in enumerate(CIFAR_PARTS):
        x, y = cifar_rows(10, seed)
        rows = np.hstack([np.array(y, np.uint8)[:, None], x])
        (folder / f"{part}.bin").write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES))
    return root


@collection
def cifar10_python(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for seed, part in enumerate(CIFAR_PARTS):
        x, y = cifar_rows(10, seed)
        batch = {b"batch_label": b"part", b"labels": y, b"data": x, b"filenames": [b"x.png"] * 10}
        (folder / part).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"num_cases_per_batch": 10, b"label_names": [c.encode() for c in CIFAR_CLASSES]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return root


@collection
def cifar10_tar_gz(root: Path) -> Path:
    made = root / "made"
    made.mkdir()
    cifar10_python(made)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(made / "cifar-10-batches-py", "cifar-10-batches-py")
    for path in sorted(made.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    made.rmdir()
    return root


@collection
def svhn(root: Path) -> Path:
    for file, n in (("train_32x32.mat", 20), ("test_32x32.mat", 10)):
        x = np.stack([pixels(i, 32) for i in range(n)], -1)
        y = np.arange(1, n + 1, dtype=np.uint8)[:, None] % 10
        y[y == 0] = 10
        savemat(root / file, {"X": x, "y": y}, do_compression=True)
    return root


def parquet_table(n: int, start: int = 0) -> "pyarrow.Table":  # noqa: F821
    """Rows as `datasets` writes them."""
    import pyarrow

    images = [{"bytes": content(start + i), "path": "/etc/passwd"} for i in range(n)]
    table = pyarrow.table({"image": images, "label": [i % 2 for i in range(n)]})
    features = {"image": {"_type": "Image"}}
    features["label"] = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    about = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": about})


@collection
def hugging_face(root: Path) -> Path:
    from pyarrow import parquet

    (root / "data").mkdir()
    for name, n in (("train-00000-of-00001", 20), ("test-00000-of-00001", 4)):
        path = root / "data" / f"{name}.parquet"
        parquet.write_table(parquet_table(n, 50 * (n == 4)), path, row_group_size=8)
    return root


def make(kind: str, folder: Path) -> Path:
    """Make a collection in a folder of its own; returns what `data.root` is set to."""
    folder.mkdir(parents=True, exist_ok=True)
    return COLLECTIONS[kind](folder)


PRESETS = {"celeba": "celeba", "kaggle_idx": "mnist", "cifar10": "cifar10", "svhn": "svhn"}


def preset(kind: str) -> str:
    """The data set of `conf/data/` that a collection is for."""
    return next((p for start, p in PRESETS.items() if kind.startswith(start)), "folder")


def load(kind: str, folder: Path, *words: str) -> "DataModule":  # noqa: F821
    """The data set of a collection, made and set up."""
    from src.config import composition
    from src.data.sources import resolve_source
    from src.training.instantiate import build_data

    root = make(kind, folder / kind)
    settings = composition.compose(
        "train",
        [f"data={preset(kind)}", f"data.root={root}", f"data.cache={folder / 'cache'}", *words],
    )
    resolve_source(settings)
    data = build_data(composition.plain(settings))
    data.setup()
    return data


def describe(kind: str, folder: Path) -> str:
    """What is read of a collection, or why nothing is."""
    from src.errors import SettingError

    words = {"celeba": ["data.label=Male"], "folder": ["data.max_broken=0.1"]}
    try:
        return load(kind, folder, *words.get(preset(kind), [])).describe()
    except SettingError as error:
        return "error: " + str(error).replace("\n", " | ").replace(str(folder), "")


if __name__ == "__main__":
    for each in COLLECTIONS:
        print(f"{each:28} {describe(each, Path(sys.argv[1]))}")
