"""Small data sets in memory, and a cache of each test's own."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from src.data.base import DataModule, identity
from src.data.mnist import MNIST, digits
from src.data.spec import DataSpec, Split, to_model
from src.metrics.base import Sampler
from src.models.base import LatentVariableModel


class InMemory(DataModule):
    """Given splits as a data module; its identity holds a hash of the content as real ones do."""

    def __init__(self, name: str, splits: dict[str, Split], classes: tuple[str, ...] = ()) -> None:
        x = splits["train"].x
        kind = {2: "points", 4: "images", 5: "voxels"}[x.ndim]
        super().__init__(DataSpec(kind, tuple(x.shape[1:]), classes), batch_size=8, seed=0)
        content = hashlib.sha256()
        for split in splits.values():
            for part in split:
                if part is not None:
                    content.update(part.numpy().tobytes())
        self.given = splits, identity(name, "builtin", splits, content.hexdigest()[:16])
        self.setup()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        return self.given


class Encodes(LatentVariableModel):
    """A network as the encoder of a model that does nothing else."""

    iterate = latents = decode = None

    def __init__(self, encoder: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> None:
        super().__init__(DataSpec("images", shape), seed=0)
        self.encoder = encoder

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            return self.encoder(x) if labels is None else self.encoder(x, labels)


def noise_images(n: int, seed: int, size: int = 28, channels: int = 1) -> Tensor:
    """Uint8 (n, channels, size, size), smooth enough to differ from each other."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (n, channels, 4, 4), generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return fine.to(torch.uint8)


def sampler_of(stored: Tensor) -> Sampler:
    """Samples in turn from stored images, so that all come if n is their number."""
    position = 0

    def sample(n: int, _seed: int) -> Tensor:
        nonlocal position
        part = stored[position : position + n]
        position += n
        return to_model(part)

    return sample


@pytest.fixture(scope="session")
def digit_splits() -> dict[str, Split]:
    return digits()


@pytest.fixture
def digit_data(digit_splits: dict[str, Split]) -> InMemory:
    return InMemory("digits", digit_splits, tuple("0123456789"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def real_mnist() -> DataModule:
    """MNIST itself, where the machine has it."""
    root = os.environ.get("SPARRING_MNIST")
    if not root:
        pytest.skip("SPARRING_MNIST does not name a folder with MNIST's files")
    data = MNIST("mnist", "images", 1, 28, [str(i) for i in range(10)], "real", root, "", 8, 0)
    data.setup()
    return data


class _Unloaded(FeatureExtractorInceptionV3):
    """torch-fidelity's Inception as it is initialised."""

    def load_state_dict(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state dict of Inception's true shape with random weights (92 MB)."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *_, **__: {},
        )
        torch.manual_seed(0)
        network = _Unloaded("inception-v3-compat", ["2048"])
    for module in network.modules():  # images are told apart only if signals survive the depth
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=torch.Generator().manual_seed(1))
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()
