"""The five pictures, as the notebook writes them."""

import torch
from torch.testing import assert_close

from src.config.composition import plain
from src.data.slanted_land import SlantedLand
from src.training.instantiate import build_data
from tests.conftest import composed


def slanted_land(*overrides: str) -> SlantedLand:
    data = build_data(plain(composed("data=slanted_land", "model=gan", *overrides)))
    data.setup()
    return data


def test_pictures_are_those_of_the_notebook() -> None:
    data = slanted_land()
    x = data.splits["train"].x.view(5, 2, 2)
    assert x.dtype == torch.float32
    assert_close(x[0], torch.eye(2))
    assert_close(x[1], torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    # Two pairs of mirror images, in the diagonal and across it.
    assert_close(x[2], x[1].T)
    assert_close(x[3], x[1].flip(0, 1).T)
    assert_close(x[4], x[1].flip(0, 1))
    assert data.splits["train"].y is None
    assert data.spec.shape == (4,)
    assert data.spec.picture_shape == (2, 2)
    assert data.reals("test") is data.splits["train"]


def test_moments_are_exact() -> None:
    law = slanted_land().distribution
    x = law.sample(40_000, torch.Generator().manual_seed(0))
    # Five standard deviations: no pixel's is above 0.09.
    assert_close(x.mean(0), law.mean, rtol=0, atol=5 * 0.09 / 200)
    assert_close(x.T.cov(), law.cov, rtol=0, atol=0.001)
    assert_close(law.mean, torch.tensor([0.88, 0.12, 0.12, 0.88]))
    assert {tuple(row) for row in x.tolist()} == {tuple(row) for row in law.pictures.tolist()}


def test_the_stream_gives_each_picture_once_a_round() -> None:
    data = slanted_land("model.batch_size=1")
    stream = data.train_dataloader()
    rounds = [torch.cat([next(stream).x for _ in range(5)]) for _ in range(20)]
    pictures = data.splits["train"].x
    for seen in rounds:
        assert_close(seen[seen[:, 0].argsort(stable=True)].sum(0), pictures.sum(0))
        assert len(seen.unique(dim=0)) == 5
    assert len({tuple(seen.flatten().tolist()) for seen in rounds}) > 10


def test_the_data_are_the_same_for_all_seeds() -> None:
    assert slanted_land().data_id == slanted_land("seed=1").data_id
    assert slanted_land().data_id["size"] == 5
