"""What a stranger may write is read as plain values, or refused in a moment."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from src.errors import SettingError
from src.runs.stored import (
    NUMBER,
    Limits,
    as_name,
    check_plain,
    expect,
    is_amount,
    is_name,
    parse_json,
    parse_yaml,
    read_bytes,
    read_png,
    read_text,
    write_yaml,
)

PLAIN = {
    "words": ["on", "null", "1e5", "0x10", "~", "é", "", "=", "<<", "2001-01-01", "a: b", "😀"],
    "numbers": [1e-10, 5e-05, 1e22, 0.1, -3, 2**62, float("inf")],
    "others": [None, True, False, {}, [], {"a": {"b": [1, [2]]}}],
    "lines\nin a key": "and\nin a value\t",
}


def test_what_was_written_comes_back() -> None:
    assert parse_yaml(write_yaml(PLAIN)) == PLAIN
    assert parse_json(json.dumps(PLAIN)) == PLAIN
    shared = [1]
    assert parse_yaml(write_yaml({"a": shared, "b": shared})) == {"a": [1], "b": [1]}


def test_it_agrees_with_pyyaml_on_plain_values() -> None:
    text = "a: 1\nb: [1.5, .inf, yes, ~, 'x', \"y\\n\", -0x1f, 1_000]\nc: {d: |\n  e\n}\n"
    text = text.replace("{d: |\n  e\n}", "\n  d: |\n    e\n  f:\n")
    assert parse_yaml(text) == yaml.safe_load(text)


REFUSED = {
    "pairs": "a: !!pairs [x: 1]",
    "omap": "a: !!omap [x: 1]",
    "a set": "a: !!set {x}",
    "bytes": "a: !!binary aGk=",
    "a date": "a: 2001-01-01",
    "a merge": "a: {<<: {b: 1}}",
    "an object": "a: !!python/object/apply:os.system ['id']",
    "a tag of its own": "a: !x 1",
    "a plain tag": "a: !!str 1",
    "a directive": "%TAG ! !x\n---\na: 1",
    "an anchor": "a: &x [1]",
    "an alias bomb": "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a,*a]\n" for i in range(30)),
    "a list in itself": "a: &a [*a]",
    "a repeated key": "a: 1\na: 2",
    "a number for a key": "1: 2",
    "a list for a key": "[a]: 1",
    "two documents": "a: 1\n---\nb: 2",
    "many digits": "a: " + "9" * 5000,
    "65 bits": f"a: {2**63}",
    "nul": 'a: "\\0"',
    "flow nesting": "[" * 100_000,
    "block nesting": "\n".join(" " * i + "a:" for i in range(900)),
    "many values": "- 1\n" * 30_000,
    "half a document": "a: [",
    "utf-16": "a: 1".encode("utf-16"),
    "no utf-8": b"a: \xff",
}


@pytest.mark.parametrize("name", REFUSED)
def test_yaml_that_is_refused(name: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError) as caught:
        parse_yaml(REFUSED[name])
    assert time.process_time() - start < 2
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '"\\ud800"',
        '"\\u0000"',
        "1" * 400,
        str(2**64),
        '{"a": 1, "a": 2}',
        "[" + "1," * 600_000 + "1]",
        "{} {}",
        "",
        b"\xff",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_json_that_is_refused(text: str | bytes) -> None:
    start = time.process_time()
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert time.process_time() - start < 2
    assert len(str(caught.value)) < 200


def test_values_of_any_origin() -> None:
    check_plain(PLAIN)
    knot: list[Any] = []
    knot.append(knot)
    for value in ((1,), {1: 2}, {"a": {1}}, 2**63, b"x", knot, object(), "\ud800", {"\0": 1}):
        with pytest.raises(ValueError):
            check_plain(value)
    with pytest.raises(ValueError, match="too many"):
        check_plain([1, 2, 3], Limits(nodes=3))


# Files


def test_only_regular_files_of_bounded_size(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("é")
    (tmp_path / "link").symlink_to(file)
    assert read_text(file) == read_text(tmp_path / "link") == "é"
    assert read_bytes(file, most=2) == "é".encode()
    with pytest.raises(ValueError, match="larger"):
        read_bytes(file, most=1)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "zeros", "loop", ".", "nothing"):
        with pytest.raises((OSError, ValueError)):
            read_bytes(tmp_path / name)


# Shapes


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, int),
        (1.5, NUMBER),
        (True, bool),
        (None, str | None),
        ([1, 2], [int]),
        ([], [str]),
        ({"a": 1, "b": "x", "other": None}, {"a": int, "b?": str, "c?": int}),
        ({"a": 1, "b": 2.5}, {"*": NUMBER}),
        (3, is_amount),
    ],
)
def test_shapes_that_are_met(value: Any, shape: Any) -> None:
    expect(value, shape, "x")


@pytest.mark.parametrize(
    ("value", "shape", "named"),
    [
        (True, int, "x is True"),
        (True, NUMBER, "x is True"),
        ("1", int, "x is '1'"),
        (None, dict, "x is missing"),
        ([1, "2"], [int], "x: 1 is '2'"),
        ({"b": 1}, {"a": int}, "x: a is missing"),
        ({"a": {"b": []}}, {"a": {"b": dict}}, r"x: a\.b is \[\]"),
        (float("nan"), is_amount, "x is nan"),
        (-1, is_amount, "x is -1"),
        (10**30, is_amount, "x is 1000"),
        (True, is_amount, "x is True"),
    ],
)
def test_shapes_that_are_not(value: Any, shape: Any, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        expect(value, shape, "x")


def test_a_repeated_key_among_many_is_found_at_once() -> None:
    inside = ",".join(f'"{i:06d}":0' for i in range(200_000))
    assert len(parse_json(f"{{{inside}}}")) == 200_000
    begin = time.process_time()
    with pytest.raises(ValueError, match="'zz' is there twice"):
        parse_json(f'{{{inside},"zz":0,"zz":0}}')
    assert time.process_time() - begin < 3


@pytest.mark.parametrize("name", [
    "loss/d", "fid10k_mnist", "iw50_200_test", "d_prob/held_out", "lr-Adam/pg1", "fid10k_my faces",
    "fid2k_Gesichter_größer", "utilization.gpu (%)", "1.5", "x" * 200,
])  # fmt: skip
def test_names_of_numbers(name: str) -> None:
    assert is_name(name)
    assert as_name(name) == name


@pytest.mark.parametrize("name", [
    *("", " x", "x" * 201, "loss/\x1b[31m", "a\nb", "\u202ex", r"$\frac$", "=x", "x\n", "<b>"),
    *(3, None),
])  # fmt: skip
def test_what_is_no_name(name: object) -> None:
    assert not is_name(name)
    if isinstance(name, str):
        assert is_name(as_name(name))


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "x.png")
    assert read_png(tmp_path / "x.png").getpixel((2, 1)) == (255, 0, 0)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^it is no PNG$"):  # and not the address of an object
        read_png(tmp_path / "x.png")
