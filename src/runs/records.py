"""The shapes of what is used of a run's files, as `src.runs.stored.expect` takes them."""

from src.runs.stored import NUMBER, is_amount

PROTOCOL = {"real?": NUMBER}
SUMMARY = {
    "status?": str,
    "error?": str,
    "stopped?": str,
    "headline?": [str],
    "metrics?": {"*": NUMBER},
    "protocols?": {"*": PROTOCOL},
    "scores?": [{"samples_seen": is_amount, "*": NUMBER}],
    "data_id?": {"name": str, "hash": str, "shape?": [int], "splits?": {"*": int}},
    "choices?": {"*": str | None},
    "samples_seen?": is_amount,
    "seconds?": is_amount,
    "parameters?": {"*": is_amount},
    "peak_memory?": is_amount,
    "git?": str,
}
EVALUATIONS = [
    {"name": str, "value": NUMBER, "samples_seen": is_amount, "protocol": {"real?": NUMBER}}
]
PROGRESS = {
    "samples_seen": is_amount,
    "budget": is_amount,
    "seconds": is_amount,
    "rate": is_amount,
    "time": is_amount,
    "stage?": str,
    "scores": [{"*": NUMBER}],
}
