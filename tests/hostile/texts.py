"""Cases in summary.json: shapes that it should not have, and names that are shown."""

from tests.hostile.folders import (
    Case,
    Make,
    change,
    cut,
    damaged,
    edited,
    entry,
    holding,
    hostile,
    removed,
    setting,
    spelt_entry,
    summarised,
)

# One text for each place where it could be taken for more than text. The verdicts look for these:
# control characters, a tag or a command called `hostile`, a cell that begins a formula, a line that
# begins with LEAVES.
WORDS = {
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07\r\x9b31m\x08",
    "bidi": "\u202efdp.exe\u2066\u200f",
    "html": "</script><hostile onload=1><img src=x onerror=hostile()><!--",
    "markdown": "|\n[hostile](javascript:hostile())`<hostile>`",
    "latex": "\\hostile{}$^{%\nLEAVES the comment",
    "csv": "=hostile('x')",
    "csv-at": "@hostile",
    "csv-plus": "+hostile",
    "csv-minus": "-hostile",
    "csv-tab": "\t=hostile",
    "newline": "a\nerror: all is lost\nLEAVES",
    "surrogate": "\ud800",
    "nul": "a\0b",
}


def metric_named(text: str) -> Make:
    """Call the headline number and its protocol so."""

    def rename(summary: dict) -> None:
        for part in ("metrics", "protocols"):
            old = summary[part]
            summary[part] = {text + name: value for name, value in old.items()}
        summary["headline"] = [text + name for name in summary["headline"]]
        summary["scores"] = [
            {name if name == "samples_seen" else text + name: value for name, value in row.items()}
            for row in summary["scores"]
        ]

    return summarised(rename)


def of_all_protocols(key: str, text: str) -> Make:
    """Set a key in the protocol of every number."""

    def function(summary: dict) -> None:
        for protocol in summary["protocols"].values():
            change(protocol, key, text)

    return summarised(function)


def shown(name: str, text: str) -> list[Case]:
    """A text in each place of a run that a table, a page or a message shows."""
    return [
        hostile(
            f"shown-{name}-in-names",
            entry("summary.json", "choices", {"model": text, "data": text, "model/loss": text}),
            edited(lambda config: change(config, "model.generator.norm", text)),
        ),
        hostile(
            f"shown-{name}-in-headings",
            metric_named(text),
            entry("summary.json", "data_id.name", text),
            of_all_protocols("data_id.name", text),
        ),
        hostile(
            f"shown-{name}-in-errors",
            entry("summary.json", "status", "failed"),
            entry("summary.json", "error", text),
        ),
        hostile(
            f"shown-{name}-in-the-rest",
            *(entry("summary.json", key, text) for key in ("stopped", "git", "device")),
            entry("summary.json", "versions", {text: text}),
            of_all_protocols("extractor.name", text),
        ),
    ]


def million_keys() -> str:
    """A summary of a million numbers."""
    inside = ",".join(f'"k{i}":1' for i in range(1_000_000))
    return f"{{{inside}}}"


SHAPES = [
    ("status-a-number", "status", 3),
    ("status-unknown", "status", "wonderful"),
    ("status-null", "status", None),
    ("metrics-a-list", "metrics", []),
    ("metrics-null", "metrics", None),
    ("metrics-of-words", "metrics", {"fid": "12"}),
    ("metrics-empty", "metrics", {}),
    ("scores-a-dict", "scores", {}),
    ("scores-of-nulls", "scores", [None]),
    ("scores-without-a-clock", "scores", [{"fid": 3}]),
    ("headline-of-what-is-not-there", "headline", ["gone"]),
    ("headline-a-word", "headline", "fid"),
    ("protocols-of-nulls", "protocols", {"fid100_digits": None}),
    ("protocols-null", "protocols", None),
    ("protocols-of-words", "protocols", {"fid100_digits": {"metric": 3, "data_id": "x"}}),
    ("protocols-empty", "protocols", {}),
    ("data-a-word", "data_id", "x"),
    ("data-empty", "data_id", {}),
    ("data-null", "data_id", None),
    ("data-shape-of-words", "data_id.shape", ["x"]),
    ("data-shape-below-zero", "data_id.shape", [-1, 0, 0]),
    ("seen-a-word", "samples_seen", "x"),
    ("seen-null", "samples_seen", None),
    ("seconds-below-zero", "seconds", -5),
    ("choices-a-list", "choices", ["dcgan"]),
    ("choices-of-numbers", "choices", {"model": 3}),
    ("parameters-a-number", "parameters", 5),
    ("updates-of-words", "updates", {"d": "x"}),
    ("git-a-number", "git", 7),
    ("versions-a-word", "versions", "x"),
]

CASES = [
    *(case for name, text in WORDS.items() for case in shown(name, text)),
    *(damaged(f"summary-{name}", entry("summary.json", key, value)) for name, key, value in SHAPES),
    hostile("shown-ansi-in-the-status", entry("summary.json", "status", WORDS["ansi"])),
    damaged("summary-missing", removed("summary.json")),
    damaged("summary-empty", holding("summary.json", b"")),
    damaged("summary-cut", cut("summary.json", 0.6)),
    damaged("summary-a-list", holding("summary.json", [1])),
    damaged("summary-null", holding("summary.json", "null")),
    damaged("summary-empty-dict", holding("summary.json", {})),
    damaged("summary-of-noise", holding("summary.json", bytes(range(256)))),
    damaged("summary-of-zeros", holding("summary.json", bytes(4000))),
    damaged("summary-failed-without-a-reason", entry("summary.json", "status", "failed"),
            summarised(lambda summary: summary.pop("error"))),
    damaged("summary-nan", spelt_entry("summary.json", "metrics.fid", "NaN")),
    damaged("summary-infinite", spelt_entry("summary.json", "seconds", "-Infinity")),
    hostile("summary-of-brackets", holding("summary.json", "[" * 100_000)),
    hostile("summary-of-closed-braces", holding(
        "summary.json", '{"a":' * 100_000 + "1" + "}" * 100_000)),
    hostile("summary-of-50-megabytes", holding("summary.json", lambda: f'["{"x" * 50_000_000}"]')),
    hostile("summary-of-a-million-keys", holding("summary.json", million_keys)),
    hostile("summary-of-400-digits", entry("summary.json", "metrics.fid", 10**400)),
    hostile("summary-of-5000-digits", spelt_entry("summary.json", "samples_seen", "9" * 5000)),
    hostile("summary-of-400-digits-seen", entry("summary.json", "samples_seen", 10**400)),
    hostile("summary-of-400-digits-of-seconds", entry("summary.json", "seconds", 10**400)),
    hostile("summary-of-a-huge-exponent", spelt_entry("summary.json", "metrics.fid", "1e999")),
    hostile("summary-error-of-ten-megabytes", entry("summary.json", "status", "failed"),
            entry("summary.json", "error", "x" * 10_000_000)),
    hostile("summary-headline-by-the-thousand", summarised(lambda summary: summary.update(
        headline=[f"m{i}" for i in range(5000)], metrics={f"m{i}": i for i in range(5000)}))),
    hostile("summary-with-keys-twice", holding(
        "summary.json", '{"status": "finished", "status": "running"}')),
    hostile("summary-that-says-running", entry("summary.json", "status", "running")),
    hostile("setting-of-a-formula", setting("model.generator.norm", WORDS["csv"])),
]  # fmt: skip
