"""Models outside of a trainer: one call of `steps` is some iterations of the algorithm."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from src.config.composition import CONF, plain
from src.data.spec import Batch
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.training.instantiate import build_data, build_model
from tests.conftest import composed

TINY = (
    "model=dcgan",
    "model.generator.width=2",
    "model.discriminator.width=2",
    "model.latent.dim=6",
    "model.batch_size=8",
    "model.ema={_target_: src.models.parts.ema.EMA, _partial_: true, half_life: 64}",
)
TOY = ("model=gaussian_gan", "data=gaussian")
STAGES = {
    "stacked_ae": ["model.pretrain=0.3"],
    "deep_ae": ["model.pretrain=0.3"],
    "stacked_denoising_ae": ["model.pretrain=0.3", "model.finetune.head=0.5"],
}
TRANSLATORS = ("restorer", "srresnet", "srgan", "esrgan", "pix2pix", "l1_translator")
UNPAIRED = ("cyclegan", "discogan", "dualgan")
PRESETS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
VOXELS = ("gan3d", "wgan_gp3d")
VIEWS = ("single_view", "single_view_gan", "vaegan3d")
DATA = {  # others: mnist
    "gaussian_gan": "gaussian",
    "tiny": "slanted_land",
    **dict.fromkeys(VOXELS + VIEWS, "solids"),
}


def built(*overrides: str) -> GenerativeModel:
    """The model of a configuration, with its optimisers, in training mode."""
    return assembled(plain(composed(*overrides)))


def assembled(settings: dict) -> GenerativeModel:
    """The same of settings that are composed."""
    model = build_model(settings, build_data(settings).spec)
    optimizers = model.configure_optimizers()
    # What Lightning would do.
    model.manual_backward = lambda loss: loss.backward()
    model.optimizers = lambda use_pl_optimizer: optimizers  # noqa: ARG005
    return model.train()


def preset_of(name: str) -> GenerativeModel:
    """A preset with its own data; residual networks, which take long, are narrowed.

    A training in stages is through them in three iterations of 8 samples.
    """
    words = [f"model={name}", f"data={DATA.get(name, 'mnist')}", "budget=1000"]
    if name in TRANSLATORS + UNPAIRED:
        words += ["data/degradation=noise" if name in UNPAIRED else "data/degradation=downsample"]
        if name in ("srgan", "esrgan"):
            words += ["model.alone=0.5", "budget=16"]
    if name in STAGES:
        words += ["budget=24", "model.hidden=[5]", *STAGES[name]]
    if name in VOXELS + VIEWS:
        words += ["data.resolution=16"]
    if name in VIEWS:
        generator = "generator" if name == "vaegan3d" else "translator.generator"
        words += ["data/degradation=view", "budget=16", f"model.{generator}.width=8"]
    if name in ("sngan", "sagan", *VOXELS):
        words += [f"model.{player}.width=8" for player in ("generator", "discriminator")]
    if name.startswith("stylegan2"):
        words += [f"model.{net}.channel_base=112" for net in ("generator", "discriminator")]
        words += ["model.latent.dim=8", "model.generator.w_dim=8"]
    return built(*words)


def noise(model: GenerativeModel, n: int = 8, seed: int = 0) -> Iterator[Batch]:
    """Endless batches in the form of the model's data."""
    generator = torch.Generator().manual_seed(seed)
    classes = len(model.spec.classes)
    while True:
        x = torch.rand(n, *model.spec.shape, generator=generator)
        x = x if model.spec.kind == "voxels" else x * 2 - 1
        y = torch.randint(classes, (n,), generator=generator) if classes else None
        if model.spec.source is None:
            yield Batch(x, y)
        else:
            yield Batch(x, y, torch.rand(n, *model.spec.source.shape, generator=generator) * 2 - 1)


def steps(model: GenerativeModel, n: int = 1, batches: Iterator[Batch] | None = None) -> None:
    """n iterations, as the trainer calls them."""
    batches = batches or noise(model)
    for _ in range(n):
        model.training_step((batch, 0, 0) for batch in batches)


def check_content_stays(make: Callable[[], GenerativeModel]) -> None:
    """Check that a resume goes on with the same content loss, and with no other one.

    Args:
        make: a translator that has one.
    """
    checkpoint: dict = {}
    model = make()
    model.on_fit_start()
    model.on_save_checkpoint(checkpoint)
    resumed = make()
    resumed.on_load_checkpoint(checkpoint)
    resumed.on_fit_start()
    checkpoint["sparring"]["content"]["hash"] = "0" * 64
    resumed.on_load_checkpoint(checkpoint)
    with pytest.raises(SettingError, match="another network"):
        resumed.on_fit_start()


Spy = Callable[[str, Callable[[], None]], None]


@pytest.fixture
def before_step() -> Callable[[GenerativeModel, Spy], None]:
    """`before_step(model, spy)` calls spy(player) between backward and step of each update."""

    def attach(model: GenerativeModel, spy: Callable[[str], None]) -> None:
        for name, optimizer in model._optimizers.items():

            def step(name: str = name, original: Callable = optimizer.step) -> None:
                spy(name)
                original()

            optimizer.step = step

    return attach


def state(model: GenerativeModel) -> dict[str, Tensor]:
    """A copy of weights and buffers."""
    return {key: value.clone() for key, value in model.state_dict().items()}
