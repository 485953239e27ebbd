"""`sample` and `evaluate`: a run folder is all that they need, and nothing in it is trusted."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from src.cli import launch
from src.config.checks import check_evaluate, check_sample
from src.data.spec import class_index
from src.errors import SettingError
from src.evaluate import evaluate
from src.pictures.styles import with_noise
from src.runs.run import Run
from src.sample import sample
from src.training.fit import train
from src.training.trained import load_model
from tests.conftest import UNDRAWN, composed, contents

TINY = {
    "gan": (
        *("model=dcgan", "model.generator.width=2", "model.discriminator.width=2"),
        *("model.latent.dim=4", "model.batch_size=50", "budget=200"),
    ),
    "conditional": (
        *("model=cgan", "model.generator.hidden=[8]", "model.discriminator.hidden=[8]"),
        *("model.batch_size=50", "budget=200"),
    ),
    "codes": (
        *("model=infogan", "model.generator.width=2", "model.discriminator.width=2"),
        *("model.latent.dim=4", "model.latent.continuous=1", "model.batch_size=50", "budget=200"),
    ),
    "pyramid": (
        *("model=lapgan", "model.generator.hidden=[4]", "model.discriminator.hidden=[4]"),
        *("model.level_generator.width=2", "model.level_discriminator.width=2"),
        *("model.conditional=true", "model.batch_size=50", "budget=100"),
    ),
    "styles": (
        *("model=stylegan2_narrow", "model/condition=projection", "model.latent.dim=4"),
        *(f"model.{net}.channel_base=56" for net in ("generator", "discriminator")),
        *("model.generator.w_dim=4", "model.batch_size=50", "budget=100"),
        *("data.resolution=16", "model.g_penalty.every=1"),
    ),
    "toy": ("model=gaussian_gan", "data=gaussian", "budget=80"),
    "vae": ("model=vae", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "budget=256"),
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """`run_of("gan")`: a finished run; its folder's name has all that paths of ours have."""
    runs: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in runs:
            folder = tmp_path_factory.mktemp(name) / "a=1,b=2" / "seed=0"
            train(composed(*TINY[name], "~callbacks.curves", "~callbacks.neighbours"), folder)
            runs[name] = Run(folder)
        return runs[name]

    return get


def draw(run: Run | Path, *words: str) -> None:
    folder = run.folder if isinstance(run, Run) else run
    launch("sample", check_sample, sample, [f"run={folder}", *words])


def score(run: Run, *words: str) -> None:
    launch("evaluate", check_evaluate, evaluate, [f"run={run.folder}", *words])


def error_of(call: Callable, *words: object) -> str:
    """What the command says on its way out, in three lines at most."""
    with pytest.raises(SystemExit) as caught:
        call(*words)
    message = str(caught.value.code)
    assert message.startswith("error: ")
    assert len(message.splitlines()) <= 3, message
    return message


# Sampling


@pytest.mark.parametrize(("name", "n"), [("gan", 7), ("toy", 50), ("vae", 4)])
def test_arrays(name: str, n: int, run_of: Callable, tmp_path: Path) -> None:
    """The same seed gives the same samples, and they are those of the model."""
    for file, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw(run_of(name), f"n={n}", f"seed={seed}", f"out={tmp_path / file}.npz")
    a, b, c = (np.load(tmp_path / f"{file}.npz")["arr_0"] for file in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    x = load_model(run_of(name)).sample(n, seed=3)
    if name == "toy":
        assert_close(torch.from_numpy(a), x)
    else:
        assert a.dtype == np.uint8
        assert a.shape == (n, 28, 28, 1)
        assert abs(a.astype(float).transpose(0, 3, 1, 2) / 127.5 - 1 - x.numpy()).max() < 0.004


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["n=13"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]),
        (["n=3", "label=7"], [7, 7, 7]),
        (["n=2", "what=interpolation"], [0] * 10 + [1] * 10),
    ],
)
def test_arrays_hold_the_labels(
    words: list[str], expected: list[int], run_of: Callable, tmp_path: Path
) -> None:
    draw(run_of("conditional"), *words, f"out={tmp_path}/x.npz")
    arrays = np.load(tmp_path / "x.npz")  # no pickles
    assert arrays.files == ["arr_0", "labels", "classes"]
    assert arrays["labels"].tolist() == expected
    assert len(arrays["arr_0"]) == len(expected)
    assert arrays["classes"].tolist() == [str(digit) for digit in range(10)]
    model, y = load_model(run_of("conditional")), torch.tensor(expected)
    if "what=interpolation" not in words:
        x = model.sample(len(expected), y, seed=0).numpy().transpose(0, 2, 3, 1)
        assert abs(arrays["arr_0"].astype(float) / 127.5 - 1 - x).max() < 0.004


def test_no_labels_without_classes(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("gan"), "n=2", f"out={tmp_path}/x.npz")
    assert np.load(tmp_path / "x.npz").files == ["arr_0"]


def test_a_column_for_each_class(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("conditional"), "n=20", f"out={tmp_path}/classes.png")
    draw(run_of("conditional"), "n=20", "label=3", f"out={tmp_path}/three.png")
    with Image.open(tmp_path / "classes.png") as picture:
        head, cell = 18, 2 * 28 + 2  # pixels: the line of names, and an image with its edge
        assert picture.size == (10 * cell + 2, head + 2 * cell + 2)
        names = np.asarray(picture.convert("L"))[:head, 1:-1]
        columns = np.split(names[:, : 10 * (names.shape[1] // 10)], 10, 1)
        assert all((column < 128).any() for column in columns)
        assert len({column.tobytes() for column in columns}) == 10
    with Image.open(tmp_path / "three.png") as picture:
        assert picture.size == (5 * cell + 2, 4 * cell + 2)


def write_pictures(folder: Path) -> None:
    folder.mkdir()
    Image.new("RGB", (90, 60), "white").save(folder / "a.png")
    Image.new("L", (28, 28), 0).save(folder / "b.jpg")
    (folder / "c.png").write_bytes(b"no picture")


def test_reconstructions_of_ones_own_pictures(
    run_of: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_pictures(tmp_path / "mine")
    words = ["what=reconstructions", f"in={tmp_path}/mine"]
    draw(run_of("vae"), *words, f"out={tmp_path}/x.npz")
    assert "Left out: c.png" in capsys.readouterr().out
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["names"].tolist() == ["a.png", "b.jpg"]
    assert arrays["originals"].shape == (2, 28, 28, 1)
    assert arrays["originals"].mean((1, 2, 3)).tolist() == [255, 0]
    model = load_model(run_of("vae"))
    x = torch.stack([torch.ones(1, 28, 28), -torch.ones(1, 28, 28)])
    assert_close(torch.from_numpy(arrays["codes"]), model.encode(x))
    made = model.reconstruct(x).numpy().transpose(0, 2, 3, 1)
    assert abs(arrays["arr_0"].astype(float) / 127.5 - 1 - made).max() < 0.004
    draw(run_of("vae"), words[0], f"in={tmp_path}/mine/a.png", f"out={tmp_path}/x.png")
    with Image.open(tmp_path / "x.png") as picture:  # one above the other
        assert picture.height > 1.5 * picture.width / 2
        assert np.asarray(picture)[3:50, 3:50].min() == 255


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("vae", [], "which pictures? in=FILE"),
        ("vae", ["in=nowhere"], "in=nowhere: there is no such file or folder"),
        ("vae", ["in=pyproject.toml"], "can be read.\nGive image files: one, or a folder"),
        ("vae", ["in=src/config"], "in=src/config: no images there."),
        ("gan", ["in=nowhere"], "has no codes of images"),
    ],
)
def test_reconstructions_that_cannot_be(
    name: str,
    words: list[str],
    told: str,
    run_of: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    message = error_of(draw, run_of(name), "what=reconstructions", *words, f"out={tmp_path}/x.png")
    assert told in message
    assert " at 0x" not in capsys.readouterr().out  # the address of an object


def test_a_grid(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("gan"), "n=9", f"out={tmp_path}/new folder/grid=9.png")
    width, height = Image.open(tmp_path / "new folder" / "grid=9.png").size
    assert width == height >= 3 * 28


def test_a_folder_of_pictures(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("gan"), "n=5", f"out={tmp_path}/pictures")
    paths = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in paths] == [f"{i:06d}.png" for i in range(5)]
    assert Image.open(paths[0]).size == (28, 28)


def test_the_class_asked_for(run_of: Callable, tmp_path: Path) -> None:
    """By name; the classes in turn if none is named, and one along each row between two codes."""
    run = run_of("conditional")
    model = load_model(run)
    z = model.latents(4, seed=3)
    for word, labels in (("label=7", [7] * 4), ("label=null", [0, 1, 2, 3])):
        draw(run, "n=4", "seed=3", word, f"out={tmp_path}/x.npz")
        found = torch.from_numpy(np.load(tmp_path / "x.npz")["arr_0"]).permute(0, 3, 1, 2)
        expected = model.decode(z, torch.tensor(labels))
        assert (found / 127.5 - 1 - expected).abs().max() < 0.004
    draw(run, "what=interpolation", "n=2", "seed=3", f"out={tmp_path}/x.npz")
    rows = torch.from_numpy(np.load(tmp_path / "x.npz")["arr_0"]).permute(0, 3, 1, 2)
    ends = model.decode(z, torch.tensor([0, 0, 1, 1]))
    assert (rows[[0, 9, 10, 19]] / 127.5 - 1 - ends).abs().max() < 0.004


def test_levels(run_of: Callable, tmp_path: Path) -> None:
    """7, 14 and 28 pixels of each of three samples, at one size; the last are the samples."""
    draw(run_of("pyramid"), "what=levels", "n=3", "seed=3", f"out={tmp_path}/levels.npz")
    draw(run_of("pyramid"), "n=3", "seed=3", f"out={tmp_path}/x.npz")
    rows, x = (np.load(tmp_path / f"{name}.npz")["arr_0"] for name in ("levels", "x"))
    assert rows.shape == (9, 28, 28, 1)
    assert np.array_equal(rows[2::3], x)
    assert np.array_equal(rows[0], rows[0, ::4, ::4].repeat(4, 0).repeat(4, 1))
    assert "in one piece" in error_of(draw, run_of("gan"), "what=levels")


def test_traversal(run_of: Callable, tmp_path: Path) -> None:
    """Two rows for the category, two for the continuous code; ten steps each."""
    draw(run_of("codes"), "what=traversal", "n=2", "seed=3", f"out={tmp_path}/x.npz")
    assert len(np.load(tmp_path / "x.npz")["arr_0"]) == 4 * 10
    assert "no codes" in error_of(draw, run_of("gan"), "what=traversal")


def test_traversal_of_an_autoencoder(
    run_of: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One number of the code per row, those first along which the picture changes most."""
    draw(run_of("vae"), "what=traversal", "seed=3", f"out={tmp_path}/x.npz")
    x = torch.from_numpy(np.load(tmp_path / "x.npz")["arr_0"]).double().view(40, 10, -1)
    numbers = re.search(r"from the top: (.*)", capsys.readouterr().out)[1].split(", ")
    order = [int(number) - 1 for number in numbers]
    assert sorted(order) == list(range(40))
    change = x.var(1).sum(1)
    assert (change.diff() < 1e-2 * change[0]).all()
    model = load_model(run_of("vae"))
    law = model.latents(10_000, seed=3)
    z = law.mean(0).repeat(10, 1)
    z[:, order[0]] += law[:, order[0]].std() * torch.linspace(-3, 3, 10)
    assert (x[0] / 127.5 - 1 - model.decode(z).flatten(1)).abs().max() < 0.006
    draw(run_of("vae"), "what=traversal", "n=2", "seed=3", f"out={tmp_path}/two.npz")
    two = torch.from_numpy(np.load(tmp_path / "two.npz")["arr_0"]).double()
    assert_close(two.view(2, 10, -1), x[:2])
    assert "knows no classes" in error_of(draw, run_of("vae"), "what=traversal", "label=3")


@pytest.mark.parametrize("name", ["gan", "toy", "vae"])
def test_interpolation(name: str, run_of: Callable, tmp_path: Path) -> None:
    """Ten steps between two codes each, the ends being samples of these codes."""
    draw(run_of(name), "what=interpolation", "n=3", "seed=5", f"out={tmp_path}/x.npz")
    array = np.load(tmp_path / "x.npz")["arr_0"]
    assert len(array) == 30
    ends = load_model(run_of(name)).sample(6, seed=5)
    if name == "toy":
        got = torch.from_numpy(array).view(3, 10, -1)[:, [0, -1]].flatten(0, 1)
        assert_close(got, ends, rtol=1e-4, atol=1e-5)
    else:
        got = torch.from_numpy(array).view(3, 10, 28, 28)[:, [0, -1]].flatten(0, 1)
        assert (got.float() / 127.5 - 1 - ends.squeeze(1)).abs().max() < 0.006


def drawn(run: Run, folder: Path, *words: str) -> Tensor:
    """The images (n, h, w) of an array, in [-1, 1]."""
    draw(run, *words, f"out={folder}/x.npz")
    return torch.from_numpy(np.load(folder / "x.npz")["arr_0"]).squeeze(3) / 127.5 - 1


def assert_shown(drawn: Tensor, samples: Tensor) -> None:
    """Of samples (n, 1, h, w), what lies in [-1, 1] is shown in 256 steps."""
    assert_close(drawn, samples.detach().clamp(-1, 1).squeeze(1), rtol=0, atol=0.005)


def test_styles_are_mixed(run_of: Callable, tmp_path: Path) -> None:
    """Rows give the first layers, columns the others; beside and above stand the samples."""
    run = run_of("styles")
    model, words = load_model(run), ("n=3", "seed=5", "label=4")
    g = model.sampled.eval()
    w = g.styles(model.latents(13, 5), torch.full((13,), 4))
    table = drawn(run, tmp_path, "what=mixing", *words, "crossover=2").view(4, 11, 16, 16)
    assert table[0, 0].eq(1).all()
    assert_shown(table[1:, 0], g.synthesise(w[:3]))
    assert_shown(table[0, 1:], g.synthesise(w[3:]))
    assert_shown(table[2, 6:7], g.synthesise(torch.cat([w[1:2, :2], w[8:9, 2:]], 1)))


def test_layers_are_exchanged(run_of: Callable, tmp_path: Path) -> None:
    run = run_of("styles")
    model = load_model(run)
    g = model.sampled.eval()
    w = g.styles(model.latents(6, 5), torch.full((6,), 4))
    rows = drawn(run, tmp_path, "what=layers", "n=3", "seed=5", "label=4").view(3, 8, 16, 16)
    assert_shown(rows[:, 0], g.synthesise(w[:3]))
    one = torch.cat([w[:3, :4], w[3:, 4:5], w[:3, 5:]], 1)
    assert_shown(rows[:, 5], g.synthesise(one))
    assert_shown(rows[:, -1], g.synthesise(w[3:]))


def test_noise_is_exchanged(run_of: Callable, tmp_path: Path) -> None:
    run = run_of("styles")
    assert len(drawn(run, tmp_path, "what=noise", "n=2")) == 12
    g = load_model(run).sampled.eval()
    for layer in g.convolutions:
        layer.strength.data.fill_(1.0)
    w = torch.randn(2, g.layers, 4)
    rows = with_noise(g, w).detach().view(2, 6, 16, 16)
    assert_close(rows[:, 0], g.synthesise(w).squeeze(1))
    assert_close(rows[:, 4], g.synthesise(w, [torch.zeros_like(x) for x in g.fixed_noises])[:, 0])
    assert len({float(image.mean()) for image in rows[0, :5]}) == 5
    assert rows[:, 5].amin() >= -1
    assert rows[:, 5].amax() == 1


def test_truncated_styles_and_ways_between_them(run_of: Callable, tmp_path: Path) -> None:
    run = run_of("styles")
    model, words = load_model(run), ("seed=5", "label=4")
    g = model.sampled.eval()
    w = g.styles(model.latents(4, 5), torch.full((4,), 4))
    assert g.average.any()
    truncated = drawn(run, tmp_path, *words, "n=4", "truncation=0.5")
    assert_shown(truncated, g.synthesise(g.average + 0.5 * (w - g.average)))
    assert not drawn(run, tmp_path, *words, "n=4", "truncation=0").diff(dim=0).any()
    rows = drawn(run, tmp_path, *words, "n=2", "what=interpolation").view(2, 10, 16, 16)
    assert_shown(rows[:, 4], g.synthesise(w[::2] + (w[1::2] - w[::2]) * 4 / 9))


def test_projections(run_of: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The latent is that of the image that is written, of the photo's shape."""
    run = run_of("styles")
    g, words = load_model(run).sampled.eval(), ("what=projection", "label=4", "steps=20")
    pixels = np.random.default_rng(0).integers(256, size=(60, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    for name in ("p.npz", "p.gif", "p.png"):
        draw(run, *words, f"in={tmp_path}/photo.png", f"out={tmp_path}/{name}")
    assert "features of mnist" in capsys.readouterr().out
    with np.load(tmp_path / "p.npz") as arrays:
        latent, image, photo = (arrays[name] for name in ("latent", "image", "photo"))
        assert str(arrays["features"]) == "mnist"
    assert photo.shape == image.shape == (16, 16, 1)
    made = g.synthesise(torch.from_numpy(latent).expand(1, g.layers, -1))
    assert_shown(torch.from_numpy(image[None, :, :, 0] / 127.5 - 1).float(), made)
    assert Image.open(tmp_path / "p.gif").n_frames > 10
    plain = ("what=projection", "steps=2", f"in={tmp_path}/photo.png", f"out={tmp_path}/z.npz")
    draw(run_of("gan"), *plain)
    assert np.load(tmp_path / "z.npz")["latent"].shape == (4,)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("gan", [], "in=PHOTO"),
        ("gan", ["in=none.png"], "no such file"),
        ("gan", ["in=pyproject.toml"], "in=pyproject.toml: "),
        ("gan", ["in=pyproject.toml", "label=3"], "knows no classes"),
        ("styles", ["in=pyproject.toml"], "needs label"),
        ("vae", ["in=pyproject.toml"], "no generator of images"),
        ("gan", ["in=pyproject.toml", "out=folder"], "or .gif, .npz"),
    ],
)
def test_projections_that_cannot_be(
    name: str, words: list[str], message: str, run_of: Callable
) -> None:
    assert message in error_of(draw, run_of(name), "what=projection", *words)


@pytest.mark.parametrize("words", [["truncation=0.7"], ["what=mixing"], ["what=noise"]])
def test_generators_without_styles(words: list[str], run_of: Callable) -> None:
    assert "has no styles" in error_of(draw, run_of("gan"), *words)


def test_crossovers_beyond_the_layers(run_of: Callable) -> None:
    assert "Use 1 to 5" in error_of(draw, run_of("styles"), "what=mixing", "crossover=8")


def test_progress(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("gan"), "what=progress", f"out={tmp_path}/animation.gif")
    draw(run_of("gan"), "what=progress", f"out={tmp_path}/strip.png")
    assert Image.open(tmp_path / "animation.gif").n_frames > 3
    assert Image.open(tmp_path / "strip.png").width > 3 * 28


def test_points_are_drawn_as_a_scatter(run_of: Callable, tmp_path: Path) -> None:
    draw(run_of("toy"), "n=100", f"out={tmp_path}/points.png")
    assert Image.open(tmp_path / "points.png").width > 100


def test_sampling_changes_nothing_in_the_run(run_of: Callable, tmp_path: Path) -> None:
    before = contents(run_of("gan").folder)
    draw(run_of("gan"), "n=2", f"out={tmp_path}/x.npz")
    assert contents(run_of("gan").folder) == before


def test_the_data_may_be_gone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A run of an image folder is sampled without the images, and scored where they are now."""
    generator = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
    words = [*TINY["gan"], "data=folder", "data.resolution=32", "data.source=real"]
    train(composed(*words, *UNDRAWN, f"data.root={tmp_path}/images"), tmp_path / "run")
    (tmp_path / "images").rename(tmp_path / "moved")
    run = Run(tmp_path / "run")
    draw(run, "n=4", f"out={tmp_path}/x.npz")
    assert np.load(tmp_path / "x.npz")["arr_0"].shape == (4, 32, 32, 3)
    assert "data.root=" in error_of(score, run, "metrics=none")
    score(run, "metrics=none", f"data.root={tmp_path}/moved")
    assert "Nothing was scored" in capsys.readouterr().out
    # Others than those it was trained on are noticed.
    next((tmp_path / "moved" / "a").iterdir()).unlink()
    assert "not the data of the run" in error_of(
        score, run, "metrics=none", f"data.root={tmp_path}/moved"
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["out=x.jpg"], ["out=x.jpg", ".npz"]),
        (["what=progress", "out=x.npz"], ["out=x.npz", ".gif"]),
        (["label=3"], ["label=3"]),
        (["label=cat"], ["label=cat"]),
        (["n=-1"], ["n=-1"]),
        (["device=tpu9"], ["device=tpu9"]),
        (["out=/proc/nowhere/x.png"], ["/proc/nowhere/x.png"]),
    ],
)
def test_what_cannot_be_drawn(
    words: list[str],
    named: list[str],
    run_of: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(draw, run_of("gan"), *words)
    assert [word for word in named if word not in message] == [], message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_points_is_refused(run_of: Callable, tmp_path: Path) -> None:
    assert ".npz" in error_of(draw, run_of("toy"), f"out={tmp_path}/points")


def test_classes_by_name_or_index() -> None:
    classes = ("cat", "dog", "7")
    assert [class_index(label, classes) for label in ("cat", "dog", 1, 7, "7")] == [0, 1, 1, 2, 2]
    for label in ("cow", 3, -1, "1.5"):
        with pytest.raises(SettingError, match="Classes: cat, dog, 7"):
            class_index(label, classes)


# Scoring


def test_evaluate(run_of: Callable, capsys: pytest.CaptureFixture) -> None:
    run = run_of("vae")
    summary = (run / "summary.json").read_bytes()
    words = ["metrics.n=60", "metrics.metrics=[fid,is]"]
    score(run, *words)
    printed = capsys.readouterr().out
    records = json.loads((run / "evaluations.json").read_text())
    names = [record["name"] for record in records]
    assert names[:3] == ["fid60_digits", "is60_digits", "sharpness60_train"]
    assert {"mse299_test", "psnr299_test", "ssim299_test"} <= set(names)
    assert all(name in printed for name in names)
    assert all(record["samples_seen"] == 256 for record in records)
    assert records[0]["protocol"]["data_id"] == run.summary["data_id"]
    score(run, *words)  # once more: the same numbers, added
    again = json.loads((run / "evaluations.json").read_text())
    assert again == records + records
    assert (run / "summary.json").read_bytes() == summary


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"status": "finished"}, None),
        ({"status": "running"}, "the run is interrupted; its model is of 200 samples"),
        (
            {"status": "failed", "error": "loss/G is NaN"},
            "the run has failed (loss/G is NaN); its model is of 200 samples",
        ),
    ],
)
def test_a_model_that_is_not_the_last_is_named(
    entries: dict[str, str],
    said: str | None,
    run_of: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    run = Run(shutil.copytree(run_of("gan").folder, tmp_path / "run"))
    run.update_summary(**entries)
    draw(run, "n=1", f"out={tmp_path}/x.png")
    score(run, "metrics=none")
    printed = capsys.readouterr().out
    assert printed.count("Note:") == (2 if said else 0)
    assert said is None or printed.count(said) == 2


def test_evaluate_scores_as_the_training_did(tmp_path: Path) -> None:
    words = ["metrics=auto", "metrics.n=60", "metrics.metrics=[fid]"]
    summary = train(composed(*TINY["gan"], *UNDRAWN, *words), tmp_path)
    score(Run(tmp_path), "metrics.n=60", "metrics.metrics=[fid]")
    record, *_ = json.loads((tmp_path / "evaluations.json").read_text())
    assert record["value"] == pytest.approx(summary["metrics"]["fid60_digits"], rel=1e-6)
    assert record["protocol"] == summary["protocols"]["fid60_digits"]


def test_evaluate_truncated_styles(run_of: Callable) -> None:
    """The numbers are other ones, under names of their own; all say how they were made."""
    run = run_of("styles")
    for words in ([], ["truncation=0.0"]):
        score(run, "metrics.n=40", "metrics.metrics=[precision,ppl]", *words)
    records = json.loads((run / "evaluations.json").read_text())
    found = {record["name"]: record for record in records}
    assert found["ppl_w40_mnist"]["value"] > 0
    assert found["ppl_w40_mnist_truncation0"]["value"] == 0
    assert found["ppl_z40_mnist_truncation0"]["value"] == 0
    assert found["ppl_z40_mnist_truncation0"]["protocol"]["truncation"] == 0
    assert "truncation" not in found["ppl_z40_mnist"]["protocol"]
    assert "has no styles" in error_of(score, run_of("gan"), "truncation=0.5")


def test_evaluate_toys(run_of: Callable) -> None:
    score(run_of("toy"), "metrics.n=200")
    records = json.loads((run_of("toy") / "evaluations.json").read_text())
    assert {"mean_error200_exact", "cov_error200_exact"} <= {record["name"] for record in records}


def test_evaluate_without_metrics(run_of: Callable, capsys: pytest.CaptureFixture) -> None:
    before = Path(run_of("toy") / "evaluations.json").exists()
    score(run_of("toy"), "metrics=none")
    assert "Nothing was scored" in capsys.readouterr().out
    assert Path(run_of("toy") / "evaluations.json").exists() == before


# What a stranger's run folder may hold


@pytest.fixture
def strange(run_of: Callable, tmp_path: Path) -> Run:
    """A copy of a run, to be tampered with."""
    shutil.copytree(run_of("gan").folder, tmp_path / "strange")
    return Run(tmp_path / "strange")


def tamper(run: Run, change: Callable[[dict], None]) -> None:
    settings = run.settings
    change(settings)
    (run / "config.yaml").write_text(yaml.safe_dump(settings))


PLACES = {
    "the model": lambda settings, bomb: settings.update(model=settings["model"] | bomb),
    "a part": lambda settings, bomb: settings["model"].update(loss=bomb),
    "an argument": lambda settings, bomb: settings["model"]["loss"].update(real_label=bomb),
    "a list": lambda settings, bomb: settings["model"]["g_optimizer"].update(betas=[bomb, 0.9]),
    "the data": lambda settings, bomb: settings.update(data=settings["data"] | bomb),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("disguise", ["open", "interpolation"])
def test_a_stored_target_is_not_run(
    place: str, disguise: str, strange: Run, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    bomb = {"_target_": "os.mkdir", "path": str(marker)}
    if disguise == "interpolation":
        text = f"${{oc.create:'{{_target_: os.mkdir, path: {marker}}}'}}"
        bomb = {"_target_": "src.losses.penalties.R1", "gamma": text}
    tamper(strange, lambda settings: PLACES[place](settings, bomb))
    for call in (draw, score):
        if place == "the data" and call is draw:
            continue  # not built for sampling
        message = error_of(call, strange)
        said = ("may not be built", "must not refer", "betas=[{'_target_'")  # no such number
        assert any(text in message for text in said), message
    assert not marker.exists()


def test_hydra_would_have_run_it(tmp_path: Path) -> None:
    """Without the look at the targets both disguises work, so that the test above tests it."""
    from hydra.utils import instantiate

    for i in range(2):
        marker = tmp_path / f"executed{i}"
        bomb: dict | str = {"_target_": "os.mkdir", "path": str(marker)}
        if i:
            bomb = f"${{oc.create:'{{_target_: os.mkdir, path: {marker}}}'}}"
        instantiate({"_target_": "src.losses.adversarial.NonSaturating", "d_weight": bomb})
        assert marker.exists()


def test_a_run_of_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        assert "is not a run folder" in error_of(draw, folder)
        assert "is not a run folder" in error_of(score, Run(folder))


def test_a_run_without_a_checkpoint(strange: Run) -> None:
    shutil.rmtree(strange / "checkpoints")
    assert "has no checkpoint: it was deleted, or" in error_of(draw, strange)
    summary = json.loads((strange / "summary.json").read_text())
    (strange / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    assert "has no checkpoint: let it train" in error_of(draw, Run(strange.folder))


def test_a_run_whose_pictures_are_gone(strange: Run, tmp_path: Path) -> None:
    shutil.rmtree(strange / "samples")
    assert "no pictures" in error_of(draw, strange, "what=progress", f"out={tmp_path}/x.gif")


def test_weights_of_another_model(strange: Run) -> None:
    tamper(strange, lambda settings: settings["model"]["generator"].update(width=3))
    assert "is not of this model" in error_of(draw, strange)


def test_a_damaged_checkpoint(strange: Run) -> None:
    path = strange / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in error_of(draw, strange)
    assert "damaged" in error_of(score, strange)
    assert os.path.getsize(path)
