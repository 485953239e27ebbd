"""Identity of a variant, which is all settings that bear on its numbers, and its short name.

A name says the model's preset and what the variants of that preset differ in, such as
`wgan_gp penalty=r1 width=32`: parts by their choice, and single numbers by their key.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src.config.composition import CONF
from src.errors import SettingError
from src.report.read import Record

ABSENT = "absent"
MOST_WORDS = 4  # of a name, beside the preset


@cache
def _presets() -> set[str]:
    return {path.stem for path in (CONF / "model").glob("*.yaml")}


def choices(record: Record) -> dict[str, str]:
    """The presets and parts that were chosen by name, as far as they were recorded."""
    return record.summary.get("choices") or {}


def model_name(record: Record) -> str:
    """The model's preset: recorded, or from the run's place, or else the name of its class."""
    if name := choices(record).get("model"):
        return name
    known = [part for part in Path(record.place).parts if part in _presets()]
    target = str(record.settings["model"].get("_target_", "model"))
    return known[-1] if known else target.rpartition(".")[2].lower()


def get_values(key: str, records: Sequence[Record]) -> list[str]:
    """Value of each run for a key of `by` (`model`, a part or a setting), as `key=value`.

    Raises:
        SettingError: if no run has such a setting, or the key fits several.
    """
    if key == "model":
        return [model_name(record) for record in records]
    flat = [record.variant | {"seed": record.seed} for record in records]
    known = sorted({name for settings in flat for name in settings})
    slot = key.replace("/", ".").removeprefix("model.")
    if any(name.startswith(f"model.{slot}.") for name in known):
        return [f"{slot}={_part(record, slot)}" for record in records]
    fitting = [name for name in known if name == key] or [
        name for name in known if name.endswith(f".{key}")
    ]
    if len(fitting) != 1:
        near = difflib.get_close_matches(key, [*known, *_tails(known), "model"], 1)
        cure = f"Did you mean {near[0]}?" if near else "Such as by=model, by=penalty, by=budget."
        cure = f"Write one of {', '.join(fitting[:6])}." if fitting else cure
        raise SettingError(
            f"by={key} {'fits several settings' if fitting else 'is no setting'}.\n{cure}"
        )
    return [f"{key}={_spell(settings.get(fitting[0], ABSENT))}" for settings in flat]


def _tails(keys: Sequence[str]) -> list[str]:
    return [key.rpartition(".")[2] for key in keys]


def _part(record: Record, slot: str) -> str:
    """Name of the part in a slot of the model: its choice, or the name of its class."""
    if name := choices(record).get(f"model/{slot}"):
        return name
    target = record.flat.get(f"model.{slot}._target_")
    return _snake(str(target).rpartition(".")[2]) if target else ABSENT


def names(firsts: Sequence[Record]) -> list[str]:
    """Short names of variants, all different.

    Args:
        firsts: one run of each variant.
    """
    models = [model_name(record) for record in firsts]
    found = [""] * len(firsts)
    for model in dict.fromkeys(models):
        members = [i for i, name in enumerate(models) if name == model]
        words = _words([firsts[i] for i in members])
        for i, parts in zip(members, words, strict=True):
            rest = [f"+{len(parts) - MOST_WORDS} more"] if len(parts) > MOST_WORDS else []
            found[i] = " ".join([model, *parts[:MOST_WORDS], *rest])
    repeated = {name for name, count in Counter(found).items() if count > 1}
    return [f"{name} #{i + 1}" if name in repeated else name for i, name in enumerate(found)]


def _words(records: Sequence[Record]) -> list[list[str]]:
    """Overrides in which variants of one preset differ."""
    keys = differing([record.variant for record in records])
    slots = sorted(
        {key.removeprefix("model.").removesuffix("._target_") for key in keys if "_target_" in key}
        - {"_target_"}
    )
    slots = [slot for slot in slots if not any(slot.startswith(f"{other}.") for other in slots)]
    candidates = [[f"{slot}={_part(record, slot)}" for record in records] for slot in slots]
    for key in keys:
        if not any(key.startswith(f"model.{slot}.") for slot in slots):
            # Numbers inside of different parts have no common meaning.
            values = [_spell(record.flat.get(key, ABSENT)) for record in records]
            candidates.append([f"{key.removeprefix('model.')}={value}" for value in values])
    words: list[tuple[str, ...]] = [()] * len(records)
    for own in candidates:
        longer = [(*before, word) for before, word in zip(words, own, strict=True)]
        if len(set(longer)) > len(set(words)):  # what follows from the words before adds nothing
            words = longer
    return [list(own) for own in words]


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which flat settings are not all the same, in their order."""
    keys = dict.fromkeys(key for flat in settings for key in flat)
    return [
        key for key in keys if len({json.dumps(flat.get(key, ABSENT)) for flat in settings}) > 1
    ]


def _spell(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
