import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

from src.callbacks.codes import Codes, choose, choose_ends, draw_codes
from src.data.spec import DataSpec, Split, to_model
from src.errors import SettingError
from src.metrics import codes as module
from src.metrics.codes import encode_split
from src.pictures import codes as code_pictures
from src.pictures import grids as pictures
from src.training.fit import train
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import IMAGES, POINTS, SignalAt, Tiny
from tests.conftest import composed
from tests.models.conftest import built

ALWAYS = ["codes.png", "filters.png", "interpolation.png"]
ALL = {
    1: ALWAYS,
    2: ["codes.html", "codes.png", "filters.png", "interpolation.png", "latent_grid.png"],
    3: ["codes.html", *ALWAYS],
    5: ALWAYS,
}


class Coded(Tiny):
    """A linear encoder and decoder; a conditional one adds the class to every number."""

    def __init__(self, dim: int = 2, spec: DataSpec = IMAGES, conditional: bool = False) -> None:
        super().__init__(spec)
        self.latent_dim, self.conditional = dim, conditional
        pixels = math.prod(spec.shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, dim, bias=False))
        self.decoder = nn.Sequential(nn.Linear(dim, pixels), nn.Unflatten(1, spec.shape), nn.Tanh())

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.encoder(x) + (labels[:, None] if self.conditional else 0)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return torch.randn(n, self.latent_dim, generator=self.make_random_generator(seed))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            return self.decoder(z - (labels[:, None] if self.conditional else 0))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "samples").glob("*"))


def stored(n: int, classes: int = 2) -> Split:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Split(x, torch.arange(n) % classes)


@pytest.mark.parametrize("dim", ALL)
def test_files(fit: Callable, tmp_path: Path, dim: int) -> None:
    trainer, model = fit(Codes(), model=Coded(dim))
    assert names(tmp_path) == ALL[dim]
    images = choose(trainer.datamodule.reals("test"), 5000)
    assert len(images.x) == 9
    codes = encode_split(model, images)
    expected = code_pictures.scatter(codes, images.y, IMAGES.classes)
    assert Image.open(tmp_path / "samples" / "codes.png").tobytes() == expected.tobytes()
    weights = model.encoder[1].weight.detach().view(dim, 1, 8, 8)
    expected = code_pictures.filters(weights)
    assert Image.open(tmp_path / "samples" / "filters.png").tobytes() == expected.tobytes()


@pytest.mark.parametrize("model", [Tiny(IMAGES), Tiny(POINTS), Coded(spec=POINTS)])
def test_none_without_codes_or_without_images(fit: Callable, tmp_path: Path, model: Tiny) -> None:
    fit(Codes(), model=model)
    assert names(tmp_path) == []


def test_none_of_an_interrupted_run(fit: Callable, tmp_path: Path) -> None:
    fit(Codes(), SignalAt(35), model=Coded())
    assert names(tmp_path) == []


def test_the_same_files_after_a_kill(fit: Callable, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torch.manual_seed(0)
    state = Coded().state_dict()

    def model() -> Coded:
        made = Coded()
        made.load_state_dict(state)
        return made

    fit(Codes(), model=model(), folder=whole)
    fit(Codes(), model=model(), folder=killed, stop_at=56)
    assert names(killed) == []
    fit(Codes(), model=model(), folder=killed, resume=True)
    assert names(killed) == names(whole) == ALL[2]
    for name in ALL[2]:
        assert (killed / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()


def test_pictures_reach_the_loggers(fit: Callable, tmp_path: Path) -> None:
    class Sink(CSVMetrics):
        def __init__(self, folder: str) -> None:
            super().__init__(folder)
            self.images: list = []

        def log_image(self, key: str, images: list[str], step: int) -> None:
            self.images.append((key, Path(images[0]).name, step))

    sink = Sink(str(tmp_path))
    fit(Codes(), model=Coded(), loggers=[sink])
    keys = ["codes", "filters", "latent_grid", "interpolation"]
    assert sink.images == [(key, f"{key}.png", 105) for key in keys]


def test_n(fit: Callable, tmp_path: Path) -> None:
    fit(Codes(n=4), model=Coded(3))
    assert "Codes of" in (text := (tmp_path / "samples" / "codes.html").read_text())
    assert '"labels":[' in text
    assert len(text.split('"labels":[')[1].split("]")[0].split(",")) == 4
    with pytest.raises(SettingError, match=r"callbacks\.codes\.n=1"):
        Codes(n=1)


def test_images_are_chosen_from_all_over_the_split() -> None:
    split = stored(1000)
    images = choose(split, 100)
    places = (images.x[:, None] == split.x).flatten(2).all(2).nonzero()[:, 1]
    assert_close(images.y, split.y[places])
    assert len(places.unique()) == 100
    assert places.min() < 100
    assert places.max() >= 900
    assert choose(Split(split.x), 10_000).y is None


@pytest.mark.parametrize("portion", [500, 4])
def test_codes_are_the_models(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions and in eval mode, with the classes if the model knows them."""
    monkeypatch.setattr(module, "PORTION", portion)
    images, model = stored(10), Coded(conditional=True)
    model.encoder.append(nn.Dropout(0.5))
    codes = encode_split(model, images)
    weight = model.encoder[1].weight.detach()
    expected = to_model(images.x).flatten(1) @ weight.T + images.y[:, None]
    assert_close(codes, expected)
    assert not codes.requires_grad
    assert model.training
    model.conditional = False
    assert_close(encode_split(model, Split(images.x)), expected - images.y[:, None])


def test_a_row_connects_two_images() -> None:
    assert choose_ends(None, 100).tolist() == [[2 * i, 2 * i + 1] for i in range(8)]
    assert choose_ends(None, 5).tolist() == [[0, 1], [2, 3]]
    assert len(choose_ends(None, 1)) == 0
    assert choose_ends(torch.tensor([3, 1, 3, 0, 1, 3]), 6).tolist() == [[1, 4], [0, 2]]
    assert choose_ends(torch.arange(3), 3).shape == (0, 2)
    assert len(choose_ends(torch.arange(40) % 20, 40)) == 8


@pytest.mark.parametrize("conditional", [False, True])
def test_interpolation(conditional: bool) -> None:
    """Ten steps between the codes of two images, by the class of both where there is one."""
    images, model = stored(30), Coded(3, conditional=conditional)
    codes = encode_split(model, images)
    shown = draw_codes(model, images, codes, images.y)["interpolation"]
    first, second = (0, 2) if conditional else (0, 1)
    z = torch.lerp(codes[first], codes[second], torch.linspace(0, 1, 10)[:, None])
    row = model.decode(z, torch.zeros(10))
    expected = pictures.grid(row, 10)
    place = (68 + 6, 0, 68 + 6 + 662, 66)
    assert shown.crop(place).tobytes() == expected.crop((0, 0, 662, 66)).tobytes()
    assert shown.height == 2 + 66 * (2 if conditional else 8)


def test_the_plane_of_an_autoencoder() -> None:
    """Equal steps over the middle 98 % of each number."""
    images, model = stored(500), Coded()
    codes = encode_split(model, images)
    low, high = np.quantile(codes.numpy(), [0.01, 0.99], axis=0)
    plane = torch.stack(torch.meshgrid(
        torch.from_numpy(np.linspace(low[0], high[0], 20)),
        torch.from_numpy(np.linspace(high[1], low[1], 20)),
        indexing="xy",
    ), -1)  # fmt: skip
    expected = pictures.grid(model.decode(plane.view(400, 2).float()), 20, padding=0)
    shown = draw_codes(model, images, codes, images.y)["latent_grid"]
    difference = np.asarray(shown).astype(int) - np.asarray(expected)
    assert shown.size == (1280, 1280)
    assert abs(difference).max() <= 1


def test_the_plane_of_a_vae() -> None:
    """Equal shares of N(0, 1), whatever the codes of the images are."""
    small = [f"model.{part}.hidden=[8]" for part in ("encoder", "decoder")]
    model = built("model=vae", "model.latent_dim=2", *small)
    seen = []
    model.decode = lambda z, _: seen.append(z) or torch.zeros(len(z), 1, 28, 28)
    images = Split(torch.zeros(6, 1, 28, 28).byte())
    draw_codes(model, images, torch.randn(6, 2) + 9, None)
    z = seen[0]
    shares = torch.special.ndtr(z.double())
    levels = ((torch.arange(20) + 0.5) / 20).double()
    assert_close(shares[:20, 0], levels, rtol=0, atol=1e-6)
    assert_close(shares[::20, 1], levels.flip(0), rtol=0, atol=1e-6)
    assert z[:, 0].unique().numel() == z[:, 1].unique().numel() == 20


def test_divergences_of_a_vae(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number whose mean moves with the image is active; KL is that of closed form."""
    model = built("model=vae", "model.latent_dim=2", "model/reconstruction=bernoulli")

    def q(x: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
        brightness = (x.flatten(1).mean(1) + 1) / 2
        mean = torch.stack([torch.ones(len(x)), 2 * brightness], 1)
        return mean, torch.zeros(len(x), 2)

    seen = []
    monkeypatch.setattr(model, "q", q)
    monkeypatch.setattr(
        "src.callbacks.codes.divergences",
        lambda *terms: seen.append(terms) or Image.new("RGB", (1, 1)),
    )
    values = torch.tensor([0, 255] * 600, dtype=torch.uint8)  # more than one portion
    images = Split(values[:, None, None, None].expand(-1, 1, 28, 28))
    assert "divergences" in draw_codes(model, images, torch.randn(1200, 2), None)
    ((kl, active),) = seen
    assert_close(kl, torch.tensor([0.5, 1.0]))  # mean^2 / 2 of means 1, and of 0 and 2
    assert active.tolist() == [False, True]


def test_a_plane_for_each_class() -> None:
    images, model = stored(60), Coded(conditional=True)
    seen = []
    decode = model.decode
    model.decode = lambda z, labels: seen.append((len(z), labels.unique())) or decode(z, labels)
    shown = draw_codes(model, images, encode_split(model, images), images.y)["latent_grid"]
    assert [(n, int(label)) for n, label in seen[:2]] == [(100, 0), (100, 1)]
    assert shown.size == (2 * 640 + 6, 640)


def test_of_a_run(tmp_path: Path) -> None:
    """What `train` leaves by default."""
    small = [f"model.{part}.hidden=[8]" for part in ("encoder", "decoder")]
    train(composed("model=ae", "budget=128", *small), tmp_path)
    assert set(ALL[3]) <= set(names(tmp_path))
    assert Image.open(tmp_path / "samples" / "filters.png").size == (2 + 3 * 58, 2 + 3 * 58)
