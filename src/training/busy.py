"""Tells when other programs keep the cores busy that a training on the CPU wants.

Its threads wait for each other many times in an iteration, so that one which has to share its core
holds all of them up: beside one busy core, two threads on two cores were 90 times slower than one
thread. How many there are is not changed, since the order of sums, and so each bit, depends on it.
"""

import os
import time
from pathlib import Path

import torch

LOADAVG = Path("/proc/loadavg")  # Linux: "0.91 0.78 0.83 2/350 4711", 2 threads run or want to
LOOKS, PAUSE = 5, 0.004  # and seconds between them


def other_threads() -> float:
    """Mean number of threads of other programs that run or want to, over 20 ms; 0 if unknown."""
    if not LOADAVG.exists():
        return 0.0
    found = 0
    for _ in range(LOOKS):
        time.sleep(PAUSE)
        found += int(LOADAVG.read_text().split()[3].partition("/")[0]) - 1  # this one reads
    return found / LOOKS


def describe_contention() -> str | None:
    """Return what to say of a training on the CPU whose threads have to share cores, else None."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if threads == 1:
        return None  # it waits for no other
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < cores:
        return None  # who is on the cores that are ours is not known
    others = other_threads()
    free = max(1, round(cores - others))
    if threads <= free or others < 0.5:
        return None
    return (
        f"Other programs keep about {min(others, cores):.1f} of {cores} cores busy, and {threads} "
        "threads that share them wait for each other:\ntraining can be many times slower than with "
        f"OMP_NUM_THREADS={free} in front of the command."
    )
