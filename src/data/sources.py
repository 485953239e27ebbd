"""Sources of data: files under `data.root`, downloads, and built-in stand-ins.

Neither torch nor NumPy is imported: commands decide the source, and report a missing folder, before
torch is imported.
"""

import itertools
import queue
import sys
import textwrap
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from src.data.containers import NEEDED as IMAGES
from src.data.containers import FolderFiles, open_zip
from src.data.layout import arrange
from src.data.listing import CELEBA_DEPTH, HUB, has_images, has_set, image_root, is_hidden
from src.errors import SettingError
from src.runs.stored import read_text

MESHES = (".off", ".obj", ".stl")
VOXELS = (".npy", ".npz", ".binvox", *MESHES)
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
# File, address and MD5 of what can be fetched into `data.root`.
DOWNLOADS = {
    "cifar10": {
        "cifar-10-python.tar.gz": (
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
        )
    },
    "svhn": {
        "train_32x32.mat": (
            "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
            "e26dedcc434d2e4c54c9b2d4a06d8373",
        ),
        "test_32x32.mat": (
            "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
            "eb5a983be6a315427106f1b164d9cef3",
        ),
    },
}
MODELNET = "modelnet10_32.npz"  # in its folder, beside classes.txt
MOST_NAMES = 2**16  # bytes of a file of classes
PATIENCE = 3.0  # seconds for a mirror to answer

# By the name of the data or the class that reads them: what has to lie under the root, and what
# stands in for it.
NEEDED = {
    "MNIST": "train-images-idx3-ubyte(.gz) and its three companions",
    "CelebA": "img_align_celeba/ with list_attr_celeba.txt, a zip of it, or any images",
    "cifar10": "CIFAR-10's batches, binary or Python, or their tar.gz",
    "svhn": "train_32x32.mat and test_32x32.mat",
    "Garments": IMAGES,
    "Folder": IMAGES,
    "DigitDomains": "a folder for each set, such as mnist/, as data=mnist downloads it",
    "Domains": "trainA/ and trainB/ (testA/, testB/), of any two kinds of images",
    "Voxels": "a folder of .npy, .npz, .binvox grids or .off, .obj, .stl meshes, or one .npz "
    "that holds a set",
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
    stand_in, needed = STAND_IN.get(reader), NEEDED.get(name) or NEEDED[reader]
    if source == "builtin":
        if not stand_in:
            raise SettingError(
                f"data.source=builtin: nothing stands in for data={name}.\n"
                f"Set data.root to {needed}."
            )
        return "builtin", ""
    reason = missing(data)
    if reason is None:
        return "real", ""
    root = data["root"] and Path(data["root"]).expanduser()
    if root and (addresses := _addresses(reader, name)):
        if _answers(addresses, PATIENCE):
            return "real", ""
        reason += f", and no mirror answered within {PATIENCE:.0f} seconds"
    if source == "real" or not stand_in:
        cure = f"Set data.root to {'' if reader == 'Voxels' else 'a folder with '}{needed}"
        raise SettingError(
            f"data.root={data['root']}: {reason}.\n"
            f"{cure}{', or data.source=builtin to use the stand-in' if stand_in else ''}."
        )
    return "builtin", (
        f"{name}: the real data are not under data.root={data['root']}: {reason}.\n"
        f"This run uses the stand-in: {stand_in}. "
        "Its numbers are not comparable with those of the real data.\n"
        f"For the real data, set data.root to a folder with {needed}."
    )


def _reader(data: Mapping[str, Any]) -> str:
    """The class that reads a data set; stacks of images are made of the single ones."""
    return str(data["_target_"]).rpartition(".")[2].removeprefix("Stacked")


def _addresses(reader: str, name: str) -> list[str]:
    """Addresses of which one has to answer, so that a download can work; none of most sets."""
    if reader == "MNIST":
        return [f"{mirror}{IDX['train'][1]}.gz" for mirror in MIRRORS.get(name, ())]
    if reader == "Folder":
        return [url for url, _ in DOWNLOADS.get(name, {}).values()]
    return []


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
    reader = _reader(data)
    if str(data["root"]).startswith(HUB) and reader == "Folder":
        return None
    root, name = Path(data["root"]).expanduser(), data["name"]
    if not root.exists():
        return "there is no such folder or file"
    if reader == "MNIST":
        return None if idx_folder(root, name) else f"no {name} files there"
    if reader == "Voxels":
        archive, files = find_voxels(root)
        return None if archive or files else "no voxels there"
    if reader == "DigitDomains":
        needed = (name for name in (data["a"], data["b"]) if name != "digits")
        lost = [each for each in needed if not own_idx_folder(root, each)]
        return f"no {' and '.join(lost)} files there" if lost else None
    if reader in ("Folder", "Garments"):
        return None if has_set(root) else "no images there"
    depth = CELEBA_DEPTH if reader == "CelebA" else 0
    return None if has_images(image_root(root, depth)) else "no images there"


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
        if any(idx_file(folder, file) for file in files):
            return folder
    return None


def idx_file(folder: Path, name: str) -> Path | None:
    """An IDX file by its name, with a dot in the place of the dash, gzipped, or in a folder of its
    name; None if there is none."""
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz", folder / stem / stem):
            if path.is_file():
                return path
    return None


def own_idx_folder(root: Path, name: str) -> Path | None:
    """The same below a root of several sets, where each has a folder of its name."""
    if found := idx_folder(root / name, name):
        return found
    folder = root / IDX_FOLDERS[name] / "raw"
    return folder if idx_folder(root, name) == folder else None


def find_voxels(root: Path) -> tuple[Path | None, list[str]]:
    """The .npz that holds a set, if it is one; else the names of the grids in a folder, sorted."""
    if root.is_file():
        return (root if root.suffix.lower() == ".npz" else None), []
    if (own := root / MODELNET).is_file():
        return own, []
    names = FolderFiles(root).names
    return None, sorted(n for n in names if n.lower().endswith(VOXELS) and not is_hidden(n))


def voxel_classes(root: Path) -> tuple[str, ...]:
    """Names of the classes of a set of voxels, in the order of their indices; empty without any.

    Raises:
        SettingError: if there are no voxels, or they cannot be read.
    """
    archive, files = find_voxels(root)
    if not archive and not files:
        raise SettingError(f"data.root={root}: no voxels there.\nSet it to {NEEDED['Voxels']}.")
    if not archive:
        return arrange(files, blocks=False).class_names
    try:
        with open_zip(archive) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
        if "x_train" not in names:
            return tuple(sorted(names))
        lines = read_text(archive.parent / "classes.txt", MOST_NAMES).splitlines()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SettingError(f"data.root={archive}: its classes cannot be read: {error}.") from error
    return tuple(name.strip() for name in lines if name.strip())


def stacked_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes of three stacked images, "3-1-4", in the order of their indices."""
    return tuple("-".join(triple) for triple in itertools.product(map(str, labels), repeat=3))


def label_classes(label: str) -> tuple[str, str]:
    """The two classes of an attribute, in the order of their indices."""
    return f"not {label}", label
