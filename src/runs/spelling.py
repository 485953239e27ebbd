"""How a command is spelt in what the user reads."""

import sys
from pathlib import Path


def as_typed(text: str) -> str:
    """A text whose commands are spelt as this process was started.

    Args:
        text: with `python -m src.train ...` and the like. Of a process that the console script
            started it is `sparring train ...`, which works in any folder.
    """
    if Path(sys.argv[0]).name != "sparring":
        return text
    return text.replace("python -m src.", "sparring ")
