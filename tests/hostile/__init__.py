"""Run folders that a stranger wrote, and the harness that drives every command over them.

    folders.py          what a case is, and the tools that spoil a copy of an honest run
    configurations.py   cases in config.yaml: how it is written, and what values it holds
    slots.py            cases in config.yaml: what it asks to be built
    checkpoints.py      cases in checkpoints/
    files.py            cases in the other files: links, pipes, pictures, curves, places
    texts.py            cases in summary.json and its like: shapes, and names that are shown
    corpus.py           all of them
    watch.py           what a process does that it should not
    harness.py         a command in a forked child: limits, and a record of what it did
    verdicts.py         whether what came of it is right

`python -m tests.hostile` runs all and prints a table.
"""
