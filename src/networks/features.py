"""Extractors: samples to the features that FID and its kin compare.

Scores are comparable only for one network, one set of weights and one resize, so an extractor
carries all three in its name, hash and protocol, and works in one fixed precision (float32 in eval
mode, whatever the training does). Images pass through uint8 first, and voxels through bool, so that
tensors and the files saved from them score the same.

- `Inception`: the TF-2015 graph of Heusel et al. 2017 (arXiv:1706.08500) in torch-fidelity's port.
  torchvision's Inception, or another resize, gives other numbers under the same name.
- `ClassifierFeatures`: the small networks of `classifier.py`, for grey, small or offline data, and
  for voxels.
"""

import hashlib
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from urllib.error import URLError

import torch
from torch import Tensor, nn

from src.data.spec import Kind, to_bool, to_uint8
from src.errors import SettingError
from src.networks.classifier import load_classifier
from src.runs.stored import as_name, read_bytes
from src.runs.tensor_files import read_checkpoint

SHIPPED = Path(__file__).parent / "weights"

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_HASH = "6726825d"
INCEPTION_HOST = "github.com"
INCEPTION_URL = (
    f"https://{INCEPTION_HOST}/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
)
FIDELITY = "Give a file of torch-fidelity's Inception weights."


class Features(NamedTuple):
    """Output of an extractor for n samples.

    Attributes:
        features: (n, d) float32.
        logits: (n, classes) of p(y | x) for the Inception score, or None where the network's
            outputs are not classes.
    """

    features: Tensor
    logits: Tensor | None


class Extractor(nn.Module):
    """Base of the extractors; a subclass writes `embed`.

    Args:
        name: goes into the names of the numbers: `fid10k_<name>`.
        sha256: of the weights' file, in hexadecimal.
        resize: method that resizes samples to the network's input.

    Attributes:
        kind: of the data that it embeds: images or voxels.
        kid_unit: True if KID sees the features over the root of the reals' mean square. Its kernel
            (x.y / d + 1)^3 is made for Inception's features, of mean square below 1; of larger ones
            it knows only the cube.
    """

    kind: Kind = "images"
    kid_unit = True

    def __init__(self, name: str, sha256: str, resize: str) -> None:
        super().__init__()
        self.name, self.hash, self.resize = as_name(name[:100]), sha256[:16], resize

    @property
    def protocol(self) -> dict[str, str]:
        """Record of the extractor that goes with every number."""
        stored = "bool" if self.kind == "voxels" else "uint8"
        return {"name": self.name, "hash": self.hash, "resize": self.resize, "input": stored}

    def forward(self, x: Tensor) -> Features:
        """Embed images of any size with 1 or 3 channels, or voxels.

        Args:
            x: images (n, c, h, w), float in [-1, 1] or uint8, or voxels (n, 1, d, h, w), in [0, 1]
                or bool; moved to the extractor's device.
        """
        x = x.to(next(self.parameters()).device)
        if self.kind == "voxels":
            x = to_bool(x)
        elif x.dtype != torch.uint8:
            x = to_uint8(x)
        with torch.no_grad(), full_precision(x.device.type):
            return self.embed(x)

    def embed(self, x: Tensor) -> Features:
        """Features of samples as they are stored."""
        raise NotImplementedError  # abstract


class Inception(Extractor):
    """2048 pool features and unbiased logits of the TF-2015 Inception.

    Args:
        weights: a file of torch-fidelity's state dict; None takes the usual one from torch's hub
            folder, or downloads it there.

    Raises:
        SettingError: if there are no weights, or the file is not what it should be.
    """

    kid_unit = False  # as in all published tables

    def __init__(self, weights: str | Path | None = None) -> None:
        # Imported here since only this extractor needs it.
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity

        path = Path(weights).expanduser() if weights else inception_file(download=True)
        state, sha256 = read_state(path, "metrics.weights", FIDELITY)
        usual = sha256.startswith(INCEPTION_HASH)
        if not weights and not usual:
            raise SettingError(
                f"{path} is damaged: its sha256 begins with {sha256[:8]}, not {INCEPTION_HASH}.\n"
                "Delete it, or give another file by metrics.weights=PATH."
            )
        # Other weights are no Inception that anybody can compare with: the name says so.
        super().__init__(
            "inception" if usual else f"inception_{sha256[:6]}",
            sha256,
            "bilinear to 299 as in TensorFlow 1",
        )
        # Its constructor would unpickle any file; it is handed the state dict that was read safely.
        with mock.patch.object(fidelity, "load_state_dict_from_url", return_value=state):
            try:
                self.network = fidelity.FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048", "logits_unbiased"]
                )
            except RuntimeError as error:
                raise SettingError(
                    f"metrics.weights={path} does not fit torch-fidelity's Inception.\n"
                    f"{str(error).splitlines()[-1].strip()[:200]}"
                ) from error
        self.network.to(memory_format=torch.channels_last)

    def embed(self, x: Tensor) -> Features:
        return Features(*self.network(x.expand(-1, 3, -1, -1)))


class ClassifierFeatures(Extractor):
    """The 64 features and the logits of a classifier that was trained once and is shipped by file.

    Args:
        weights: the name of a shipped one (`mnist`, `digits`, `faces`; `solids` for voxels) or a
            safetensors file.

    Raises:
        SettingError: if there is no such file or it is no classifier of ours.
    """

    def __init__(self, weights: str | Path) -> None:
        path = shipped(str(weights)) or Path(weights).expanduser()
        network, about, sha256 = load_classifier(path)
        size, channels = network.size, network.channels
        if network.kind == "voxels":
            resize = f"occupied where any voxel is, to {size}"
        else:
            resize = f"antialiased bilinear to {size}, {'grey' if channels == 1 else 'colour'}"
        # Two trainings share a name but not their features, so all but the shipped show the hash.
        known = (original := shipped(about["name"])) and _sha256(original) == sha256
        super().__init__(
            about["name"] if known else f"{about['name']}_{sha256[:6]}",
            sha256,
            resize,
        )
        self.about, self.kind = about, network.kind
        self.network = network

    def embed(self, x: Tensor) -> Features:
        features, logits = self.network(self.network.adapt(x))
        return Features(features, None if self.about["outputs"] == "attributes" else logits)


def shipped(name: str) -> Path | None:
    """The file of the classifier that ships with the project under this name, if there is one."""
    path = SHIPPED / f"{name}.safetensors"
    return path if path.parent == SHIPPED and path.is_file() else None


def inception_file(download: bool) -> Path:
    """torch-fidelity's usual weights file in torch's hub folder (under $TORCH_HOME).

    Args:
        download: fetch it (92 MB) if it is not there.

    Raises:
        SettingError: if it is not there and cannot be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if path.is_file():
        return path
    reason = "it was not to be downloaded"
    if download:
        try:
            # Asked first, since the download itself has no time limit.
            socket.create_connection((INCEPTION_HOST, 443), timeout=5).close()
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(INCEPTION_URL, str(path), INCEPTION_HASH)
            return path
        except (OSError, URLError, RuntimeError) as error:  # RuntimeError: the hash is wrong
            reason = str(error)
    raise SettingError(
        f"metrics.extractor=inception: no weights at {path} ({reason}).\n"
        f"Fetch {INCEPTION_URL}\n"
        "and place it there or give metrics.weights=PATH; or use metrics=auto, which needs none."
    )


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """float32 throughout: no autocast, TF32 or bf16, and no choice of algorithms by timing."""
    cudnn = torch.backends.cudnn
    switches = [
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
        (cudnn.conv, "fp32_precision", "ieee"),
        (cudnn.rnn, "fp32_precision", "ieee"),  # or torch cannot say what cuDNN as a whole does
        (torch.backends.mkldnn.matmul, "fp32_precision", "ieee"),
        (torch.backends.mkldnn.conv, "fp32_precision", "ieee"),
    ]
    before = [getattr(owner, name) for owner, name, _ in switches]
    for owner, name, value in switches:
        setattr(owner, name, value)
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def read_state(path: Path, setting: str, cure: str) -> tuple[dict[str, Tensor], str]:
    """A state dict and its file's sha256; code in the pickle is refused, not run.

    Args:
        path: a file of torch's.
        setting: the setting that names it, for messages.
        cure: what to do about it.
    """
    try:
        content = read_bytes(path, most=2**30)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"{setting}={path} cannot be read: {reason}.\n{cure}") from error
    try:
        if content.startswith(b"PK"):
            state = read_checkpoint(content)
        else:  # as torch wrote before 1.6; what torch.load tells of a damaged one has many kinds
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise SettingError(
            f"{setting}={path} is not a plain state dict and was refused.\n{cure}"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in state.items()
    ):
        raise SettingError(f"{setting}={path} is not a state dict.\n{cure}")
    return state, hashlib.sha256(content).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
