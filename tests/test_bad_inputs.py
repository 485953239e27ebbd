"""Thirteen bad inputs: each is told in three lines at most, with setting, value and cure.

The command ends with a status that is not 0, nothing that was there before is lost, and what the
configuration alone can tell is told before torch is imported.
"""

import gzip
import io
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from src.command import launch
from src.config import check
from src.data.sources import IDX
from src.train import train
from tests.conftest import Fit, contents

ROOT = Path(__file__).parent.parent
QUIET = ("metrics=none", "wandb.mode=disabled", "trainer=cpu")
TINY = ("model.generator.width=2", "model.discriminator.width=2", "budget=128")

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """`refuse("budget=-1")`: the message with which `python -m src.train` ends."""

    def call(*words: str, folder: Path = tmp_path / "run") -> str:
        with pytest.raises(SystemExit) as caught:
            launch("train", check, train, [*QUIET, f"hydra.run.dir={folder}", *words])
        message = str(caught.value.code)
        assert message.startswith("error: ")
        assert len(message.splitlines()) <= 3
        return message

    return call


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.generater.width=3"], ["model.generater.width", "Did you mean model.generator"]),
        (["model=dcgann"], ["model=dcgann", "Did you mean dcgan?", "gaussian_gan"]),
        (["data.source=real", "data.root=/no/such"], ["data.root=/no/such", "data.source=builtin"]),
        (["data.source=builtin", "data.resolution=36"], ["data.resolution=36", "28 or 32"]),
        (["data.source=builtin", "budget=-5"], ["budget=-5", "positive"]),
    ],
    ids=["misspelt key", "unknown preset", "missing root", "28 px network", "negative budget"],
)
def test_configuration(refuse: Refuse, words: list[str], told: list[str], tmp_path: Path) -> None:
    start = time.process_time()
    message = refuse(*words)
    assert time.process_time() - start < 2
    assert all(part in message for part in told), message
    assert not (tmp_path / "run").exists()


def test_empty_folder(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    message = refuse("data=folder", f"data.root={tmp_path / 'images'}", *TINY)
    assert f"data.root={tmp_path / 'images'}" in message
    assert "no images there" in message


def test_truncated_jpeg(refuse: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    file = io.BytesIO()
    Image.effect_noise((80, 80), 50).convert("RGB").save(file, "JPEG")
    for i in range(10):
        whole = file.getvalue()
        (folder / f"{i}.jpg").write_bytes(whole[: len(whole) // 3] if i == 3 else whole)
    message = refuse("data=folder", f"data.root={folder}", *TINY)
    assert "3.jpg" in message
    assert "max_broken" in message


def write_idx(folder: Path, labels: int = 40, cut: int = 0) -> None:
    """40 images in MNIST's format, with fewer labels, or cut short by some bytes."""
    folder.mkdir()
    for images, answers in IDX.values():
        x = struct.pack(">4I", 0x803, 40, 28, 28) + bytes(40 * 28 * 28)
        y = struct.pack(">2I", 0x801, labels) + bytes(labels)
        (folder / f"{images}.gz").write_bytes(gzip.compress(x[: len(x) - cut]))
        (folder / answers).write_bytes(y)


def test_truncated_idx(refuse: Refuse, tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", cut=1000)
    message = refuse("data=mnist", f"data.root={tmp_path / 'mnist'}", *TINY)
    assert "train-images-idx3-ubyte.gz is cut short" in message
    assert "31,376 bytes expected, 30,376 found" in message


def test_labels_shorter_than_images(refuse: Refuse, tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", labels=39)
    message = refuse("data=mnist", f"data.root={tmp_path / 'mnist'}", *TINY)
    assert "40 images" in message
    assert "39 labels" in message


def test_unwritable_output(refuse: Refuse, tmp_path: Path) -> None:
    # Root may write everywhere, but not below a file.
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / "run"
    message = refuse("data.source=builtin", *TINY, folder=folder)
    assert f"{folder}" in message
    assert "hydra.run.dir" in message
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(refuse: Refuse, small_disk: Path) -> None:
    message = refuse(
        "data.source=builtin", "budget=640", "callbacks.checkpoint.seconds=0",
        folder=small_disk / "run",
    )  # fmt: skip
    assert "No space left" in message
    assert "hydra.run.dir" in message
    assert (small_disk / "run/config.yaml").read_text().startswith("model:")


def test_corrupted_checkpoint(refuse: Refuse, fit: Fit) -> None:
    run = fit("data.source=builtin", *TINY)
    summary = run.summary
    checkpoint = run / "checkpoints/last.ckpt"
    data = bytearray(checkpoint.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = bytes(500)
    checkpoint.write_bytes(data)
    run.update_summary(status="interrupted")
    before = contents(run.folder)
    message = refuse("data.source=builtin", *TINY, folder=run.folder)
    assert "last.ckpt is damaged" in message
    assert "existing=restart" in message
    after = contents(run.folder)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {"summary.json"}
    assert run.summary["metrics"] == summary["metrics"]


def test_changed_configuration(refuse: Refuse, fit: Fit) -> None:
    run = fit("data.source=builtin", *TINY)
    before = contents(run.folder)
    message = refuse("data.source=builtin", *TINY, "model.d_steps=2", folder=run.folder)
    assert "model.d_steps: 1 -> 2" in message
    assert "existing=restart" in message
    assert contents(run.folder) == before


def test_exit_status_of_the_command_line() -> None:
    command = [sys.executable, "-m", "src.train", "budget=0", "data.source=builtin"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: budget=0 must be positive: samples to train on."
