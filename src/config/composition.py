"""Composition of a configuration, and what it says of a run: its identity and its folder.

`conf/<command>.yaml` is composed with the overrides of the command line, and `src/config/checks.py`
then checks it. Neither imports torch, so that what is wrong is said at once.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import SettingError

# OmegaConf derives its loader from this name. libyaml, where PyYAML has it, reads the same several
# times as fast, which every command feels.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

OmegaConf.register_new_resolver("times", lambda a, b: a * b, replace=True)
# Lets a preset name a width for some resolutions: `${by_resolution:${data.resolution},{28:32},64}`.
OmegaConf.register_new_resolver(
    "by_resolution", lambda resolution, known, other: known.get(resolution, other), replace=True
)

ROOT = Path(__file__).parents[1]
# A clone has conf/ beside src/, an installed wheel inside of it.
CONF = next(path for path in (ROOT / "conf", ROOT.parent / "conf") if path.is_dir())

# What does not bear on the result: not compared, and not in the run folder's name.
NOT_RESULT = (
    "wandb",
    "logger",
    "existing",
    "plugins",
    "data.root",
    "data.cache",
    "data.reading",
    "metrics.cache",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.detect_anomaly",
    "trainer.profiler",
    "callbacks",  # noise is a function of seed and iteration: what happens beside changes nothing
)
RESULT = ("callbacks.equilibrium", "callbacks.early_stopping")  # but these end the training
IN_FOLDER_NAME = ("seed", "data.source")

OPTIONAL = ("experiment", "debug")  # groups of which none need be chosen
# Words of other tools, and what serves here.
_BUDGET = "Use budget=..., the number of training samples."
_RATE = "Optimisers have rates of their own: model.g_optimizer.lr=..., model.optimizer.lr=..."
HINTS = {
    **dict.fromkeys(("epochs", "steps", "iterations"), _BUDGET),
    **dict.fromkeys(("lr", "learning_rate", "model.lr"), _RATE),
    "batch_size": "Use model.batch_size=...",
    "gpus": "Use trainer=gpu, and trainer.devices=... for several.",
    "devices": "Use trainer.devices=...",
}
_SCORES = "Use callbacks.quality.every=..., samples between two scorings."
_EVALUATED = "Use metrics.n=..., the number of samples that are scored."
_RANKS = "Use trainer.devices=...; see docs/scaling.md."
# Arguments of Lightning's Trainer that have another name here, or none.
TRAINER = {
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps"), _BUDGET),
    "limit_train_batches": _BUDGET,
    **dict.fromkeys(
        ("limit_val_batches", "limit_test_batches", "limit_predict_batches"), _EVALUATED
    ),
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), _SCORES),
    **dict.fromkeys(("strategy", "num_nodes", "use_distributed_sampler"), _RANKS),
    "sync_batchnorm": "Each rank has statistics of its own; try model.discriminator.norm=layer.",
    "max_time": "Use max_time=10m.",
    "fast_dev_run": "Use debug=quick.",
    "overfit_batches": "Use debug=overfit, and with it trainer.overfit_batches=...",
    "num_sanity_val_steps": "Use debug=quick, which scores after two iterations.",
    "log_every_n_steps": "Use callbacks.records.every=..., samples between two rows.",
    "logger": "Use logger=csv, wandb, tensorboard, or several: logger=[wandb,tensorboard].",
    "callbacks": "Use +callbacks.NAME._target_=lightning.pytorch.callbacks.CLASS.",
    "enable_checkpointing": "Use ~callbacks.checkpoint to have none.",
    "enable_progress_bar": "Use ~callbacks.progress to have none.",
    "enable_model_summary": "Parameters of each network are in summary.json.",
    **dict.fromkeys(
        ("gradient_clip_val", "gradient_clip_algorithm"),
        "Use model.clip=..., the norm to which each player's gradient is cut.",
    ),
    "accumulate_grad_batches": "Use model.batch_size=...",
    "default_root_dir": "Use hydra.run.dir=...",
    "inference_mode": "Scores and pictures are always made without gradients.",
    "reload_dataloaders_every_n_epochs": "The data are one endless stream.",
    **dict.fromkeys(
        ("plugins", "barebones", "enable_autolog_hparams", "model_registry"),
        "It is the same for all runs.",
    ),
}
HINTS["trainer.gpus"] = HINTS["gpus"]
HINTS |= {f"trainer.{name}": hint for name, hint in TRAINER.items()}
HINTS |= {name: hint for name, hint in TRAINER.items() if "_" in name}


def compose(name: str, overrides: list[str]) -> DictConfig:
    """The configuration `conf/<name>.yaml` with overrides, Hydra's own node included.

    Raises:
        SettingError: naming the misspelt key or unknown choice, and the nearest match.
    """
    overrides = list(map(_in_full, overrides))
    outer = GlobalHydra.instance().hydra  # set inside of a sweep, and only one can be
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                config = _with_names(hydra_compose(name, overrides, return_hydra_config=True))
            except MissingConfigException as error:
                raise _unknown_choice(error) from error
            except OverrideParseException as error:
                raise SettingError(f"Cannot read {error.override!r}: write key=value.") from error
            except yaml.MarkedYAMLError as error:
                mark = error.problem_mark
                where = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
                raise SettingError(f"{where}: {error.problem}.") from error
            # ValueError, TypeError: of a group's choice that is null, or no name.
            except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
                raise _refused_override(name, overrides, error) from error
    finally:
        GlobalHydra.instance().hydra = outer
    _check_places(config)
    return config


def _check_places(config: DictConfig) -> None:
    """Check that the folders of `hydra.searchpath` exist; Hydra passes over those that do not.

    Raises:
        SettingError: if there is no such folder.
    """
    for place in config.hydra.searchpath:
        scheme, _, path = str(place).rpartition("://")
        if scheme in ("", "file") and not Path(path).is_dir():
            raise SettingError(f"hydra.searchpath: there is no folder {path}.")


def _in_full(override: str) -> str:
    """Write out a budget such as `10k` or `1.5M`, and `debug=nan`, which is a number to Hydra."""
    if override == "debug=nan":
        return "debug='nan'"
    if not re.match(r"(model\.)?budget=", override):
        return override
    return re.sub(
        r"(?<![\w.])(\d+(?:\.\d+)?)([kM])\b",
        lambda match: f"{float(match[1]) * {'k': 1e3, 'M': 1e6}[match[2]]:.0f}",
        override,
    )


def _with_names(config: DictConfig) -> DictConfig:
    """Make texts of classes that are called by numbers: `data.labels=[3,5]`."""
    data = config.get("data")
    if OmegaConf.is_dict(data) and "labels" in data:
        labels = data.labels
        for i, label in enumerate(labels if OmegaConf.is_list(labels) else []):
            if type(label) is int:
                labels[i] = str(label)
    return config


def _unknown_choice(error: MissingConfigException) -> SettingError:
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    if group.startswith("experiment"):  # whose choices lie in folders of their own
        group, choice = "experiment", str(error.missing_cfg_file).removeprefix("experiment/")
        paths = (CONF / group).rglob("*.yaml")
        options = sorted(str(p.relative_to(CONF / group).with_suffix("")) for p in paths)
    else:
        options = sorted(error.options or [])
    return SettingError(
        f"{group}={choice}: there is no such choice.{near(choice, options)}\n"
        f"Choices of {group}: {', '.join(options)}"
    )


def _refused_override(name: str, overrides: list[str], error: Exception) -> SettingError:
    """Find the override that is at fault: the first that does not compose on the defaults."""
    keys = [re.split(r"[=@:]", text.lstrip("+~"), maxsplit=1)[0] for text in overrides]
    choices = [
        text
        for text in overrides
        if ((CONF / text.partition("=")[0]).is_dir() and not text.endswith("=null"))
        or text.startswith("hydra.searchpath=")  # where choices of one's own may lie
    ]
    for key, text in zip(keys, overrides, strict=True):
        if text == f"{key}=null" and key in groups() and key not in OPTIONAL:
            options = sorted(path.stem for path in (CONF / key).glob("*.yaml"))
            return SettingError(f"{text} cannot be.\nChoices of {key}: {', '.join(options)}")
    first = str(error.__cause__ or error).splitlines()[0]
    try:
        base = hydra_compose(name, choices, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError, TypeError):
        return SettingError(f"{' '.join(overrides)}: {first}\nWrite key=value, group=choice.")
    known = [*_leaves(base, nodes=True), *groups()]
    for key, text in zip(keys, overrides, strict=True):
        if key not in known and (hint := HINTS.get(key)):
            return SettingError(f"{key}: there is no such setting.\n{hint}")
        if key not in known and not text.startswith("+") and not key.startswith("hydra."):
            cure = near(key, known)
            above = OmegaConf.select(base, key.rpartition(".")[0] or "unknown")
            if not cure and isinstance(above, DictConfig):
                cure = f"\nSettings there: {', '.join(map(str, above))}"
            return SettingError(f"{key}: there is no such setting.{cure}")
    return SettingError(f"{' '.join(overrides)}: {first}")


def near(word: str, known: list[str]) -> str:
    """' Did you mean x?' - by the last part of a dotted key too, where users forget the path."""
    # Not where it was looked for.
    known = [key for key in known if not word.startswith(f"{key.replace('/', '.')}.")]
    match = [key for key in known if key.endswith((f".{word}", f"/{word}"))]
    match = match or difflib.get_close_matches(word, known, 1, 0.7)
    if not match:
        tails = {key.rpartition(".")[2]: key for key in reversed(known)}
        tail = difflib.get_close_matches(word.rpartition(".")[2], tails, 1, 0.75)
        match = [tails[tail[0]]] if tail else []
    return f" Did you mean {match[0]}?" if match else ""


def groups(place: Path = CONF) -> list[str]:
    """List the groups of choices below a folder: `model`, `model/loss`, `data` ..."""
    return sorted({str(path.parent.relative_to(place)) for path in place.rglob("*/*.yaml")})


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


def get_choices(config: DictConfig) -> dict[str, str]:
    """The names of presets and parts by their slots, which the settings alone do not say."""
    chosen = config.hydra.runtime.choices.items()
    return {slot: choice for slot, choice in chosen if "hydra" not in slot}


def bears_on_result(key: str) -> bool:
    """True if a dotted key bears on a run's result; other settings may change from call to call."""

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

    `<data>` is the preset, or `data.name` where the user gave one.

    `<variant>` is the difference between the configuration and its preset, so that two calls that
    mean the same share a folder, however they are spelt; `default` if there is none.
    """
    choices = dict(config.hydra.runtime.choices)
    named = [f"{group}={choices[group]}" for group in ("model", "data")]
    if choices.get("experiment"):
        named.insert(0, f"experiment={choices['experiment']}")
    if config.hydra.searchpath:  # where choices of one's own may lie
        named.append(f"hydra.searchpath={[str(path) for path in config.hydra.searchpath]}")
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
    data = choices["data"]
    if config.data.get("name") != default.get("data.name"):
        data = re.sub(r"[^\w.+-]+", "_", str(config.data.name)).strip("._")[:80] or data
    parts += [
        f"{key.removeprefix('model.')}={value}"
        for key, value in sorted(flatten(plain(config, resolve=False)).items())
        if key not in IN_FOLDER_NAME and bears_on_result(key)
        if key != "data.name"
        if value != default.get(key, "_absent")
        # What is spelt out may be what stands there anyway.
        and OmegaConf.select(config, key) != OmegaConf.select(standard, key)
    ]
    variant = re.sub(r"[^\w.=,+-]+", "_", ",".join(parts)) or "default"
    if len(variant) > 80:
        variant = f"{variant[:70]}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
    if config.data.source == "builtin" and default["data.source"] != "builtin":
        data += "-builtin"
    return f"{data}/{choices['model']}/{variant}/seed={config.seed}".replace("//", "/")
