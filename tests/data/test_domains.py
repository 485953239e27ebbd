"""Domains: what is in which, without pairs and with the known truth of drawn scenes."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from src.cli import launch
from src.compare import compare
from src.config import composition
from src.config.checks import check_compare, check_evaluate, check_translate
from src.config.composition import plain
from src.data.digit_domains import DigitDomains
from src.data.domains import Domains, arrange_domain
from src.data.image_sets import FileImages
from src.data.loader import Stream
from src.data.procedural.domains import CHANGES
from src.data.sources import missing
from src.errors import SettingError
from src.evaluate import evaluate
from src.runs.run import Run
from src.training.fit import train
from src.training.instantiate import build_data
from src.translate import translate
from tests.conftest import UNDRAWN, composed
from tests.data.examples import put
from tests.data.test_mnist import write as write_idx


def shade(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 20, 3), value, np.uint8)).save(path)


def folders(root: Path, sizes: dict[str, int]) -> Path:
    """Greys from 0 in A, from 100 in B."""
    for folder, n in sizes.items():
        for i in range(n):
            shade(root / folder / f"{folder[-1]}{i:02d}.png", i + (100 if folder[-1] == "B" else 0))
    return root


def load(*words: str) -> Domains:
    data = build_data(plain(composed("model=cyclegan", "data=domains", *words)))
    data.setup()
    return data


def of_folder(root: Path, cache: Path, *words: str) -> Domains:
    own = (f"data.root={root}", "data.source=real", f"data.cache={cache}", "data.resolution=8")
    return load(*own, *words)


def greys(x: torch.Tensor) -> list[int]:
    return x[:, 0, 0, 0].tolist()


def test_two_folders_of_unequal_length(tmp_path: Path, zipped: Callable) -> None:
    root = folders(tmp_path / "set", {"trainA": 7, "trainB": 4, "testA": 2, "testB": 3})
    data = of_folder(root, tmp_path / "cache")
    assert not data.spec.paired
    assert {s: greys(x) for s, x in data.sources.items()} == {"train": [*range(7)], "test": [0, 1]}
    assert greys(data.splits["train"].x) == [100, 101, 102, 103]
    assert greys(data.splits["test"].x) == [100, 101, 102]
    assert data.source_count("train") == 7
    packed = of_folder(zipped(root, tmp_path / "set.zip"), tmp_path / "cache")
    assert packed.data_id == data.data_id
    back = of_folder(root, tmp_path / "cache", "data.direction=b_to_a")
    assert greys(back.splits["train"].x) == [*range(7)]
    assert greys(back.sources["train"]) == [100, 101, 102, 103]
    assert back.data_id != data.data_id


def test_without_a_test_split_every_tenth_image_is_held_out(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"trainA": 21, "trainB": 10, "valB": 2})
    data = of_folder(root, tmp_path / "cache")
    assert greys(data.sources["test"]) == [9, 19]
    assert greys(data.splits["test"].x) == [100, 101]  # valB
    assert len(data.splits["train"].x) == 10
    assert "val" not in data.splits


def test_many_images_are_arranged_at_once() -> None:
    """Not each compared with every one that is held out: 80,000 took 7 seconds."""
    names = [f"trainA/{i:05}.jpg" for i in range(80_000)]
    start = time.process_time()
    groups = arrange_domain(names, "A", "root")
    assert time.process_time() - start < 3
    assert {split: len(own) for split, own in groups.items()} == {"train": 72_000, "test": 8_000}


def test_training_shows_each_domain_in_its_own_order(tmp_path: Path) -> None:
    """In one epoch of 6 sources and 4 targets each is seen as often as the others of its kind."""
    root = folders(tmp_path / "set", {"trainA": 6, "trainB": 4, "testA": 1, "testB": 1})
    data = of_folder(root, tmp_path / "cache", "model.batch_size=2")
    data.trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        lightning_module=SimpleNamespace(unpaired=True),
    )
    stream = data.train_dataloader()
    batches = [next(stream) for _ in range(6)]
    seen = {
        side: torch.cat([getattr(batch, side)[:, 0, 0, 0] for batch in batches])
        .unique(return_counts=True)[1]
        .tolist()
        for side in ("source", "x")
    }
    assert seen == {"source": [2] * 6, "x": [3] * 4}


def test_unequal_domains_go_on_where_they_were() -> None:
    """Of 6 sources and 4 targets, in batches of 3: the fourth batch, and those after it."""
    x, sources = (torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1) for n in (4, 6))

    def stream() -> Stream:
        return Stream(x, None, 3, seed=0, flip=False, sources=sources, paired=False)

    whole, resumed = stream(), stream()
    batches = [next(whole) for _ in range(8)]
    for _ in range(3):
        next(resumed)
    position = resumed.state_dict()
    resumed = stream()
    resumed.load_state_dict(position)
    for expected in batches[3:]:
        batch = next(resumed)
        assert batch.x.equal(expected.x)
        assert batch.source.equal(expected.source)


def test_a_run_without_pairs_through_all_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Train, evaluate, compare and translate, of domains with 8 and 5 images."""
    root = folders(tmp_path / "set", {"trainA": 8, "trainB": 5, "testA": 3, "testB": 2})
    words = [
        *("model=cyclegan", "data=domains", f"data.root={root}", "data.source=real"),
        *(
            f"data.cache={tmp_path}/cache",
            "data.resolution=16",
            "budget=8",
            "metrics=auto",
            *UNDRAWN,
        ),
        *("model.translator.width=4", "model.translator.blocks=0", "model.identity=0"),
        *("model.discriminator.width=4", "model.discriminator.depth=1"),
    ]
    train(composed(*words), tmp_path / "run")
    said = capsys.readouterr().out
    assert "Left out: FID" in said
    assert "src.translate" in said
    summary = Run(tmp_path / "run").summary
    assert {*summary["metrics"]} >= {"cycle3_test", "cycle2_test_back", "sharpness2_train_back"}
    run = f"run={tmp_path / 'run'}"
    launch("evaluate", check_evaluate, evaluate, [run])
    launch("compare", check_compare, compare, [f"runs={tmp_path}", f"out={tmp_path}/x.html"])
    assert "cycle" in (tmp_path / "x.html").read_text()
    for direction in ("forward", "back"):
        out = tmp_path / f"{direction}.png"
        given = [run, f"in={root}/testA/A00.png", f"out={out}", f"direction={direction}"]
        launch("translate", check_translate, translate, given)
        assert Image.open(out).size == (20, 12)


def test_two_domains_are_no_classes(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"trainA": 3, "trainB": 3, "testA": 1, "testB": 1})
    for place in (root, root.parent):
        with pytest.raises(SettingError, match=r"two domains.*\n.*data=domains or data=pairs"):
            FileImages(place).layout()
    assert len(FileImages(root / "trainA").layout().splits["train"]) == 3
    put(tmp_path / "other", [f"train{kind}/{i}.png" for kind in ("C", "D") for i in range(3)])
    assert FileImages(tmp_path / "other").layout().class_names == ("trainC", "trainD")


def test_an_empty_domain_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"trainA": 3, "testB": 3})
    with pytest.raises(SettingError, match="no images in trainB"):
        of_folder(root, tmp_path / "cache")
    with pytest.raises(SettingError, match="no images in trainA"):
        arrange_domain(["x/1.png"], "A", root)


@pytest.mark.parametrize("channels", ["data.channels=1", "data.source_channels=1"])
def test_domains_of_different_channels(channels: str, tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"trainA": 3, "trainB": 3})
    data = of_folder(root, tmp_path / "cache", channels)
    shapes = data.spec.source.shape[0], data.spec.shape[0]
    assert shapes == ((3, 1) if channels.startswith("data.channels") else (1, 3))
    assert (data.sources["train"].shape[1], data.splits["train"].x.shape[1]) == shapes


def test_splits_that_one_side_lacks(tmp_path: Path) -> None:
    """A third split is left out; of a small domain the last image is held out."""
    sizes = {"trainA": 4, "trainB": 4, "testA": 1, "testB": 1, "valB": 2}
    data = of_folder(folders(tmp_path / "val", sizes), tmp_path / "cache")
    assert {*data.splits} == {*data.sources} == {"train", "test"}
    data = of_folder(folders(tmp_path / "few", {"trainA": 3, "trainB": 20}), tmp_path / "cache")
    assert (greys(data.sources["train"]), greys(data.sources["test"])) == ([0, 1], [2])
    with pytest.raises(SettingError, match="one image"):
        of_folder(folders(tmp_path / "one", {"trainA": 1, "trainB": 3}), tmp_path / "cache")


def test_several_sets_below_one_root_are_refused(tmp_path: Path) -> None:
    for name in ("horse2zebra", "monet2photo"):
        folders(tmp_path / "sets" / name, {"trainA": 3, "trainB": 3})
    with pytest.raises(SettingError, match="horse2zebra and in monet2photo"):
        of_folder(tmp_path / "sets", tmp_path / "cache")


def test_every_change_is_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scene in both, and another picture of it."""
    monkeypatch.setattr("src.data.domains.DRAWN", {"train": (6, 0), "test": (4, 1)})
    own = ("data.source=builtin", f"data.cache={tmp_path}", "data.resolution=32")
    for change in CHANGES:
        data = load(*own, f"data.stand_in={change}")
        assert data.spec.paired
        a, b = data.sources["test"].float() / 255, data.splits["test"].x.float() / 255
        assert a.shape == b.shape == (4, 3, 32, 32)
        # Not the same; and nearer to its own scene than to the next one.
        own_distance, other = ((a - y).square().mean() for y in (b, b.roll(1, 0)))
        assert 1e-4 < own_distance < 0.95 * other, change
        assert data.data_id["stand_in"] == change
        assert data.splits["train"].x[:4].ne(data.splits["test"].x).any()


def test_the_schema_lists_the_changes() -> None:
    from typing import get_args, get_type_hints

    assert set(get_args(get_type_hints(Domains.__init__)["stand_in"])) == set(CHANGES)


def digit_domains(root: Path, *words: str) -> DigitDomains:
    words = ("model=cyclegan", "data=digit_domains", f"data.root={root}", *words)
    data = build_data(plain(composition.compose("train", list(words))))
    data.setup()
    return data


def test_sets_of_digits_by_name(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    data = digit_domains(tmp_path)
    assert not data.spec.paired
    assert data.sources["train"].shape[1:] == data.splits["train"].x.shape[1:] == (1, 32, 32)
    assert len(data.source_labels["train"]) == len(data.sources["train"]) == 1498
    assert (data.data_id["name"], data.data_id["sources"]) == ("mnist", "digits")
    back = digit_domains(tmp_path, "data.direction=b_to_a")
    assert back.splits["train"].x.equal(data.sources["train"])
    assert back.source_labels["test"].equal(data.splits["test"].y)


def test_a_set_of_digits_that_is_not_there(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    words = ["model=cyclegan", "data=digit_domains", f"data.root={tmp_path}"]
    assert missing(plain(composition.compose("train", words))["data"]) is None
    lacking = plain(composition.compose("train", [*words, "data.a=kmnist"]))["data"]
    assert missing(lacking) == "no kmnist files there"
    write_idx(tmp_path / "flat")  # nobody knows of which set
    flat = lacking | {"root": str(tmp_path / "flat")}
    assert missing(flat) == "no kmnist and mnist files there"


def test_digits_stand_in_for_themselves() -> None:
    data = build_data(plain(composed("model=cyclegan", "data=digit_domains")))
    data.setup()
    assert data.splits["test"].x.equal(255 - data.sources["test"])
    assert data.data_id["source"] == "builtin"
