"""The page of codes: what is in the file, and what its script does with it."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from src.pictures import code_page
from src.pictures.codes import class_colours
from src.runs import escape
from tests.pictures.conftest import run_page
from tests.report.test_page import browser  # noqa: F401
from tests.runs.test_escape import HOSTILE

CLASSES = ("cat", "dog", "</script><b>&")
Play = Callable[..., dict]


def images(n: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, *shape), generator=generator, dtype=torch.uint8)


def codes(n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(1)) * 7


def data_of(text: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found)


def sheet_of(sprite: dict) -> np.ndarray:
    kind, content = sprite["image"].split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("dim", [2, 3])
def test_every_point_is_there(dim: int) -> None:
    z, labels = codes(40, dim), torch.arange(40) % 3
    data = data_of(code_page.page(z, labels, CLASSES, images(40, 1, 8, 8)))
    assert_close(torch.tensor(data["codes"]), z, rtol=1e-3, atol=0)
    assert data["labels"] == labels.tolist()
    assert tuple(data["classes"]) == CLASSES
    assert data["colours"] == class_colours(3)


def test_without_classes() -> None:
    data = data_of(code_page.page(codes(5, 2), None, CLASSES, images(5, 1, 8, 8)))
    assert data["classes"] == []
    assert data["labels"] == [0] * 5
    assert len(data["colours"]) == 1


def test_the_file_is_alone() -> None:
    """No address, no other file, and a class's name is text and not a part of the page."""
    text = code_page.page(codes(5, 3), torch.arange(5) % 3, CLASSES, images(5, 3, 8, 8))
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<link|<script [^>]*src=|@import|url\(|fetch|import\(", text)
    assert text.count("</script>") == 2
    assert "<b>" not in text
    assert "innerHTML" not in text


def test_the_policy_names_the_script() -> None:
    text = code_page.page(codes(5, 3), torch.arange(5) % 3, CLASSES, images(5, 3, 8, 8))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', text)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in inside]
        sources = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
        assert f"{tag}-src {sources};" in policy


def test_codes_that_are_no_numbers_spoil_no_page() -> None:
    z = codes(5, 2)
    z[1, 0] = torch.nan
    data = data_of(code_page.page(z, None, (), images(5, 1, 8, 8)))
    assert data["codes"][1][0] is None


def test_classes_of_strangers_in_a_browser(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    """They are text on buttons; the page complains of nothing, and works."""
    n = len(HOSTILE)
    text = code_page.page(codes(n, 2), torch.arange(n), HOSTILE, images(n, 1, 8, 8))
    (tmp_path / "codes.html").write_text(text, encoding="utf-8")
    troubles: list[str] = []
    one = browser.new_page()
    one.on("console", lambda message: troubles.append(message.text))
    one.on("pageerror", lambda error: troubles.append(str(error)))
    one.on("dialog", lambda dialog: troubles.append(dialog.message))
    one.goto((tmp_path / "codes.html").as_uri())
    buttons = one.locator("#bar button")
    assert buttons.all_text_contents()[:n] == [escape.line(name) for name in HOSTILE]
    assert one.locator("#bar img").count() == 0
    buttons.first.click()
    assert buttons.first.get_attribute("aria-pressed") == "false"
    dots = "p => p.getContext('2d').getImageData(0, 0, p.width, p.height).data.some(v => v)"
    assert one.locator("#plot").evaluate(dots)
    assert troubles == []
    one.context.close()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_noise_stays_below_a_megabyte(shape: tuple[int, ...]) -> None:
    text = code_page.page(codes(5000, 3), torch.arange(5000) % 3, CLASSES, images(5000, *shape))
    assert 500_000 < len(text.encode()) < 1_000_000
    sprite = data_of(text)["sprite"]
    assert sprite["count"] >= 150
    assert max(sprite["width"], sprite["height"]) <= 32
    assert_close(len(data_of(text)["codes"]), 5000)


def test_thumbnails_are_the_images() -> None:
    x = images(7, 3, 6, 5)
    sprite = code_page.sprite(x)
    assert [sprite[key] for key in ("count", "columns", "width", "height")] == [7, 3, 5, 6]
    sheet = sheet_of(sprite)
    for i in range(7):
        top, left = i // 3 * 6, i % 3 * 5
        expected = x[i].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(sheet[top : top + 6, left : left + 5], expected)


def test_large_images_are_reduced() -> None:
    x = images(1, 1, 64, 32)
    sprite = code_page.sprite(x)
    assert (sprite["width"], sprite["height"]) == (16, 32)
    means = x[0, 0].double().view(32, 2, 16, 2).mean((1, 3)).numpy()
    np.testing.assert_allclose(sheet_of(sprite), means, atol=0.51)


def test_the_largest_number_of_thumbnails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_page, "SPRITE", 20_000)
    x = images(300, 1, 16, 16)
    count = code_page.sprite(x)["count"]
    assert 50 < count < 20_000 / 256 + 1
    monkeypatch.setattr(code_page, "THUMBNAILS", 10)
    assert code_page.sprite(x)["count"] == 10


# What the script does, on a stand-in for a browser's document


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """play(dim) runs the script through one use of the page; see code_page.mjs."""

    def run(dim: int, *words: str) -> dict:
        page = tmp_path / "codes.html"
        page.write_text(
            code_page.page(codes(30, dim), torch.arange(30) % 3, CLASSES, images(30, 1, 8, 8))
        )
        return run_page("code_page.mjs", page, *words)

    return run


def places(dots: list[dict]) -> Tensor:
    return torch.tensor([[dot["x"], dot["y"]] for dot in dots])


def test_the_plane_is_drawn_as_it_is(play: Play) -> None:
    """A scaled and centred picture of the codes, the second number upwards, at rest."""
    seen = play(2)
    assert seen["title"] == "Codes of 30 images"
    assert not seen["spinning"]
    z = codes(30, 2) - codes(30, 2).mean(0)
    scale = 0.42 * 400 / float(z.norm(dim=1).sort().values[int(0.98 * 29)])
    expected = 200 + scale * z * torch.tensor([1.0, -1.0])
    assert_close(places(seen["start"]), expected, rtol=0, atol=0.1)
    assert [dot["colour"] for dot in seen["start"]] == class_colours(3) * 10
    assert_close(places(seen["dragged"]), expected + torch.tensor([50.0, 0.0]), rtol=0, atol=0.1)
    grown = torch.tensor(0.45).exp() * (expected - 200) + 200
    assert_close(places(seen["enlarged"]), grown, rtol=0, atol=0.2)


def test_space_turns_until_it_is_touched(play: Play) -> None:
    seen = play(3)
    assert seen["spinning"]
    assert seen["spun"] != seen["start"]
    assert seen["keyed"] == "still"
    assert seen["home"] == seen["start"]
    # A turn about the vertical axis: no other distances, other places.
    assert seen["dragged"] != seen["home"]
    assert len(seen["dragged"]) == 30


def test_space_rests_where_motion_is_unwanted(play: Play) -> None:
    seen = play(3, "reduced")
    assert not seen["spinning"]
    assert seen["home"] == seen["start"]


@pytest.mark.parametrize("dim", [2, 3])
def test_a_class_is_hidden_and_shown(dim: int, play: Play) -> None:
    seen = play(dim, "reduced")
    assert {dot["colour"] for dot in seen["hidden"]} == set(class_colours(3)[1:])
    assert len(seen["hidden"]) == 20
    assert seen["pressed"] == "false"
    assert seen["again"] == seen["start"]


@pytest.mark.parametrize("dim", [2, 3])
def test_a_point_tells_class_and_image(dim: int, play: Play) -> None:
    seen = play(dim, "reduced")
    name, numbers = re.fullmatch(r"(.*): \((.*)\)", seen["words"]).groups()
    found = torch.tensor([float(number) for number in numbers.split(", ")])
    index = int((codes(30, dim) - found).norm(dim=1).argmin())
    assert_close(found, codes(30, dim)[index], rtol=1e-3, atol=0)
    assert name == CLASSES[index % 3]
    assert seen["thumbnail"] == [index % 6 * 8, index // 6 * 8, 8, 8]
