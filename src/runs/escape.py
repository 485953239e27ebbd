r"""Names and messages from outside, made harmless where they are shown.

A run folder, a run at Weights & Biases, or a data set may have been written by a stranger. Its
names can hold the terminal's commands, a spreadsheet's formula, `\input`, a link, or characters
that reverse what is read after them. So each place that shows text has its function here, which
changes what has a meaning there, and leaves ordinary names as they are.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

# Control characters but newline and tab; characters that reverse, join or hide text; halves of
# a character, which no file in UTF-8 can hold.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def terminal(text: str) -> str:
    r"""For a terminal: what would command it, or cannot be seen, as `\x1b` or `\u202e`."""
    return _HIDDEN.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def line(text: str, most: int = 200) -> str:
    """For one line of a terminal.

    Args:
        text: whose white space is folded, newlines too.
        most: characters of the result; what is longer ends in " ...".
    """
    text = _folded(text)
    return text if len(text) <= most else f"{text[: most - 4].rstrip()} ..."


def _folded(text: str) -> str:
    return " ".join(terminal(text.replace("\r\n", "\n")).split())


# Brackets and stars in braces: at the start of a row they would be arguments of the `\\` before.
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}",
    "*": "{*}",
})  # fmt: skip


def latex(text: str) -> str:
    """For LaTeX's text mode, also in a cell or a caption; on one line."""
    return _folded(text).translate(_LATEX)


def latex_comment(text: str) -> str:
    """For the rest of a line after `%`, which a newline would end."""
    return _folded(text)


def plot(text: str) -> str:
    """For a label of Matplotlib, which reads formulas between dollars, and hides `_names`."""
    text = line(text, 100).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


# A backslash takes the meaning of these: anywhere, or beside what is no letter; at the start of a
# line (quotation, list, heading, table) or at its end (of a heading).
_MARKS = re.compile(r"[\\`*\[\]<&|~]|(?<![^\W_])_|_(?![^\W_])")
_EDGES = re.compile(r"^(?:[>#]|=+$|:(?=-)|[-+](?=[-+ ]|$))|#$")
_NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")
# GitHub looks for these after the backslashes are gone, so that they must be taken apart: mentions
# and addresses of mail, links, references to issues, emoji.
_JOINTS = re.compile(
    r"@(?=\w)|:(?=//)|www(?=\.)|#(?=\d)|:(?!\d\d:)(?=[\w+-]+:)",  # 12:30:45 is a time
    re.IGNORECASE,
)


def markdown(text: str) -> str:
    """For GitHub's Markdown: a paragraph, list item, heading or table cell shows it literally."""
    text = _MARKS.sub(r"\\\g<0>", _folded(text))
    text = _EDGES.sub(r"\\\g<0>", text)
    text = _NUMBERED.sub(r"\1\\\2", text)
    text = text.replace("$", r"<span>\$</span>")  # GitHub's way to write one that is no formula
    return _JOINTS.sub(r"\g<0>&#8203;", text)


def markdown_code(text: str) -> str:
    """A piece of code of Markdown, with its backticks; in a table cell `|` would end it."""
    text = _folded(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    gap = " " if not text or "`" in (text[0], text[-1]) else ""
    return f"{fence}{gap}{text}{gap}{fence}"


# At the start of a cell, also of one that a spreadsheet makes because `;` separates its cells.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠]|[\t\r\n])")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def csv_cell(value: Any) -> Any:
    """For a cell of a table in CSV: no text is a formula or has lines; numbers stay as they are."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _folded(_FORMULA.sub(r"\1'", value))


def plain(value: Any, show: Callable[[str], str] = str) -> Any:
    """Nested values for JSON, which has no infinity and no NaN: None in their place.

    Args:
        value: dicts, lists, instances of data classes, and what they hold.
        show: is applied to all texts, keys too.
    """
    if isinstance(value, str):
        return show(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {show(str(key)): plain(inner, show) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, show) for inner in value]
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name), show) for each in fields(value)}
    return value


def script_data(value: Any) -> str:
    """JSON for the inside of a page's `<script>`, which no text in it can end."""
    text = json.dumps(plain(value, terminal), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
