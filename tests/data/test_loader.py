"""The stream is a function of (seed, position): resumed anywhere it goes on as if never stopped."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from src.data.base import DataModule
from src.data.loader import Reading, Stream
from src.data.spec import Batch, DataSpec, Split, to_bool, to_model, to_uint8
from src.distributed.noise import BatchDraws, Draws
from src.errors import SettingError
from src.transforms.degradations import Degradation, GaussianNoise, Mosaic, NoDegradation

N, BATCH = 50, 8  # 50 is no multiple of 8: batches run across the edge of an epoch


def numbered(n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose left half tells their index, so that order and flips can be read off."""
    x = torch.zeros(n, 1, 2, 4, dtype=torch.uint8)
    x[..., :2] = torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1) + 1
    return x, torch.arange(n)


def stream(seed: int = 0, **settings: object) -> Stream:
    return Stream(*numbered(), **{"batch_size": BATCH, "seed": seed} | settings)


def take(source: Stream, batches: int) -> Batch:
    parts = [next(source) for _ in range(batches)]
    return Batch(torch.cat([b.x for b in parts]), torch.cat([b.y for b in parts]))


def test_model_form_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert to_model(levels).dtype == torch.float32
    assert_close(to_model(levels)[[0, 255]], torch.tensor([-1.0, 1.0]), rtol=0, atol=0)
    assert torch.equal(to_uint8(to_model(levels)), levels)
    assert torch.equal(to_uint8(torch.tensor([-1.5, 1.5])), torch.tensor([0, 255]).byte())


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    y = take(stream(), 25).y.split(N)
    assert len(y) == 4
    for epoch in y:
        assert torch.equal(epoch.sort().values, torch.arange(N))
    assert not torch.equal(y[0], y[1])


def test_samples_stay_with_their_labels() -> None:
    batch = take(stream(flip=True), 13)
    assert_close(to_uint8(batch.x).amax((1, 2, 3)).long(), batch.y + 1)


def test_order_depends_on_the_seed_and_not_on_the_batch_size() -> None:
    y = take(stream(seed=3), 25).y
    assert torch.equal(y, take(stream(seed=3, batch_size=40), 5).y)
    assert torch.equal(y, take(stream(seed=3, batch_size=200), 1).y)  # four epochs in a batch
    assert not torch.equal(y, take(stream(seed=4), 25).y)


@pytest.mark.parametrize(
    ("before", "workers"),
    # After 6 batches the next crosses the edge of an epoch, after 25 an epoch begins.
    [*itertools.product([0, 3, 6, 7, 25], [None, 0]), (3, 2), (25, 2)],
)
def test_resumed_stream_goes_on_exactly(before: int, workers: int | None) -> None:
    settings: dict = {"flip": True}
    if workers is not None:
        settings |= {"in_memory": 0, "workers": workers}
    whole = take(stream(flip=True), before + 10)
    first = stream(**settings)
    for _ in range(before):
        next(first)
    state = first.state_dict()
    assert state == {"position": before * BATCH}  # whatever the workers have read ahead
    resumed = stream(**settings)
    resumed.load_state_dict(state)
    rest = take(resumed, 10)
    assert torch.equal(rest.x, whole.x[before * BATCH :])
    assert torch.equal(rest.y, whole.y[before * BATCH :])


def test_a_running_stream_can_be_set_back() -> None:
    source = stream()
    first = take(source, 5).y
    source.load_state_dict({"position": 0})
    assert torch.equal(take(iter(source), 5).y, first)


def test_flips_are_fair_and_whole() -> None:
    x = to_uint8(take(stream(flip=True), 500).x)
    mirrored = x[:, 0, 0, 0] == 0
    assert torch.equal(x[mirrored].flip(-1)[:, 0, 1, 0], x[mirrored][:, 0, 1, 3])
    # 4000 fair coins: 0.5 with a standard deviation of 0.008
    assert 0.46 < mirrored.float().mean() < 0.54
    assert not (to_uint8(take(stream(), 50).x)[:, 0, 0, 0] == 0).any()


@pytest.mark.parametrize("settings", [{}, {"in_memory": 0, "workers": 0}])
def test_global_generators_are_left_alone(settings: dict) -> None:
    def states() -> list[object]:
        mersenne = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
        return [torch.get_rng_state().tolist(), mersenne["key"].tolist(), random.getstate()]

    before = states()
    take(stream(flip=True, **settings), 20)
    assert states() == before


def test_stored_samples_are_not_modified() -> None:
    x, y = torch.rand(10, 2), None
    before = x.clone()
    batch = next(Stream(x, y, 10, 0))
    assert batch.y is None
    batch.x.zero_()
    assert torch.equal(x, before)


class Numbers(DataModule):
    def __init__(self, **settings: object) -> None:
        super().__init__(DataSpec("images", (1, 2, 4)), batch_size=BATCH, seed=0, **settings)

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        return {"train": Split(*numbered())}, {"name": "numbers"}


def test_data_module_serves_the_stream() -> None:
    data = Numbers(flip=True)
    data.setup()
    assert torch.equal(take(data.train_dataloader(), 9).x, take(stream(flip=True), 9).x)
    assert torch.equal(data.reals("test").y, torch.arange(N))  # there is only "train"
    far = Numbers(reading=Reading(workers=0, in_memory=0))
    far.setup()
    assert not far.train_dataloader().resident
    assert torch.equal(take(far.train_dataloader(), 9).y, take(stream(), 9).y)


@pytest.mark.parametrize("workers", [None, 2])
def test_parts_make_the_whole(workers: int | None) -> None:
    settings: dict = {"flip": True} | ({"in_memory": 0, "workers": workers} if workers else {})
    whole = stream(flip=True)
    parts = [stream(part=(k, 4), **settings) for k in range(4)]
    for _ in range(8):  # across the edge of an epoch
        batch, slices = next(whole), [next(part) for part in parts]
        assert {len(x) for x, _, _ in slices} == {BATCH // 4}
        assert torch.equal(torch.cat([x for x, _, _ in slices]), batch.x)
        assert torch.equal(torch.cat([y for _, y, _ in slices]), batch.y)
    assert {part.position for part in parts} == {whole.position}


class Shaded(DataModule):
    """Numbered images whose sources a degradation makes."""

    def __init__(self, degradation: Degradation, **settings: object) -> None:
        spec = DataSpec("images", (1, 2, 4))
        super().__init__(spec, BATCH, 0, degradation=degradation, **settings)
        self.setup()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        splits = {"train": Split(numbered()[0]), "test": Split(numbered(9)[0])}
        return splits, {"name": "numbers", "hash": "0"}


def test_sources_are_made_of_the_images_of_the_batch() -> None:
    """Flipped first, so that the two belong together."""
    data = Shaded(Mosaic(2), flip=True)
    assert data.spec.source == DataSpec("images", (1, 2, 4))
    assert data.data_id["degradation"] == {"name": "Mosaic", "size": 2}
    for _ in range(3):
        x, _, source = next(data.train_dataloader())
        assert to_uint8(source).equal(to_uint8(Mosaic(2)(x, BatchDraws(BATCH, 0))))
    assert Shaded(NoDegradation()).spec.source is None
    assert "degradation" not in Shaded(NoDegradation()).data_id
    assert next(Shaded(NoDegradation()).train_dataloader()).source is None


def test_random_sources_are_new_each_time_and_the_same_after_a_resume() -> None:
    data = Shaded(GaussianNoise(0.2))
    stream = data.train_dataloader()
    batches = [next(stream) for _ in range(8)]
    noise = [source - x for x, _, source in batches]
    assert not noise[0].equal(noise[1])
    again = data.train_dataloader()
    again.load_state_dict({"position": 3 * BATCH})
    for x, _, source in batches[3:]:
        other = next(again)
        assert other.x.equal(x)
        assert other.source.equal(source)


def test_parts_have_the_sources_of_the_whole() -> None:
    whole = [next(Stream(*numbered(), BATCH, 0, degradation=GaussianNoise(0.2))) for _ in range(2)]
    parts = [
        [
            next(Stream(*numbered(), BATCH, 0, part=(k, 2), degradation=GaussianNoise(0.2)))
            for k in (0, 1)
        ]
        for _ in range(2)
    ]
    for batch, slices in zip(whole, parts, strict=True):
        assert torch.cat([part.source for part in slices]).equal(batch.source)


def test_test_sources_are_fixed() -> None:
    data = Shaded(GaussianNoise(0.2))
    whole = data.source_of("test", torch.arange(9))
    assert data.source_of("test", torch.tensor([7, 2])).equal(whole[[7, 2]])
    x = to_model(data.splits["test"].x)
    assert not (whole - x)[0].equal((whole - x)[1])
    with pytest.raises(SettingError, match="no source to translate from"):
        Shaded(NoDegradation()).source_of("test", torch.arange(2))


class Drawn(Degradation):
    """Sources that are random numbers and nothing else."""

    def __call__(self, x: torch.Tensor, draws: Draws) -> torch.Tensor:
        return 2 * draws.uniform(*x.shape[1:]).to(x) - 1


def test_no_training_batch_has_the_draws_of_a_fixed_source() -> None:
    """The seeds of both count from 0, and a CPU's generator takes 32 bits of each."""
    data = Shaded(Drawn())
    fixed = data.source_of("train", torch.arange(len(data.splits["train"].x)))
    stream = data.train_dataloader()
    seen = torch.cat([next(stream).source for _ in range(8)])
    assert len(torch.cat([fixed, seen]).unique(dim=0)) == len(fixed) + len(seen)


def test_unpaired_sources_have_an_order_of_their_own() -> None:
    """Of another length, each epoch a permutation; x is what it is without them."""
    n = 30
    sources, _ = numbered(n)

    def make(**settings: object) -> Stream:
        return stream(sources=sources, paired=False, **settings)

    whole = [next(part) for part in [make()] for _ in range(15)]
    seen = torch.cat([to_uint8(b.source)[:, 0, 0, 0].long() - 1 for b in whole])
    for epoch in seen.split(n):
        assert torch.equal(epoch.sort().values, torch.arange(n))
    alone = take(stream(), 15)
    assert torch.equal(torch.cat([b.y for b in whole]), alone.y)
    shared = (seen[:n] == alone.y[:n]).double().mean()
    assert shared < 0.3  # 1 of 50 by chance
    resumed = make()
    resumed.load_state_dict({"position": 5 * BATCH})
    assert torch.equal(next(resumed).source, whole[5].source)
    halves = [next(make(part=(k, 2))).source for k in range(2)]
    assert torch.equal(torch.cat(halves), whole[0].source)
    mirrored = make(flip=True)
    flips = [(b.x[:, 0, 0, 0] > b.x[:, 0, 0, -1]) != (b.source[:, 0, 0, 0] > b.source[:, 0, 0, -1])
             for b in (next(mirrored) for _ in range(30))]  # fmt: skip
    assert 0.35 < torch.cat(flips).double().mean() < 0.65  # five standard deviations


def test_bool_voxels_are_zero_and_one() -> None:
    stored = torch.tensor([False, True]).view(2, 1, 1, 1, 1)
    assert_close(to_model(stored), stored.float(), rtol=0, atol=0)
    assert torch.equal(to_bool(to_model(stored)), stored)
    assert to_bool(torch.tensor([0.5, 0.51])).tolist() == [False, True]
