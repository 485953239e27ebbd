"""Checks of every setting against the constructor that will receive it, before torch is imported.

A typed command and a stored configuration, which anybody may have written, pass the same checks.
Errors are one to three short lines: the setting, its value and the cure.
"""

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config.composition import CONF, HINTS, ROOT, flatten, groups, near, plain
from src.config.durations import parse_duration
from src.config.plugins import is_name, prefixes
from src.config.signatures import Slot, check_kind, constant, find_slot, fits, signature, spell
from src.errors import PluginError, SettingError

# Beside the arguments of its class, a model preset carries its recipe, a slot what it needs of the
# others, and a penalty the norm that D should have beside it.
RECIPE = {"batch_size": "int", "budget": "int"}
ADVICE = {"requires", "discriminator_norm"}
DIRECTIVES = {"_target_", "_partial_"}
RESERVED = DIRECTIVES | ADVICE
# What the code itself hands to a constructor; a partial one (a network, an optimiser) waits for it.
GIVEN = {
    "model": {"spec", "seed"},
    "data": {"batch_size", "seed"},
    "logger.csv": {"folder"},
    "logger.wandb": {"folder", "mode", "name", "config", "choices"},
    "logger.tensorboard": {"folder", "clock", "config"},
    "metrics.own.*": {"data", "model", "n", "seed"},
}
# What is in each typed configuration; stored ones may be older.
ALWAYS = {
    "trainer": ("accelerator", "devices", "precision"),
    "wandb": tuple(signature("src.config.settings.Wandb")),
}
OF_DATA = ("name", "kind", "source", "root", "cache")  # that every data set has
# What is built of a configuration, and what it has to be.
PARTS = {
    "model": Slot("GenerativeModel", ROOT / "models" / "base.py", partial=False),
    "data": Slot("DataModule", ROOT / "data" / "base.py", partial=False),
    "metrics": Slot("Settings", ROOT / "metrics" / "scorers.py", partial=False),
}
SCORER = Slot("Scorer", ROOT / "metrics" / "base.py", partial=False)  # in metrics.own
GROUPS = (*PARTS, "trainer", "callbacks", "logger", "wandb", "hydra")
# Where the classes of what is stored, but never built of a stored configuration, must come from.
HOMES = {
    "callbacks": ("src.callbacks.", "lightning.pytorch.callbacks."),
    "logger": ("src.training.loggers.", "lightning.pytorch.loggers."),
}
NO_SOURCE = (
    "model translates, and these data have no source to translate from.\n"
    "Choose how it is made of the data, such as data/degradation=downsample, of voxels view; or\n"
    "data=pairs or data=domains."
)
Lookup = Callable[[str], Any]  # the value of a dotted key, None if there is none


def check(config: DictConfig) -> None:
    """Check all settings of `train` against the constructors that will receive them.

    Raises:
        SettingError: for the first setting that cannot work.
    """
    raw = plain(config, resolve=False)
    needed = {*signature("src.config.settings.Train"), *GROUPS} - {"hydra"}
    if (missing := sorted(needed - {*raw})) and {*raw} <= needed:  # a misspelt one comes first
        raise SettingError(
            f"{missing[0]} is missing.\nEvery run needs it: leave out ~{missing[0]}."
        )
    _check_debug(config)
    # First of all, since what is not met can leave an interpolation such as ${data.dim} empty.
    _check_requirements(raw, lambda key: OmegaConf.select(config, key))
    _check_all(raw)
    for group, keys in ALWAYS.items():
        if lost := [key for key in keys if key not in raw[group]]:
            raise SettingError(f"{group}.{lost[0]} is missing.\nLeave out ~{group}.{lost[0]}.")
    _check_values(plain(config))


def _check_debug(config: DictConfig) -> None:
    """Check that debug=..., which begins its folder anew, does so in a folder of its own."""
    debug = OmegaConf.select(config, "hydra.runtime.choices.debug")
    if debug is None or config.existing != "restart":
        return
    folder = OmegaConf.to_container(config.hydra.run, resolve=False)["dir"]
    if not str(folder).startswith("debug/"):
        raise SettingError(
            f"debug={debug} discards what is in its folder, and hydra.run.dir={folder} may hold a "
            "run.\nLeave out hydra.run.dir, or choose one in debug/."
        )


def check_stored(settings: Any, plugins: Sequence[str] = ()) -> None:
    """Check a configuration that was read from a run folder, or from Weights & Biases.

    Args:
        settings: plain values, as `src.runs.stored` reads them.
        plugins: names of the plug-ins that the caller allows.

    Raises:
        PluginError: if it needs others.
        SettingError: for the first setting that a typed command could not have, or that would refer
            to others: ours are stored resolved.
    """
    if not isinstance(settings, dict):
        raise SettingError("it is no configuration")
    expected = {*signature("src.config.settings.Train"), *GROUPS} - {"hydra"}
    for key in sorted(expected - {*settings}):
        raise SettingError(f"{key} is missing")
    _check_allowed(settings["plugins"], plugins)
    for text in _texts(settings):
        if "${" in text or text == "???":
            raise SettingError(f"{reprlib.repr(text)}: a stored value must not refer to others")
    _check_values(settings)
    if settings["data"].get("source") == "auto":  # which is decided before a run begins
        raise SettingError("data.source=auto is not decided")
    own = prefixes(settings["plugins"])
    for group, homes in HOMES.items():
        for name, node in settings[group].items():
            if not str(node.get("_target_")).startswith((*homes, *own)):
                raise SettingError(f"{group}.{name}._target_={node.get('_target_')} is none there")
    flat = flatten(settings)
    _check_requirements(settings, flat.get)


def _check_allowed(needed: Any, plugins: Sequence[str]) -> None:
    """Check that the plug-ins of a stored configuration are among those that the caller allows."""
    if not isinstance(needed, list) or not all(map(is_name, needed)):
        raise SettingError(f"plugins={reprlib.repr(needed)} are no names of packages")
    if lacking := [name for name in needed if name not in plugins]:
        raise PluginError(
            f"it was trained with {', '.join(lacking)}, and a record alone imports nothing.\n"
            f"If you trust that code, say so again: plugins=[{','.join(needed)}]"
        )


def rename_old(settings: Any) -> None:
    """Bring a stored configuration of an earlier version to today's names of settings, in place.

    `data.resize` was the filter, and images were always cropped. There were no plug-ins, and
    translators without pairs had no content loss.
    """
    if not isinstance(settings, dict):
        return
    settings.setdefault("plugins", [])
    data = settings.get("data")
    if isinstance(data, dict) and data.get("resize") and "filter" not in data:
        data |= {"filter": data["resize"], "resize": "crop", "background": "white"}
    model = settings.get("model")
    unpaired = "src.models.unpaired.UnpairedTranslation"
    if isinstance(model, dict) and model.get("_target_") == unpaired:
        model.setdefault("content", {"_target_": "src.models.parts.content.NoContent"})


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _check_values(settings: Mapping[str, Any]) -> None:
    """Check resolved settings: names, types, and what they mean together."""
    _check_all(settings)
    if settings["budget"] <= 0:
        raise SettingError(f"budget={settings['budget']} must be positive: samples to train on.")
    if settings["budget"] >= 2**53:
        raise SettingError(f"budget={settings['budget']} is more than 2^53 samples.")
    if not 0 <= settings["seed"] < 2**32:
        raise SettingError(f"seed={settings['seed']} must be from 0 to 4294967295.")
    for node in (settings, settings["callbacks"].get("budget", {})):
        if node.get("max_time") is not None:
            parse_duration(node["max_time"])
    model = settings["model"]
    for key, kind in RECIPE.items():
        if not isinstance(model.get(key), int) or model[key] <= 0:
            raise SettingError(f"model.{key}={model.get(key)} must be a positive {kind}.")
    packing = model.get("packing", 1)
    if packing > 1 and model["batch_size"] % packing:
        raise SettingError(
            f"model.batch_size={model['batch_size']} cannot be cut into packs of {packing}.\n"
            "Choose a multiple of model.packing."
        )
    _check_devices(settings["trainer"], model["batch_size"], packing)
    data = settings["data"]
    made = (data.get("degradation") or {}).get("_target_", "NoDegradation")
    given = not made.endswith("NoDegradation") or "direction" in data
    if not given and translates(model, prefixes(settings["plugins"])):
        raise SettingError(NO_SOURCE)


def translates(model: Mapping[str, Any], own: tuple[str, ...] = ()) -> bool:
    """True if these settings are of a model that translates sources; its class says so."""
    return constant(model["_target_"], "needs_source", own)


def _check_devices(trainer: Mapping[str, Any], batch_size: int, packing: int) -> None:
    devices = trainer["devices"]
    if devices < 1:
        raise SettingError(f"trainer.devices={devices} must be positive.")
    if devices > 1 and trainer["accelerator"] == "mps":
        raise SettingError(f"trainer.devices={devices}: there is one device of this kind, mps.")
    if batch_size % (devices * packing):
        packs = f" in packs of {packing}" if packing > 1 else ""
        raise SettingError(
            f"model.batch_size={batch_size} cannot be shared by trainer.devices={devices}{packs}.\n"
            f"It is the batch of all together: choose a multiple of {devices * packing}."
        )


def _check_all(settings: Mapping[str, Any]) -> None:
    """Names and types, with interpolations resolved or not.

    If not, a misspelt key is found as such, which later would be one that others refer to in vain.
    """
    top = {key: settings[key] for key in settings if key not in GROUPS}
    _check_arguments("", top, signature("src.config.settings.Train"))
    _check_arguments("wandb.", settings["wandb"], signature("src.config.settings.Wandb"))
    _check_arguments("trainer.", settings["trainer"], signature("src.config.settings.Trainer"))
    for group in ("callbacks", "logger"):
        if not isinstance(settings[group], Mapping):
            raise SettingError(f"{group}={reprlib.repr(settings[group])} cannot be.")
    for name, node in settings["logger"].items():
        if not isinstance(node, Mapping):
            raise SettingError(f"logger.{name}={reprlib.repr(node)} cannot be.")
    for name, node in settings["callbacks"].items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise SettingError(
                f"callbacks.{name}={node} is no callback: it has no _target_.\n"
                f"To leave one out, say ~callbacks.{name}"
            )
    # What is no list is refused above, or refers to one that comes.
    own = prefixes(settings["plugins"]) if isinstance(settings["plugins"], list) else ()
    for group in GROUPS:
        if group in PARTS:
            _check_part(group, settings[group], own)
        elif isinstance(settings.get(group), Mapping):
            _check_node(group, settings[group], own)
    for key in OF_DATA:
        if key not in settings["data"]:
            raise SettingError(f"data.{key} is missing.\nEvery data set has {', '.join(OF_DATA)}.")


def _check_part(group: str, node: Any, own: tuple[str, ...]) -> None:
    """Check a node of `PARTS`: it must be one of the right kind."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        shown = reprlib.repr(node)
        raise SettingError(f"{group}={shown} cannot be: choose one, see python -m src.train --help")
    _check_node(group, node, own)
    _check_slot(group, node, PARTS[group], own)
    if group == "metrics" and isinstance(scorers := node.get("own", {}), Mapping):
        for name, scorer in scorers.items():
            path = f"metrics.own.{name}"
            if not isinstance(scorer, Mapping) or "_target_" not in scorer:
                raise SettingError(f"{path}={reprlib.repr(scorer)} has no _target_.")
            _check_slot(path, scorer, SCORER, own)


def check_sample(config: DictConfig) -> None:
    """Check the settings of `sample`; raises SettingError."""
    settings = _with_run(config, "sample")
    if settings["n"] <= 0:
        raise SettingError(f"n={settings['n']} must be positive: samples to draw.")


def check_translate(config: DictConfig) -> None:
    """Check the settings of `translate`; raises SettingError."""
    for key, asked in (("in", "Which photo?"), ("out", "Where to?")):
        if "run" in config and key not in config:  # or ???
            raise SettingError(f"{asked} python -m src.translate run=... in=photo.jpg out=new.png")
    settings = _with_run(config, "translate")
    if settings["direction"] == "back" and (settings["degrade"] or settings["mask"] is not None):
        raise SettingError("direction=back takes the photo as it is.\nLeave out degrade and mask.")
    if settings["degrade"] and settings["mask"] is not None:
        raise SettingError("degrade=true makes a mask of its own.\nLeave out mask=..., or degrade.")


def check_evaluate(config: DictConfig) -> None:
    """Check the settings of `evaluate`; raises SettingError."""
    settings = _with_run(config, "evaluate", "metrics")
    _check_part("metrics", settings["metrics"], prefixes(settings["plugins"]))


def check_status(config: DictConfig) -> None:
    """Check the settings of `status`; raises SettingError."""
    _settings_of(config, "Status")


def check_sweep(hydra: Mapping[str, Any]) -> None:
    """Check `launcher` and `sweeper` of a sweep.

    Raises:
        SettingError: for a setting that they do not have, or one that is not ours.
    """
    for kind, module in (("launcher", "src.sweeps.launchers."), ("sweeper", "src.sweeps.search.")):
        if not str(hydra[kind].get("_target_")).startswith(module):
            names = ", ".join(
                sorted(["basic", *(p.stem for p in (CONF / "hydra" / kind).glob("*.yaml"))])
            )
            raise SettingError(
                f"hydra.{kind}: {hydra[kind].get('_target_')} cannot be used.\n"
                f"Choices of hydra/{kind}: {names}"
            )
        _check_node(f"hydra.{kind}", hydra[kind])


PICTURES = (".png", ".svg", ".pdf")  # what `compare` can draw


def check_compare(config: DictConfig) -> None:
    """Check the settings of `compare`; raises SettingError."""
    settings = _settings_of(config, "Compare")
    _check_arguments("wandb.", settings["wandb"], signature("src.config.settings.CompareWandb"))
    if settings["pictures_mb"] <= 0:
        raise SettingError(
            f"pictures_mb={settings['pictures_mb']} must be positive: megabytes of pictures."
        )
    endings = (".html", ".md", ".tex", ".csv", ".json")
    ending = Path(settings["out"] or "").suffix
    if settings["y"] is not None and settings["x"] is None:
        raise SettingError(
            f"y={settings['y']} is drawn against a setting.\nSay which, such as x=model.batch_size."
        )
    if (settings["x"] is not None) != (ending in PICTURES):
        raise SettingError(
            f"x={settings['x'] or 'null'} out={settings['out']}: numbers against a setting are a "
            "picture.\nSay both, such as x=model.objective.beta out=curves.png (or .svg, .pdf)."
        )
    if ending and ending not in (*PICTURES, *endings):
        raise SettingError(
            f"out={settings['out']}: {ending} is no format.\n"
            f"There are {', '.join(endings)}; a folder, whose name has no dot, gets all of them."
        )


def _with_run(config: DictConfig, command: str, *parts: str) -> dict[str, Any]:
    if "run" not in config:  # or ???
        raise SettingError(f"Which run? python -m src.{command} run=outputs/<data>/<model>/...")
    return _settings_of(config, command.capitalize(), *parts)


def _settings_of(config: DictConfig, settings: str, *parts: str) -> dict[str, Any]:
    """Plain settings of a command other than `train`, checked to be all there.

    Args:
        config: composed.
        settings: name of their class in `src/config/settings.py`.
        parts: groups of settings that the class leaves out.
    """
    names = signature(f"src.config.settings.{settings}")
    names = {name.rstrip("_"): parameter for name, parameter in names.items()}  # `in_`
    for key in (*names, *parts):
        if key not in config:  # or ???
            raise SettingError(f"{key} is missing.\nLeave out ~{key} or {key}=???.")
    values = plain(config)
    _check_arguments("", {k: v for k, v in values.items() if k not in parts}, names)
    return values


def _check_requirements(node: Any, lookup: Lookup, path: str = "") -> None:
    """Check that what a part needs of the others is there."""
    if not isinstance(node, Mapping):
        return
    needed = node.get("requires") or {}
    if not isinstance(needed, Mapping) or not all(isinstance(v, list) for v in needed.values()):
        raise SettingError(f"{path}.requires={reprlib.repr(needed)}: write key: [values].")
    for key, allowed in needed.items():
        value = lookup(key)
        if value not in allowed:
            raise SettingError(
                f"{path} cannot be used with {key}={value}.\n"
                f"It needs {key} to be {' or '.join(map(str, allowed))}."
            )
    for key, value in node.items():
        _check_requirements(value, lookup, f"{path}.{key}" if path else key)


def _check_node(path: str, node: Mapping[str, Any], own: tuple[str, ...] = ()) -> None:
    """Check a node and what is inside of it: that names and types of arguments are right."""
    for key, value in node.items():
        if str(key).startswith("_") and key not in DIRECTIVES:
            raise SettingError(f"{path}.{key}: there is no such setting.")
        if isinstance(value, Mapping) and key not in RESERVED:
            _check_node(f"{path}.{key}", value, own)
    if "_target_" in node:
        if not isinstance(node["_target_"], str):
            raise SettingError(f"{path}._target_={reprlib.repr(node['_target_'])} is no name.")
        skip = RESERVED | set(RECIPE) if path == "model" else RESERVED
        arguments = {key: value for key, value in node.items() if key not in skip}
        parameters = dict(signature(node["_target_"], own))
        above = f"{path.rpartition('.')[0]}.*"
        for name in GIVEN.get(path, GIVEN.get(above, ())):
            parameters.pop(name, None)
        is_own = not node["_target_"].startswith("src.")
        _check_arguments(f"{path}.", arguments, parameters, is_own)
        for name, parameter in parameters.items():
            if parameter.required and name not in arguments and not node.get("_partial_"):
                raise SettingError(f"{path}.{name} must be given: {node['_target_']} needs it.")
            if isinstance(value := arguments.get(name), Mapping) and "_target_" in value:
                _check_slot(f"{path}.{name}", value, find_slot(parameter), own)


def _check_slot(
    path: str, node: Mapping[str, Any], slot: Slot | None, own: tuple[str, ...]
) -> None:
    """Check that a node makes what its place takes."""
    if slot is None:
        raise SettingError(f"{path} takes a plain value, and no _target_.")
    check_kind(path, node["_target_"], slot, own)
    if node.get("_partial_", False) is not slot.partial:
        raise SettingError(f"{path}._partial_ must be {str(slot.partial).lower()}.")


def _check_arguments(prefix: str, values: Any, parameters: Mapping, is_own: bool = False) -> None:
    """Check names and types; `is_own` if they are of a part of the user's, put over one of ours."""
    if not isinstance(values, Mapping):
        raise SettingError(
            f"{prefix.rstrip('.')}={values} cannot be.\nSettings there: {', '.join(parameters)}"
        )
    for key, value in values.items():
        if key not in parameters:
            hint = HINTS.get(f"{prefix}{key}", f"Settings there: {', '.join(parameters)}")
            if is_own:
                hint += f"\nIf it is left of the part that was replaced, add ~{prefix}{key}"
            raise SettingError(
                f"{prefix}{key}: there is no such setting.{near(key, list(parameters))}\n{hint}"
            )
        annotation = parameters[key].annotation
        unresolved = isinstance(value, str) and value.startswith("${")
        if not unresolved and not fits(value, annotation):
            group = f"{prefix}{key}".replace(".", "/")
            cure = f"\nChoose a part with a slash: {group}={value}" if group in groups() else ""
            if isinstance(value, str) and fits([value], annotation):
                cure = f"\nA list has brackets: {prefix}{key}=[{value}]"
            raise SettingError(f"{prefix}{key}={value} must be {spell(annotation)}.{cure}")
