"""All commands under one name: `sparring train model=dcgan`, from any folder.

`python -m src train model=dcgan` is the same in a clone that is not installed.
"""

import importlib
import sys

from src.cli import HELP, say, version
from src.completion import candidates, script
from src.config.composition import near
from src.runs.escape import line


def main() -> None:
    """Run the command that the first word of the command line names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in HELP:
        sys.argv[1:] = words
        importlib.import_module(f"src.{name}").main()
    elif name == "completion" and words in (["bash"], ["zsh"]):
        say(script(words[0]))
    elif name == "completion" and words == ["query"]:
        say("\n".join(candidates(HELP)))
    elif name in ("-V", "--version"):
        say(version())
    elif name in ("-h", "--help"):
        say(overview())
    else:
        known = [*HELP, "completion"]
        sys.exit(
            f"error: {line(name)}: there is no such command.{near(name, known)}\n"
            f"Commands: {', '.join(known)}"
        )


def overview() -> str:
    """Help text: the commands, by the first line of what each says of itself."""
    lines = ["sparring COMMAND key=value ...", ""]
    lines += [f"  {name:<12}{text.partition(chr(10))[0]}" for name, text in HELP.items()]
    lines += ['  completion  Tab completion: eval "$(sparring completion bash)", or zsh']
    return "\n".join([*lines, "", "sparring COMMAND --help shows choices and settings."])


if __name__ == "__main__":
    main()
