import math

import pytest

from src.config.ranges import OPTIMIZER, RANGED, Range
from src.config.signatures import fits, signature, spell


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "text"),
    [
        (Range(0, above=True), [1e-300, 1, 1e300], [0, -1], "above 0"),
        (Range(0), [0, 5], [-1e-300], "of at least 0"),
        (Range(0, 1), [0, 0.5, 1], [-0.1, 1.1], "from 0 to 1"),
        (Range(0, 1, below=True), [0, 0.999], [1], "from 0 below 1"),
        (Range(0, 1, above=True), [0.001, 1], [0], "above 0 to 1"),
    ],
)
def test_ranges(interval: Range, inside: list, outside: list, text: str) -> None:
    assert all(map(interval.holds, inside))
    assert not any(map(interval.holds, [*outside, math.nan, math.inf, -math.inf]))
    assert str(interval) == text


def test_types_are_read_by_their_names() -> None:
    clip = signature("src.models.gan.GAN")["clip"].annotation
    assert spell(clip) == "float above 0 or None"
    assert [fits(value, clip) for value in (None, 1, 0.5, 0, -1.0, True, "1", math.nan)] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip
    hidden = signature("src.networks.mlp.MLPGenerator")["hidden"].annotation
    assert [fits(value, hidden) for value in ([1, 2], [], [0], [1.5])] == [True, True, False, False]
    assert set(RANGED) >= {"PositiveInt", "Share", "Decay"}


def test_torchs_optimisers_have_ranges() -> None:
    parameters = signature("torch.optim.Adam")
    assert spell(parameters["lr"].annotation) == "float above 0"
    assert not fits([0.9, 1.0], parameters["betas"].annotation)
    assert fits([0, 0.99], parameters["betas"].annotation)
    assert OPTIMIZER.keys() & signature("torch.optim.SGD").keys() >= {"lr", "momentum"}
