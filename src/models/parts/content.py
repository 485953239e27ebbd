"""Content losses: images are compared by the features of a network that was trained before.

    none         -
    VGG19        of ImageNet, conv5_4        SRGAN, Ledig et al. 2017; ESRGAN, Wang et al. 2018
    classifier   of the data set, where ImageNet's weights are not at hand
    classes      the class that a classifier reads, not its features   CyCADA, Hoffman et al. 2018

A network is read when the training begins, is not trained, and is not in the checkpoints.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.config.ranges import NotNegativeFloat, PositiveInt
from src.errors import SettingError
from src.networks.classifier import Classifier, fit_to
from src.networks.features import ClassifierFeatures
from src.networks.vgg import IMAGENET, load_vgg19

Distance = Literal["l1", "l2"]


class Content(ABC):
    """Base: a weight, a network and a distance of its features.

    Args:
        weight: factor on the distance.
        distance: mean absolute or mean squared difference.

    Attributes:
        weight: 0 where there is no content loss.
    """

    def __init__(self, weight: NotNegativeFloat, distance: Literal["l1", "l2"] = "l2") -> None:
        self.weight, self.distance = weight, distance
        self._network: nn.Module | None = None

    @abstractmethod
    def load(self) -> nn.Module:
        """The network, from images (n, c, h, w) in [-1, 1] to features.

        Raises:
            SettingError: if its weights are missing or are others.
        """

    @property
    def identity(self) -> Mapping[str, str]:
        """Name and hash of the network, for the record; empty without one."""
        return {}

    def prepare(self, device: torch.device, recorded: object = None) -> None:
        """Read the network's weights, where they count.

        Args:
            device: where images will be.
            recorded: `identity` of the network that a checkpoint was trained with, if there is one.

        Raises:
            SettingError: if that was another network.
        """
        if not self.weight:
            return
        self._network = self.load().to(device).eval().requires_grad_(False)
        if recorded not in (None, self.identity):
            raise SettingError(
                "model.content: the checkpoint was trained with another network than these "
                "weights are.\nGive the same file, or begin anew with existing=restart."
            )

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Distance of outputs (n, c, h, w) from targets of that shape, a scalar in float32."""
        if self._network is None:
            self.prepare(output.device)
        with torch.autocast(output.device.type, enabled=False):
            with torch.no_grad():
                wanted = self._network(target.float())
            return self.compare(self._network(output.float()), wanted)

    def compare(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Distance of what the network says of outputs from what it says of targets, a scalar."""
        difference = found - wanted
        return difference.abs().mean() if self.distance == "l1" else difference.square().mean()


class NoContent(Content):
    """Pixels and the adversary decide alone."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def load(self) -> nn.Module:
        return nn.Identity()


class VGG19Content(Content):
    """Features of ImageNet's VGG19 (Simonyan & Zisserman 2015), torchvision's weights.

    Args:
        weight: factor.
        distance: `l2` in SRGAN, `l1` in ESRGAN.
        layer: convolution whose output is compared, such as `conv5_4` or `conv2_2`.
        rectified: after its ReLU (SRGAN) or before (ESRGAN).
        weights: file `vgg19-dcbb9e9d.pth`; null takes torch's hub folder, or downloads it there.
    """

    def __init__(
        self,
        weight: NotNegativeFloat,
        distance: Literal["l1", "l2"] = "l1",
        layer: str = "conv5_4",
        rectified: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__(weight, distance)
        self.layer, self.rectified, self.weights = layer, rectified, weights

    def load(self) -> nn.Module:
        return load_vgg19(self.weights, self.layer, self.rectified)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"name": f"vgg19 {self.layer}", "hash": IMAGENET}


class FromClassifier(Content):
    """Base of those by a classifier that the metrics use, or one like them.

    Args:
        weight: factor.
        weights: the name of a shipped classifier (`mnist`, `digits`, `faces`) or a file.
        distance: of what it says.
    """

    def __init__(
        self, weight: NotNegativeFloat, weights: str, distance: Literal["l1", "l2"] = "l2"
    ) -> None:
        super().__init__(weight, distance)
        self.weights = weights
        self._identity: dict[str, str] = {}

    @abstractmethod
    def part(self, extractor: ClassifierFeatures) -> nn.Module:
        """The part of the classifier that looks at images.

        Raises:
            SettingError: if it has no such part.
        """

    def load(self) -> nn.Module:
        extractor = ClassifierFeatures(self.weights)
        if extractor.kind == "voxels":
            raise SettingError(
                f"model.content.weights={self.weights} is a classifier of voxels.\n"
                "Choose one of images: faces, mnist, digits."
            )
        self._identity = {"name": extractor.name, "hash": extractor.hash}
        return self.part(extractor)

    @property
    def identity(self) -> Mapping[str, str]:
        return self._identity


class ClassifierContent(FromClassifier):
    """Convolutional features of one of the classifiers that the metrics use.

    They are computed at the images' own size: the classifier's is smaller, and what a blurred image
    lacks would be lost.

    Args:
        weight: factor.
        distance: of the features.
        weights: the name of a shipped one (`mnist`, `digits`, `faces`) or a file.
        blocks: blocks of convolution, ReLU and pooling whose output is compared.
    """

    def __init__(
        self,
        weight: NotNegativeFloat,
        distance: Literal["l1", "l2"] = "l2",
        weights: str = "faces",
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__(weight, weights, distance)
        self.blocks = blocks

    def part(self, extractor: ClassifierFeatures) -> nn.Module:
        network = extractor.network
        if self.blocks > (most := len(network.body) // 3):
            raise SettingError(
                f"model.content.blocks={self.blocks}: {extractor.name} has {most} of them."
            )
        return _Channels(network.channels, network.body[: 3 * self.blocks - 1])  # no last pooling


def shipped_content(channels: int) -> ClassifierContent:
    """The distance in features that come with the project: of faces for colour, of digits for grey.

    Args:
        channels: of the images.
    """
    return ClassifierContent(1.0, weights="faces" if channels == 3 else "mnist")


class ClassContent(FromClassifier):
    """Cross-entropy of the class that is read of outputs to the one that is read of targets.

    The "semantic consistency" of CyCADA (Hoffman et al. 2018, arXiv:1711.03213, eq. 4): a
    translation shall be read as its source is. The classifier has to know the sources' domain; on
    the other domain it errs, and what it reads there is right often enough.

    Args:
        weight: factor.
        weights: the name of a shipped classifier (`mnist`, `digits`) or a file, of classes.
    """

    def __init__(self, weight: NotNegativeFloat, weights: str) -> None:
        super().__init__(weight, weights)

    def part(self, extractor: ClassifierFeatures) -> nn.Module:
        if extractor.about["outputs"] == "attributes":
            raise SettingError(
                f"model.content.weights={self.weights} reads attributes, not classes.\n"
                "Use model/content=classifier."
            )
        return _Classes(extractor.network)

    def compare(self, found: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(found, wanted.argmax(1))

    @property
    def identity(self) -> Mapping[str, str]:
        known = super().identity
        return known | {"name": f"{known['name']} classes"} if known else known


class _Classes(nn.Module):
    """A classifier's logits (n, classes) of images of any size."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.network.adapt(x))[1]


class _Channels(nn.Module):
    """Layers that get images with as many channels as they were trained with."""

    def __init__(self, channels: int, layers: nn.Module) -> None:
        super().__init__()
        self.channels, self.layers = channels, layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(fit_to(x, self.channels, x.shape[-1]))
