"""Sparring: train, sweep and compare generative models.

run = src.load_run(FOLDER)      a trained run: its settings, scores, curves, model, samples
run = src.fit("model=dcgan")    train
src.compare_runs(FOLDER)        a table with verdicts
src.SettingError                what they raise
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.api import RunTable, TrainedRun, compare_runs, fit, load_run
    from src.errors import SettingError

__version__ = "0.1.0"
__all__ = ["RunTable", "SettingError", "TrainedRun", "compare_runs", "fit", "load_run"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is used: commands do without it."""
    if name not in __all__:
        raise AttributeError(f"module 'src' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("src.errors" if name == "SettingError" else "src.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
