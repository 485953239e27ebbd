"""Extractors: protocol, precision, and weights that are refused."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from src.data.procedural.solids import render, sample_factors
from src.data.spec import to_model
from src.errors import SettingError
from src.networks import features
from src.networks.classifier import Classifier, save_classifier
from src.networks.features import ClassifierFeatures, Inception, inception_file
from tests.metrics.conftest import noise_images


def test_the_protocol_names_weights_and_resize() -> None:
    found = ClassifierFeatures("digits")
    assert found.protocol == {
        "name": "digits",
        "hash": found.hash,
        "resize": "antialiased bilinear to 28, grey",
        "input": "uint8",
    }
    assert len(found.hash) == 16


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 28), (1, 32), (3, 64), (1, 14)])
def test_any_size_and_colour_is_embedded(channels: int, size: int) -> None:
    found = ClassifierFeatures("digits")(noise_images(5, 0, size, channels))
    assert found.features.shape == (5, 64)
    assert found.logits.shape == (5, 10)
    assert found.features.dtype == found.logits.dtype == torch.float32


def test_floats_are_seen_as_the_images_that_would_be_saved() -> None:
    extractor, x = ClassifierFeatures("digits"), noise_images(5, 0)
    nearly = to_model(x) + 0.4 / 127.5
    assert_close(extractor(x), extractor(to_model(x)), rtol=0, atol=0)
    assert_close(extractor(x), extractor(nearly), rtol=0, atol=0)


def test_grey_as_colour_is_the_same_grey() -> None:
    extractor, x = ClassifierFeatures("digits"), noise_images(5, 0)
    assert_close(extractor(x), extractor(x.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)


def test_the_precision_of_the_training_does_not_reach_the_features() -> None:
    extractor, x = ClassifierFeatures("digits"), noise_images(5, 0)
    expected = extractor(x)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = extractor(x)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.benchmark is False
        assert torch.backends.cudnn.deterministic is False
    finally:
        torch.set_float32_matmul_precision(before)
    assert_close(found, expected, rtol=0, atol=0)
    assert not found.features.requires_grad


@pytest.mark.parametrize("name", ["mnist", "digits", "faces"])
def test_shipped_weights_are_small_and_known(name: str) -> None:
    found = ClassifierFeatures(name)
    assert found.name == name
    assert features.shipped(name).stat().st_size < 300_000
    # Inception scores are of classes; the faces have attributes.
    logits = found(noise_images(2, 0)).logits
    assert (logits is None) == (name == "faces")


def test_voxels_are_seen_as_they_would_be_saved() -> None:
    extractor = ClassifierFeatures("solids")
    assert features.shipped("solids").stat().st_size < 300_000
    assert extractor.protocol == {
        "name": "solids",
        "hash": extractor.hash,
        "resize": "occupied where any voxel is, to 32",
        "input": "bool",
    }
    x = render(sample_factors(3, 0), ["mug"], 32)
    soft = torch.where(x, 0.6, 0.4)
    assert_close(extractor(soft), extractor(x), rtol=0, atol=0)
    assert extractor(x).features.shape == (3, 64)
    assert extractor(x).logits.argmax(1).tolist() == [4, 4, 4]


def test_other_weights_show_their_hash_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_classifier(Classifier(1, 28, 2), path, name="digits", labels=["a", "b"], outputs="classes")
    found = ClassifierFeatures(path)
    assert found.name == f"digits_{found.hash[:6]}"
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(features.shipped("digits").read_bytes())
    assert ClassifierFeatures(copy).name == "digits"


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("extractor", [Inception, ClassifierFeatures])
@pytest.mark.parametrize("kind", ["bomb", "torch", "text", "missing", "folder"])
def test_files_that_are_no_weights_are_refused_and_not_run(
    extractor: type, kind: str, tmp_path: Path
) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "exploded"
    if kind == "bomb":
        path.write_bytes(pickle.dumps(_Bomb(mark)))
    elif kind == "torch":
        torch.save({"fc.weight": torch.zeros(3), "bomb": _Bomb(mark)}, path)
    elif kind == "text":
        path.write_text("not weights")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(SettingError, match=r"metrics\.weights=.*weights\.pth"):
        extractor(path)
    assert not mark.exists()


def test_a_state_dict_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(SettingError, match="does not fit"):
        Inception(path)


def test_a_damaged_file_in_the_usual_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / features.INCEPTION_FILE
    path.parent.mkdir(parents=True)
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(SettingError, match="damaged: its sha256"):
        Inception()


def test_without_weights_and_network_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(features.socket, "create_connection", unreachable)
    with pytest.raises(SettingError) as error:
        inception_file(download=True)
    lines = str(error.value).splitlines()
    assert len(lines) <= 3
    for word in ("metrics.extractor=inception", "Name or service", "metrics.weights=PATH"):
        assert word in str(error.value)


def fidelity_features(path: Path, x: Tensor) -> tuple[Tensor, ...]:
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    return network(x)


def test_inception_is_torch_fidelitys(random_inception: Path) -> None:
    found = Inception(random_inception)
    # Random weights must never pass for the real ones.
    assert found.name == f"inception_{found.hash[:6]}"
    x = noise_images(2, 0, size=32, channels=3)
    features_, logits = fidelity_features(random_inception, x)
    assert_close(found(x).features, features_, rtol=1e-4, atol=1e-5)
    assert_close(found(x).logits, logits, rtol=1e-4, atol=1e-4)
    assert found(x[:, :1]).features.shape == (2, 2048)
