"""What is understood of image collections as people have them: `python -m benchmarks.folders`.

Each case is made anew, of small pictures, and read as a training would read it. The table has what
was made of it in October 2026, before these cases were found, and what a training says of it now.
"""

import gzip
import json
import os
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from src.config.composition import compose, plain
from src.errors import SettingError
from src.training.instantiate import build_data

drawing = np.random.default_rng(0)


def picture(path: Path, **options: object) -> None:
    """Write a picture that no other one equals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = drawing.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def pictures(root: Path, *folders: str, count: int = 20) -> list[str]:
    """Write pictures below each folder; returns their names."""
    names = [f"{folder}/{i:03}.png" for folder in folders for i in range(count)]
    for name in names:
        picture(root / name)
    return names


def splits(root: Path) -> None:
    pictures(root, "training/0", "training/1", "training/2", "testing/0", "testing/1", "testing/2")


def capitals(root: Path) -> None:
    pictures(root, "Train/cat", "Train/dog", "Test/cat", "Test/dog")


def stray(root: Path) -> None:
    pictures(root, "train/cat", "train/dog", "test/cat", "test/dog")
    picture(root / "cover.png")


def dataset_tool(root: Path) -> None:
    names = pictures(root, "00000", "00001", count=25)
    labels = [[name, i % 5] for i, name in enumerate(names)]
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    zipped(root, "/")


def ffhq(root: Path) -> None:
    for i in range(60):
        picture(root / f"{i // 30 * 1000:05}" / f"{i:05}.png")


def table(root: Path) -> None:
    names = pictures(root, "images", count=40)
    lines = [f"{Path(name).name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["filename,label", *lines]))


def image_folder(root: Path) -> None:
    names = pictures(root, "train", count=40)
    rows = [{"file_name": Path(name).name, "label": i % 2} for i, name in enumerate(names)]
    (root / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def celeba(root: Path) -> None:
    names = [f"{i:06}.jpg" for i in range(1, 41)]
    for name in names:
        picture(root / "Img" / "img_align_celeba" / name)
    attributes = "\n".join(f"{name} {1 - i % 2 * 2} -1" for i, name in enumerate(names))
    (root / "Anno").mkdir()
    (root / "Anno" / "list_attr_celeba.txt").write_text(f"40\nSmiling Male\n{attributes}\n")
    (root / "Eval").mkdir()
    parts = "\n".join(f"{name} {2 if i >= 30 else 0}" for i, name in enumerate(names))
    (root / "Eval" / "list_eval_partition.txt").write_text(parts + "\n")


def zipped(root: Path, separator: str, start: str = "") -> None:
    """Pack what is below a folder into a zip, and remove it."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        for path in files:
            info = zipfile.ZipInfo("x")
            info.filename = start + str(path.relative_to(root)).replace("/", separator)
            archive.writestr(info, path.read_bytes())
            path.unlink()


def powershell(root: Path) -> None:
    pictures(root, "cat", "dog")
    zipped(root, "\\")


def dotted(root: Path) -> None:
    pictures(root, "cat", "dog")
    zipped(root, "/", "./")


def tar(root: Path) -> None:
    names = pictures(root, "cat", "dog")
    with tarfile.open(root / "set.tar.gz", "w:gz") as archive:
        for name in names:
            archive.add(root / name, name)
            (root / name).unlink()


def loop(root: Path) -> None:
    pictures(root, "photos")
    (root / "photos" / "parent").symlink_to(root)
    (root / "photos" / "itself.png").symlink_to(root / "photos" / "itself.png")


def endings(root: Path) -> None:
    pictures(root, "photos")
    for ending, kind in {".jfif": "JPEG", ".avif": "AVIF", "": "PNG", ".webp": "WEBP"}.items():
        for i in range(5):
            picture(root / "photos" / f"{kind}{i}{ending}", format=kind)


def thumbnails(root: Path) -> None:
    pictures(root, "photos", "photos/@eaDir/a", "photos/thumbs")


def turned(root: Path) -> None:
    for i in range(20):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture(root / f"{i}.jpg", exif=exif)


def idx(root: Path) -> None:
    for name, count in (("train", 60), ("t10k", 20)):
        images = drawing.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        content = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + images.tobytes()
        (root / f"{name}-images.idx3-ubyte").write_bytes(content)
        content = struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes()
        (root / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))


def copies(root: Path) -> None:
    names = pictures(root, "train/a", "test/a")
    for i in range(5):
        (root / names[20 + i]).write_bytes((root / names[i]).read_bytes())


def arrays(root: Path) -> None:
    x = drawing.integers(0, 256, (50, 16, 16, 3), np.uint8)
    np.savez(root / "set.npz", x_train=x[:40], y_train=np.arange(40) % 4, x_test=x[40:])


def rectangles(root: Path) -> None:
    for i in range(20):
        pixels = drawing.integers(0, 256, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")


CASES: list[tuple[str, Callable[[Path], None], list[str], str]] = [
    ("`training/0/`, `testing/0/` ...", splits, [], "the splits are the classes"),
    ("`Train/cat/`, `Test/cat/` ...", capitals, [], "the splits are the classes"),
    ("a picture beside `train/`, `test/`", stray, [], "the splits are the classes"),
    ("zip of dataset_tool with `dataset.json`", dataset_tool, [], "classes 00000, 00001"),
    ("FFHQ's `00000/`, `01000/`", ffhq, [], "two classes"),
    ("`labels.csv`", table, [], "not found"),
    ("`metadata.jsonl` of Hugging Face", image_folder, [], "not found"),
    ("CelebA's `Img/ Anno/ Eval/`", celeba, ["data=celeba"], "not found"),
    ("zip of PowerShell, with backslashes", powershell, [], "classes lost"),
    ("zip with `./` names", dotted, [], "no images there"),
    ("`.tar.gz`", tar, [], "no images there"),
    (
        "links to the parent, to itself",
        loop,
        ["data.max_broken=0.1"],
        "820 images of 20, copies held out; traceback",
    ),
    ("`.jfif`, `.avif`, no ending", endings, [], "10 of 40 used without a word"),
    ("`@eaDir/`, `thumbs/`", thumbnails, [], "trained on"),
    ("photographs turned by EXIF", turned, [], "lying on their side"),
    ("`train-images.idx3-ubyte`", idx, ["data=mnist"], "stand-in digits"),
    ("copies across splits", copies, [], "unnoticed"),
    ("`.npz`", arrays, [], "no"),
    ("40 x 24 px", rectangles, ["data.resize=pad"], "cropped"),
]


def understood(make: Callable[[Path], None], words: list[str]) -> str:
    """What a training says of a collection."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "set"
        root.mkdir()
        make(root)
        chosen = [] if any(word.startswith("data=") for word in words) else ["data=folder"]
        small = [] if "data=mnist" in words else ["data.resolution=16"]
        words = [
            "model=dcgan",
            *chosen,
            f"data.root={root}",
            f"data.cache={place}/cache",
            *small,
            *words,
        ]
        settings = plain(compose("train", words))
        try:
            data = build_data(settings)
            data.setup()
        except SettingError as error:
            return str(error).replace(place, "...").replace("\n", " ")
        return data.describe().replace(place, "...").replace("\n", " ")


def main() -> None:
    os.environ.setdefault("SPARRING_CACHE", tempfile.gettempdir())
    print("| collection | October 2026 | now |\n|---|---|---|")
    for name, make, words, before in CASES:
        print(f"| {name} | {before} | {understood(make, words)} |", flush=True)


if __name__ == "__main__":
    main()
