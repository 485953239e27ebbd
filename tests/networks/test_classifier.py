"""The classifier: what is shipped is as good as is said, and training it is sound."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.data.base import DataModule
from src.data.procedural.solids import find_kinds, render, sample_factors
from src.data.spec import Split
from src.errors import SettingError
from src.networks import classifier
from src.networks.classifier import Classifier, fit, fit_to, fit_voxels, load_classifier
from src.networks.features import shipped
from tests.metrics.conftest import InMemory


def stripes(n: int) -> Split:
    """Two classes that a few steps tell apart: stripes that lie or stand; the phase is random."""
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(n, 1, 1, generator=generator) * 6.28
    wave = (torch.arange(28.0).view(1, 1, 28) * 0.9 + phase).sin().expand(n, 28, 28)
    y = torch.arange(n) % 2
    x = torch.where(y.view(n, 1, 1) == 1, wave, wave.transpose(1, 2))
    return Split((x * 127 + 128).to(torch.uint8)[:, None], y)


def test_the_digits_classifier_is_as_good_as_is_said(digit_splits: dict[str, Split]) -> None:
    network, about, _ = load_classifier(shipped("digits"))
    found = classifier.accuracy(network, digit_splits["test"])
    assert found == pytest.approx(about["accuracy"], abs=1e-4)
    assert 0.98 <= found <= 1.0


def test_the_mnist_classifier_is_as_good_as_is_said(real_mnist: DataModule) -> None:
    network, about, _ = load_classifier(shipped("mnist"))
    found = classifier.accuracy(network, real_mnist.splits["test"])
    assert found == pytest.approx(about["accuracy"], abs=1e-4)
    assert 0.99 <= found <= 1.0


def test_classes_are_learned_and_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    data = stripes(64)
    networks = [fit(data, 2, samples=1600, seed=0, batch_size=32) for _ in range(2)]
    assert_close(torch.get_rng_state(), before)
    assert classifier.accuracy(networks[0], data) == 1.0
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert_close(one, other, rtol=0, atol=0)
    assert not networks[0].training


def test_a_reader_that_has_seen_deformed_images_reads_other_ones() -> None:
    """A patch left or right of the middle is read where it was learned, or also as it lies."""
    x = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    y = torch.arange(64) % 2
    x[y == 0, :, 12:16, 9:12] = 255
    x[y == 1, :, 12:16, 16:19] = 255
    moved = torch.zeros_like(x)
    moved[:, :, 4:] = x[:, :, :-4]  # by four pixels downwards
    plain, deformed = (
        fit(Split(x, y), 2, samples=1600, seed=0, batch_size=32, deformed=each)
        for each in (False, True)
    )
    for network in (plain, deformed):
        assert classifier.accuracy(network, Split(x, y)) == 1.0
    assert classifier.accuracy(deformed, Split(moved, y)) == 1.0

    def sure(network: Classifier) -> float:
        logits = network(network.adapt(moved))[1].detach()
        return float(logits.softmax(1).gather(1, y[:, None]).mean())

    assert sure(deformed) > sure(plain)


def test_attributes_are_learned_one_by_one() -> None:
    x, y = stripes(64)
    bright = torch.arange(64) % 4 >= 2
    x = torch.where(bright.view(-1, 1, 1, 1), x, x // 3)
    data = Split(x, torch.stack([y, bright.long()], 1))
    network = fit(data, 2, samples=2400, seed=0, batch_size=32)
    assert 0.95 <= classifier.accuracy(network, data) <= 1.0


def test_a_saved_classifier_is_the_one_that_was_trained(tmp_path: Path) -> None:
    data = InMemory("stripes", {"train": stripes(64), "test": stripes(40)}, ("lying", "standing"))
    path = tmp_path / "new" / "stripes.safetensors"
    accuracy = classifier.train_classifier(data, path, samples=640)
    network, about, sha256 = load_classifier(path)
    assert about["name"] == "stripes"
    assert about["labels"] == ["lying", "standing"]
    assert about["outputs"] == "classes"
    assert about["data_id"] == data.data_id
    assert about["accuracy_on"] == "test"
    assert about["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert classifier.accuracy(network, data.splits["test"]) == pytest.approx(accuracy, abs=1e-6)
    assert len(sha256) == 64
    assert list(path.parent.iterdir()) == [path]


def test_attributes_come_before_the_chosen_label(tmp_path: Path) -> None:
    data = InMemory("stripes", {"train": stripes(64)}, ("not standing", "standing"))
    y = data.splits["train"].y
    data.attributes, data.attribute_names = {"train": torch.stack([y, 1 - y], 1)}, ("a", "b")
    path = tmp_path / "stripes.safetensors"
    classifier.train_classifier(data, path, samples=320)
    _, about, _ = load_classifier(path)
    assert (about["labels"], about["outputs"]) == (["a", "b"], "attributes")
    assert about["accuracy_on"] == "train"


def test_data_without_labels_are_told(tmp_path: Path) -> None:
    data = InMemory("stripes", {"train": Split(stripes(8).x)})
    with pytest.raises(SettingError, match=r"metrics\.extractor=classifier.*stripes"):
        classifier.train_classifier(data, tmp_path / "none.safetensors")


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 64)])
def test_every_size_has_64_features(channels: int, size: int) -> None:
    features, logits = Classifier(channels, size, 5).eval()(torch.zeros(2, channels, size, size))
    assert features.shape == (2, 64)
    assert logits.shape == (2, 5)


def test_the_classifier_of_solids_is_as_good_as_is_said() -> None:
    network, about, _ = load_classifier(shipped("solids"))
    assert about["accuracy"] > 0.99
    factors = sample_factors(60, 1)  # the first of the held-out ones
    kinds = find_kinds(factors, about["labels"])
    for resolution in (16, 32, 64):
        split = Split(render(factors, about["labels"], resolution), kinds)
        # It was trained at 32^3.
        least = 0.99 if resolution == 32 else 0.7
        assert least <= classifier.accuracy(network, split) <= 1.0, resolution


def test_voxels_are_learned_and_kept(tmp_path: Path) -> None:
    factors = sample_factors(64, 0)
    x, y = render(factors, ["chair", "car"], 16), find_kinds(factors, ["chair", "car"])
    model = fit(Split(x, y), 2, samples=320, seed=0, batch_size=16)
    assert classifier.accuracy(model, Split(x, y)) >= 0.95
    path = tmp_path / "two.safetensors"
    classifier.save_classifier(model, path, name="two", labels=["a", "b"], outputs="classes")
    found, about, _ = load_classifier(path)
    assert (found.kind, about["kind"]) == ("voxels", "voxels")
    assert_close(found(found.adapt(x)), model(model.adapt(x)))


def test_cubes_are_brought_to_the_networks_side() -> None:
    x = torch.zeros(1, 1, 64, 64, 64, dtype=torch.bool)
    x[..., 5, 9, 62] = True  # one thin part
    fitted = fit_voxels(x, 32)
    assert fitted.nonzero().tolist() == [[0, 0, 2, 4, 31]]
    again = fit_voxels(fitted > 0, 64)
    assert again.sum() == 8
    assert bool(again[..., 5, 9, 62])


def colours() -> Tensor:
    return torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(2, 3, 8, 8)


def test_fit_to_makes_grey_by_luma_and_keeps_what_fits() -> None:
    assert_close(fit_to(colours(), 1, 8), torch.full((2, 1, 8, 8), 0.299 - 0.114))
    assert_close(fit_to(colours(), 3, 8), colours())
    grey = torch.rand(2, 1, 8, 8)
    assert_close(fit_to(grey, 3, 8), grey.expand(2, 3, 8, 8))


def test_fit_to_averages_when_it_shrinks() -> None:
    board = (torch.arange(16).view(-1, 1) + torch.arange(16)).remainder(2).float()
    small = fit_to(board[None, None], 1, 4)
    assert_close(small, torch.full((1, 1, 4, 4), 0.5), rtol=0, atol=0.05)


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in the same weights, bit for bit; the file of the unfinished one is removed."""
    data = InMemory("stripes", {"train": stripes(64)}, ("lying", "standing"))
    path, kept = tmp_path / "stripes.safetensors", tmp_path / "stripes.unfinished"
    expected = fit(data.splits["train"], 2, samples=1280, seed=0).state_dict()
    saves, keep = [], classifier.keep

    def keep_twice(path: Path, content: bytes) -> None:
        keep(path, content)
        saves.append(path)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "SAVE", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "keep", keep_twice)
        with pytest.raises(KeyboardInterrupt):
            classifier.train_classifier(data, path, samples=1280)
    assert saves == [kept, kept]
    assert not path.exists()
    monkeypatch.setattr(classifier, "SAVE", 1e9)
    classifier.train_classifier(data, path, samples=1280)
    found = load_classifier(path)[0].state_dict()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 1000])
def test_a_damaged_unfinished_training_is_begun_anew(content: bytes, tmp_path: Path) -> None:
    data = InMemory("stripes", {"train": stripes(64)}, ("lying", "standing"))
    (tmp_path / "stripes.unfinished").write_bytes(content)
    classifier.train_classifier(data, tmp_path / "stripes.safetensors", samples=320)
    assert (tmp_path / "stripes.safetensors").exists()


def test_the_training_is_proportionate_to_the_data(tmp_path: Path) -> None:
    data = InMemory("stripes", {"train": stripes(20)}, ("lying", "standing"))
    path = tmp_path / "stripes.safetensors"
    classifier.train_classifier(data, path)
    assert load_classifier(path)[1]["samples"] == 2000
