"""VGG19 as it was trained on ImageNet, up to one of its layers (Simonyan & Zisserman 2015)."""

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from src.errors import SettingError
from src.networks.features import read_state

FILE, IMAGENET = "vgg19-dcbb9e9d.pth", "dcbb9e9d"  # and how its sha256 begins
URL = f"https://download.pytorch.org/models/{FILE}"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
CONVOLUTIONS = (2, 2, 4, 4, 4)  # of the five blocks


class _Features(nn.Module):
    """Images (n, 1 or 3, h, w) in [-1, 1] to the output of some of VGG19's layers."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        for name, value in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(value)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(((x + 1) / 2 - self.mean) / self.std)


def load_vgg19(weights: str | None, layer: str, rectified: bool) -> nn.Module:
    """VGG19 up to a convolution, or the ReLU after it.

    Args:
        weights: torchvision's file; None takes it from torch's hub folder, or downloads it there.
        layer: such as `conv5_4`: the fourth convolution of the fifth block.
        rectified: up to the ReLU.

    Raises:
        SettingError: if there is no such layer, or the weights are missing or others.
    """
    from torchvision.models import vgg19

    with torch.device("meta"):  # its 140 million weights are not to be drawn first
        layers = vgg19(weights=None).features
    end = _index(layer) + (2 if rectified else 1)
    path = Path(weights).expanduser() if weights else _fetch()
    state, sha256 = read_state(path, "model.content.weights", f"Give {FILE} of torchvision.")
    if not sha256.startswith(IMAGENET):
        raise SettingError(
            f"model.content.weights={path} is not torchvision's VGG19 of ImageNet: its sha256 "
            f"begins with {sha256[:8]}, not {IMAGENET}.\nFetch {URL}"
        )
    own = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    layers.load_state_dict(own, assign=True)
    # In place, a ReLU would change what is returned before it.
    kept = [nn.ReLU() if isinstance(part, nn.ReLU) else part for part in layers[:end]]
    return _Features(nn.Sequential(*kept))


def _index(layer: str) -> int:
    """Place of a convolution among VGG19's layers."""
    place = 0
    for block, convolutions in enumerate(CONVOLUTIONS, 1):
        for i in range(1, convolutions + 1):
            if layer == f"conv{block}_{i}":
                return place
            place += 2
        place += 1  # a pooling
    raise SettingError(f"model.content.layer={layer}: VGG19 has conv1_1 to conv5_4.")


def _fetch() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(path), IMAGENET)
        except (OSError, URLError, RuntimeError) as error:  # RuntimeError: the hash is wrong
            raise SettingError(
                f"model.content: no weights of VGG19 at {path} ({error}).\n"
                f"Fetch {URL}\nand give it by model.content.weights=PATH; or use "
                "model/content=classifier, or none."
            ) from error
    return path
