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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from src.config.plugins import import_module, prefixes
from src.config.signatures import constant
from src.data.containers import FolderFiles
from src.data.listing import (
    CELEBA_DEPTH,
    HUB,
    has_images,
    has_set,
    image_root,
    is_hidden,
    why_none,
)
from src.errors import SettingError

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
PATIENCE = 3.0  # seconds for a mirror to answer

# What has to lie under the root for sets that `Folder` knows by their name.
NEEDED = {
    "cifar10": "a folder with CIFAR-10's batches, binary or Python, or their tar.gz",
    "svhn": "a folder with train_32x32.mat and test_32x32.mat",
}


def resolve(
    data: Mapping[str, Any], own: tuple[str, ...] = ()
) -> tuple[Literal["real", "builtin"], str]:
    """Decide where a data set comes from.

    Args:
        data: the configuration `data`, with `source: auto | real | builtin`.
        own: beginnings of the names of plug-ins.

    Returns:
        The source, and what the user should know if `auto` fell back to the stand-in (else "").

    Raises:
        SettingError: if real data are asked for, or there is no stand-in, and they are not there.
    """
    target, source, name = data["_target_"], data["source"], data["name"]
    needed, stand_in = (constant(target, each, own) for each in ("needed", "stands_in"))
    if not needed:
        return "builtin", ""  # drawn: there is nothing more real
    needed = NEEDED.get(name, needed)
    if source == "builtin":
        if not stand_in:
            raise SettingError(
                f"data.source=builtin: nothing stands in for data={name}.\n"
                f"Set data.root to {needed}."
            )
        return "builtin", ""
    reason = missing(data, own)
    if reason is None:
        return "real", ""
    if data["root"] and (addresses := _said(data, "mirrors", own, name)):
        if _answers(addresses, PATIENCE):
            return "real", ""
        reason += f", and no mirror answered within {PATIENCE:.0f} seconds"
    if source == "real" or not stand_in:
        raise SettingError(
            f"data.root={data['root']}: {reason}.\n"
            f"Set data.root to {needed}"
            f"{', or data.source=builtin to use the stand-in' if stand_in else ''}."
        )
    return "builtin", (
        f"{name}: the real data are not under data.root={data['root']}: {reason}.\n"
        f"This run uses the stand-in: {stand_in}. "
        "Its numbers are not comparable with those of the real data.\n"
        f"For the real data, set data.root to {needed}."
    )


def _said(data: Mapping[str, Any], attribute: str, own: tuple[str, ...], *given: Any) -> Any:
    """Value of a data set's class attribute: texts, or the answer of the function it names."""
    said = constant(data["_target_"], attribute, own)
    if not isinstance(said, str):
        return said
    if not said.startswith(("src.", *own)):
        return (said,)  # one text, without the comma of a tuple
    module, _, name = said.rpartition(".")
    return getattr(import_module(module), name)(*given)


def resolve_source(config: DictConfig) -> None:
    """Replace `data.source=auto` by what it means here; say so, once, if it is the stand-in."""
    data = OmegaConf.to_container(config.data, resolve=True)
    key = repr(sorted(data.items()))
    if key not in _sources:
        _sources[key], notice = resolve(data, prefixes(config.plugins))
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


def missing(data: Mapping[str, Any], own: tuple[str, ...] = ()) -> str | None:
    """Reason why real data cannot be read from `data.root`, or None. Downloads nothing.

    Args:
        data: the configuration `data`.
        own: beginnings of the names of plug-ins.
    """
    if data["root"] is None:
        return "data.root is not set"
    root = Path(data["root"]).expanduser()
    on_hub = str(data["root"]).startswith(HUB)
    if on_hub and constant(data["_target_"], "looks_for", own) == "src.data.sources.no_set":
        return None
    if not root.exists():
        return "there is no such folder or file"
    said = _said(data, "looks_for", own, root, data)
    if not isinstance(said, tuple):
        return said
    if any(root.match(each) if root.is_file() else any(root.glob(each)) for each in said):
        return None
    return f"no {' or '.join(said)} there"


# Functions that `looks_for` of our own data sets names: each returns what is missing, or None.


def no_idx(root: Path, data: Mapping[str, Any]) -> str | None:
    """MNIST's files, or those of a set of its format."""
    return None if idx_folder(root, data["name"]) else f"no {data['name']} files there"


def no_digits(root: Path, data: Mapping[str, Any]) -> str | None:
    """The same of two sets."""
    needed = (name for name in (data["a"], data["b"]) if name != "digits")
    lost = [each for each in needed if not own_idx_folder(root, each)]
    return f"no {' and '.join(lost)} files there" if lost else None


def no_voxels(root: Path, _: Mapping[str, Any]) -> str | None:
    """Grids or meshes."""
    archive, files = find_voxels(root)
    return None if archive or files else "no voxels there"


def no_set(root: Path, _: Mapping[str, Any]) -> str | None:
    """Images in any of the forms that `Folder` reads."""
    return None if has_set(root) else why_none(image_root(root))


def no_images(root: Path, _: Mapping[str, Any], depth: int = 0) -> str | None:
    """Images in a folder or an archive, which may lie some folders below."""
    inner = image_root(root, depth)
    return None if has_images(inner) else why_none(inner)


def no_faces(root: Path, data: Mapping[str, Any]) -> str | None:
    """CelebA's images."""
    return no_images(root, data, CELEBA_DEPTH)


# Functions that `mirrors` names.


def idx_mirrors(name: str) -> list[str]:
    """Addresses of a small file of each of torchvision's mirrors of an IDX set."""
    return [f"{mirror}{IDX['train'][1]}.gz" for mirror in MIRRORS.get(name, ())]


def set_addresses(name: str) -> list[str]:
    """Addresses of the files of a set that `fetch` knows."""
    return [url for url, _ in DOWNLOADS.get(name, {}).values()]


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


def stacked_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes of three stacked images, "3-1-4", in the order of their indices."""
    return tuple("-".join(triple) for triple in itertools.product(map(str, labels), repeat=3))


def label_classes(label: str) -> tuple[str, str]:
    """The two classes of an attribute, in the order of their indices."""
    return f"not {label}", label
