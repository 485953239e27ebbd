"""Drawn garments: kinds that can be told apart, the same anywhere; and a user's own folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from src.config.composition import plain
from src.data.procedural.garments import FACTORS, KINDS, render, sample_factors
from src.training.instantiate import build_data
from tests.conftest import composed


def draw(n: int, resolution: int = 32, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    factors, kinds = sample_factors(n, seed=3)
    return render(factors, kinds, resolution, **options), kinds


def test_a_garment_depends_on_seed_and_index_alone() -> None:
    many, kinds = draw(40)
    few, _ = draw(10, batch_size=3)
    assert torch.equal(many[:10], few)
    other, _ = sample_factors(40, seed=4)
    assert not torch.equal(render(other, kinds, 32), many)


def test_kinds_come_in_equal_shares_and_differ_by_their_outline() -> None:
    x, kinds = draw(400)
    shares = kinds.bincount(minlength=len(KINDS)) / len(kinds)
    assert shares.sub(1 / len(KINDS)).abs().max() < 0.08  # four standard deviations
    covered = (x.float().mean(1) < 220).float()  # the ground is light
    templates = torch.stack([covered[:200][kinds[:200] == k].mean(0) for k in range(len(KINDS))])
    distances = torch.cdist(covered[200:].flatten(1), templates.flatten(1))
    assert (distances.argmin(1) == kinds[200:]).double().mean() > 0.8


def test_weaving_changes_the_cloth_alone_and_visibly() -> None:
    smooth, _ = draw(100, 64)
    woven, _ = draw(100, 64, woven=True)
    assert torch.equal(woven[:10], draw(10, 64, woven=True, batch_size=3)[0])
    change = (woven.int() - smooth).abs().amax(1)
    ground = smooth.amin(1) >= smooth[:, :, 0, 0].amin(1)[:, None, None]
    assert not (change[ground] > 0).any()
    cloth = (change > 0).sum((1, 2)) / (~ground).sum((1, 2))
    assert cloth.min() > 0.6
    assert 3 < change.double().mean() < 20
    # Threads a few pixels wide: blurred by 8 pixels, the two are alike.
    wide = [torch.nn.functional.avg_pool2d(x.float(), 8) for x in (woven, smooth)]
    assert (wide[0] - wide[1]).abs().mean() < 0.6 * (woven.float() - smooth).abs().mean()


@pytest.mark.parametrize("factor", [f for f in FACTORS if f != "kind"])
def test_each_factor_shows(factor: str) -> None:
    factors, kinds = sample_factors(60, seed=0)
    moved = dict(factors, **{factor: (factors[factor] + 0.5) % 1})
    changed = render(factors, kinds, 32) != render(moved, kinds, 32)
    assert changed.flatten(1).any(1).double().mean() > 0.1


def test_data_are_drawn_without_a_folder_and_read_where_there_is_one(tmp_path: Path) -> None:
    words = ["data=garments", "data.resolution=32", f"data.cache={tmp_path / 'cache'}"]
    drawn = build_data(plain(composed(*words, "data.source=builtin")))
    drawn.setup()
    assert drawn.data_id["name"] == "garments"
    assert drawn.data_id["splits"] == {"train": 5_000, "test": 500}
    factors, kinds = sample_factors(5_000, seed=0)
    few = {name: column[:30] for name, column in factors.items()}
    assert torch.equal(drawn.splits["train"].x[:30], render(few, kinds[:30], 32))
    for i in range(20):
        Image.new("RGB", (40, 50), (i, 2, 3)).save(tmp_path / f"{i}.png")
    real = build_data(plain(composed(*words, f"data.root={tmp_path}", "data.source=real")))
    real.setup()
    assert real.data_id["source"] == "real"
    assert not real.spec.classes
