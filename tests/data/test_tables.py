"""Tables beside images: which columns are believed, and what folders still say."""

import json
from pathlib import Path

import pytest

from src.data.image_sets import FileImages
from src.data.layout import Layout
from src.data.tables import in_order
from tests.data.examples import FACES, by_class, flat, kaggle_celeba, put, write_table


def layout(root: Path) -> Layout:
    return FileImages(root).layout()


def test_what_is_only_taken_for_a_class_stands_below_the_folders(tmp_path: Path) -> None:
    names = by_class("ab")
    put(tmp_path, names)
    rows = [(name, "m" if i % 2 else "f") for i, name in enumerate(names)]
    write_table(tmp_path / "people.csv", [("file", "sex"), *rows])
    assert layout(tmp_path).class_names == ("a", "b")
    write_table(tmp_path / "people.csv", [("file", "class"), *rows])
    assert layout(tmp_path).class_names == ("f", "m")


def test_columns_that_are_no_class(tmp_path: Path) -> None:
    put(tmp_path, flat(20))
    captions = [(f"{i:02}.png", f"a photo of {i}") for i in range(20)]
    write_table(tmp_path / "t.csv", [("file_name", "text"), *captions])
    assert layout(tmp_path).class_names == ()
    two = [(f"{i:02}.png", i % 2, i % 3) for i in range(20)]
    write_table(tmp_path / "t.csv", [("file_name", "hat", "hair"), *two])
    found = layout(tmp_path)
    assert found.class_names == ()
    assert found.remarks == ["Which column of t.csv is the class is not clear: hat, hair."]
    assert len(found.splits["train"]) == 18


def test_a_table_without_a_head_and_with_other_separators(tmp_path: Path) -> None:
    put(tmp_path, flat(20))
    (tmp_path / "t.tsv").write_text("".join(f"{i:02}.png\t{i % 2}\n" for i in range(20)))
    assert layout(tmp_path).class_names == ("0", "1")
    (tmp_path / "t.tsv").unlink()
    text = "name;label\n" + "".join(f"{i:02}.png;é{i % 2}\n" for i in range(20))
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        assert layout(tmp_path).class_names == ("é0", "é1")


def test_images_without_a_line_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, flat(20))
    rows = [(f"{i:02}.png", i % 2) for i in range(15)]
    write_table(tmp_path / "t.csv", [("name", "label"), *rows])
    found = layout(tmp_path)
    assert sum(map(len, found.splits.values())) == 15
    assert found.left_out == {"without a line in t.csv": 5}


def test_tests_without_labels_are_no_test_split(tmp_path: Path) -> None:
    """As in Kaggle's contests: what is held out comes from the training images."""
    put(tmp_path, [*flat(20, "train/"), *(f"test/t{i}.png" for i in range(6))])
    write_table(
        tmp_path / "labels.csv", [("id", "breed"), *((f"{i:02}", i % 2) for i in range(20))]
    )
    found = layout(tmp_path)
    assert {split: len(own) for split, own in found.splits.items()} == {"train": 18, "test": 2}
    assert found.left_out == {"without a line in labels.csv": 6}


def sizes(found: Layout) -> dict[str, int]:
    return {split: len(own) for split, own in found.splits.items()}


@pytest.mark.parametrize("head", [[("image_id", "partition")], []], ids=["head", "no head"])
def test_a_partition_in_a_table_of_its_own(head: list, tmp_path: Path) -> None:
    put(tmp_path, flat(20, "images/"))
    kinds = [(f"{i:02}.png", ("cat", "dog")[i % 2]) for i in range(20)]
    write_table(tmp_path / "classes.csv", [("image_id", "class"), *kinds])
    parts = [(f"{i:02}.png", 0 if i < 12 else 1 if i < 15 else 2) for i in range(18)]
    write_table(tmp_path / "partition.csv", [*head, *parts])
    found = layout(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.classes["images/03.png"] == "dog"
    assert sizes(found) == {"train": 12, "test": 6}
    assert found.left_out == {"without a line in partition.csv": 2}
    told = ["Classes are those of classes.csv.", "Splits are those of partition.csv."]
    assert found.remarks == told
    (tmp_path / "classes.csv").unlink()
    assert layout(tmp_path).class_names == ()
    assert sizes(layout(tmp_path)) == {"train": 12, "test": 6}


@pytest.mark.parametrize("title", ["fold", "set"])
def test_numbers_that_are_neither_a_split_nor_a_class(title: str, tmp_path: Path) -> None:
    put(tmp_path, flat(20))
    write_table(tmp_path / "t.csv", [("name", title), *((f"{i:02}", i % 5) for i in range(20))])
    assert layout(tmp_path).class_names == ()
    assert sizes(layout(tmp_path)) == {"train": 18, "test": 2}


def test_the_partition_of_celeba_is_no_class(tmp_path: Path) -> None:
    kaggle_celeba(tmp_path / "archive")
    rows = [(name, i % 2, i % 3) for i, name in enumerate(FACES)]
    write_table(tmp_path / "archive" / "list_attr_celeba.csv", [("image_id", "Male", "Hat"), *rows])
    found = layout(tmp_path)
    assert found.class_names == ()
    assert sizes(found) == {"train": 14, "test": 6}
    assert found.remarks == [
        "Which column of archive/list_attr_celeba.csv is the class is not clear: male, hat.",
        "Splits are those of archive/list_eval_partition.csv.",
    ]


def test_the_tables_of_the_classes_are_named(tmp_path: Path) -> None:
    """Those of Kaggle's contests, and one in each split as Hugging Face has them."""
    names = [*flat(20, "train/"), *(f"test/t{i}.png" for i in range(6))]
    put(tmp_path / "kaggle", names)
    ids = [(f"t{i}",) for i in range(6)]
    for file, rows in (
        ("train", [("id", "label"), *((f"{i:02}", i % 2) for i in range(20))]),
        ("test", [("id",), *ids]),
        ("sample_submission", [("id", "label"), *((*row, i % 2) for i, row in enumerate(ids))]),
    ):
        write_table(tmp_path / "kaggle" / f"{file}.csv", rows)
    found = layout(tmp_path / "kaggle")
    assert found.remarks == ["Classes are those of train.csv."]
    assert found.left_out == {"without a line in train.csv": 6}
    assert sizes(found) == {"train": 18, "test": 2}
    parts = {"train": 8, "test": 4, "val": 4}
    for n, told in ((2, "test/metadata.csv and train/metadata.csv"),
                    (3, "test/metadata.csv and 2 other tables")):  # fmt: skip
        root = tmp_path / str(n)
        for split, each in list(parts.items())[:n]:
            rows = [(f"{i:02}.png", i % 2) for i in range(each)]
            write_table(root / split / "metadata.csv", [("file_name", "label"), *rows])
            put(root, flat(each, f"{split}/"))
        assert layout(root).remarks == [f"Classes are those of {told}."]
        assert layout(root).left_out == {}


def test_tables_of_other_things_change_nothing(tmp_path: Path) -> None:
    put(tmp_path, by_class("ab"))
    before = layout(tmp_path)
    write_table(tmp_path / "scores.csv", [("epoch", "loss"), *((i, 1 / (i + 1)) for i in range(9))])
    write_table(tmp_path / "empty.csv", [])
    (tmp_path / "broken.jsonl").write_text('{"a": 1}\nnot json')
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    assert layout(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"labels": null}', "are none"),
        (json.dumps({"labels": [["a/00.png", [0.1, 0.2]]]}), "are vectors"),
        ("not json", "cannot be read"),
        ('{"labels": [1, 2]}', "cannot be read"),
    ],
)
def test_a_dataset_json_without_classes(content: str, told: str, tmp_path: Path) -> None:
    """Its folders are blocks: they are not taken for classes in its place."""
    put(tmp_path, by_class("ab"))
    (tmp_path / "dataset.json").write_text(content)
    found = layout(tmp_path)
    assert found.class_names == ()
    assert told in found.remarks[0]
    assert sum(map(len, found.splits.values())) == 20


def test_a_dataset_json_of_somebody_else(tmp_path: Path) -> None:
    put(tmp_path, by_class("ab"))
    for content in ('{"images": []}', "[1]"):
        (tmp_path / "dataset.json").write_text(content)
        assert layout(tmp_path).class_names == ("a", "b")


def test_the_order_of_classes() -> None:
    assert in_order({"--1", "2"}) == ("--1", "2")
    assert in_order({"10", "9", "-1"}) == ("-1", "9", "10")
    assert in_order({"b", "10", "a"}) == ("10", "a", "b")
