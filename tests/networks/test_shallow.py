"""The autoencoder of one layer against its formulas."""

import pytest
import torch
from torch.testing import assert_close

from src.networks.shallow import ShallowAutoencoder
from src.transforms.corruptions import GaussianNoise, Masking, NoCorruption, SaltAndPepper


def layer(linear: bool = False, tied: bool = True) -> ShallowAutoencoder:
    torch.manual_seed(0)
    made = ShallowAutoencoder(5, 3, linear, tied)
    with torch.no_grad():
        made.hidden_bias.normal_()
        made.visible_bias.normal_()
    return made


def units(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("linear", [True, False])
def test_the_loss_by_hand(linear: bool, tied: bool) -> None:
    one, v = layer(linear, tied), units()
    h = v @ one.weight.T + one.hidden_bias
    h = h if linear else h.sigmoid()
    p = (h @ (one.weight if tied else one.own.T) + one.visible_bias).sigmoid()
    expected = -(v * p.log() + (1 - v) * (1 - p).log()).sum(1).mean()
    loss, shown = one.learn(v, NoCorruption())
    assert_close(loss, expected)
    assert_close(shown, expected)
    assert_close(one.hidden(v), h)
    assert_close(one.visible(h), p)


def test_the_way_up_sees_the_corrupted_units() -> None:
    """The loss compares with the whole ones."""
    one, v = layer(), units()
    p = one.visible(one.hidden(torch.zeros_like(v)))
    expected = -(v * p.log() + (1 - v) * (1 - p).log()).sum(1).mean()
    assert_close(one.learn(v, Masking(1.0))[0], expected)


def test_corruptions_are_on_the_scale_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    one, v = layer(), torch.full((2000, 5), 0.3)
    seen = []
    monkeypatch.setattr(one, "hidden", lambda v: seen.append(v) or torch.zeros(len(v), 3))
    torch.manual_seed(0)
    for corruption in (NoCorruption(), Masking(0.4), SaltAndPepper(1.0), GaussianNoise(0.2)):
        one.learn(v, corruption)
    whole, masked, ends, noisy = seen
    assert_close(whole, v)
    assert_close(masked.unique(), torch.tensor([0.0, 0.3]))
    assert abs(float((masked == 0).float().mean()) - 0.4) < 0.025  # 5 standard errors
    assert ends.unique().tolist() == [0.0, 1.0]
    assert abs(float(ends.mean()) - 0.5) < 0.025
    assert_close((noisy - v).std().item(), 0.2, rtol=0.05, atol=0)


@pytest.mark.parametrize(("linear", "gain"), [(False, 4.0), (True, 1.0)])
def test_the_start(linear: bool, gain: float) -> None:
    torch.manual_seed(0)
    one = ShallowAutoencoder(100, 50, linear, tied=False)
    bound = gain * (6 / 150) ** 0.5
    for weight in (one.weight, one.own):
        assert 0.99 * bound < weight.abs().max() <= bound
        assert_close(weight.std().item(), bound / 3**0.5, rtol=0.03, atol=0)
    assert not one.hidden_bias.any()
    assert not one.visible_bias.any()


def test_tied_weights_are_one_parameter() -> None:
    assert len(list(layer().parameters())) == 3
    assert len(list(layer(tied=False).parameters())) == 4
