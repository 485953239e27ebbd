"""Self-attention: identity at first, the sum over positions written out, gradients of any order."""

import pytest
import torch
from torch.testing import assert_close

from src.networks.attention import SelfAttention


@pytest.mark.parametrize("size", [2, 7, 8])
@pytest.mark.parametrize("channels", [2, 16])
def test_identity_at_first(channels: int, size: int) -> None:
    x = torch.randn(3, channels, size, size)
    assert SelfAttention(channels)(x).equal(x)


def test_the_sum_over_positions() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(2, 16, 4, 4)
    torch.nn.init.constant_(layer.gamma, 0.7)
    out = layer(x)

    def pooled(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (2, 2)).unflatten(-3, (2, 2)).amax((-1, -3)).flatten(1)

    for sample, found in zip(x, out, strict=True):
        project = {
            name: torch.einsum("oc,chw->ohw", getattr(layer, name).weight[:, :, 0, 0], sample)
            for name in ("query", "key", "value")
        }
        assert [len(value) for value in project.values()] == [2, 2, 8]
        keys, values = pooled(project["key"]), pooled(project["value"])
        for row in range(4):
            for column in range(4):
                scores = project["query"][:, row, column] @ keys
                seen = values @ scores.softmax(0)
                expected = sample[:, row, column] + 0.7 * layer.out.weight[:, :, 0, 0] @ seen
                assert_close(found[:, row, column], expected)


def test_every_position_sees_all_others() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8)
    torch.nn.init.ones_(layer.gamma)
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    layer(x)[0, :, 0, 0].sum().backward()
    # Of each 2 x 2 cell at least the largest key or value counts.
    cells = x.grad.abs().sum(1).unflatten(-1, (2, 2)).unflatten(-3, (2, 2)).sum((-1, -3))
    assert (cells > 0).all()


def test_gradients_of_first_and_second_order() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8).double()
    torch.nn.init.constant_(layer.gamma, 0.5)
    x = torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
