"""The console script: `sparring train model=dcgan` is `python -m src.train model=dcgan`."""

import difflib
import runpy
import sys

from src import __version__
from src.runs.escape import line

COMMANDS = ("train", "sample", "translate", "evaluate", "compare", "status")
USAGE = f"""\
sparring COMMAND [settings]

Commands: {", ".join(COMMANDS)}
  sparring train model=dcgan data=mnist     sparring COMMAND --help
  sparring --version"""


def main() -> None:
    """Run the command that the first word names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(__version__)
    elif name in ("-h", "--help"):
        print(USAGE)
    elif name in COMMANDS:
        sys.argv = [f"sparring {name}", *words]
        runpy.run_module(f"src.{name}", run_name="__main__", alter_sys=False)
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        sys.exit(f"error: {line(name, 40)}: there is no such command.{hint}\n{USAGE}")


if __name__ == "__main__":
    main()
