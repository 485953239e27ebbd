"""Tables beside images: which columns are believed, and what folders still say."""

import json
from pathlib import Path

import pytest

from src.data.image_sets import FileImages
from src.data.layout import Layout
from src.data.tables import in_order
from tests.data.examples import by_class, flat, put, write_table


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
