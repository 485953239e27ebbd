"""Choice between float32 and bfloat16: which of them is faster on a device."""

from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def bf16_gains(device: torch.device) -> bool:
    """Return whether bfloat16 autocast makes networks faster on a device.

    Of CPUs: Intel's do it with AMX only, as AVX-512 alone makes bfloat16 half as fast (measured: 80
    and 150 GFLOPS), and virtual machines often hide AMX. AMD's AVX-512 makes it twice as fast.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(False)
    if torch.cpu._is_amx_tile_supported():
        return True
    intel = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()
    return torch.cpu._is_avx512_bf16_supported() and not intel
