"""The forecast, by clocks that are known."""

from types import SimpleNamespace

import pytest

from src.callbacks.forecast import Forecast, _round
from src.config.composition import compose


def told(
    callback: Forecast,
    capsys: pytest.CaptureFixture,
    budget: int,
    seconds: float,
    iterations: int = 50,
    first: float = 30.0,
) -> str:
    """What is printed while iterations of 100 samples take so many seconds, and the first more."""
    model = SimpleNamespace(samples_seen=0, seconds=0.0, budget=budget)
    callback.on_train_start(None, model)
    for i in range(iterations):
        model.samples_seen += 100
        model.seconds += seconds if i else first
        callback.on_train_batch_end(None, model, None, None, i)
    return capsys.readouterr().err


def test_a_long_training_is_told_once(capsys: pytest.CaptureFixture) -> None:
    text = told(Forecast(), capsys, budget=1_000_600, seconds=1.0)
    assert text.count("of training are left here") == 1
    # After six iterations: a million samples are left, at 100 a second.
    assert text.startswith("About 2h 46m of training are left here, at 100 samples/s")
    assert "budget=60k" in text
    assert "max_time=10m" in text


def test_a_short_one_is_not(capsys: pytest.CaptureFixture) -> None:
    assert told(Forecast(), capsys, budget=60_000, seconds=1.0) == ""
    assert told(Forecast(), capsys, budget=61_000, seconds=1.0) != ""
    assert told(Forecast(longer_than=10), capsys, budget=2_000, seconds=1.0) != ""


def test_nor_one_that_is_broken_off_soon(capsys: pytest.CaptureFixture) -> None:
    assert told(Forecast(max_time="10m"), capsys, budget=10**7, seconds=1.0) == ""
    text = told(Forecast(max_time="1h"), capsys, budget=10**7, seconds=1.0)
    assert text.startswith("About 59m 25s")  # 30 s and 5 s have passed


def test_not_before_it_is_known(capsys: pytest.CaptureFixture) -> None:
    assert told(Forecast(), capsys, budget=10**7, seconds=1.0, iterations=5) == ""
    assert told(Forecast(), capsys, budget=10**7, seconds=20.0, iterations=2) != ""


@pytest.mark.parametrize(
    ("samples", "typed"),
    [(0.4, "1"), (7.6, "8"), (432, "430"), (9_960, "10k"), (56_400, "56k"), (1_240_000, "1.2M")],
)
def test_a_budget_as_it_is_typed(samples: float, typed: str) -> None:
    assert _round(samples) == typed
    assert compose("train", [f"budget={typed}"]).budget == pytest.approx(samples, rel=0.06, abs=1)
