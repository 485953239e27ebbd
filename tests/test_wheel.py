"""An installed wheel works in an empty folder: it carries the configuration and the weights."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of this source tree was unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed), "SPARRING_CACHE": str(folder / "c")}
    command = [sys.executable, "-m", "src", "train", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_carries_all_that_is_no_code(installed: Path) -> None:
    sources = {p.relative_to(ROOT) for p in (ROOT / "conf").rglob("*.yaml")}
    packed = {p.relative_to(installed / "src") for p in (installed / "src/conf").rglob("*.yaml")}
    assert packed == sources
    weights = {path.name for path in (installed / "src/networks/weights").iterdir()}
    assert {"mnist.safetensors", "digits.safetensors", "faces.safetensors"} <= weights
    assert (installed / "src/pictures/code_page.html").exists()
    assert not (installed / "conf").exists()


def test_wheel_has_the_command(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "sparring = src.__main__:main" in entry_points.read_text()


def test_wheel_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, tmp_path, "--help")
    assert shown.returncode == 0
    assert "dcgan" in shown.stdout
    trained = run(
        installed, tmp_path, "model=gaussian_gan", "data=gaussian", "budget=80",
        "metrics.n=1000", "wandb.mode=disabled", "callbacks.samples.every=80",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    folder = tmp_path / "outputs/gaussian/gaussian_gan/budget=80,metrics.n=1000/seed=0"
    assert {"config.yaml", "summary.json", "metrics.csv", "checkpoints", "samples"} <= {
        path.name for path in folder.iterdir()
    }
