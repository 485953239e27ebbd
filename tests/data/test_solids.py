"""Drawn solids: whole, told apart by class, the same anywhere; and as a data set of voxels."""

from pathlib import Path

import pytest
import torch
from scipy.ndimage import label
from torch import Tensor

from src.config.composition import plain
from src.data.base import DataModule
from src.data.loader import degrade
from src.data.procedural.solids import FACTORS, KINDS, find_kinds, render, sample_factors
from src.data.spec import to_model
from src.distributed.noise import BatchDraws
from src.errors import SettingError
from src.training.instantiate import build_data
from tests.conftest import composed


def draw(n: int, resolution: int = 16, seed: int = 3, batch_size: int = 64) -> Tensor:
    return render(sample_factors(n, seed), KINDS, resolution, batch_size)


def solids(cache: Path, *words: str) -> DataModule:
    words = ("model=gan", "data=solids", f"data.cache={cache}", "data.size=40", *words)
    data = build_data(plain(composed(*words)))
    data.setup()
    return data


def test_a_solid_depends_on_seed_and_index_alone() -> None:
    many = draw(40)
    assert many.shape == (40, 1, 16, 16, 16)
    assert many.dtype == torch.bool
    assert torch.equal(many[:10], draw(10, batch_size=3))
    assert not torch.equal(draw(40, seed=4), many)


@pytest.mark.parametrize("resolution", [16, 32])
def test_solids_are_in_one_piece_and_cut_by_no_face(resolution: int) -> None:
    x = draw(160, resolution)[:, 0]
    shares = []
    for solid in x:
        pieces, _ = label(solid.numpy())
        sizes = torch.from_numpy(pieces).flatten().bincount()[1:]
        shares.append(float(sizes.max() / sizes.sum()))
    assert min(shares) > 0.5
    assert sum(share < 1 for share in shares) <= 1
    assert x.flatten(1).float().mean(1).min() > 0.005
    assert x.flatten(1).float().mean(1).max() < 0.3
    faces = torch.stack([x.select(axis, end) for axis in (1, 2, 3) for end in (0, -1)])
    assert faces.float().mean() < 0.01


def test_resolutions_show_the_same_solids() -> None:
    fine, coarse = draw(80, 32), draw(80, 16)
    pooled = torch.nn.functional.max_pool3d(fine.float(), 2) > 0

    def shared(a: Tensor, b: Tensor) -> Tensor:
        return ((a & b).flatten(1).sum(1) / (a | b).flatten(1).sum(1)).mean()

    # Not all, since thin parts are thicker at 16.
    assert shared(pooled, coarse) > 0.6
    assert shared(pooled, coarse.roll(1, 0)) < 0.25


def test_classes_come_in_equal_shares_and_are_told_apart() -> None:
    factors = sample_factors(800, seed=0)
    kinds, x = find_kinds(factors, KINDS), render(factors, KINDS, 16).flatten(1).float()
    shares = kinds.bincount(minlength=len(KINDS)) / len(kinds)
    assert shares.sub(1 / len(KINDS)).abs().max() < 0.05  # four standard deviations
    nearest = torch.cdist(x[400:], x[:400]).argmin(1)
    assert (kinds[:400][nearest] == kinds[400:]).double().mean() > 0.9


def test_chairs_have_backs_at_the_back_and_legs_below() -> None:
    x = render(sample_factors(50, 0), ["chair"], 32)[:, 0].float()
    back, front = (part[:, :, :14].sum((1, 2, 3)) for part in (x[:, 20:], x[:, :12]))
    assert (back > front).all()
    assert torch.equal(x, x.flip(-1))  # chairs are symmetric
    assert (x[:, :, 26].sum((1, 2)) > 0).all()


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_each_factor_shows(factor: str) -> None:
    factors = sample_factors(80, seed=0)
    moved = dict(factors, **{factor: (factors[factor] + 0.5) % 1})
    changed = render(factors, KINDS, 16) != render(moved, KINDS, 16)
    assert changed.flatten(1).any(1).double().mean() > 0.4


def test_a_data_set_of_voxels(tmp_path: Path) -> None:
    data = solids(tmp_path, "data.resolution=16")
    assert data.spec.kind == "voxels"
    assert data.data_id["splits"] == {"train": 40, "test": 4}
    assert data.data_id["shape"] == [1, 16, 16, 16]
    x, y = data.splits["train"]
    assert torch.equal(x, draw(40, seed=0))
    assert torch.equal(y, find_kinds(sample_factors(40, 0), KINDS))
    factors = sample_factors(40, 0)
    assert data.factor_names == FACTORS[1:]
    for i, name in enumerate(data.factor_names):
        assert torch.equal(data.factors["train"][:, i], factors[name])
    again = solids(tmp_path, "data.resolution=16")  # from the cache
    assert again.data_id == data.data_id
    assert torch.equal(again.splits["test"].x, data.splits["test"].x)


def test_batches_are_in_zero_to_one_and_flipped_from_left_to_right(tmp_path: Path) -> None:
    data = solids(tmp_path, "data.resolution=16", "data.flip=true", "data.labels=[mug,lamp]")
    assert data.spec.classes == ("mug", "lamp")
    batch = next(iter(data.train_dataloader()))
    assert batch.x.dtype == torch.float32
    assert set(batch.x.unique().tolist()) == {0.0, 1.0}
    stored = to_model(data.splits["train"].x)
    plain_ = (batch.x[:, None] == stored).flatten(2).all(2).any(1)
    mirrored = (batch.x[:, None] == stored.flip(-1)).flatten(2).all(2).any(1)
    assert (plain_ | mirrored).all()
    assert 0.2 < (~plain_).double().mean() < 0.8  # mugs and lamps with an arm are not symmetric


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("data.resolution=30", "16, 32, 64"),
        ("data.labels=[chair,horse]", "Classes: chair"),
        ("data.labels=[]", "Classes: chair"),
        ("data.labels=[mug,mug]", "each once"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, word: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        solids(tmp_path, word)


def test_views_are_sources_that_are_new_in_training_and_fixed_for_the_test(tmp_path: Path) -> None:
    """And they are of the batch's own shapes, mirrored with them."""
    words = ("data.flip=true", "data.resolution=16", "data/degradation=view_any")
    data = solids(tmp_path, "model=single_view", "model.batch_size=20", *words)
    stream = data.train_dataloader()
    batches = [next(stream) for _ in range(4)]  # two epochs
    assert batches[0].source.shape == (20, *data.spec.source.shape) == (20, 1, 64, 64)
    sources = torch.cat([batch.source for batch in batches])
    assert len(sources.unique(dim=0)) == 80
    draws = BatchDraws(20, 2**31)  # of the first batch of seed 0
    assert torch.equal(degrade(data.degradation, batches[0].x, draws), batches[0].source)
    index = torch.arange(4)
    test = data.source_of("test", index)
    assert torch.equal(test, solids(tmp_path, "model=gan", *words).source_of("test", index))
    assert data.data_id["degradation"]["azimuth"] == [0, 360]


def test_what_makes_images_of_images_makes_none_of_voxels(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Blur is made of images, and these data are voxels"):
        solids(tmp_path, "data/degradation=blur")
