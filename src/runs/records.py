"""The shapes of what is used of a run's files, as `src.runs.stored.expect` takes them."""

from collections.abc import Mapping
from typing import Any

from src.runs.escape import line
from src.runs.stored import NUMBER, is_amount

PROTOCOL = {"real?": NUMBER, "input?": NUMBER, "baselines?": {"*": NUMBER}}
SUMMARY = {
    "status?": str,
    "error?": str,
    "stopped?": str,
    "headline?": [str],
    "metrics?": {"*": NUMBER},
    "protocols?": {"*": PROTOCOL},
    "scores?": [{"samples_seen": is_amount, "*": NUMBER}],
    "data_id?": {
        "name": str,
        "hash": str,
        "shape?": [int],
        "splits?": {"*": int},
        "degradation?": {"name": str},
    },
    "choices?": {"*": str | None},
    "samples_seen?": is_amount,
    "seconds?": is_amount,
    "parameters?": {"*": is_amount},
    "peak_memory?": is_amount,
    "git?": str,
}
EVALUATIONS = [{"name": str, "value": NUMBER, "samples_seen": is_amount, "protocol": PROTOCOL}]
PROGRESS = {
    "samples_seen": is_amount,
    "budget": is_amount,
    "seconds": is_amount,
    "rate": is_amount,
    "time": is_amount,
    "stage?": str,
    "scores": [{"*": NUMBER}],
}


def beside(record: Mapping[str, Any]) -> str:
    """Values that a number is compared with: "held-out real data: 1.2, input: 3.4"; may be "".

    Args:
        record: its protocol.
    """
    known = {"held-out real data": record.get("real"), "input": record.get("input")}
    known |= {line(name, 40): value for name, value in record.get("baselines", {}).items()}
    return ", ".join(
        f"{name}: {value:.4g}" for name, value in known.items() if isinstance(value, float | int)
    )
