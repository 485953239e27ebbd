"""What commands answer to nonsense, and how soon: `python -m benchmarks.refusals`.

Each case is a process of its own in an empty folder, as a user would type it. The first column of
answers is that of October 2026, before these cases were found; the second is the present one. A
traceback, or more than two seconds for a refusal that needs no data, is counted as a failure.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = "model=gan data=folder data.resolution=8 metrics=none budget=16 model.batch_size=4"
FOLDER += " trainer=cpu wandb.mode=disabled data.reading.workers=0"
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


class Case(NamedTuple):
    """One command line.

    Attributes:
        line: for the shell, after `python -m src.`.
        old: the answer before.
        slow: it has to look at data first, and may take longer than two seconds.
        env: variables of the environment.
    """

    line: str
    old: str
    slow: bool = False
    env: Mapping[str, str] = MappingProxyType({})


def cases() -> list[Case]:
    """All cases, the files that they need being in the present folder."""
    traceback, silent = "traceback", "trained in silence"
    settings = {
        "~seed": traceback,
        "~trainer": traceback,
        "~metrics": traceback,
        "model=[[[]]]": traceback,
        "model/loss=1": traceback,
        "=": traceback,
        "callbacks.signals._target_=1.5": traceback,
        "model.g_optimizer.lr=nan": traceback,
        "model.g_optimizer.lr=-1": traceback,
        "model.g_optimizer.betas=[2,2]": traceback,
        "model.latent.dim=-3": traceback,
        "model=gan model.generator.hidden=[0]": traceback,
        "model.packing=0": traceback,
        "callbacks.samples.n=-5": traceback,
        f"hydra.run.dir={'x' * 300}": traceback,
        "model.g_optimizer.lr=0": silent,
        "model.loss.d_weight=-1": silent,
        "model.latent.dim=0": silent,
        "model=vae model.clip=-1": "trained with reversed gradients",
        "callbacks.collapse.threshold=nan": silent,
        "callbacks.progress.heartbeat=nan": silent,
        "data.reading.workers=-1": silent,
        "callbacks.budget.max_time=soon": "refused after torch was imported",
        "epochs=3": "no hint of budget",
        "trainer.max_epochs=3": "no hint of budget",
        "lr=0.1": "no hint of model.g_optimizer.lr",
        "experiment=notes/autoencoder": "listed none of notes/*",
        "experiment=ae": "no near match",
        "--config-name=x": traceback,
        "-m --cfg job": traceback,
        "--config-dir=nowhere": traceback,
    }
    found = [Case(f"train {words}", old) for words, old in settings.items()]
    found += [
        Case("sample run=nowhere ~run", traceback),
        Case("compare ~runs", traceback),
        Case("status | true", traceback),
        Case("status", traceback, env=ASCII),
        Case(f"train {FOLDER} data.root=fifo", "waited for ever", slow=True),
        Case(f"train {FOLDER} data.root=zero", "waited for ever", slow=True),
        Case(f"train {FOLDER} data.root=absolute.zip", traceback, slow=True),
        Case(f"train {FOLDER} data.root=large.zip", traceback, slow=True),
    ]
    return found


def make_files(folder: Path) -> None:
    """Folders and zips of six images each, with something wrong in them."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 20, 20, 3), dtype=np.uint8)
    for name in ("fifo", "zero"):
        (folder / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(folder / name / f"{i}.png")
    os.mkfifo(folder / "fifo" / "x.png")
    (folder / "zero" / "x.png").symlink_to("/dev/zero")
    for name in ("absolute", "large"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((folder / "fifo").glob("[0-9].png")):
                archive.write(path, path.name)
            if name == "absolute":
                archive.writestr("/abs.png", b"")
            else:
                with archive.open("large.png", "w") as member:
                    for _ in range(20):
                        member.write(bytes(2**26))
    (folder / "outputs" / "é").mkdir(parents=True)


def run(case: Case, folder: Path) -> tuple[str, float, bool]:
    """The answer in one line, the seconds that it took, and whether it is as it should be."""
    start = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m src.{case.line}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"} | dict(case.env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    seconds = time.perf_counter() - start
    good = "Traceback" not in done.stderr and (case.slow or seconds < 2)
    answer = done.stderr.strip() or done.stdout.strip() or "(nothing)"
    return re.sub(r"\s+", " ", answer.replace("|", "/"))[:160], seconds, good


def main() -> None:
    failed, slowest = 0, 0.0
    print("| command | before | now | s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        for case in cases():
            answer, seconds, good = run(case, folder)
            failed += not good
            slowest = max(slowest, 0 if case.slow else seconds)
            line = case.line.replace("|", "/")[:90]
            print(f"| `{line}` | {case.old} | {answer} | {seconds:.1f} |", flush=True)
    print(f"\n{len(cases())} cases, {failed} failed; the slowest refusal took {slowest:.1f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
