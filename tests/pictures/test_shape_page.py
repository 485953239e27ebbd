"""The page of shapes: what is in the file, and what its script draws and does."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from src.data.procedural.solids import KINDS, render, sample_factors
from src.pictures.shape_page import page
from src.runs import escape
from src.transforms import views
from tests.pictures.conftest import run_page
from tests.pictures.test_code_page import data_of, sheet_of
from tests.report.test_page import browser  # noqa: F401
from tests.runs.test_escape import HOSTILE

X = render(sample_factors(2, 3), KINDS, 16).float()
PICTURE = views.render(X[:1], resolution=64)[0]
TILES = [("picture", PICTURE), ("</script><b>shape", X[0]), ("truth", X[1])]


def test_shapes_and_pictures_are_in_the_file() -> None:
    data = data_of(page("Two", TILES, 3))
    assert [tile["name"] for tile in data["tiles"]] == [name for name, _ in TILES]
    for tile, x in zip(data["tiles"][1:], X, strict=True):
        bits = np.unpackbits(np.frombuffer(base64.b64decode(tile["bits"]), np.uint8))
        assert np.array_equal(bits.reshape(1, *[tile["side"]] * 3), x.numpy() > 0.5)
    enlarged = ((PICTURE[0] + 1) * 127.5).round().numpy().repeat(3, 0).repeat(3, 1)
    assert np.array_equal(sheet_of(data["tiles"][0]), enlarged)


def test_the_file_is_alone() -> None:
    text = page("Two", TILES, 3)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<link|<script [^>]*src=|@import|url\(|fetch|import\(", text)
    assert text.count("</script>") == 2
    assert "innerHTML" not in text
    assert "default-src 'none'" in text
    assert len(text) < 25_000


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """Runs the script through one use of the page; see shape_page.mjs."""

    def run(*words: str) -> dict:
        path = tmp_path_factory.mktemp("page") / "shapes.html"
        path.write_text(page("Two", TILES, 3))
        return run_page("shape_page.mjs", path, *words)

    return run


def seen(reds: list[int]) -> torch.Tensor:
    """Pixels (192, 192) of the first shape; -1 where nothing is."""
    return torch.tensor(reds).view(192, 192)


def expected(azimuth: float, elevation: float = 25.0) -> torch.Tensor:
    """Python's picture of it, in the same colour, as coarse as a quarter of the pixels."""
    level = views.render(X[:1], azimuth, elevation, resolution=96)[0, 0]
    return (level + 1) * 127.5


def same(reds: list[int], picture: torch.Tensor) -> float:
    """Mean difference of grey levels, of 255."""
    pixels = seen(reds).float()
    grey = torch.where(pixels < 0, 255.0, pixels / 232 * 250)
    return float((grey.view(96, 2, 96, 2).mean((1, 3)) - picture).abs().mean())


def test_it_draws_what_the_pictures_show(play: Callable[..., dict]) -> None:
    """By the same projection and light, from where the keys and the pointer lead."""
    out = play("reduced")
    assert not out["spinning"]
    assert same(out["home"], expected(35)) < 1
    assert same(out["left"], expected(29)) < 1 < same(out["left"], expected(35))
    assert out["back"] == out["home"]
    assert same(out["above"], expected(35, 90)) < 1
    assert same(out["dragged"], expected(29)) < 1
    assert out["released"] == out["home"]
    areas = {name: int((seen(out[name]) >= 0).sum()) for name in ("home", "larger", "smaller")}
    assert areas["larger"] == pytest.approx(1.44 * areas["home"], rel=0.05)
    assert areas["smaller"] == pytest.approx(areas["home"] / 1.44, rel=0.05)
    assert out["pinched"] == out["larger"]  # two fingers from a distance of 10 to one of 12
    assert out["tags"] == ["img", "canvas", "canvas"]
    assert out["captions"] == [name for name, _ in TILES]
    assert len(out["keys"]) == 4


def test_it_turns_by_itself_until_it_is_touched(play: Callable[..., dict]) -> None:
    out = play()
    assert out["spinning"]
    assert same(out["spun"], expected(35)) > 1
    assert out["back"] == out["home"]
    assert same(out["home"], expected(35)) < 1


def test_shapes_of_strangers_in_a_browser(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    """Names are text; mouse and keys turn; the page complains of nothing."""
    tiles = [(name, X[i % 2]) for i, name in enumerate(HOSTILE)]
    (tmp_path / "shapes.html").write_text(page(HOSTILE[0], tiles, 4), encoding="utf-8")
    troubles: list[str] = []
    one = browser.new_page()
    one.on("console", lambda message: troubles.append(message.text))
    one.on("pageerror", lambda error: troubles.append(str(error)))
    one.on("dialog", lambda dialog: troubles.append(dialog.message))
    one.goto((tmp_path / "shapes.html").as_uri())
    captions = one.locator("figcaption").all_text_contents()
    assert captions == [escape.line(name) for name in HOSTILE]
    assert one.locator("figcaption *").count() == 0
    view = "() => [azimuth, elevation, zoom]"
    one.locator("canvas").first.click()
    one.get_by_label("Reset the view").click()
    assert_close(one.evaluate(view), [35, 25, 1])
    box = one.locator("canvas").first.bounding_box()
    one.mouse.move(box["x"] + 20, box["y"] + 20)
    one.mouse.down()
    one.mouse.move(box["x"] + 60, box["y"] + 40)
    one.mouse.up()
    assert_close(one.evaluate(view), [15, 35, 1])
    one.locator("#stage").focus()
    one.keyboard.press("ArrowRight")
    assert_close(one.evaluate(view), [21, 35, 1])
    assert troubles == []
    one.context.close()
