"""Numbers against a setting, as a picture."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from src import compare as command
from src.cli import launch
from src.config.checks import check_compare
from tests.report.synthetic import write_run

FIDS = {16: 9.0, 64: 5.0, 256: 7.0}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three lengths of z, two seeds each, of two losses."""
    monkeypatch.chdir(tmp_path)
    for model in ("dcgan", "lsgan"):
        for latent, fid in FIDS.items():
            for seed in range(2):
                write_run(
                    tmp_path / "outputs", model, seed, fid + seed + 10 * (model == "lsgan"),
                    latent=latent, variant=f"latent={latent}",
                )  # fmt: skip
    return tmp_path


def compare(*words: str) -> None:
    launch("compare", check_compare, command.compare, ["runs=outputs", *words])


def test_a_line_a_variant_with_means_and_deviations(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    original = Axes.errorbar

    def spy(self: Axes, x: list, y: list, error: list, **options: object) -> object:
        drawn.append((x, y, error))
        return original(self, x, y, error, **options)

    monkeypatch.setattr(Axes, "errorbar", spy)
    compare("x=latent.dim", "y=fid", "out=curves.png")
    assert len(drawn) == 2
    for (x, y, error), extra in zip(sorted(drawn, key=lambda line: line[1]), (0, 10), strict=True):
        assert x == list(FIDS)
        assert y == [fid + 0.5 + extra for fid in FIDS.values()]
        assert error == pytest.approx([0.5**0.5] * 3)
    image = Image.open(runs / "curves.png")
    assert np.asarray(image.convert("L")).std() > 10
    assert not (runs / "outputs/compare").exists()


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_vector_formats_and_the_numbers_that_differ(
    runs: Path, kind: str, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: titles.append(title))
    compare("x=model.latent.dim", f"out=curves.{kind}")
    assert (runs / f"curves.{kind}").read_bytes().startswith(start)
    assert titles == ["FID", "IS"]  # sharpness and the cost are the same in all


def test_the_setting_is_no_part_of_a_lines_name(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = []
    original = Axes.errorbar

    def spy(self: Axes, *args: object, **options: object) -> object:
        labels.append(options["label"])
        return original(self, *args, **options)

    monkeypatch.setattr(Axes, "errorbar", spy)
    for words in ([], ["by=[model,latent.dim]"], ["by=[model,model.latent.dim]"]):
        labels.clear()
        compare("x=latent.dim", "y=fid", "out=curves.png", *words)
        assert sorted(labels) == ["dcgan", "lsgan"]
    assert (runs / "curves.png").exists()


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["x=model.latent.dim"], ["x=model.latent.dim", "out=curves.png"]),
        (["out=curves.png"], ["out=curves.png", "x=model.objective.beta"]),
        (["y=fid"], ["y=fid", "Say which"]),
        (["x=beta", "out=c.png"], ["x=beta", "model.latent.dim"]),
        (["x=model", "out=c.png"], ["x=model", "only numbers"]),
        (["x=latent.dim", "y=mig", "out=c.png"], ["y=mig", "fid10k_mnist"]),
        (["x=latent.dim", "by=model", "out=c.png"], ["several", "by="]),
    ],
)
def test_what_cannot_be_drawn(words: list[str], told: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        compare(*words)
    for part in told:
        assert part in str(stop.value.code)
