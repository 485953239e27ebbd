import pytest

from src.config.durations import format_duration, parse_duration
from src.errors import SettingError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("45", 45),
        (45, 45), ("1H 30M", 5400), ("1d2h3m4s", 93784), ("0.1s", 0.1),
    ],
)  # fmt: skip
def test_parse(text: str | int, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["", "soon", "10x", "-5m", "0", "0s", "30m1h", "1:30", "m", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^max_time=.* is not a duration.\nWrite it like"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (312, "5m 12s"), (11040, "3h 04m"),
        (2 * 86400 + 5 * 3600, "2d 05h"),
    ],
)  # fmt: skip
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
