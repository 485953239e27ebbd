"""Wall time of a run by its parts: the entry `wall` of summary.json, in seconds.

    start      imports, model, callbacks, Lightning; until the first iteration
    data       loading the data, or filling their cache
    training   iterations
    scoring    scores and checks, reals and the extractor's training included
    pictures   pictures and pages
    saving     checkpoints
    other      what is left, until the summary is written

They are sums over all processes of a resumed run. A killed one counts up to its last checkpoint.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

PARTS = ("start", "data", "training", "scoring", "pictures", "saving", "other")


class WallTime:
    """Seconds of a run by part.

    Args:
        begun: `time.perf_counter()` when the process began its work; None is now.

    Attributes:
        past: seconds of earlier processes, by part, without training.
        parts: seconds of this process, by part, without training.
    """

    def __init__(self, begun: float | None = None) -> None:
        self.past: Mapping[str, float] = {}
        self.parts: Counter[str] = Counter()
        self._begun = self._last = time.perf_counter() if begun is None else begun

    def lap(self, part: str) -> None:
        """Count the time since the last lap, at first since the beginning, to a part."""
        now = time.perf_counter()
        self.parts[part] += now - self._last
        self._last = now

    @contextmanager
    def spent_on(self, part: str) -> Iterator[None]:
        """Count the time of a `with` block to a part; blocks are not nested."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] += time.perf_counter() - start

    def sums(self) -> dict[str, float]:
        """Seconds over all processes, by part, without training."""
        return {part: self.past.get(part, 0.0) + self.parts[part] for part in PARTS}

    def summary(self, before: float, training: float) -> dict[str, float]:
        """Seconds over all processes, by part.

        Args:
            before: seconds of training in earlier processes.
            training: the same with this one's.
        """
        whole = time.perf_counter() - self._begun
        left = whole - self.parts.total() - (training - before)
        sums = self.sums() | {"training": training}
        sums["other"] += max(left, 0.0)
        return {part: round(seconds, 3) for part, seconds in sums.items()}
