"""The page of a comparison: what is in the file, and what a browser does with it."""

import base64
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from src.config.composition import compose
from src.report import page
from src.report.comparison import Comparison, Curve, LeftOut, Verdict
from src.runs import escape
from tests.report.example import METRIC, example
from tests.runs.test_escape import HOSTILE as NAMES

HOSTILE = "</script><b id=hurt>&\"'<img src=x onerror=alert(1)> @DATA@ @SCRIPT@"


def data_of(text: str) -> dict:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found, parse_constant=refuse)


def small() -> Comparison:
    return example(scorings=6, side=8)


def hostile() -> Comparison:
    """Names, folders and settings that are code where they are not escaped."""
    made = small()
    for table in made.tables:
        for group in table.groups[:2]:
            group.name += HOSTILE
            group.config = {HOSTILE: HOSTILE}
        table.verdict = Verdict(HOSTILE, HOSTILE, 0.05, table.verdict.pairs)
        table.warnings = [HOSTILE]
        table.data += HOSTILE
        table.protocol = {HOSTILE: {HOSTILE: HOSTILE}}
    for run in made.runs:
        run.folder += HOSTILE
        run.provenance = {HOSTILE: HOSTILE}
    made.left_out = [LeftOut(HOSTILE, HOSTILE, HOSTILE)]
    made.notes = [HOSTILE]
    made.title += HOSTILE
    return made


def named() -> Comparison:
    """Each kind of text that strangers write, as the name of a variant, a setting and a number."""
    made = example(variants=len(NAMES), seeds=2, tables=1, scorings=3, side=8)
    (table,) = made.tables
    for group, name in zip(table.groups, NAMES, strict=True):
        group.name, group.config = name, {name: name}
    first = table.groups[0].values  # the only one that has such numbers
    first |= dict.fromkeys(NAMES, first[METRIC])
    numbers = [replace(table.columns[0], key=name, label=name) for name in NAMES]
    table.columns = [*table.columns, *numbers]
    for run, name in zip(made.runs, 2 * NAMES, strict=True):
        run.folder, run.provenance = name, {name: {name: [name]}}
    made.left_out = [LeftOut(name, name, name) for name in NAMES]
    return made


def bare() -> Comparison:
    """One seed, no curves, no pictures, no real data's value; a metric that is not a number."""
    made = example(variants=3, seeds=1, tables=1, scorings=2, side=8)
    (table,) = made.tables
    table.real = None
    table.verdict = Verdict("One seed: nothing can be said.", "none: one seed", 0.05)
    for group in table.groups:
        group.letters = ""
    table.groups[0].values[METRIC].mean = float("nan")
    del table.groups[1].values["seconds"]
    table.columns = [column for column in table.columns if not column.key.startswith("recall")]
    for run in made.runs:
        run.curve, run.pictures = Curve(), []
    return made


# The file


def test_everything_is_in_it() -> None:
    made = small()
    assert data_of(page.render(made)) == json.loads(json.dumps(asdict(made)))


def test_the_file_is_alone() -> None:
    """No address, no other file, and a name is text and not a part of the page."""
    text = page.render(hostile())
    assert data_of(text)["notes"] == [HOSTILE]
    text = text.replace('"http://www.w3.org/2000/svg"', "")  # a name, which nobody looks up
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<link|<script [^>]*src=|@import|url\(|fetch|import\(", text)
    assert text.count("</script>") == 2
    assert "<b id" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_policy_names_the_script() -> None:
    """By its hash: nothing inline is allowed as such, and nothing else at all."""
    text = page.render(hostile())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', text)
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": rules["style-src"],
        "script-src": rules["script-src"],
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    for tag in ("style", "script"):
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in inside]
        assert rules[f"{tag}-src"].split() == [f"'sha256-{each.decode()}'" for each in digests]
    assert not re.search(r"<[^>]* (style|on\w+)=", text.partition("<script>")[0])


def test_hidden_characters_are_shown() -> None:
    text = page.render(named())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ufeff]", text)
    assert data_of(text)["tables"][0]["groups"][2]["name"] == "a\\u202eb"


def test_what_is_no_number_is_missing() -> None:
    made = small()
    made.runs[0].metrics[METRIC] = float("nan")
    made.runs[0].curve.value[0] = float("inf")
    made.tables[0].groups[0].values[METRIC].values[1] = -float("inf")
    data = data_of(page.render(made))
    assert data["runs"][0]["metrics"][METRIC] is None
    assert data["runs"][0]["curve"]["value"][0] is None
    assert data["tables"][0]["groups"][0]["values"][METRIC]["values"][1] is None


def test_thirty_runs_are_below_ten_megabytes() -> None:
    """Films of eight frames fill what `pictures_mb` allows; numbers and script hardly count."""
    made = example(variants=30, seeds=1, tables=1, scorings=8)
    size = sum(len(picture.image) for run in made.runs for picture in run.pictures)
    allowed = compose("compare", []).pictures_mb * 1e6
    assert 0.5 * allowed < size <= allowed
    assert size < len(page.render(made).encode()) < size + 300_000


# Severe protanopia, deuteranopia, tritanopia: Machado et al. 2009, on linear RGB
SIGHTS = {
    "usual": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    v = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson 2020; a distance of 0.02 is just noticeable."""
    to_cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize(("theme", "ground"), [(0, "#ffffff"), (1, "#14171c")])
def test_colours_stay_apart_for_every_eye(theme: int, ground: str) -> None:
    css = (page.HERE / "page.html").read_text()
    colours = [pair[theme] for pair in re.findall(r"--c\d: light-dark\((#\w+), (#\w+)\)", css)]
    assert len(colours) == 8
    for colour in colours:
        low, high = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (colour, ground))
        assert (high + 0.05) / (low + 0.05) >= 3
    for name, sight in SIGHTS.items():
        for a, b in itertools.combinations(colours, 2):
            seen = [oklab(np.array(sight) @ linear(colour)) for colour in (a, b)]
            assert np.linalg.norm(seen[0] - seen[1]) > 0.075, (name, a, b)


# In a browser

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with api.sync_playwright() as p:
        if path is None and not Path(p.chromium.executable_path).exists():
            pytest.skip("needs Chromium")
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {"small": small(), "hostile": hostile(), "named": named(), "bare": bare()}
    made["empty"] = empty()
    for name, comparison in made.items():
        (folder / f"{name}.html").write_text(page.render(comparison), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


def empty() -> Comparison:
    return replace(bare(), tables=[], runs=[])


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Open]:
    """opened(name, **context) is the page in a browser; it must neither complain nor call out."""
    troubles: list[str] = []
    contexts = []

    def ask(request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            troubles.append(request.url)

    def open_page(name: str = "small", **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        one = context.new_page()
        one.on("console", lambda message: troubles.append(message.text))
        one.on("pageerror", lambda error: troubles.append(str(error)))
        one.on("dialog", lambda dialog: troubles.append(dialog.message))
        one.on("request", ask)
        one.goto(files[name].as_uri())
        return one

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def rows(one: Any, column: int = 0) -> list[str]:
    cells = one.locator(f"#table-0 .ranking tbody tr:visible > :nth-child({column + 1})")
    return cells.all_inner_texts()


def sorts(one: Any) -> dict[str, str]:
    heads = one.locator("#table-0 .ranking th[aria-sort]")
    return {head.inner_text(): head.get_attribute("aria-sort") for head in heads.all()}


def order(key: str, reverse: bool = False) -> list[str]:
    groups = small().tables[0].groups
    ordered = sorted(groups, key=lambda group: group.values[key].mean, reverse=reverse)
    return [group.name for group in ordered]


def test_headings_sort_by_click_and_key(opened: Open) -> None:
    one = opened()
    assert rows(one) == order(METRIC)
    assert sorts(one) == {"FID\u00a0↓": "ascending"}
    one.get_by_role("button", name="recall").first.click()
    assert rows(one) == order("recall10k_mnist", reverse=True)
    assert sorts(one) == {"recall\u00a0↑": "descending"}
    one.get_by_role("button", name="recall").first.press("Enter")
    assert rows(one) == order("recall10k_mnist")
    assert sorts(one) == {"recall\u00a0↑": "ascending"}
    one.get_by_role("button", name="FID ↓").first.press("Space")
    assert rows(one) == order(METRIC)
    cell = small().tables[0].groups[0].values[METRIC]
    mean, sd = (float(part) for part in rows(one, 1)[0].split("±"))
    assert_allclose(mean, cell.mean, rtol=0.01)
    assert_allclose(sd, cell.sd, rtol=0.05)
    assert re.search(r"real data, held out\s+1\.1", one.locator("#table-0 tfoot").inner_text())


def test_a_slider_moves_all_pictures(opened: Open) -> None:
    one = opened()
    runs = [run for run in small().runs if run.table == "table0" and run.pictures]
    shown = "images => images.map(image => image.getAttribute('src'))"
    images = one.locator("#table-0 .frames img")
    slider = one.locator("#table-0 [name=time]")
    assert images.evaluate_all(shown) == [run.pictures[-1].image for run in runs]
    slider.press("ArrowLeft")
    assert images.evaluate_all(shown) == [run.pictures[-2].image for run in runs]
    slider.press("Home")
    assert images.evaluate_all(shown) == [run.pictures[0].image for run in runs]
    assert one.locator("#table-0 .time").inner_text() == "1,600 samples"
    assert images.evaluate_all("images => images.every(image => image.naturalWidth === 64)")
    for key in ("End", "ArrowLeft", "ArrowLeft"):
        slider.press(key)
    play = one.locator("#table-0 [name=play]")
    play.press("Enter")
    one.locator("#table-0 [name=play][aria-pressed=false]").wait_for()  # at the end
    assert images.evaluate_all(shown) == [run.pictures[-1].image for run in runs]
    assert play.inner_text() == "▶ play"


def seen(one: Any, table: int = 0) -> list[int]:
    """How many rows, legend entries, curves, points of the scatter and pictures there are."""
    parts = [".ranking tbody tr", ".legend button", ".learning path.curve"]
    parts += [".cost [role=button]", ".frames figure"]
    return [one.locator(f"#table-{table} {part}:visible").count() for part in parts]


def test_the_filter_acts_on_everything(opened: Open) -> None:
    one = opened()
    assert seen(one) == [10, 11, 10, 10, 10]
    one.keyboard.press("/")
    one.keyboard.type("LOSS=hinge")
    assert seen(one) == seen(one, 1) == [2, 3, 2, 2, 2]
    assert sorted(rows(one)) == ["dcgan loss=hinge", "sngan"]
    assert one.locator("#matches").inner_text() == "4 of 20 rows"
    one.fill("#filter", "loss=hinge -dcgan")
    assert rows(one) == ["sngan"]
    one.fill("#filter", "nothing of this name")
    assert seen(one) == [0, 1, 0, 0, 0]
    one.fill("#filter", "")
    assert seen(one) == [10, 11, 10, 10, 10]


def test_the_legend_hides_and_shows(opened: Open) -> None:
    one = opened()
    entry = one.locator("#table-0 .legend").get_by_role("button", name="lsgan")
    entry.press("Enter")
    assert entry.get_attribute("aria-pressed") == "false"
    assert seen(one) == seen(one, 1) == [10, 11, 9, 9, 9]
    assert one.locator("#table-0 .ranking tr.off").inner_text().startswith("lsgan")
    everything = one.locator("#table-0 .legend").get_by_role("button", name="all / none")
    everything.click()
    assert seen(one) == [10, 11, 10, 10, 10]
    everything.click()
    assert seen(one) == [10, 11, 0, 0, 0]


def test_a_number_tells_where_it_is_from(opened: Open) -> None:
    one = opened()
    first = one.locator("#table-0 .ranking .number").first
    first.press("Enter")
    text = one.locator("dialog").inner_text()
    runs = [run for run in small().runs if run.group == "0/0"]
    for run in runs:
        assert run.folder in text
        assert str(run.metrics[METRIC]) in text
    for words in ("1facc47a9e0c", "2.15.0", "11de40ec28a7c150", "5b1f09"):
        assert words in text
    assert "seed 0: cuda, NVIDIA H200; seed 1: cpu, 2 cores; seed 2: cpu, 2 cores" in text
    one.keyboard.press("Escape")
    assert not one.locator("dialog").is_visible()
    assert first.evaluate("button => button === document.activeElement")
    one.locator("#table-0 .cost [role=button]").first.press("Enter")
    assert "FID of r3gan" in one.locator("dialog").inner_text()


def test_the_theme_follows_the_system_until_it_is_chosen(opened: Open) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme, colours in {"light": [255, 20], "dark": [20, 255]}.items():
        one = opened(color_scheme=scheme)
        for red in colours:
            assert one.evaluate(ground).startswith(f"rgb({red}, ")
            one.click("#theme")


def test_curves_are_read_by_key(opened: Open) -> None:
    """At the right end a curve is at its group's mean, in either unit of the axis."""
    one = opened()
    part = one.locator("#table-0 .learning")
    for _ in range(25):
        part.locator(".plot").press("ArrowRight")
    told = part.locator(".tip tr").all_inner_texts()
    assert [line.split("\t")[0] for line in told] == order(METRIC)
    means = [group.values[METRIC].mean for group in small().tables[0].groups]
    assert_allclose([float(line.split("\t")[1]) for line in told], sorted(means), rtol=1e-3)
    part.locator("[name=x]").select_option("seconds")
    assert "training time" in part.locator("svg").first.text_content()
    drawn = [part.locator("path.band").count()]
    for band in ("sd", "seeds", "none"):
        part.locator("[name=band]").select_option(band)
        drawn += [part.locator("path.band").count(), part.locator("path.seed").count()]
    assert drawn == [10, 10, 0, 0, 30, 0, 0]
    before = part.locator("path.curve").first.get_attribute("d")
    part.locator("[name=kind]").select_option("value")
    part.locator("[name=logx]").check()
    assert part.locator("path.curve").first.get_attribute("d") != before


@pytest.mark.parametrize("name", ["small", "hostile", "named", "bare", "empty"])
def test_it_fits_the_window_and_names_stay_text(opened: Open, name: str) -> None:
    one = opened(name)
    for width in (390, 1280):
        one.set_viewport_size({"width": width, "height": 800})
        assert one.evaluate("document.documentElement.scrollWidth") == width
    assert one.locator("#hurt, img[src=x]").count() == 0
    assert "NaN" not in one.locator("main").inner_text()
    if name == "hostile":
        assert HOSTILE in one.locator("#table-0 .verdict").inner_text()
        one.locator("#table-0 .ranking .number").first.click()
        assert HOSTILE in one.locator("dialog").inner_text()
    if name == "bare":
        hidden = [".learning", ".recall", ".pictures", ".pairs"]
        assert not any(one.locator(f"#table-0 {part}").is_visible() for part in hidden)
        assert rows(one)[-1] == "r3gan"  # without a number comes last
        assert "letters" not in one.locator("#table-0 .ranking thead").inner_text()


def test_names_of_strangers_work_like_others(opened: Open) -> None:
    one = opened("named")
    shown = sorted(" ".join(escape.terminal(name).split()) for name in NAMES)
    assert sorted(" ".join(name.split()) for name in rows(one)) == shown
    assert seen(one)[:2] == [len(NAMES), len(NAMES) + 1]
    one.fill("#filter", "alert(1)>")
    assert rows(one) == [NAMES[0]]
    one.fill("#filter", "")
    one.locator("#table-0 .configs summary").click()
    settings = one.locator("#table-0 .configs tbody tr").all_inner_texts()
    # Each variant has one of its own; nobody has "constructor" only because objects have it.
    assert [row.split("\t").count("–") for row in settings] == [len(NAMES) - 1] * len(NAMES)
    for i in range(len(NAMES)):
        one.locator("#table-0 .ranking tbody tr").nth(i).locator(".number").first.click()
        one.get_by_label("Close").click()
        assert not one.locator("dialog").is_visible()
    assert one.evaluate("[location.hash, document.links.length]") == ["", 3]


def test_no_other_script_runs(browser: Any, files: dict[str, Path], tmp_path: Path) -> None:
    """As if a name had not been escaped: the policy stops it, and the page works on."""
    attack = (
        "<main><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"
        "<svg onload='window.hurt = 3'></svg><a id=lure href='javascript:window.hurt = 4'>x</a>"
        "<p id=plain style='position: fixed'>x</p><style>#plain { color: #123456 }</style>"
        "<base href='https://example.org/'><iframe srcdoc='<script>top.hurt = 5</script>'></iframe>"
    )
    text = files["small"].read_text(encoding="utf-8")
    (tmp_path / "x.html").write_text(text.replace("<main>", attack), encoding="utf-8")
    one = browser.new_page()
    one.goto((tmp_path / "x.html").as_uri())
    one.click("#lure")
    # The page's own script could not do it either.
    hurt = """() => ["innerHTML", "outerHTML"].map((name) => {
      try { document.body[name] = "<img src=x onerror='hurt = 6'>"; } catch (e) { return e.name; }
    })"""
    assert one.evaluate(hurt) == ["TypeError"] * 2
    one.wait_for_timeout(200)
    assert one.evaluate("window.hurt ?? null") is None
    look = "p => [getComputedStyle(p).position, getComputedStyle(p).color]"
    assert one.locator("#plain").evaluate(look) == ["static", "rgb(28, 31, 36)"]
    assert one.evaluate("document.baseURI").startswith("file:")
    assert rows(one) == order(METRIC)
    one.context.close()


def test_details_are_printed(opened: Open) -> None:
    one = opened()
    one.pdf()
    assert one.locator("details:not([open])").count() == 0
