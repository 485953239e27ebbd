"""Composition and checking of a configuration, before torch is imported.

A command is `command("train")(run)`: it composes `conf/train.yaml` with the words of the command
line, checks every setting against the constructor that will receive it, and only then imports what
is slow. Errors are told in three short lines and end with status 1.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.durations import parse_duration
from src.errors import SettingError
from src.signatures import fits, signature, spell

# OmegaConf derives its loader from this name. libyaml, where PyYAML has it, reads the same several
# times as fast, which every command feels.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ROOT = Path(__file__).parent
# A clone has conf/ beside src/, an installed wheel inside of it.
CONF = next(path for path in (ROOT / "conf", ROOT.parent / "conf") if path.is_dir())

# Beside the arguments of its class, a model preset carries its recipe, a slot what it needs of the
# others, and a penalty the norm that D should have beside it.
RECIPE = {"batch_size": "int", "budget": "int"}
ADVICE = {"requires", "discriminator_norm"}
RESERVED = {"_target_", "_partial_", "_convert_", *ADVICE}
# What the code itself hands to a constructor; a partial one (a network, an optimiser) waits for it.
GIVEN = {
    "model": {"spec", "seed"},
    "data": {"batch_size", "seed"},
    "logger.csv": {"folder"},
    "logger.wandb": {"folder", "mode", "name", "config"},
}

# What does not bear on the result: not compared, and not in the run folder's name.
NOT_RESULT = (
    "wandb",
    "logger",
    "existing",
    "data.root",
    "data.cache",
    "data.workers",
    "data.in_memory",
    "metrics.cache",
    "trainer.accelerator",
    "trainer.devices",
    "callbacks",  # noise is a function of seed and iteration: what happens beside changes nothing
)
RESULT = ("callbacks.equilibrium",)  # but it ends the training
IN_FOLDER_NAME = ("seed", "data.source")


@dataclass(kw_only=True)
class Wandb:
    """Weights & Biases.

    Attributes:
        mode: `auto` goes online with a key and a server that answers, else offline.
        project: the runs' home.
        group: what the runs of a sweep share.
        tags: free words.
    """

    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    group: str | None
    tags: list[str]


@dataclass(kw_only=True)
class Trainer:
    """Where and how exactly to compute; what else Lightning's trainer can do is decided here.

    Attributes:
        accelerator: `auto` takes a GPU if there is one.
        devices: how many share each batch, which stays as large: GPUs, or processes on the CPU.
        precision: `auto` is bfloat16 autocast where that is faster. float16 would need each
            player's loss scaled.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: int
    precision: Literal["auto", "32-true", "bf16-mixed"]


@dataclass(kw_only=True)
class Train:
    """Top-level settings of `python -m src.train`, the same for every model and data set.

    Attributes:
        seed: of weights, data order and noise.
        budget: samples to train on; each preset names its own.
        max_time: stop after this time of training: 90s, 10m, 1h30m. Scoring does not count.
        existing: what to do with a run folder that exists: `continue` (a finished run returns its
            summary, an interrupted one goes on, another configuration is refused), `resume` (go on
            in spite of another configuration) or `restart` (from nothing).
    """

    seed: int
    budget: int
    max_time: str | None
    existing: Literal["continue", "resume", "restart"]


@dataclass(kw_only=True)
class Sample:
    """Settings of `python -m src.sample`.

    Attributes:
        run: the run folder; it says everything about the model.
        what: to draw.
        n: samples, or rows of an interpolation; of a traversal, rows of each structured code
            (InfoGAN), or of how many numbers of the code (autoencoders), if it has as many.
        label: class of a conditional model, by name or index.
        seed: of the codes: the same seed gives the same picture.
        data: `root`, where the data lie now, if they have moved; for `neighbours`.
        out: `.png` is a grid, `.gif` a film, `.npz` an array, anything else a folder of PNGs.
        device: such as cpu or cuda; `auto` takes a GPU if there is one.
    """

    run: str
    what: Literal["samples", "neighbours", "interpolation", "traversal", "progress"]
    n: int
    label: str | int | None
    seed: int
    data: dict
    out: str
    device: str


@dataclass(kw_only=True)
class Evaluate:
    """Settings of `python -m src.evaluate`.

    Attributes:
        run: the run folder.
        data: `root`, where the data lie now, if they have moved; `cache`, of reals' features.
        device: such as cpu or cuda; `auto` takes a GPU if there is one.
    """

    run: str
    data: dict
    device: str


@dataclass(kw_only=True)
class Status:
    """Settings of `python -m src.status`.

    Attributes:
        runs: the folder whose runs are shown.
        watch: show them again and again.
        every: seconds between two times.
    """

    runs: str
    watch: bool
    every: float


@dataclass(kw_only=True)
class CompareWandb:
    """Weights & Biases, of `compare`.

    Attributes:
        log: write the tables and pictures into a run there.
        mode: `auto` goes online with a key and a server that answers, else offline.
        project: its home.
        group: such as that of the runs.
    """

    log: bool
    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    group: str | None


@dataclass(kw_only=True)
class Compare:
    """Settings of `python -m src.compare`.

    Attributes:
        runs: a folder with runs below, a pattern such as outputs/*/dcgan, a list [a,b] of these, or
            wandb:entity/project/group for the runs of Weights & Biases.
        by: what names a group: `model`, a part such as `penalty`, a setting such as `budget`, or a
            list of these; null puts together what differs in the seed only.
        metric: `fid`, or `fid10k_mnist`; null takes the headline number of each data set.
        x: a setting of numbers, such as model.objective.beta, for out=curves.png.
        y: the numbers to draw against it, such as [mse,kl,mig]; null: the first 12.
        out: by its ending .html, .md, .tex, .csv or .json; a folder gets all; null writes nothing.
            With x: .png, .svg or .pdf.
    """

    runs: str | list[str]
    by: str | list[str] | None
    metric: str | None
    x: str | None
    y: str | list[str] | None
    out: str | None


def compose(name: str, overrides: list[str]) -> DictConfig:
    """The configuration `conf/<name>.yaml` with overrides, Hydra's own node included.

    Raises:
        SettingError: naming the misspelt key or unknown choice, and the nearest match.
    """
    outer = GlobalHydra.instance().hydra  # set inside of a sweep, and only one can be
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                return hydra_compose(name, overrides, return_hydra_config=True)
            except MissingConfigException as error:
                raise _unknown_choice(error) from error
            except OverrideParseException as error:
                raise SettingError(f"Cannot read {error.override!r}: write key=value.") from error
            except yaml.MarkedYAMLError as error:
                mark = error.problem_mark
                where = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
                raise SettingError(f"{where}: {error.problem}.") from error
            # ValueError: of a group's choice that is null.
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                raise _refused_override(name, overrides, error) from error
    finally:
        GlobalHydra.instance().hydra = outer


def _unknown_choice(error: MissingConfigException) -> SettingError:
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    options = sorted(error.options or [])
    return SettingError(
        f"{group}={choice}: there is no such choice.{_near(choice, options)}\n"
        f"Choices of {group}: {', '.join(options)}"
    )


def _refused_override(name: str, overrides: list[str], error: Exception) -> SettingError:
    """Find the override that is at fault: the first that does not compose on the defaults."""
    keys = [re.split(r"[=@:]", text.lstrip("+~"), maxsplit=1)[0] for text in overrides]
    choices = [
        text
        for text in overrides
        if (CONF / text.partition("=")[0]).is_dir() and not text.endswith("=null")
    ]
    base = hydra_compose(name, choices, return_hydra_config=True)
    known = [*_leaves(base, nodes=True), *_groups()]
    for key, text in zip(keys, overrides, strict=True):
        if key not in known and not text.startswith("+") and not key.startswith("hydra."):
            return SettingError(f"{key}: there is no such setting.{_near(key, known)}")
    first = str(error.__cause__ or error).splitlines()[0]
    return SettingError(f"{' '.join(overrides)}: {first}")


def _near(word: str, known: list[str]) -> str:
    """' Did you mean x?' - by the last part of a dotted key too, where users forget the path."""
    match = [key for key in known if key.endswith(f".{word}")]
    match = match or difflib.get_close_matches(word, known, 1, 0.7)
    if not match:
        tails = {key.rpartition(".")[2]: key for key in reversed(known)}
        tail = difflib.get_close_matches(word.rpartition(".")[2], tails, 1, 0.75)
        match = [tails[tail[0]]] if tail else []
    return f" Did you mean {match[0]}?" if match else ""


def _groups() -> list[str]:
    return sorted({str(path.parent.relative_to(CONF)) for path in CONF.rglob("*/*.yaml")})


def _leaves(config: DictConfig, nodes: bool = False) -> list[str]:
    """Dotted keys of a configuration, Hydra's own left out."""

    def walk(node: Mapping, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                if nodes:
                    yield f"{prefix}{key}"
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    return list(walk(plain(config, resolve=False), ""))


def check(config: DictConfig) -> None:
    """Check all settings of `train` against the constructors that will receive them.

    Raises:
        SettingError: for the first setting that cannot work.
    """
    raw = plain(config, resolve=False)
    for group in GROUPS:
        # First of all, since what is not met can leave an interpolation such as ${data.dim} empty.
        _check_requirements(group, raw.get(group), config)
    _check_all(raw)
    settings = plain(config)
    _check_all(settings)
    if settings["budget"] <= 0:
        raise SettingError(f"budget={settings['budget']} must be positive: samples to train on.")
    if not 0 <= settings["seed"] < 2**32:
        raise SettingError(f"seed={settings['seed']} must be from 0 to 4294967295.")
    if settings["max_time"] is not None:
        parse_duration(settings["max_time"])
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
    _check_arguments("", top, signature("src.config.Train"))
    _check_arguments("wandb.", settings["wandb"], signature("src.config.Wandb"))
    _check_arguments("trainer.", settings["trainer"], signature("src.config.Trainer"))
    for name, node in settings["callbacks"].items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise SettingError(
                f"callbacks.{name}={node} is no callback: it has no _target_.\n"
                f"To leave one out, say ~callbacks.{name}"
            )
    for group in GROUPS:
        if isinstance(settings.get(group), Mapping):
            _check_node(group, settings[group])


def check_sample(config: DictConfig) -> None:
    """Check the settings of `sample`; raises SettingError."""
    settings = _with_run(config, "sample")
    _check_arguments("", settings, signature("src.config.Sample"))
    if settings["n"] <= 0:
        raise SettingError(f"n={settings['n']} must be positive: samples to draw.")


def check_evaluate(config: DictConfig) -> None:
    """Check the settings of `evaluate`; raises SettingError."""
    settings = _with_run(config, "evaluate")
    metrics = settings.pop("metrics")
    _check_arguments("", settings, signature("src.config.Evaluate"))
    _check_node("metrics", metrics)


def check_status(config: DictConfig) -> None:
    """Check the settings of `status`; raises SettingError."""
    _check_arguments("", plain(config), signature("src.config.Status"))


def check_sweep(hydra: Mapping[str, Any]) -> None:
    """Check `launcher` and `sweeper` of a sweep.

    Raises:
        SettingError: for a setting that they do not have, or one that is not ours.
    """
    for kind, module in (("launcher", "src.launchers."), ("sweeper", "src.search.")):
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
    settings = plain(config)
    _check_arguments("wandb.", settings.pop("wandb"), signature("src.config.CompareWandb"))
    _check_arguments("", settings, signature("src.config.Compare"))
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
            f"There are {', '.join(endings)}; a folder, without an ending, gets all of them."
        )


def _with_run(config: DictConfig, command: str) -> dict[str, Any]:
    if OmegaConf.is_missing(config, "run"):
        raise SettingError(f"Which run? python -m src.{command} run=outputs/<data>/<model>/...")
    return plain(config)


GROUPS = ("model", "data", "trainer", "metrics", "callbacks", "logger", "wandb", "hydra")


def _check_requirements(path: str, node: Any, config: DictConfig) -> None:
    if not isinstance(node, Mapping):
        return
    for key, allowed in node.get("requires", {}).items():
        value = OmegaConf.select(config, key)
        if value not in allowed:
            raise SettingError(
                f"{path} cannot be used with {key}={value}.\n"
                f"It needs {key} to be {' or '.join(map(str, allowed))}."
            )
    for key, value in node.items():
        _check_requirements(f"{path}.{key}", value, config)


def _check_node(path: str, node: Mapping[str, Any]) -> None:
    """Check a node and what is inside of it: that names and types of arguments are right."""
    for key, value in node.items():
        if isinstance(value, Mapping) and key not in RESERVED:
            _check_node(f"{path}.{key}", value)
    if "_target_" in node:
        skip = RESERVED | set(RECIPE) if path == "model" else RESERVED
        arguments = {key: value for key, value in node.items() if key not in skip}
        parameters = dict(signature(node["_target_"]))
        for name in GIVEN.get(path, ()):
            parameters.pop(name)
        _check_arguments(f"{path}.", arguments, parameters)
        for name, parameter in parameters.items():
            if parameter.required and name not in arguments and not node.get("_partial_"):
                raise SettingError(f"{path}.{name} must be given: {node['_target_']} needs it.")


def _check_arguments(prefix: str, values: Any, parameters: Mapping) -> None:
    if not isinstance(values, Mapping):
        raise SettingError(
            f"{prefix.rstrip('.')}={values} cannot be.\nSettings there: {', '.join(parameters)}"
        )
    for key, value in values.items():
        if key not in parameters:
            raise SettingError(
                f"{prefix}{key}: there is no such setting.{_near(key, list(parameters))}\n"
                f"Settings there: {', '.join(parameters)}"
            )
        annotation = parameters[key].annotation
        unresolved = isinstance(value, str) and value.startswith("${")
        if not unresolved and not fits(value, annotation):
            group = f"{prefix}{key}".replace(".", "/")
            cure = f"\nChoose a part with a slash: {group}={value}" if group in _groups() else ""
            raise SettingError(f"{prefix}{key}={value} must be {spell(annotation)}.{cure}")


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """A configuration as plain dictionaries, Hydra's own node left out.

    Raises:
        SettingError: if an interpolation leads nowhere.
    """
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        return OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise SettingError(f"{error.full_key}: {str(error).splitlines()[0]}.") from error


def choices_of(config: DictConfig) -> dict[str, str]:
    """The names of presets and parts by their slots, which the settings alone do not say."""
    chosen = config.hydra.runtime.choices.items()
    return {slot: choice for slot, choice in chosen if "hydra" not in slot}


def bears_on_result(key: str) -> bool:
    """Whether a dotted key is part of what a run is; the rest may change from call to call."""

    def below(nodes: tuple[str, ...]) -> bool:
        return any(key == node or key.startswith(f"{node}.") for node in nodes)

    return below(RESULT) or not below(NOT_RESULT)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@cache
def _preset(*choices: str) -> DictConfig:
    """A configuration as its presets say; a sweep asks for the same few many times."""
    return compose("train", list(choices))


def run_folder(config: DictConfig) -> str:
    """`<data>/<model>/<variant>/seed=<n>`: a run's place below the output folder.

    `<variant>` is the difference between the configuration and its preset, so that two calls that
    mean the same share a folder, however they are spelt; `default` if there is none.
    """
    choices = dict(config.hydra.runtime.choices)
    named = [f"{group}={choices[group]}" for group in ("model", "data")]
    if choices.get("experiment"):
        named.insert(0, f"experiment={choices['experiment']}")
    base = _preset(*named)
    default_choices = base.hydra.runtime.choices
    slots = [
        f"{group}={choice}"
        for group, choice in sorted(choices.items())
        if not group.startswith("hydra") and default_choices.get(group) != choice
        # The trainer's settings speak for themselves: most do not bear on the result.
        if (bears_on_result(group) or bears_on_result(f"{group}.{choice}")) and group != "trainer"
    ]
    standard = _preset(*named, *slots) if slots else base
    default = flatten(plain(standard, resolve=False))
    parts = [choices["experiment"].replace("/", "-")] if choices.get("experiment") else []
    parts += [part.replace("model/", "").replace("/", ".") for part in slots]
    parts += [
        f"{key.removeprefix('model.')}={value}"
        for key, value in sorted(flatten(plain(config, resolve=False)).items())
        if key not in IN_FOLDER_NAME and bears_on_result(key)
        if value != default.get(key, "_absent")
        # What is spelt out may be what stands there anyway.
        and OmegaConf.select(config, key) != OmegaConf.select(standard, key)
    ]
    variant = re.sub(r"[^\w.=,+-]+", "_", ",".join(parts)) or "default"
    if len(variant) > 80:
        variant = f"{variant[:70]}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
    data = choices["data"]
    if config.data.source == "builtin" and default["data.source"] != "builtin":
        data += "-builtin"
    return f"{data}/{choices['model']}/{variant}/seed={config.seed}".replace("//", "/")
