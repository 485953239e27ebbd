"""Which images models are judged on."""

import torch

from src.data.spec import Split
from src.metrics.base import batches, held_out, spaced

from .conftest import InMemory


def stored(n: int) -> Split:
    x = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    return Split(x, torch.arange(n))


def test_the_test_split_is_held_out() -> None:
    splits = {"train": stored(9), "test": stored(7)}
    name, images = held_out(InMemory("numbers", splits))
    assert (name, images.y.tolist()) == ("test", list(range(7)))
    name, images = held_out(InMemory("numbers", {"train": stored(9)}), 3)
    assert (name, images.y.tolist()) == ("train", [0, 3, 6])


def test_images_are_spaced_evenly() -> None:
    for n in (1, 4, 9, 10):
        x, y = spaced(stored(10), n)
        assert len(x) == len(y) == n
        assert x[:, 0, 0, 0].tolist() == y.tolist()
        gaps = y.diff(append=torch.tensor([10]))
        assert gaps.max() - gaps.min() <= 1
    assert spaced(stored(10), 11).y.tolist() == list(range(10))
    assert spaced(stored(10), None).y.tolist() == list(range(10))
    assert spaced(Split(stored(10).x), 2).y is None


def test_batches_are_in_the_models_form() -> None:
    split = Split(stored(5).x * 51, torch.arange(5))
    parts = list(batches(split, 2, labelled=True))
    assert [len(x) for x, _ in parts] == [2, 2, 1]
    assert [y.tolist() for _, y in parts] == [[0, 1], [2, 3], [4]]
    torch.testing.assert_close(parts[0][0][1], torch.full((1, 2, 2), -0.6))
    assert [y for _, y in batches(split, 3, labelled=False)] == [None, None]
    # Images that are in that form are left as they are.
    again = list(batches(Split(parts[1][0]), 2, labelled=False))
    torch.testing.assert_close(again[0][0], parts[1][0])
