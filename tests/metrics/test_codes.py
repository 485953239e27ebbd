"""Measures of codes against closed forms."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from src.data.spec import Split, to_model
from src.metrics.codes import (
    CodeScorer,
    hoyer_sparsity,
    jacobian_norm,
    nearest_class,
    probe,
)

from .conftest import Encodes, InMemory, noise_images


class Brightness(nn.Module):
    """The mean pixel and its square: a curve on which classes of brightness lie in turn."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([mean, mean.square()], 1)


def bright(n: int) -> Split:
    """Images of three classes, dark, grey and bright."""
    y = torch.arange(n) % 3
    return Split((noise_images(n, n) // 8 + 100 * y[:, None, None, None]).byte(), y)


def test_classes_that_lie_apart_are_found() -> None:
    data = InMemory("bright", {"train": bright(90), "test": bright(60)}, tuple("abc"))
    scorer = CodeScorer(data, Encodes(Brightness()))
    assert scorer.headline == {"probe": "probe60_test"}
    scores = scorer.score()
    assert scores.values["knn60_test"] == 1
    assert scores.values["probe60_test"] == 1
    assert set(scores.protocols) == set(scores.values)
    assert scores.protocols["knn60_test"]["n_train"] == 90
    assert scores.protocols["knn60_test"]["k"] == 5


def test_codes_that_know_nothing_guess() -> None:
    train, test = bright(600), bright(300)
    shuffled = train._replace(y=train.y[torch.randperm(600, generator=torch.Generator())])
    data = InMemory("bright", {"train": shuffled, "test": test}, tuple("abc"))
    values = CodeScorer(data, Encodes(Brightness())).score().values
    for metric in ("knn", "probe"):
        assert values[f"{metric}300_test"] == pytest.approx(1 / 3, abs=0.1)


def test_neighbours_vote() -> None:
    known = torch.tensor([0.0, 1, 2, 3, 4, 20, 21, 22, 23, 24])[:, None]
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 0, 0])
    z = torch.tensor([2.0, 22.0, -100.0, 100.0])[:, None]
    assert nearest_class(z, known, labels).tolist() == [1, 2, 1, 2]
    # One neighbour of each class: the lowest.
    assert nearest_class(z[:1], known[[1, 3]], torch.tensor([7, 4])).tolist() == [4]


def test_the_probe_does_not_mind_scales_and_silent_units() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, 3, generator=generator)
    labels = (z[:, 0] + z[:, 1] > 0).long()
    scaled = z * torch.tensor([1e-3, 1e3, 0]) + 5
    right = probe(scaled, scaled, labels) == labels
    assert right.double().mean() > 0.98


def test_sparsity_has_closed_forms() -> None:
    z = torch.tensor([[0.0, -3, 0, 0], [1, -1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    expected = torch.tensor([1, 0, 2 - 2**0.5, 1], dtype=torch.float64)
    torch.testing.assert_close(hoyer_sparsity(z), expected)


def test_the_mean_activation() -> None:
    data = InMemory("bright", {"train": bright(30)})
    values = CodeScorer(data, Encodes(Brightness())).score().values
    mean = to_model(data.splits["train"].x).flatten(1).mean(1)
    expected = (mean.abs() + mean.square()).mean() / 2
    assert values["activation30_train"] == pytest.approx(float(expected), rel=1e-5)
    assert 0 < values["sparsity30_train"] < 1


def linear(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, outputs))


def test_the_jacobian_of_a_linear_encoder_is_its_weight() -> None:
    network = linear(3)
    data = InMemory("noise", {"train": Split(noise_images(7, 0))})
    scores = CodeScorer(data, Encodes(network)).score()
    # A pixel of [0, 1] is twice as much on the scale of [-1, 1].
    expected = 2 * float(network[1].weight.detach().norm())
    assert scores.values["jacobian7_train"] == pytest.approx(expected, rel=1e-5)
    assert CodeScorer(data, Encodes(network), n=3).name("jacobian") == "jacobian3_train"


def test_the_jacobian_of_other_encoders_agrees_with_torch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=3), nn.BatchNorm2d(2), nn.Flatten(), nn.Tanh(), nn.Linear(162, 6)
    )
    model = Encodes(network).train()
    x = to_model(noise_images(5, 1))
    found = jacobian_norm(model, x, None, 4)  # the first four outputs, as of a VAE
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    network.eval()
    slopes = vmap(jacrev(lambda x: network(x[None])[0, :4]))(x)
    torch.testing.assert_close(found, 2 * slopes.double().flatten(1).norm(dim=1))


def test_conditional_models_are_told_and_not_probed() -> None:
    class Told(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.flatten(1)[:, :2] * y[:, None]

    data = InMemory("bright", {"train": bright(30), "test": bright(12)}, tuple("abc"))
    model = Encodes(Told())
    model.conditional = True
    scorer = CodeScorer(data, model)
    assert scorer.headline == {}
    values = scorer.score().values
    assert set(values) == {f"{m}_test" for m in ("activation12", "jacobian12", "sparsity12")}
    # |dz/dx|_F is 2 y sqrt 2, with y = 0, 1, 2 in turn.
    assert values["jacobian12_test"] == pytest.approx(2 * 2**0.5, rel=1e-5)


def test_one_unit_has_no_sparsity() -> None:
    data = InMemory("noise", {"train": Split(noise_images(5, 0))})
    assert set(CodeScorer(data, Encodes(linear(1))).score().values) == {
        "activation5_train",
        "jacobian5_train",
    }
