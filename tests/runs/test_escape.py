"""What names of strangers become: harmless where they are shown; and ordinary ones stay."""

import csv
import html
import io
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from src.runs import escape

ORDINARY = (
    "wgan_gp penalty=r1 width=32",
    "3.68 ± 0.49",
    "-3.5",
    "mnist (real), 1 x 28 x 28, 60,000 train + 10,000 test, hash 11de40",
    "Frechet-Abstand: Größe, 生成モデル, 🙂",
    "Tukey-Kramer and Welch's t of each pair, on log FID (p = 0.03)",
    "12:30:45 at 5 %; a/b.c",
)
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;x\x07\x1b[2J",
    "a\u202eb",
    "=cmd|'/c calc'!A0",
    "x\n\\input{/etc/passwd}",
    "x\r\n\r\n# heading\r- list",
    "[click](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "$\\frac{",
    "`rm`",
    "constructor",
    "__proto__",
    "\udcff\u2028\x85\ufeff",
    "",
)


@pytest.mark.parametrize("text", [*ORDINARY, "two\nlines\tand \\backslash <b> *"])
def test_terminals_show_ordinary_text(text: str) -> None:
    assert escape.terminal(text) == text


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[31mred", r"\x1b[31mred"),
    ("a\x00\x07\b\r\x7f\x9b", r"a\x00\x07\x08\x0d\x7f\x9b"),
    ("a\u202eb\u2066\u200b\ufeff\u061c\ufff9", r"a\u202eb\u2066\u200b\ufeff\u061c\ufff9"),
    ("\u2028\u2029\u2060", r"\u2028\u2029\u2060"),
    ("\U000e0041", r"\U000e0041"),
    ("\udc80", r"\udc80"),
])  # fmt: skip
def test_terminals_show_what_is_hidden(text: str, shown: str) -> None:
    assert escape.terminal(text) == shown


def test_a_line() -> None:
    assert [escape.line(text) for text in ORDINARY] == list(ORDINARY)
    assert escape.line(" a\n\tb  c\r\nd ") == "a b c d"
    assert escape.line("a\r\x1b[2K\u2028b") == r"a\x0d\x1b[2K\u2028b"
    assert escape.line("x" * 200) == "x" * 200
    assert escape.line("x" * 201) == "x" * 196 + " ..."
    assert escape.line("four words of text", 13) == "four word ..."
    assert escape.line("four words of text", 14) == "four words ..."


# LaTeX


@pytest.mark.parametrize(("text", "written"), [
    ("wgan penalty=r1, 生", "wgan penalty=r1, 生"),
    ("3.68 ± 0.49", r"3.68 $\pm$ 0.49"),
    ("a_b & 5 % #1", r"a\_b \& 5 \% \#1"),
    ("x\n\\input{/etc/passwd}", r"x \textbackslash{}input\{/etc/passwd\}"),
    ("$\\frac{^^41~", r"\$\textbackslash{}frac\{\textasciicircum{}\textasciicircum{}41"
                      r"\textasciitilde{}"),
    ("[2cm]*", "{[}2cm{]}{*}"),
    ("\x1b\r\n", r"\textbackslash{}x1b"),
])  # fmt: skip
def test_latex(text: str, written: str) -> None:
    assert escape.latex(text) == written


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_leaves_a_comment(text: str) -> None:
    assert len(escape.latex_comment(text).splitlines()) <= 1
    assert escape.latex_comment("wgan_gp: 5 %") == "wgan_gp: 5 %"


# Markdown


@pytest.mark.parametrize("text", ORDINARY)
def test_markdown_of_ordinary_text(text: str) -> None:
    assert escape.markdown(text) == text


@pytest.mark.parametrize(("text", "written"), [
    ("a|b", r"a\|b"),
    ("`rm` *x* ~y~ <b> &lt;", r"\`rm\` \*x\* \~y\~ \<b> \&lt;"),
    ("_x_ a_b __c__", r"\_x\_ a_b \_\_c\_\_"),
    ("[click](javascript:alert(1))", r"\[click\](javascript:alert(1))"),
    ("![x](y)", r"!\[x\](y)"),
    ("a\\|b", r"a\\\|b"),
    ("# x\n- y", r"\# x - y"),
    ("- y", r"\- y"), ("-y", "-y"), ("> y", r"\> y"), ("a > b -> c", "a > b -> c"),
    ("12. x", r"12\. x"), ("1.5 x", "1.5 x"), ("===", r"\==="), ("=x", "=x"), (":--", r"\:--"),
    ("https://a.b", "https:&#8203;//a.b"), ("www.a.b", "www&#8203;.a.b"),
    ("@name a@b.c", "@&#8203;name a@&#8203;b.c"), ("dcgan #1", "dcgan #&#8203;1"),
    (":smile: 1:2", ":&#8203;smile: 1:2"),
    ("$x$", r"<span>\$</span>x<span>\$</span>"),
    ("a\u202eb", r"a\\u202eb"),
])  # fmt: skip
def test_markdown(text: str, written: str) -> None:
    assert escape.markdown(text) == written


@pytest.mark.parametrize(("text", "written"), [
    ("outputs/a b", "`outputs/a b`"), ("`rm`", "`` `rm` ``"), ("a`` ` b", "```a`` ` b```"),
    ("x\n\n# y", "`x # y`"), ("<b>", "`<b>`"), ("", "`  `"),
])  # fmt: skip
def test_code_of_markdown(text: str, written: str) -> None:
    assert escape.markdown_code(text) == written


MARKUP = (
    *HOSTILE, *ORDINARY, "www.example.org", "http://a.b", "a@b.co", "mailto:a@b.co", "&#60;b>",
    "<!-- x", "[^1]", "[a]: b", "~~x~~", "**x**", "***", "- [ ] x", "+ x", "1) x", "```", "| a |",
    "-", "---", "<https://a.b>", "\\", "\\|", "a``b`", "_www.a.b_", "#", "a #",
)  # fmt: skip


@pytest.mark.parametrize(("around", "found"), [
    ("{}", "<p>{}</p>"),
    ("first  \n{}", "<p>first<br />\n{}</p>"),
    ("- {}", "<ul>\n<li>{}</li>\n</ul>"),
    ("# {}", "<h1>{}</h1>"),
    ("| a |\n|---|\n| {} |", "<td>{}</td>"),
])  # fmt: skip
def test_markdown_as_github_reads_it(around: str, found: str) -> None:
    """Rendered and stripped of the marks that keep it apart, a text is itself again."""
    for text in filter(None, MARKUP):
        shown = _rendered(around.replace("{}", escape.markdown(text)))
        shown = re.sub("</?span>|\u200b", "", shown)
        assert found.replace("{}", html.escape(escape.line(text), quote=False)) in shown, text


def test_code_as_github_reads_it() -> None:
    for text in filter(None, MARKUP):
        shown = _rendered(f"- {escape.markdown_code(text)}.")
        code = html.escape(escape.line(text), quote=False)
        assert f"<li><code>{code}</code>.</li>" in shown, text


def _rendered(text: str) -> str:
    if not shutil.which("cmark-gfm"):
        pytest.skip("needs cmark-gfm")
    words = "cmark-gfm --unsafe -e table -e strikethrough -e autolink -e tasklist -e footnotes"
    done = subprocess.run(words.split(), input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode().replace("&quot;", '"')


def test_the_reader_of_markdown_reads() -> None:
    assert "<a href" in _rendered("www.example.org")
    assert "<del>" in _rendered("~~x~~")


# Tables and pages


@pytest.mark.parametrize(("value", "cell"), [
    ("wgan penalty=r1", "wgan penalty=r1"), ("", ""), ("a; b", "a; b"), (None, None), (-3.5, -3.5),
    (7, 7), ("-3.5", "-3.5"), ("+1e-3", "+1e-3"), ("=1+1", "'=1+1"), ("+1+1", "'+1+1"),
    ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"), (" =x", "' =x"), ("\t=x", "' =x"),
    ("\rx", r"'\x0dx"), ("＝x", "'＝x"), ("a;=x", "a;'=x"), ("a\x1b", r"a\x1b"),
        ("a\nb\tc", "a b c"),
])  # fmt: skip
def test_cells(value: object, cell: object) -> None:
    assert escape.csv_cell(value) == cell
    assert type(escape.csv_cell(value)) is type(cell)


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_are_read_as_one(text: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerow([escape.csv_cell(text), 1])
    out.getvalue().encode()
    ((read, number),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert number == "1"
    assert read[:1] not in tuple("=+-@\t\r")


@pytest.mark.parametrize("text", [*HOSTILE, *ORDINARY])
def test_data_of_a_page(text: str) -> None:
    data = escape.script_data({text: [text, 1, None, True, float("nan"), {"x": -float("inf")}]})
    assert "<" not in data
    assert data.isascii()
    shown = escape.terminal(text)
    assert json.loads(data) == {shown: [shown, 1, None, True, None, {"x": None}]}


def test_plain_values() -> None:
    value = {"a": [1, 2.5, "x\x1b", (None, float("inf"))], 3: False}
    assert escape.plain(value) == {"a": [1, 2.5, "x\x1b", [None, None]], "3": False}
    assert escape.plain(value, escape.terminal)["a"][2] == r"x\x1b"


def test_long_texts_take_no_time() -> None:
    """Linear time, whatever is repeated: the writer of a name chooses it."""
    began = time.process_time()
    for part in "#`_=-+:;@$<1 .\\[|~>\t&*a\n\x1b":
        text = part * 30_000 + "x"
        for show in (escape.latex, escape.markdown, escape.markdown_code, escape.csv_cell):
            show(text)
    assert time.process_time() - began < 6  # a quadratic one takes 2 for each text


@pytest.mark.parametrize("show", [
    escape.terminal, escape.line, escape.latex, escape.latex_comment, escape.markdown,
    escape.markdown_code, escape.csv_cell, escape.script_data,
])  # fmt: skip
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hidden_is_left(show: Callable[[str], str], text: str) -> None:
    shown = show(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ufeff]", shown)
    shown.encode()
    assert "\n" not in shown or show is escape.terminal
