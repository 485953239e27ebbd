"""Score a trained run anew: `python -m src.evaluate run=outputs/... metrics.n=50000`.

Numbers are printed with the protocol in their name and added to the run's evaluations.json; the
run's own summary stays as the training left it.
"""

import json
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

if not __package__:  # python src/evaluate.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import check_evaluate
from src.config.plugins import prefixes
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.records import EVALUATIONS, beside
from src.runs.run import Run


def evaluate(config: DictConfig, _: Path) -> None:
    """Load the run's model and data, score, print and store."""
    run = Run(Path(config.run), config.plugins)
    run.check()
    from src.metrics.base import score_all
    from src.models.styles import truncate
    from src.training.scorers import build_scorers
    from src.training.trained import load_data, load_model
    from src.training.trainer import choose_device

    model = load_model(run).to(choose_device(config.device))
    truncate(model, config.truncation)
    data = load_data(run, model.spec, config.data.root, config.data.cache)
    settings = OmegaConf.to_container(config.metrics, resolve=True)
    scores = score_all(build_scorers(settings, data, model, prefixes(config.plugins)), model)
    records = []
    truncated = {} if config.truncation == 1 else {"truncation": config.truncation}
    # A name of its own, since a run has each number of other truncations too.
    ending = f"_truncation{config.truncation:g}" if truncated else ""
    width = len(ending) + max(map(len, scores.values), default=0)
    for bare, value in scores.values.items():
        name, record = bare + ending, scores.protocols[bare] | truncated
        print(f"{line(name):<{width}}  {value:<10.5g} {beside(record)}".rstrip())
        records.append({"name": name, "value": value, "samples_seen": model.samples_seen})
        records[-1]["protocol"] = record
    if not records:
        print("Nothing was scored: leave out metrics=none, or choose another.")
        return
    path = run / "evaluations.json"
    stored = run.read_json(path.name, EVALUATIONS, [])
    write_atomically(path, json.dumps(stored + records, indent=2) + "\n")
    print(f"Added to {line(str(path), 400)}")


def main() -> None:
    """Run the command of the command line."""
    launch("evaluate", check_evaluate, evaluate)


if __name__ == "__main__":
    main()
