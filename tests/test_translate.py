"""The command: sizes, transparency, orientation, masks, folders, and what it cannot do."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.config import checks, composition
from src.data.spec import to_uint8
from src.errors import SettingError
from src.metrics.base import held_out_pairs, held_out_size
from src.metrics.translation import compare
from src.models.paired import PairedTranslation
from src.runs.run import Run
from src.sample import sample
from src.training.fit import train
from src.training.summary import report
from src.training.trained import load_data, load_model
from src.translate import name_results, translate
from tests.conftest import UNDRAWN, composed
from tests.data.conftest import picture

QUICK = ("data=folder", "data.resolution=32", "budget=16", "model.batch_size=8", "metrics=none")
QUICK += ("~callbacks.progress", *UNDRAWN)
RUNS = {
    "enlarge": ("model=srresnet", "data/degradation=downsample", "model.translator.width=4"),
    "restore": ("model=restorer", "data/degradation=blur", "model.translator.width=4"),
    "fill": ("model=restorer", "data/degradation=mask_centre", "model.translator.width=4"),
    "colour": ("model=restorer", "data/degradation=grey", "model.translator.width=4"),
    "class": (
        *("model=restorer", "data/degradation=blur", "model.translator.width=4"),
        "model.conditional=true",
    ),
    "both": (
        *("model=cyclegan", "data/degradation=grey", "model.translator.width=4"),
        *("model.translator.blocks=1", "model.identity=0"),
        *("model.discriminator.width=4", "model.discriminator.depth=1"),
    ),
    "gan": ("model=gan",),
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    runs: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in runs:
            folder = tmp_path_factory.mktemp("runs") / name
            root = tmp_path_factory.mktemp("images")
            for i in range(20):
                path = root / ("young" if i % 2 else "old") / f"{i}.png"
                path.parent.mkdir(exist_ok=True)
                picture(i).save(path)
            words = (*QUICK, f"data.root={root}", "data.source=real", *RUNS[name])
            train(composed(*words), folder)
            runs[name] = Run(folder)
        return runs[name]

    return get


def call(run: Run, given: Path, out: Path, *words: str) -> None:
    words = (f"run='{run.folder}'", f"in='{given}'", f"out='{out}'", *words)
    config = composition.compose("translate", list(words))
    checks.check_translate(config)
    translate(config, Path())


def error_of(*words: object) -> str:
    with pytest.raises(SettingError) as caught:
        call(*words)
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    picture(3, (50, 38)).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("name", "size"), [("enlarge", (200, 152)), ("restore", (50, 38))])
def test_any_size(
    name: str, size: tuple[int, int], run_of: Callable, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out.png"
    call(run_of(name), photo, out)
    with Image.open(out) as image:
        assert (image.size, image.mode) == (size, "RGB")


def test_both_directions(run_of: Callable, photo: Path, tmp_path: Path) -> None:
    """Grey to colours, and back; any size that is a multiple of 4, as the others are padded."""
    call(run_of("both"), photo, tmp_path / "forth.png")
    call(run_of("both"), photo, tmp_path / "back.png", "direction=back")
    with Image.open(tmp_path / "forth.png") as forth, Image.open(tmp_path / "back.png") as back:
        assert (forth.size, forth.mode) == ((50, 38), "RGB")
        assert (back.size, back.mode) == ((50, 38), "L")
    told = error_of(run_of("restore"), photo, tmp_path / "x.png", "direction=back")
    assert "one way only" in told
    told = error_of(run_of("both"), photo, tmp_path / "x.png", "direction=back", "degrade=true")
    assert told.startswith("direction=back")


def test_tiles_are_not_seen(run_of: Callable, tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    picture(1, (150, 130)).save(photo)
    for tile in (32, 512):
        call(run_of("enlarge"), photo, tmp_path / f"{tile}.png", f"tile={tile}")
    a, b = (pixels(tmp_path / f"{tile}.png").astype(int) for tile in (32, 512))
    assert a.shape == (520, 600, 3)
    assert np.abs(a - b).max() <= 1


def test_degrade_says_how_near_it_comes(
    run_of: Callable, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A photo whose sides the scale does not divide loses the rest."""
    call(run_of("enlarge"), photo, tmp_path / "out.png", "degrade=true")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (48, 36)
    said = capsys.readouterr()
    assert "psnr" in said.err + said.out
    assert "input:" in said.err + said.out


def test_a_degradation_that_is_not_the_models(
    run_of: Callable, photo: Path, tmp_path: Path
) -> None:
    """A changed folder: the photo would be compared with a result of another size."""
    shutil.copytree(run_of("enlarge").folder, tmp_path / "run")
    settings = tmp_path / "run" / "config.yaml"
    settings.write_text(settings.read_text().replace("scale: 4", "scale: 2"))
    out = tmp_path / "out.png"
    assert "not that of its checkpoint" in error_of(
        Run(tmp_path / "run"), photo, out, "degrade=true"
    )
    call(Run(tmp_path / "run"), photo, out)  # which does not need it


def test_orientation_and_transparency(run_of: Callable, tmp_path: Path) -> None:
    image = picture(1, (48, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    call(run_of("restore"), tmp_path / "turned.jpg", tmp_path / "up.png")
    with Image.open(tmp_path / "up.png") as up:
        assert up.size == (32, 48)
        assert up.getexif().get(0x0112, 1) == 1
    alpha = Image.new("L", (48, 32), 255)
    alpha.paste(0, (0, 0, 24, 32))
    image.putalpha(alpha)
    image.save(tmp_path / "glass.png")
    call(run_of("enlarge"), tmp_path / "glass.png", tmp_path / "large.png")
    seen = pixels(tmp_path / "large.png")
    assert seen.shape == (128, 192, 4)
    assert (seen[:, :88, 3] == 0).all()
    assert (seen[:, 104:, 3] == 255).all()
    assert "no transparency" in error_of(
        run_of("enlarge"), tmp_path / "glass.png", tmp_path / "large.jpg"
    )


def test_masks(run_of: Callable, photo: Path, tmp_path: Path) -> None:
    """White is lost; all else stays as it is, bit for bit."""
    lost = np.zeros((38, 50), np.uint8)
    lost[10:20, 5:25] = 255
    mask = tmp_path / "mask.png"
    Image.fromarray(lost).save(mask)
    out = tmp_path / "out.png"
    call(run_of("fill"), photo, out, f"mask='{mask}'")
    before, after = pixels(photo), pixels(out)
    assert (before[lost == 0] == after[lost == 0]).all()
    assert (before[lost > 0] != after[lost > 0]).any()
    assert "Say where: mask=FILE" in error_of(run_of("fill"), photo, out)
    Image.fromarray(lost[:20]).save(mask)
    assert "50 x 20 pixels, the photo 50 x 38" in error_of(
        run_of("fill"), photo, out, f"mask='{mask}'"
    )
    assert "takes no mask" in error_of(run_of("restore"), photo, out, f"mask='{mask}'")
    assert "no such file" in error_of(run_of("fill"), photo, out, "mask=none.png").lower()
    call(run_of("fill"), photo, out, "degrade=true")


def test_grey_becomes_colour(run_of: Callable, photo: Path, tmp_path: Path) -> None:
    call(run_of("colour"), photo, tmp_path / "out.png")
    assert pixels(tmp_path / "out.png").shape == (38, 50, 3)


def test_the_class_asked_for(run_of: Callable, photo: Path, tmp_path: Path) -> None:
    for label in ("young", "0"):
        call(run_of("class"), photo, tmp_path / f"{label}.png", f"label={label}")
    assert (pixels(tmp_path / "young.png") != pixels(tmp_path / "0.png")).any()
    assert "needs label" in error_of(run_of("class"), photo, tmp_path / "out.png")
    assert "knows no classes" in error_of(
        run_of("restore"), photo, tmp_path / "out.png", "label=young"
    )


def test_folders_and_zips(run_of: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """What cannot be read is named and left out; a name cannot leave the folder."""
    folder = tmp_path / "many"
    for name in ("a.png", "deep/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(2, (20, 20)).save(folder / name)
    (folder / "c.png").write_bytes(b"no image")
    call(run_of("restore"), folder, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png"]
    said = capsys.readouterr()
    assert "Left out: c.png" in said.err
    assert "without 1 of the photos" in said.out
    archive = tmp_path / "many.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "a.png", "../../escaped.png")
        file.write(folder / "a.png", "inside/a.png")
    call(run_of("restore"), archive, tmp_path / "zip")
    assert [p.name for p in (tmp_path / "zip").rglob("*.png")] == ["a.png"]
    assert not list(tmp_path.parent.rglob("escaped.png"))
    picture(5, (20, 20)).save(folder / "a.jpg")  # would be a.png again
    call(run_of("restore"), folder, tmp_path / "both")
    assert {p.name for p in (tmp_path / "both").glob("*")} == {"a.png.png", "a.jpg.png", "deep"}
    assert "need a folder" in error_of(run_of("restore"), folder, tmp_path / "one.png")


def test_no_result_takes_the_place_of_another() -> None:
    assert name_results(["a.jpg", "b/a.jpg"]) == {"a.jpg": "a.png", "b/a.jpg": "b/a.png"}
    names = ["a.jpg", "a.png", "a.jpg.png"]
    assert name_results(names) == {name: f"{name}.png" for name in names}


@pytest.mark.parametrize(("name", "command"), [("restore", "translate"), ("gan", "sample")])
def test_a_finished_run_names_the_command_that_uses_it(
    name: str, command: str, run_of: Callable, capsys: pytest.CaptureFixture
) -> None:
    report(run_of(name), repeated=True)
    said = capsys.readouterr().out
    assert {word for word in ("translate", "sample") if f"src.{word} run=" in said} == {command}


def test_a_translator_draws_nothing(run_of: Callable, tmp_path: Path) -> None:
    for what in ("samples", "neighbours", "interpolation", "traversal"):
        words = [f"run='{run_of('restore').folder}'", f"out='{tmp_path}/x.png'", f"what={what}"]
        with pytest.raises(SettingError, match=r"draws nothing(?s:.*)src\.translate run="):
            sample(composition.compose("sample", words), Path())


def test_the_worst_translations_are_drawn_from_the_top(run_of: Callable, tmp_path: Path) -> None:
    """Sources, translations and targets of 32 px, enlarged twice, with two pixels between them."""
    run = run_of("restore")
    words = [f"run='{run.folder}'", "what=worst", "n=2", f"out='{tmp_path}/worst.png'"]
    sample(composition.compose("sample", words), Path())
    model = load_model(run)
    data = load_data(run, model.spec, None, str(tmp_path))
    (pairs,) = held_out_pairs(data, held_out_size(data))
    values = compare(model.translate(pairs[1]), pairs[0])["ssim"]
    assert len(values) >= 2
    drawn = pixels(tmp_path / "worst.png")
    for row, i in enumerate(values.argsort()[:2]):
        tile = drawn[2 + 66 * row :, 2 + 66 * 2 :][:64:2, :64:2]
        assert np.array_equal(tile, to_uint8(pairs[0][i]).permute(1, 2, 0).numpy())
    other = composition.compose("sample", [f"run='{run_of('gan').folder}'", *words[1:]])
    with pytest.raises(SettingError, match="with the truth"):
        sample(other, Path())


def test_what_is_not_finite_is_not_written(
    run_of: Callable, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be a black picture."""
    monkeypatch.setattr(PairedTranslation, "translate", lambda _, source, __: source * torch.nan)
    assert "not finite" in error_of(run_of("restore"), photo, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_refused(run_of: Callable, photo: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "out.png", run_of("restore")
    assert "translates nothing" in error_of(run_of("gan"), photo, out)
    assert "no such file" in error_of(run, tmp_path / "none.png", out)
    for ending in ("xyz", "psd"):  # Pillow reads the latter, and does not write it
        assert "no format" in error_of(run, photo, tmp_path / f"out.{ending}")
    (tmp_path / "empty").mkdir()
    assert "no images" in error_of(run, tmp_path / "empty", out)
    picture(1, (2, 2)).save(tmp_path / "dot.png")
    assert "2 x 2 pixels" in error_of(run, tmp_path / "dot.png", out)
    picture(1, (40, 4)).save(tmp_path / "strip.png")
    for way in ("forward", "back"):
        told = error_of(run_of("both"), tmp_path / "strip.png", out, f"direction={way}")
        assert "40 x 4 pixels; at least 5" in told
    Image.new("I;16", (20, 20)).save(tmp_path / "deep.png")
    assert "8 bits" in error_of(run, tmp_path / "deep.png", out)
    assert "makes a mask of its own" in error_of(run, photo, out, "degrade=true", "mask=m.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe.png" in error_of(run, tmp_path / "pipe.png", out)
    assert not out.exists()
    for words in (["run=x"], ["run=x", "in=y"]):
        with pytest.raises(SettingError, match=r"in=photo\.jpg out="):
            checks.check_translate(composition.compose("translate", words))
