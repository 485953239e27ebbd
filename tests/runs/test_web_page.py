"""Pages that run what is their own."""

import json
import re

from src.runs.web_page import pinned, web_page


def test_a_page_pins_what_is_its_own() -> None:
    page = "<meta content='@STYLES@; @SCRIPTS@'><script>a()</script><script id=x>b</script>"
    found = pinned(page)
    # printf 'a()' | openssl dgst -sha256 -binary | base64
    assert "'sha256-qVpDBgj7bpq5hMAcGp3AOc79J3Y1Z4HvySTwKrWDoy4='" in found
    assert found.count("sha256-") == 1
    assert found.endswith(page[page.index("<script>") :])


def test_a_page_has_its_head_and_its_data() -> None:
    page = web_page(
        "<title>T</title><style>p {}</style><i id=data>@DATA@</i><script>f()</script>",
        {"x": "@DATA@", "y": float("nan")},
    )
    assert page.startswith("<!doctype html>")
    assert len(re.findall("sha256-", page)) == 3  # the head's style, its own, the script
    assert "@STYLES@" not in page
    assert "@SCRIPTS@" not in page
    data = page[page.index("<i id=data>") + 11 : page.index("</i>")]
    assert json.loads(data) == {"x": "@DATA@", "y": None}
