"""What data say of themselves, before anything is as large as they say."""

import math

import pytest

from src.data.spec import MOST_NUMBERS, DataSpec
from src.errors import SettingError


@pytest.mark.parametrize("shape", [
    (), (0,), (-2,), (2.0,), (True,), ("2",), (3, 10**9, 10**9), (MOST_NUMBERS + 1,),
])  # fmt: skip
def test_shapes_that_cannot_be(shape: tuple) -> None:
    with pytest.raises(SettingError, match=r"samples of shape .* cannot be"):
        DataSpec("points", shape)


@pytest.mark.parametrize("shape", [(2,), (3, 1024, 1024), (1, 64, 64, 64), (MOST_NUMBERS,)])
def test_shapes_that_can_be(shape: tuple) -> None:
    kind = {1: "points", 3: "images", 4: "voxels"}[len(shape)]
    assert math.prod(DataSpec(kind, shape).shape) <= MOST_NUMBERS


@pytest.mark.parametrize(("kind", "shape"), [
    ("points", (2, 3)), ("images", (2, 2)), ("images", (1, 2, 2, 2)), ("voxels", (1, 8, 8)),
])  # fmt: skip
def test_each_kind_has_its_dimensions(kind: str, shape: tuple) -> None:
    with pytest.raises(SettingError, match=f"{kind} have . dimensions"):
        DataSpec(kind, shape)


def test_pictures_and_classes_that_cannot_be() -> None:
    assert DataSpec("points", (6,), picture_shape=(2, 3)).picture_shape == (2, 3)
    with pytest.raises(SettingError, match="cannot be"):
        DataSpec("points", (6,), picture_shape=(3, 3))
    with pytest.raises(SettingError, match="a smell with such classes cannot be"):
        DataSpec("smell", (6,))
    with pytest.raises(SettingError, match="such classes"):
        DataSpec("points", (6,), classes=("a", 1))
