"""Content losses: the right layer of the right network, and no other weights."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import vgg19

from src.errors import SettingError
from src.models.parts.content import (
    ClassContent,
    ClassifierContent,
    NoContent,
    VGG19Content,
)
from src.networks import vgg
from src.networks.features import ClassifierFeatures

A, B = (torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (0, 1))


@pytest.fixture(scope="module")
def small_vgg() -> nn.Module:
    """VGG19's convolutions with random weights; its classifier, 120 million, is left out."""
    with torch.device("meta"):
        network = vgg19(weights=None).features
    torch.manual_seed(0)
    network = network.to_empty(device="cpu")
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.05)
    return network


@pytest.fixture
def weights(small_vgg: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / vgg.FILE
    torch.save({f"features.{k}": v for k, v in small_vgg.state_dict().items()}, path)
    monkeypatch.setattr(vgg, "IMAGENET", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return path


@pytest.mark.parametrize(("layer", "index"), [("conv1_2", 2), ("conv2_2", 7), ("conv5_4", 34)])
@pytest.mark.parametrize("rectified", [False, True])
def test_vgg(layer: str, index: int, rectified: bool, small_vgg: nn.Module, weights: Path) -> None:
    """Places in torchvision's network; pixels as ImageNet's are standardised."""
    content = VGG19Content(1.0, "l1", layer, rectified, str(weights))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def features(x: torch.Tensor) -> torch.Tensor:
        x = ((x + 1) / 2 - mean) / std
        for part in small_vgg[: index + (2 if rectified else 1)]:
            x = part(x.clone())
        return x

    with torch.no_grad():
        expected = (features(A) - features(B)).abs().mean()
    assert_close(content(A, B), expected)
    squared = VGG19Content(1.0, "l2", layer, rectified, str(weights))
    with torch.no_grad():
        assert_close(squared(A, B), (features(A) - features(B)).square().mean())


def test_gradients_reach_the_output_alone(weights: Path) -> None:
    content = VGG19Content(1.0, layer="conv2_2", weights=str(weights))
    output, target = A.clone().requires_grad_(), B.clone().requires_grad_()
    content(output, target).backward()
    assert output.grad.abs().sum() > 0
    assert target.grad is None
    assert all(weight.grad is None for weight in content._network.parameters())


def test_other_weights_are_refused(small_vgg: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({f"features.{k}": v for k, v in small_vgg[:4].state_dict().items()}, path)
    with pytest.raises(SettingError, match="not torchvision's VGG19"):
        VGG19Content(1.0, weights=str(path)).prepare(torch.device("cpu"))
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:dcbb9e9d\n")
    with pytest.raises(SettingError, match="not a plain state dict"):
        VGG19Content(1.0, weights=str(path)).prepare(torch.device("cpu"))
    with pytest.raises(SettingError, match="cannot be read"):
        VGG19Content(1.0, weights=str(tmp_path / "none.pth")).prepare(torch.device("cpu"))


def test_a_layer_that_is_none(weights: Path) -> None:
    with pytest.raises(SettingError, match="conv1_1 to conv5_4"):
        VGG19Content(1.0, layer="conv3_5", weights=str(weights)).prepare(torch.device("cpu"))


def test_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(SettingError, match="model/content=classifier"):
        VGG19Content(1.0).prepare(torch.device("cpu"))


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_classifier(blocks: int) -> None:
    """Its convolutional features at the images' own size, before the last pooling."""
    content = ClassifierContent(1.0, "l2", "faces", blocks)
    network = ClassifierFeatures("faces").network
    with torch.no_grad():
        a, b = (network.body[: 3 * blocks - 1](x) for x in (A, B))
        assert a.shape[-1] == 32 // 2 ** (blocks - 1)
        assert_close(content(A, B), (a - b).square().mean())
    grey = torch.rand(2, 1, 32, 32)
    assert_close(content(grey, grey.clone()), torch.tensor(0.0))
    assert content.identity["name"] == "faces"


def test_more_blocks_than_there_are() -> None:
    ClassifierContent(0.1, blocks=4).load()
    with pytest.raises(SettingError, match=r"blocks=5: faces has 4"):
        ClassifierContent(0.1, blocks=5).load()


def test_a_classifier_of_voxels_is_refused() -> None:
    with pytest.raises(SettingError, match="a classifier of voxels"):
        ClassifierContent(1.0, "l2", "solids").load()


def test_classes() -> None:
    """The class that is read of the target is asked of the output, which gets the gradient."""
    content, network = ClassContent(1.0, "digits"), ClassifierFeatures("digits").network
    output = A.mean(1, keepdim=True).requires_grad_()
    target = B.mean(1, keepdim=True).requires_grad_()
    logits, wanted = (network(network.adapt(x))[1] for x in (output, target))
    loss = content(output, target)
    assert_close(loss, torch.nn.functional.cross_entropy(logits, wanted.argmax(1)))
    loss.backward()
    assert output.grad is not None
    assert target.grad is None
    assert content.identity["name"] == "digits classes"


@pytest.mark.parametrize(
    ("weights", "message"), [("faces", "attributes, not classes"), ("solids", "of voxels")]
)
def test_what_reads_no_classes_of_images(weights: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ClassContent(1.0, weights).load()


def test_none() -> None:
    assert NoContent().weight == 0
    assert not NoContent().identity
