"""What users get wrong: told in three lines that name setting, value and cure; nothing is lost."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.cli import launch
from src.config.checks import check
from src.config.composition import CONF
from src.data import sources
from src.runs.metrics_file import read_metrics
from src.runs.run import Run
from src.training.fit import train
from tests.conftest import QUICK, contents

TINY = (
    *("model=dcgan", "model.generator.width=2", "model.discriminator.width=2"),
    *("model.latent.dim=4", "model.batch_size=50", "budget=500", "~callbacks.progress"),
    *("~callbacks.curves", "~callbacks.neighbours"),
)


def call(folder: Path, *words: str) -> None:
    """The command, as typed, with the built-in stand-in unless told otherwise."""
    launch("train", check, train, [*QUICK, f"hydra.run.dir={folder}", *words])


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """`refused(words, named)`: the message, in which all of `named` must be found."""

    def run(words: list[str], named: list[str], folder: Path = tmp_path / "run") -> str:
        with pytest.raises(SystemExit) as caught:
            call(folder, *words)
        message = caught.value.code  # a text: sys.exit prints it, and the status is 1
        assert isinstance(message, str)
        assert message.startswith("error: ")
        assert len(message.splitlines()) <= 3, message
        assert max(map(len, message.splitlines())) <= 400, message
        assert [word for word in named if word not in message] == [], message
        return message

    return run


# The configuration


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["budgt=1000"], ["budgt", "Did you mean budget?"]),
        (["model=dcgann"], ["model=dcgann", "Did you mean dcgan?"]),
        (["budget=-5"], ["budget=-5", "positive"]),
        (["model=dcgan", "data.resolution=-1"], ["data.resolution=-1", "int above 0"]),
        (["model=gaussian_gan"], ["model", "data.kind=images", "points"]),
    ],
)
def test_the_configuration(
    words: list[str], named: list[str], refused: Callable, tmp_path: Path
) -> None:
    refused(words, named)
    assert not (tmp_path / "run").exists()


def test_the_command_lines_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "src.train", "model=dcgan", "budget=-5"],
        cwd=CONF.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: budget=-5 must be positive: samples to train on.\n"


# The data


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 40 JPEGs."""
    generator = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        pixels = generator.integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:02d}.jpg")
    return tmp_path / "pictures"


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    """MNIST's four files with 60 and 20 images."""
    folder = tmp_path / "idx"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, n in (("train", 60), ("test", 20)):
        images, labels = sources.IDX[split]
        head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (n, 28, 28))
        pixels = generator.integers(256, size=(n, 28, 28), dtype=np.uint8)
        (folder / images).write_bytes(head + pixels.tobytes())
        head = bytes([0, 0, 8, 1]) + n.to_bytes(4, "big")
        (folder / labels).write_bytes(head + bytes(i % 10 for i in range(n)))
    return folder


REAL = ("data.source=real",)


@pytest.mark.parametrize("data", ["mnist", "celeba", "folder"])
def test_a_missing_root(
    data: str, refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MIRRORS", {})  # no network in tests
    root = tmp_path / "nowhere"
    cure = ["Set data.root", *([] if data == "folder" else ["data.source=builtin"])]
    refused([f"data={data}", *REAL, f"data.root={root}"], [f"data.root={root}", *cure])


@pytest.mark.parametrize("data", ["mnist", "celeba", "folder"])
def test_an_empty_folder(
    data: str, refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MIRRORS", {})
    refused([f"data={data}", *REAL, f"data.root={tmp_path}"], [f"data.root={tmp_path}", "Set"])


def test_no_root_at_all(refused: Callable) -> None:
    refused(["data=folder", *REAL], ["data.root"])
    refused(["data=folder", "data.source=builtin"], ["data.source=builtin", "data.root"])


def test_truncated_jpegs(refused: Callable, pictures: Path, tmp_path: Path) -> None:
    for i in (3, 8):
        path = pictures / f"{i:02d}.jpg"
        path.write_bytes(path.read_bytes()[:300])
    words = [*TINY, "data=folder", "data.resolution=32", *REAL, f"data.root={pictures}"]
    message = refused(words, [f"data.root={pictures}", "data.max_broken", "03.jpg"])
    assert "2 of 40" in message or "1 of 40" in message
    # The cure works, in the same folder: nothing had begun there.
    call(tmp_path / "run", *words, "data.max_broken=0.1")
    assert Run(tmp_path / "run").summary["data_id"]["splits"] == {"train": 34, "test": 4}


def test_a_truncated_idx_file(refused: Callable, idx: Path) -> None:
    path = idx / sources.IDX["train"][0]
    path.write_bytes(path.read_bytes()[:-1])
    words = ["data=mnist", *REAL, f"data.root={idx}"]
    refused([*TINY, *words], ["data.root", path.name, "cut short", "Get it anew"])


def test_fewer_labels_than_images(refused: Callable, idx: Path) -> None:
    path = idx / sources.IDX["train"][1]
    data = path.read_bytes()
    path.write_bytes(data[:4] + (50).to_bytes(4, "big") + data[8:58])
    words = ["data=mnist", *REAL, f"data.root={idx}"]
    refused([*TINY, *words], [f"data.root={idx}", path.name, "60 images", "50 labels"])


def test_a_label_that_is_not_there(refused: Callable, pictures: Path) -> None:
    words = ["data=celeba", *REAL, f"data.root={pictures}", "data.resolution=32"]
    refused([*TINY, *words, "data.label=Smiling"], ["data.label=Smiling"])


# The run folder


@pytest.mark.parametrize("below", ["file/run", "/proc/nowhere"])
def test_an_output_that_cannot_be_written(below: str, refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / below
    refused([*TINY], [str(folder), "hydra.run.dir"], folder=folder)


def test_a_changed_configuration(refused: Callable, tmp_path: Path) -> None:
    call(tmp_path / "run", *TINY)
    before = contents(tmp_path / "run")
    words = [*TINY, "model.generator.width=3"]
    refused(words, ["model.generator.width: 2 -> 3", "existing=restart", "hydra.run.dir"])
    assert contents(tmp_path / "run") == before


def test_a_damaged_checkpoint(refused: Callable, tmp_path: Path) -> None:
    call(tmp_path / "run", *TINY)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    Run(tmp_path / "run").update_summary(status="interrupted")
    before = contents(tmp_path / "run")
    refused([*TINY], [str(path), "damaged", "existing=restart"])
    assert contents(tmp_path / "run") == before


def test_other_data_under_the_same_name(
    refused: Callable, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Data sets of one's own share a run folder: a finished run is not that of all of them."""
    words = [*TINY, "data=folder", "data.resolution=32", *REAL]
    call(tmp_path / "run", *words, f"data.root={pictures}")
    before = contents(tmp_path / "run")
    moved = pictures.rename(tmp_path / "moved")
    call(tmp_path / "run", *words, f"data.root={moved}")
    assert "is finished" in capsys.readouterr().out
    next(moved.iterdir()).unlink()
    refused([*words, f"data.root={moved}/."], [f"data.root={moved}/.", "existing=restart"])
    assert contents(tmp_path / "run") == before


def test_a_folder_of_other_things(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for existing in ("continue", "restart"):
        words = [*TINY, f"existing={existing}"]
        refused(words, [f"hydra.run.dir={tmp_path}", "no run"], folder=tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


# The disk


def test_a_disk_that_fills_up(
    refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From some write on, none succeeds. When there is space again the run ends as if nothing."""
    call(tmp_path / "expected", *TINY)
    writes, original = [], os.fsync

    def full(handle: int) -> None:
        writes.append(handle)
        if len(writes) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refused([*TINY, "callbacks.checkpoint.seconds=0"], ["Cannot write", "No space left"])
    call(tmp_path / "run", *TINY)
    assert Run(tmp_path / "run").summary["status"] == "finished"
    files = [
        folder / "samples" / "final.png" for folder in (tmp_path / "run", tmp_path / "expected")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(refused: Callable, small_disk: Path) -> None:
    folder = small_disk / "run"
    words = [*TINY, "callbacks.checkpoint.seconds=0", "callbacks.samples.every=50"]
    refused(words, [str(folder), "No space left", "Free some space"], folder=folder)
    kept = contents(folder)
    assert "config.yaml" in kept
    assert not [name for name in kept if Path(name).name.startswith(".")]  # no halves
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    call(folder, *words)
    assert Run(folder).summary["status"] == "finished"
    assert [row["samples_seen"] for row in read_metrics(folder / "metrics.csv")] == [
        *range(50, 501, 50)
    ]


def test_a_full_disk_at_the_cache(refused: Callable, small_disk: Path, pictures: Path) -> None:
    words = [*TINY, "data=folder", "data.resolution=64", *REAL, f"data.root={pictures}"]
    refused([*words, f"data.cache={small_disk}"], [f"data.cache={small_disk}", "SPARRING_CACHE"])
    assert not [path for path in small_disk.rglob("*") if path.suffix in (".npy", ".tmp")]
