"""Cost of a run: samples, seconds, parameters, memory."""

import resource
import sys
from typing import Any

import lightning as L
import torch

from src.distributed import ranks
from src.models.base import GenerativeModel


def cost(model: GenerativeModel, trainer: L.Trainer) -> dict[str, Any]:
    """The cost entries of summary.json; seconds of training only, memory in bytes, of rank 0."""
    place = trainer.strategy.root_device  # the model is back on the CPU when its training ends
    if place.type == "cuda":
        device = torch.cuda.get_device_name(place)
        memory = torch.cuda.max_memory_allocated(place)
    else:
        device = f"cpu, {torch.get_num_threads()} threads"
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    parameters = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in model.networks.items()
    }
    return {
        "samples_seen": model.samples_seen,
        "seconds": round(model.seconds, 3),
        "iterations": model.iteration,
        "updates": dict(model.updates),
        "rested": dict(model.rested),
        "parameters": {name: count for name, count in parameters.items() if count},
        "peak_memory": memory,
        "device": device,
        "devices": ranks.count(),
        "precision": str(trainer.precision),
    }
