"""Run every command on every folder: `python -m tests.hostile --commands sample --cases yaml`."""

import argparse
import contextlib
import fnmatch
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tests.hostile.corpus import CASES
from tests.hostile.folders import Case
from tests.hostile.harness import COMMANDS, base, remove, warm
from tests.hostile.verdicts import first_line, tried

WIDTH = max(len(case.name) for case in CASES)


class Line(NamedTuple):
    """What is printed of a command on the folder of a case; all is well without complaints."""

    case: str
    kind: str
    command: str
    complaints: list[str]
    seconds: float
    megabytes: float
    message: str


def run(case: Case, commands: list[str], work: Path) -> list[Line]:
    """All commands on the folder of a case."""
    lines = []
    for done, wrong, place in tried(case, commands, work):
        said = first_line(done.stderr if done.status else done.stdout)
        where = f"{place.root}/"  # which makes the lines longer and says nothing
        about = ([text.replace(where, "") for text in wrong], done.seconds, done.megabytes)
        lines.append(Line(case.name, case.kind, done.command, *about, said.replace(where, "")))
    return lines


def chosen(patterns: list[str]) -> list[Case]:
    """The cases whose names match one of the patterns, or begin with one."""
    return [
        case
        for case in CASES
        if not patterns or any(fnmatch.fnmatch(case.name, f"{pattern}*") for pattern in patterns)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--cases", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--failures", action="store_true", help="print no line of what is well")
    options = parser.parse_args()
    cases = chosen(options.cases)
    begin = time.monotonic()
    tqdm.monitor_interval = 0  # it would be a thread
    warm(training=bool({"continue", "resume"} & set(options.commands)))
    work = Path(tempfile.mkdtemp(prefix="hostile-")).resolve()
    try:
        for name in sorted({case.base for case in cases}):
            base(work / "bases", name)
        task = partial(run, commands=options.commands, work=work)
        lines = []
        with contextlib.ExitStack() as stack:
            results = map(task, cases)
            if options.jobs > 1:  # whose threads a single process is better without
                pool = stack.enter_context(multiprocessing.get_context("fork").Pool(options.jobs))
                results = pool.imap_unordered(task, cases)
            print(HEAD)
            for found in tqdm(results, total=len(cases), desc="folders"):
                lines += found
                for line in found:
                    if line.complaints or not options.failures:
                        tqdm.write(row(line), file=sys.stdout)
    finally:
        remove(work)
    failed = [line for line in lines if line.complaints]
    kinds = Counter(case.kind for case in cases)
    print(f"\n{', '.join(f'{n} {kind}' for kind, n in kinds.items())} folders, {len(lines)} calls")
    for command in options.commands:
        n = sum(line.command == command for line in failed)
        print(f"{command:<10} {len(cases) - n} pass, {n} fail")
    print(f"all        {len(lines) - len(failed)} pass, {len(failed)} fail", end="")
    print(f" in {time.monotonic() - begin:.0f} s")
    return int(bool(failed))


HEAD = f"{'case':<{WIDTH}}  command   verdict  seconds    MB  message"


def row(line: Line) -> str:
    """A row of the table."""
    verdict = "FAIL" if line.complaints else "pass"
    said = "; ".join(line.complaints) or ascii(line.message)[1:-1]
    return (
        f"{line.case:<{WIDTH}}  {line.command:<8}  {verdict:<7}  {line.seconds:>7.2f} "
        f"{line.megabytes:>5.0f}  {said[:160]}"
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Triton, which comes with torch's compiler, would complain of what it leaks
