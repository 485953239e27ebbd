"""Durations as people write them: `90s`, `10m`, `1h30m`, `2d`. Free of torch, for validation."""

import re

from src.errors import SettingError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PATTERN = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _UNITS))


def parse_duration(text: str | float, setting: str = "max_time") -> float:
    """Seconds of a duration such as `10m`, `1h30m` or `1.5h`; a bare number counts seconds.

    Args:
        text: the duration.
        setting: named in the error.

    Raises:
        SettingError: if it cannot be read, or is not positive.
    """
    stripped = str(text).replace(" ", "").lower()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        stripped += "s"
    match = _PATTERN.fullmatch(stripped)
    amounts = match.groups(default=0) if match else [0] * len(_UNITS)
    seconds = sum(float(n) * unit for n, unit in zip(amounts, _UNITS.values(), strict=True))
    if seconds <= 0:
        raise SettingError(
            f"{setting}={str(text)[:60]} is not a duration.\nWrite it like 90s, 10m, 1h30m or 2d."
        )
    return seconds


def format_duration(seconds: float) -> str:
    """The two leading units: `45s`, `5m 12s`, `3h 04m`, `2d 05h`."""
    seconds = round(seconds)
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h:02d}h"
    if hours:
        return f"{hours}h {m:02d}m"
    return f"{minutes}m {s:02d}s" if minutes else f"{s}s"
