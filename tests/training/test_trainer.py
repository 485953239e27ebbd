"""What is chosen for the machine: precision, and the arithmetic of the smallest numbers."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.config import composition as config
from src.data.spec import DataSpec
from src.errors import SettingError
from src.networks import precision
from src.training.trained import load_data
from src.training.trainer import choose_precision
from tests.conftest import composed


def test_numbers_too_small_are_zero_in_all_threads() -> None:
    """In a process of its own, whose threads begin after the import."""
    code = """
import torch
from src.training import trainer as build
torch.set_num_threads(3)
assert not (torch.full((3_000_000,), 2e-38) * 0.1).any()
mean = torch.full((3_000_000,), 1e-30)
for _ in range(250):
    mean.mul_(0.9)
assert not mean.any(), "where a gradient has died out, Adam's averages end at 0"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "vendor", "expected"),
    [
        (True, True, "GenuineIntel", "bf16-mixed"),
        (False, True, "GenuineIntel", "32-true"),
        (False, True, "AuthenticAMD", "bf16-mixed"),
        (False, False, "AuthenticAMD", "32-true"),
    ],
)
def test_bfloat16_where_the_processor_gains(
    amx: bool,
    avx512_bf16: bool,
    vendor: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert choose_precision("auto", "images", cpu) == expected
    assert choose_precision("auto", "points", cpu) == "32-true"
    assert choose_precision("bf16-mixed", "images", cpu) == "bf16-mixed"


@pytest.mark.parametrize(("shape", "right"), [((2,), True), ((3,), False)])
def test_data_of_another_shape_than_the_models(shape: tuple, right: bool, tmp_path: Path) -> None:
    settings = config.plain(composed("experiment=mixtures", "data=ring"))
    run = SimpleNamespace(folder=tmp_path, settings=settings, summary={})
    if right:
        assert load_data(run, DataSpec("points", shape), None, str(tmp_path)).spec.shape == shape
    else:
        with pytest.raises(SettingError, match=r"the model makes points \[3\], and the data are"):
            load_data(run, DataSpec("points", shape), None, str(tmp_path))


def test_nothing_is_downloaded_because_a_folder_says_so(tmp_path: Path) -> None:
    settings = config.plain(composed("experiment=mixtures", "data=ring"))
    settings["data"] |= {"source": "real", "root": "hf://somebody/pets"}
    run = SimpleNamespace(folder=tmp_path, settings=settings, summary={"data_id": {"hash": "1"}})
    with pytest.raises(SettingError, match=r"data are those of hf://somebody/pets\.\nPass data"):
        load_data(run, DataSpec("points", (2,)), None, str(tmp_path))
