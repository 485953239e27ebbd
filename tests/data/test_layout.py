"""What the folders of an image set say: splits, classes, what lies beside them."""

import pytest

from src.data.layout import arrange, choose, split_role
from src.errors import SettingError


def by_class(*classes: str, each: int = 5, before: str = "") -> list[str]:
    return [f"{before}{kind}/{i}.png" for kind in classes for i in range(each)]


def test_flat_folders_have_no_classes() -> None:
    layout = arrange([f"{i:02d}.png" for i in range(20)])
    assert layout.splits["test"] == ["09.png", "19.png"]
    assert len(layout.splits["train"]) == 18
    assert layout.classes == {}
    assert layout.class_names == ()


def test_subfolders_are_classes() -> None:
    names = by_class("cat", "dog", before="set/")
    layout = arrange(names)
    assert layout.classes["set/dog/3.png"] == "dog"
    assert layout.splits["test"] == ["set/dog/4.png"]
    assert layout.class_names == ("cat", "dog")
    assert arrange(names[:5]).classes == {}  # one class is none


def test_stray_images_are_left_out_if_they_are_few() -> None:
    names = by_class("cat", "dog")
    layout = arrange([*names, "stray.png"])
    assert layout.class_names == ("cat", "dog")
    assert layout.left_out == {"beside the folders (stray.png)": 1}
    assert sum(map(len, layout.splits.values())) == 10
    many = arrange([*names, *(f"{i}.png" for i in range(5))])
    assert many.classes == {}
    assert many.left_out == {}
    assert sum(map(len, many.splits.values())) == 15


def test_own_splits() -> None:
    own = [f"{split}/{kind}/1.png" for split in ("test", "train") for kind in ("cat", "dog")]
    layout = arrange(own)
    assert layout.splits["train"] == ["train/cat/1.png", "train/dog/1.png"]
    assert layout.splits["test"] == ["test/cat/1.png", "test/dog/1.png"]
    assert layout.classes["test/cat/1.png"] == "cat"
    layout = arrange(["train/1.png", "val/1.png"])
    assert layout.splits == {"train": ["train/1.png"], "test": ["val/1.png"]}
    assert layout.classes == {}
    assert arrange(["train/1.png"]).splits == {"train": ["train/1.png"]}


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "testing"), ("TRAIN", "Valid"), ("seg_train", "seg_test"),
     ("train2017", "val2017"),
     ("training_set", "test_set"), ("Train Images", "Test Images")],
)  # fmt: skip
def test_names_of_splits(train: str, test: str) -> None:
    names = by_class("a", "b", before=f"{train}/") + by_class("a", "b", each=1, before=f"{test}/")
    layout = arrange(sorted(names))
    assert layout.class_names == ("a", "b")
    assert {split: len(own) for split, own in layout.splits.items()} == {"train": 10, "test": 2}


@pytest.mark.parametrize(
    "name", ["trainA", "bus", "test_tube", "contest", "strain", "training wheels"]
)
def test_names_of_no_split(name: str) -> None:
    assert split_role(name) is None


def test_a_class_may_be_called_train() -> None:
    layout = arrange(by_class("bus", "car", "train"))
    assert layout.class_names == ("bus", "car", "train")


def test_what_lies_beside_the_splits_is_left_out() -> None:
    names = by_class("a", "b", before="train/") + by_class("a", "b", before="test/")
    layout = arrange(sorted([*names, "unlabeled/1.png", "unlabeled/2.png"]))
    assert layout.class_names == ("a", "b")
    assert layout.left_out == {"in unlabeled/, which is no split": 2}


def test_splits_that_are_named_twice_or_hold_one_folder() -> None:
    """Kaggle's archives have `seg_train/seg_train/`, others `train/images/`."""
    for inside in (("train/", "test/"), ("images/", "images/")):
        names = by_class("a", "b", before=f"train/{inside[0]}")
        names += by_class("a", "b", before=f"test/{inside[1]}")
        assert arrange(sorted(names)).class_names == ("a", "b")


def blocks(*sizes: int, start: int = 0) -> list[str]:
    names, number = [], start
    for k, size in enumerate(sizes):
        names += [f"{k * sizes[0]:05}/{number + i:05}.png" for i in range(size)]
        number += size
    return names


def test_numbered_blocks_are_no_classes() -> None:
    layout = arrange(blocks(10, 10, 7))
    assert layout.classes == {}
    assert "blocks" in layout.remarks[0]
    assert arrange(blocks(10, 10, 7), blocks=False).class_names == ("00000", "00010", "00020")
    assert arrange(blocks(10, 4, 10)).class_names  # of different sizes
    assert arrange(by_class("00000", "00001")).class_names  # whose numbers begin anew
    assert arrange(by_class(*map(str, range(10)))).class_names  # digits


def test_chosen_classes() -> None:
    layout = arrange(by_class("a", "b", "c", each=10))
    assert choose(layout, []) is layout
    assert choose(layout, None).classes == {}
    two = choose(layout, ["c", "a"])
    assert two.class_names == ("c", "a")
    assert {split: len(own) for split, own in two.splits.items()} == {"train": 18, "test": 2}
    assert two.left_out == {"of other classes": 10}
    with pytest.raises(SettingError, match=r"data\.labels: there is no class d"):
        choose(layout, ["d"])
