"""Splits and classes by the arrangement of images.

    root/cat/1.jpg, root/dog/7.png ...                two classes, every tenth image held out
    root/Training/cat/1.jpg, root/test/cat/2.jpg ...  the same with a test split of its own
    root/00000/00000.png, root/01000/01000.png ...    blocks of equal size, numbered on: no classes
    root/1.jpg ...                                    no classes

A table of labels beside them (`tables.py`) stands above the folders.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal

from src.errors import SettingError
from src.runs.escape import line

Role = Literal["train", "test"]
# `Train`, `training`, `seg_train`, `train2017`, `test_images`, `valid`.
SPLIT = re.compile(
    r"(?:.*[-_ .])?(?:(?P<train>train|training)|test|testing|val|valid|validation|dev)"
    r"(?:[-_ ]?(?:set|split|data|images?|imgs?|\d+))?",
    re.IGNORECASE,
)
BLOCK = re.compile(r"\d{4,}")  # the name of a folder that is a block: nobody numbers classes so
EVERY = 10  # one of so many images is held out where there is no test split


@dataclass
class Layout:
    """Splits and classes of a set of images.

    Attributes:
        splits: names of the images of each split, "train" first; none is empty.
        classes: the class of each image; empty if there are none.
        class_names: in the order of their indices.
        remarks: what was understood beside that, in sentences.
        left_out: from a reason to the number of images that are in no split for it.
    """

    splits: dict[str, list[str]]
    classes: dict[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def split_role(name: str) -> Role | None:
    """The split that a folder, or a word in a table, names; those held out are one."""
    found = SPLIT.fullmatch(name)
    if not found:
        return None
    return "train" if found["train"] else "test"


def split_of_words(name: str) -> Role | None:
    """The split that a word in a name says: `x_train`, `trainX`, `data/test-00000`."""
    return next(filter(None, map(split_role, words_of(name))), None)


def words_of(name: str) -> list[str]:
    """The words in a name, in small letters."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())


def hold_out(names: Sequence[str]) -> dict[str, list[str]]:
    """Splits of images that come in one: every tenth is held out."""
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for i, name in enumerate(names):
        splits["test" if i % EVERY == EVERY - 1 else "train"].append(name)
    return {split: members for split, members in splits.items() if members}


def arrange(names: Sequence[str], blocks: bool = True) -> Layout:
    """Splits and classes, as the folders of an image set tell them.

    Folders for training and for what is held out are splits, whatever they are called exactly; what
    lies beside them is left out. Below that, subfolders are classes, if there are two at least;
    some images beside them are left out, if they are fewer than in any of them.

    Args:
        names: names of all images, sorted, relative; leading folders that all share are overlooked.
        blocks: numbered folders may be blocks of one set instead of classes.
    """
    folders = {name: PurePosixPath(name).parts[:-1] for name in names}
    left_out: Counter[str] = Counter()
    folders = _within(_without_strays(_within(folders), left_out))
    roles = {name: split_role(parts[0]) if parts else None for name, parts in folders.items()}
    if {"train", "test"} <= set(roles.values()):
        for name, role in roles.items():
            if role is None:
                other = folders.pop(name)
                place = f"in {line(other[0], 40)}/" if other else "beside them"
                left_out[f"{place}, which is no split"] += 1
        splits = {"train": [], "test": []}
        for name in folders:
            splits[roles[name]].append(name)
        folders = _within_splits({name: parts[1:] for name, parts in folders.items()})
        folders = _without_strays(folders, left_out)
    else:
        splits = hold_out(list(folders))
    layout = Layout(splits, left_out=dict(left_out))
    kinds = {parts[0] for parts in folders.values() if parts}
    if len(kinds) > 1 and all(folders.values()):
        if blocks and _are_blocks(folders):
            layout.remarks.append(f"Its {len(kinds)} numbered folders are blocks and no classes.")
        else:
            layout.classes = {name: parts[0] for name, parts in folders.items()}
            layout.class_names = tuple(sorted(kinds))
    present = {split: [n for n in own if n in folders] for split, own in splits.items()}
    layout.splits = {split: own for split, own in present.items() if own}
    return layout


def choose(layout: Layout, labels: Sequence[str] | None) -> Layout:
    """The layout with the classes that the user asks for.

    Args:
        layout: what the files say.
        labels: None for none; empty for those that are there; else these, in this order.

    Raises:
        SettingError: if one is not there.
    """
    if labels is None:
        return replace(layout, classes={}, class_names=(), remarks=[])
    if not labels:
        return layout
    if missing := [name for name in labels if name not in layout.class_names]:
        raise SettingError(
            f"data.labels: there is no class {line(missing[0], 40)}.\n"
            f"Classes: {line(', '.join(layout.class_names), 300) or 'none'}"
        )
    splits = {
        split: [name for name in own if layout.classes[name] in labels]
        for split, own in layout.splits.items()
    }
    classes = {name: layout.classes[name] for own in splits.values() for name in own}
    left_out = dict(layout.left_out)
    if other := len(layout.classes) - len(classes):
        left_out["of other classes"] = other
    splits = {split: own for split, own in splits.items() if own}
    return Layout(splits, classes, tuple(labels), layout.remarks, left_out)


Folders = dict[str, tuple[str, ...]]  # of each image, from the top


def _within(folders: Folders) -> Folders:
    """Without leading folders that all share."""
    paths = [posixpath.join(*parts) if parts else "" for parts in folders.values()]
    shared = len(PurePosixPath(posixpath.commonpath(paths)).parts)
    return {name: parts[shared:] for name, parts in folders.items()}


def _within_splits(folders: Folders) -> Folders:
    """Without leading folders that all share, or that name the split once more."""
    while all(folders.values()):
        firsts = {parts[0] for parts in folders.values()}
        if len(firsts) > 1 and not all(map(split_role, firsts)):
            break
        folders = {name: parts[1:] for name, parts in folders.items()}
    return folders


def _without_strays(folders: Folders, left_out: Counter[str]) -> Folders:
    """Without the images beside all folders, if each folder has more."""
    sizes = Counter(parts[0] for parts in folders.values() if parts)
    strays = [name for name, parts in folders.items() if not parts]
    if not strays or len(sizes) < 2 or len(strays) >= min(sizes.values()):
        return folders
    left_out[f"beside the folders ({line(strays[0], 40)})"] += len(strays)
    return {name: parts for name, parts in folders.items() if parts}


def _are_blocks(folders: Folders) -> bool:
    """True if folders cut one numbered sequence into equal parts, of which the last is shorter."""
    blocks: dict[str, list[int]] = {}
    for name, parts in folders.items():
        number = re.findall(r"\d+", PurePosixPath(name).stem)
        if not number or not BLOCK.fullmatch(parts[0]):
            return False
        blocks.setdefault(parts[0], []).append(int(number[-1]))
    ordered = [numbers for _, numbers in sorted(blocks.items(), key=lambda item: int(item[0]))]
    runs_on = all(max(a) < min(b) for a, b in pairwise(ordered))
    *whole, last = map(len, ordered)
    return runs_on and len(set(whole)) == 1 and last <= whole[0]


def count_phrase(left_out: Iterable[tuple[str, int]]) -> str:
    """ "3 beside the folders, 12 hidden"; empty of nothing."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out)
