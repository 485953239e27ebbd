"""Shared parts of all commands: help, composition, errors in a few lines, one run or many.

A command is called with a single configuration, composed, checked and run here. With `--multirun`
there are many (`src/sweeps/`); Hydra's other flags go to Hydra itself. Nothing slow is imported
before the configuration is known to be right.
"""

import errno
import inspect
import os
import re
import select
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src.completion import script
from src.config import composition, settings
from src.data.sources import resolve_source
from src.errors import SettingError
from src.runs.escape import line
from src.runs.provenance import git_commit
from src.runs.spelling import as_typed

STDOUT = 1  # its file descriptor
# Values that are taken as they are, whatever they hold: paths and labels.
VERBATIM = (
    "run",
    "runs",
    "out",
    "in",
    "mask",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "data.root",
    "data.cache",
    "metrics.weights",
    "data.name",
    "label",
    "wandb.project",
    "wandb.group",
)

Check = Callable[[DictConfig], None]
Run = Callable[[DictConfig, Path], Any]
Sweep = Callable[[list[str], Check], int]


def launch(
    name: str,
    check: Check,
    run: Run,
    arguments: list[str] | None = None,
    sweep: Sweep | None = None,
) -> None:
    """Run a command with the arguments of the command line.

    Args:
        name: name of the command and of its configuration, `conf/<name>.yaml`.
        check: raises `SettingError` for settings that cannot work; must not import torch.
        run: does the work, given the configuration and the run's folder.
        arguments: instead of `sys.argv[1:]`.
        sweep: does the work for many runs, given the overrides and `check`, and returns the exit
            status; None if the command has no sweeps.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        say(as_typed(help_text(name)))
        return
    if {"-V", "--version"} & set(arguments):
        say(version())
        return
    if {"-sc", "--shell-completion"} & set(arguments):  # Hydra's flag, in our words
        say(script("zsh" if "install=zsh" in arguments else "bash"))
        return
    try:
        arguments = _without_flags_of_paths([quoted(argument) for argument in arguments])
    except SettingError as error:
        sys.exit(show(error))
    name_run_folders()
    if sweep and {"-m", "--multirun"} & set(arguments):
        overrides = [text for text in arguments if text not in ("-m", "--multirun")]
        if not any(text.startswith("-") for text in overrides):
            try:
                status = sweep(overrides, check)
            except SettingError as error:
                status = show(error)
            if status:
                sys.exit(status)
            return
    if any(argument.startswith("-") for argument in arguments):
        _hydra_main(name, check, run, arguments)
        return
    with _errors_in_short():
        config = composition.compose(name, arguments)
        check(config)
        if name == "train":
            resolve_source(config)
        folder = Path(config.hydra.run.dir)
        run(config, folder)


def name_run_folders() -> None:
    """Let `hydra.run.dir` follow the settings: a part of `conf/hydra/default.yaml`."""
    OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)


def say(text: str) -> None:
    """Print a text, of which `| head` may read less than all."""
    with _errors_in_short():
        print(text)


@contextmanager
def _errors_in_short() -> Iterator[None]:
    """End the process with a few lines, and no traceback, for what a user can bring about."""
    try:
        yield
        print(end="", flush=True)  # a reader that is gone shows here, not at the interpreter's end
    except SettingError as error:
        sys.exit(show(error))
    except BrokenPipeError:
        if not _has_no_reader(STDOUT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        sys.exit(141)  # as of a program that SIGPIPE ends
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        sys.exit(show(SettingError(f"{error.filename}\nNo file can have a name of this length.")))
    except KeyboardInterrupt:
        sys.exit(130)


def _has_no_reader(stream: int) -> bool:
    """True if nobody reads what is written to this file descriptor: `| head` has read enough."""
    poll = select.poll()
    poll.register(stream, 0)  # errors are told unasked
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _without_flags_of_paths(arguments: list[str]) -> list[str]:
    """Turn `--config-dir DIR` into an override, and refuse what a command cannot do.

    Raises:
        SettingError: for flags that choose another configuration, or do not go together.
    """
    rest: list[str] = []
    own: list[str] = []
    given = iter(arguments)
    for argument in given:
        flag, _, value = argument.partition("=")
        if flag in ("--config-name", "-cn", "--config-path", "-cp"):
            raise SettingError(
                f"{flag}: a command has one configuration of its own.\n"
                "Choose parts of it by model=..., data=...; own files by --config-dir DIR."
            )
        if flag in ("--config-dir", "-cd"):
            folder = Path(value or next(given, "")).expanduser()
            if not folder.is_dir() or folder == Path():
                raise SettingError(f"--config-dir={folder}: there is no such folder.")
            own.append("'file://" + str(folder.resolve()).replace("'", r"\'") + "'")
            continue
        rest.append(argument)
    if own:
        rest.append(f"hydra.searchpath=[{','.join(own)}]")
    if {"-m", "--multirun"} & set(rest) and {"--cfg", "-c", "--info", "-i"} & set(rest):
        raise SettingError("--multirun shows no configuration.\nLeave out -m, or --cfg and --info.")
    return rest


def show(error: SettingError) -> str:
    """Error text for the terminal: at most three lines of bounded length, whoever wrote it."""
    parts = as_typed(f"error: {error}").splitlines()
    return "\n".join(line(part, 400) for part in parts[:3])


def quoted(argument: str) -> str:
    """A value in quotes if it holds what means something to Hydra, as our run folders' names do.

    Of other settings, one that Hydra's grammar cannot read is a text too: `wandb.tags=[lr=(0.1)]`.
    """
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-") or "${" in value:
        return argument
    if value.startswith("[") and value.endswith("]") and not _readable(argument):
        entries = [_in_quotes(entry.strip()) for entry in value[1:-1].split(",")]
        return f"{key}=[{','.join(entries)}]"
    if value[:1] in ("'", '"', "[", "{"):
        return argument
    if key in VERBATIM:
        return f"{key}={_in_quotes(value)}"
    return argument if _readable(argument) else f"{key}={_in_quotes(value)}"


def _in_quotes(text: str) -> str:
    if re.fullmatch(r"[\w/\\.:+@%*?|$-]*", text, re.ASCII) or text[0] in "'\"":
        return text
    # Of backslashes, only those before a quote mean something to Hydra.
    doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", text)
    return "'" + doubled.replace("'", r"\'") + "'"


def _readable(argument: str) -> bool:
    """True if Hydra's grammar can read an override."""
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def _hydra_main(name: str, check: Check, run: Run, arguments: list[str]) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig

    @hydra.main(config_path=str(composition.CONF), config_name=name, version_base="1.3")
    def job(config: DictConfig) -> None:
        full = OmegaConf.merge({"hydra": HydraConfig.get()}, config)
        check(full)
        if name == "train":
            resolve_source(full)
        run(full, Path(HydraConfig.get().runtime.output_dir))

    # Flags first: between settings Hydra's parser does not take them.
    sys.argv[1:] = sorted(arguments, key=lambda text: text[0] != "-" and "=" in text)
    prints = any(text.startswith(("--c", "--i", "--hydra-h", "-c", "-i")) for text in arguments)
    with _ended_by_pipes() if prints else nullcontext():
        job()


@contextmanager
def _ended_by_pipes() -> Iterator[None]:
    """Let `| head` end what only prints; Hydra would show a traceback."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
    finally:
        print(end="", flush=True)
        signal.signal(signal.SIGPIPE, before)


def _run_folder(*, _root_: DictConfig) -> str:
    # OmegaConf also looks it up when a preset, such as those of debug=, puts another place over it:
    # before the choices are known, and settings of the command line such as data.root.
    if not _root_.hydra.runtime.choices:
        return "unknown"
    resolve_source(_root_)
    return composition.run_folder(_root_)


def version() -> str:
    """Name and version of the project, and the commit that it runs from, where there is one."""
    commit = git_commit()
    return f"sparring {sys.modules['src'].__version__}" + (f" ({commit})" if commit else "")


HELP = {
    "train": """\
Train one model on one data set, score it, and keep everything in a run folder.

  python -m src.train                                    DCGAN on MNIST, in a few minutes
  python -m src.train model=dcgan data=celeba data.root=PATH budget=1000000
  python -m src.train -m model=gan,dcgan seed=0,1,2      a sweep: one run for each combination
  python -m src.train -m ... hydra/launcher=joblib       several at a time; or ray, submitit_slurm
  python -m src.train -m ... hydra/sweeper=optuna        the best of a space; see docs/sweeps.md""",
    "status": """\
Show where the runs are: which train, how far they are, their last scores.

  python -m src.status                                   all below outputs/
  python -m src.status runs=PATH watch=true              again and again""",
    "sample": """\
Draw from a trained run.

  python -m src.sample run=outputs/mnist/dcgan/default/seed=0 n=64 out=grid.png
  python -m src.sample run=... what=interpolation n=8 out=between.png
  python -m src.sample run=... n=10000 out=samples.npz   for other tools, with their labels
  python -m src.sample run=... what=reconstructions in=PICTURES out=mine.png""",
    "translate": """\
Translate photos by a trained run: enlarge, restore, fill in, colour, or turn into another kind.

  python -m src.translate run=outputs/celeba/srgan/default/seed=0 in=photo.jpg out=large.png
  python -m src.translate run=... in=photo.jpg out=again.png degrade=true   as in its training
  python -m src.translate run=... in=photo.jpg out=whole.png mask=lost.png  for inpainting
  python -m src.translate run=... in=FOLDER out=FOLDER""",
    "evaluate": """\
Score a trained run anew, by other metrics or with more samples.

  python -m src.evaluate run=outputs/mnist/dcgan/default/seed=0 metrics.n=50000
  python -m src.evaluate run=... metrics=inception metrics.weights=PATH
  python -m src.evaluate run=... metrics.importance_samples=[5000]       likelihood of a VAE""",
    "compare": """\
Compare finished runs: which variant is better, by more than the noise of its seeds, at what cost.

  python -m src.compare                                       all runs below outputs/
  python -m src.compare runs=outputs/mnist by=model metric=fid out=table.tex
  python -m src.compare runs=outputs/*/dcgan out=report       a page, Markdown, LaTeX, CSV, JSON""",
}


def help_text(name: str) -> str:
    """Help text of a command: its purpose, its choices and its settings."""
    lines = [HELP[name]]
    shown = ("model", "data", "experiment", "trainer", "callbacks", "logger", "debug")
    for group in shown if name == "train" else ():
        presets = sorted((composition.CONF / group).rglob("*.yaml"))
        if group in ("model", "data"):  # their folders hold parts, listed below
            presets = [preset for preset in presets if preset.parent.name == group]
        if presets:
            lines += ["", f"{group}="]
            names = [str(p.relative_to(composition.CONF / group).with_suffix("")) for p in presets]
            width = max(14, *(len(name) + 2 for name in names))
            lines += [
                f"  {name:<{width}}{_first_comment(preset)}"
                for name, preset in zip(names, presets, strict=True)
            ]
    if name == "train":
        lines += ["", "Parts can be exchanged, such as model/penalty=r1:"]
        folders = [
            *sorted((composition.CONF / "model").glob("*/")),
            *composition.CONF.glob("data/*/"),
        ]
        for folder in folders:
            choices = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            head = f"  {folder.parent.name}/{folder.name:<15}"
            lines += textwrap.wrap(head + choices, 110, subsequent_indent=" " * len(head))
    if name in ("train", "evaluate"):
        lines += ["", "metrics="]
        presets = sorted((composition.CONF / "metrics").glob("*.yaml"))
        lines += [f"  {preset.stem:<14}{_first_comment(preset)}" for preset in presets]
    attributes = inspect.getdoc(getattr(settings, name.capitalize())).partition("Attributes:")
    lines += ["", "Settings:", *attributes[2].strip("\n").splitlines()]
    lines += ["", "Every setting can be given as key=value; --cfg job shows them all."]
    return "\n".join(lines)


def _first_comment(preset: Path) -> str:
    lines = preset.read_text().splitlines()
    # Hydra reads its directive on the first line only.
    return lines[lines[0].startswith("# @package")].removeprefix("# ")
