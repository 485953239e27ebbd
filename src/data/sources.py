"""Sources of data: files under `data.root`, downloads, and built-in stand-ins.

Neither torch nor NumPy is imported: commands decide the source, and report a missing folder, before
torch is imported.
"""

import itertools
import os
import posixpath
import queue
import sys
import textwrap
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from src.errors import SettingError
from src.runs.folders import walk
from src.runs.stored import read_text

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
VOXELS = (".npy", ".npz", ".binvox")
IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# torchvision's names of the folders and, for the look whether a download can work, its mirrors.
IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/",),
    "fashion_mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
}
HELD_OUT = ("test", "val", "valid", "validation")
MOST_DIRECTORY = 128 * 2**20  # bytes of a zip's: some million images
MODELNET = "modelnet10_32.npz"  # in its folder, beside classes.txt
MOST_NAMES = 2**16  # bytes of a file of classes
PATIENCE = 3.0  # seconds for a mirror to answer

# By the class that reads them: what has to lie under the root, and what stands in for it.
NEEDED = {
    "MNIST": "train-images-idx3-ubyte(.gz) and its three companions",
    "CelebA": "img_align_celeba/ with list_attr_celeba.txt, a zip of it, or any images",
    "Garments": "images, in folders or in a zip",
    "Folder": "images, in folders or in a zip",
    "DigitDomains": "a folder for each set, such as mnist/, as data=mnist downloads it",
    "Domains": "trainA/ and trainB/ (testA/, testB/), of any two kinds of images",
    "Voxels": "a folder of .npy, .npz or .binvox grids, or one .npz that holds a set",
    "Pairs": "trainA/ and trainB/ (testA/, testB/), or train/ with pairs side by side in one image",
}
STAND_IN = {
    "MNIST": "scikit-learn's 1,797 handwritten digits, enlarged",
    "CelebA": "20,000 drawn faces",
    "Garments": "5,500 drawn garments",
    "DigitDomains": "scikit-learn's 1,797 handwritten digits and their negatives",
    "Domains": "5,000 scenes that are drawn twice (data.stand_in)",
}


def resolve(data: Mapping[str, Any]) -> tuple[Literal["real", "builtin"], str]:
    """Decide where a data set comes from.

    Args:
        data: the configuration `data`, with `source: auto | real | builtin`.

    Returns:
        The source, and what the user should know if `auto` fell back to the stand-in (else "").

    Raises:
        SettingError: if real data are asked for, or there is no stand-in, and they are not there.
    """
    reader = _reader(data)
    source, name = data["source"], data["name"]
    if data["kind"] == "points" or reader == "Solids":
        return "builtin", ""  # drawn from the exact distribution: there is nothing more real
    stand_in = STAND_IN.get(reader)
    if source == "builtin":
        if not stand_in:
            raise SettingError(
                f"data.source=builtin: nothing stands in for data={name}.\n"
                f"Set data.root to {NEEDED[reader]}."
            )
        return "builtin", ""
    reason = missing(data)
    if reason is None:
        return "real", ""
    root = data["root"] and Path(data["root"]).expanduser()
    mirrors = MIRRORS.get(name, ()) if reader == "MNIST" and root else ()
    if mirrors:
        if _answers([f"{mirror}{IDX['train'][1]}.gz" for mirror in mirrors], PATIENCE):
            return "real", ""
        reason += f", and no mirror answered within {PATIENCE:.0f} seconds"
    if source == "real" or not stand_in:
        cure = f"Set data.root to {'' if reader == 'Voxels' else 'a folder with '}{NEEDED[reader]}"
        raise SettingError(
            f"data.root={data['root']}: {reason}.\n"
            f"{cure}{', or data.source=builtin to use the stand-in' if stand_in else ''}."
        )
    return "builtin", (
        f"{name}: the real data are not under data.root={data['root']}: {reason}.\n"
        f"This run uses the stand-in: {stand_in}. "
        "Its numbers are not comparable with those of the real data.\n"
        f"For the real data, set data.root to a folder with {NEEDED[reader]}."
    )


def _reader(data: Mapping[str, Any]) -> str:
    """The class that reads a data set; stacks of images are made of the single ones."""
    return str(data["_target_"]).rpartition(".")[2].removeprefix("Stacked")


def resolve_source(config: DictConfig) -> None:
    """Replace `data.source=auto` by what it means here; say so, once, if it is the stand-in."""
    data = OmegaConf.to_container(config.data, resolve=True)
    key = repr(sorted(data.items()))
    if key not in _sources:
        _sources[key], notice = resolve(data)
        if notice:
            print(box(notice), file=sys.stderr)
    config.data.source = _sources[key]


_sources: dict[str, str] = {}  # a sweep asks for the same data set many times


def box(text: str) -> str:
    """Text in a frame."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 92)]
    rule = "+" + "-" * (max(map(len, lines)) + 2) + "+"
    width = len(rule) - 4
    return "\n".join([rule, *(f"| {line:<{width}} |" for line in lines), rule])


def missing(data: Mapping[str, Any]) -> str | None:
    """Reason why real data cannot be read from `data.root`, or None. Downloads nothing.

    Args:
        data: the configuration `data`.
    """
    if data["root"] is None:
        return "data.root is not set"
    root, name = Path(data["root"]).expanduser(), data["name"]
    if not root.exists():
        return "there is no such folder or file"
    if _reader(data) == "MNIST":
        return None if idx_folder(root, name) else f"no {name} files there"
    if _reader(data) == "Voxels":
        archive, files = find_voxels(root)
        return None if archive or files else "no voxels there"
    if _reader(data) == "DigitDomains":
        needed = (name for name in (data["a"], data["b"]) if name != "digits")
        lost = [each for each in needed if not own_idx_folder(root, each)]
        return f"no {' and '.join(lost)} files there" if lost else None
    return None if next(_images(image_root(root)), None) else "no images there"


def _answers(urls: Sequence[str], seconds: float) -> bool:
    """True if one of the addresses answers a HEAD request in time."""
    answers: queue.Queue[bool] = queue.Queue()

    def ask(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as reply:
                answers.put(reply.status == 200)
        except (OSError, ValueError):  # no network, no such host, refused, not found
            answers.put(False)

    # A name look-up knows no timeout, so that each has a thread that may be left behind.
    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    try:
        return any(answers.get(timeout=seconds) for _ in urls)
    except queue.Empty:
        return False


def idx_folder(root: Path, name: str) -> Path | None:
    """Folder of the IDX files: torchvision's `<root>/MNIST/raw`, `<root>/raw`, or the root."""
    folders = [root / IDX_FOLDERS.get(name, name) / "raw", root / "raw", root]
    files = [file for pair in IDX.values() for file in pair]
    for folder in folders:
        if any((folder / f"{file}{end}").is_file() for file in files for end in ("", ".gz")):
            return folder
    return None


def own_idx_folder(root: Path, name: str) -> Path | None:
    """The same below a root of several sets, where each has a folder of its name."""
    if found := idx_folder(root / name, name):
        return found
    folder = root / IDX_FOLDERS[name] / "raw"
    return folder if idx_folder(root, name) == folder else None


def image_root(root: Path) -> Path:
    """The folder or zip that holds the images: CelebA's own folder, or a single zip, if any."""
    for inner in (root / "img_align_celeba", root / "img_align_celeba.zip"):
        if inner.exists():
            return inner
    if root.is_dir() and next(_images(root), None) is None:
        zips = list(root.glob("*.zip"))
        return zips[0] if len(zips) == 1 else root
    return root


def image_names(root: Path) -> list[str]:
    """Names of all images in a folder or zip, relative to it, sorted, with forward slashes.

    Raises:
        SettingError: if there are none, or the zip cannot be read.
    """
    names = sorted(_images(root))
    if not names:
        raise SettingError(
            f"data.root={root}: no images there.\nSet data.root to {NEEDED['Folder']}."
        )
    return names


def _images(root: Path) -> Iterator[str]:
    if root.is_file():
        try:
            with open_zip(root) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise SettingError(
                f"data.root={root} is neither a folder nor a readable zip ({error}).\n"
                f"Set data.root to {NEEDED['Folder']}."
            ) from error
        for name in filter(_is_image, names):
            if name.startswith("/"):
                raise SettingError(
                    f"data.root={root}: its member {name[:100]} is not named relative to the zip.\n"
                    "Make the zip anew from inside of the folder of the images."
                )
            yield name
        return
    yield from filter(_is_image, _files(root))


def _files(root: Path) -> Iterator[str]:
    """Names of all files in a folder, relative to it, with forward slashes."""
    for folder, _, files in walk(root):
        inside = folder.relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (f"{prefix}{file}" for file in files)


def open_zip(path: Path) -> zipfile.ZipFile:
    """An archive, whose directory is looked at before it is read: one entry is one object.

    Raises:
        zipfile.BadZipFile: if it is none, or has too many entries.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2**16 - 22))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    directory = int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0
    if directory > MOST_DIRECTORY and not (directory == 2**32 - 1 and size < MOST_DIRECTORY):
        raise zipfile.BadZipFile("it has too many entries")
    return zipfile.ZipFile(path)


def _is_image(name: str) -> bool:
    return _is_one(name, IMAGES)


def _is_one(name: str, endings: tuple[str, ...]) -> bool:
    """By its ending; what systems leave behind (`__MACOSX/`, `._photo.jpg`) is none."""
    parts = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return parts[-1].lower().endswith(endings) and not hidden


def find_voxels(root: Path) -> tuple[Path | None, list[str]]:
    """The .npz that holds a set, if it is one; else the names of the grids in a folder, sorted."""
    if root.is_file():
        return (root if root.suffix.lower() == ".npz" else None), []
    if (own := root / MODELNET).is_file():
        return own, []
    return None, sorted(name for name in _files(root) if _is_one(name, VOXELS))


def voxel_classes(root: Path) -> tuple[str, ...]:
    """Names of the classes of a set of voxels, in the order of their indices; empty without any.

    Raises:
        SettingError: if there are no voxels, or they cannot be read.
    """
    archive, files = find_voxels(root)
    if not archive and not files:
        raise SettingError(f"data.root={root}: no voxels there.\nSet it to {NEEDED['Voxels']}.")
    if not archive:
        return tuple(sorted(set(arrange(files)[1].values())))
    try:
        with open_zip(archive) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
        if "x_train" not in names:
            return tuple(sorted(names))
        lines = read_text(archive.parent / "classes.txt", MOST_NAMES).splitlines()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SettingError(f"data.root={archive}: its classes cannot be read: {error}.") from error
    return tuple(name.strip() for name in lines if name.strip())


def arrange(names: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Splits and classes, as the folders of an image set tell them.

    `train/` at the top stands against `test/` and `val/`; else every tenth image is held out.
    Below that, subfolders are classes, if every image lies in one and there are two at least.

    Args:
        names: names of all images, sorted, relative; leading folders that all share are overlooked.

    Returns:
        The names of each split, and from each name to its class (empty if there are none).
    """
    parts = [PurePosixPath(name).parts for name in names]
    shared = len(PurePosixPath(posixpath.commonpath(map(posixpath.dirname, names))).parts)
    folders = [entry[shared:-1] for entry in parts]
    tops = {entry[0] if entry else "" for entry in folders}
    if "train" in tops and tops - {"train"} and tops <= {"train", *HELD_OUT}:
        test = [entry[0] != "train" for entry in folders]
        folders = [entry[1:] for entry in folders]
    else:
        test = [i % 10 == 9 for i in range(len(names))]
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for name, out in zip(names, test, strict=True):
        splits["test" if out else "train"].append(name)
    labelled = all(folders) and len({entry[0] for entry in folders}) > 1
    classes = {n: entry[0] for n, entry in zip(names, folders, strict=True)} if labelled else {}
    return {split: members for split, members in splits.items() if members}, classes


def classes(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes that a data configuration leads to; empty if unlabelled.

    Args:
        data: the configuration `data`, its source resolved.

    Raises:
        SettingError: if that depends on the folders of an image set, and there is none.
    """
    if data.get("label"):
        return label_classes(data["label"])
    if str(data["_target_"]).endswith(".Folder") and data["root"] is not None:
        names = image_names(image_root(Path(data["root"]).expanduser()))
        return tuple(sorted(set(arrange(names)[1].values())))
    if str(data["_target_"]).endswith(".Voxels") and not data["labels"] and data["root"]:
        return voxel_classes(Path(data["root"]).expanduser())
    if str(data["_target_"]).endswith(".StackedMNIST"):
        return stacked_classes(data["labels"])
    return tuple(data["labels"])


def stacked_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes of three stacked images, "3-1-4", in the order of their indices."""
    return tuple("-".join(triple) for triple in itertools.product(map(str, labels), repeat=3))


def label_classes(label: str) -> tuple[str, str]:
    """The two classes of an attribute, in the order of their indices."""
    return f"not {label}", label
