"""The scorers of a run: those that fit it, and those of one's own that `metrics.own` names."""

from collections.abc import Mapping
from typing import Any

from src.config.signatures import signature
from src.data.base import DataModule
from src.metrics.base import Scorer, held_out_size
from src.metrics.scorers import make_scorers
from src.models.base import GenerativeModel
from src.models.capabilities import Translates
from src.training.instantiate import build


def build_scorers(
    settings: Mapping[str, Any],
    data: DataModule,
    model: GenerativeModel,
    own: tuple[str, ...] = (),
) -> list[Scorer]:
    """The scorers that fit data and model, and after them those of `metrics.own`.

    Args:
        settings: the configuration `metrics`.
        data: set up.
        model: to be scored.
        own: beginnings of the names of plug-ins.

    Raises:
        SettingError: if these data cannot be scored so, or a scorer cannot be built.
    """
    scorers = make_scorers(settings, data, model)
    n = settings["n"] or 10_000
    if isinstance(model, Translates):  # whose samples are translations of held-out sources
        n = min(n, held_out_size(data))
    given = {"data": data, "model": model, "n": n, "seed": settings["seed"]}
    for name, node in settings.get("own", {}).items():
        wanted = signature(node["_target_"], own).keys() & given.keys()
        path, more = f"metrics.own.{name}", {key: given[key] for key in wanted}
        scorers.append(build(node, Scorer, path, own, **more))
    return scorers
