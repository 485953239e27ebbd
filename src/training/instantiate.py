"""From a checked node of a configuration to an object; the only place that builds a `_target_`.

A node is a mapping with the dotted name of a class and its arguments. What an argument is, the
constructor's annotation says: a plain value, a part (`loss: AdversarialLoss`, built before it is
handed over) or the maker of a part (`generator: Callable[..., Generator]`, which the constructor
calls with what it knows of the data). Before anything is called, each class is checked to be a
subclass of the one that is annotated. So a configuration from a stranger can choose among our
parts, each in its place, and nothing else.
"""

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from lightning import Callback

from src.config.checks import RECIPE, RESERVED
from src.config.plugins import import_module, load, prefixes
from src.config.signatures import signature
from src.data.base import DataModule
from src.data.spec import DataSpec
from src.errors import SettingError
from src.models.base import GenerativeModel

T = TypeVar("T")


def build(
    node: Mapping[str, Any],
    base: type[T],
    path: str,
    own: tuple[str, ...] = (),
    /,
    **given: Any,
) -> T:
    """The object that a node describes.

    Args:
        node: `_target_` and arguments, plain values.
        base: class that it must be of.
        path: path of the node in its configuration, for messages.
        own: beginnings of the names of plug-ins, see `plugins.prefixes`.
        given: arguments that the code itself hands over.

    Raises:
        SettingError: if the node does not fit, or its constructor refuses an argument.
    """
    return _maker(node, base, path, own)(**given)


def _maker(
    node: Mapping[str, Any], base: type, path: str, own: tuple[str, ...]
) -> Callable[..., Any]:
    """Callable that makes the object when it gets the arguments that are still missing."""
    cls = _class(str(node.get("_target_")), base, path, own)
    try:
        hints = typing.get_type_hints(cls.__init__)
    except NameError as error:  # of a plug-in that imports it for type checkers only
        raise SettingError(f"{path}: an annotation of {cls.__name__}: {error}.") from error
    arguments = {
        key: _argument(value, hints.get(key), f"{path}.{key}", own)
        for key, value in node.items()
        if key not in RESERVED
    }

    def make(*positional: Any, **given: Any) -> Any:
        try:
            return cls(*positional, **(arguments | given))
        except SettingError:
            raise
        # What constructors of torch and others raise for values that they cannot take.
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise SettingError(f"{path}: {cls.__name__} cannot be made: {reason}") from error

    return make


def _class(target: str, base: type, path: str, own: tuple[str, ...]) -> type:
    """The class of this name, if it is a `base` that can be built."""
    signature(target, own)  # by the source text, so that no module is imported that must not be
    module, _, name = target.rpartition(".")
    find = import_module if target.startswith(own) else importlib.import_module
    cls = getattr(find(module), name)
    if not (isinstance(cls, type) and issubclass(cls, base)) or inspect.isabstract(cls):
        raise SettingError(f"{path}._target_={target} does not fit there: no {base.__name__}.")
    return cls


def _argument(value: Any, hint: Any, path: str, own: tuple[str, ...]) -> Any:
    """A plain value as it is, and nodes as what they describe."""
    if isinstance(value, Mapping) and "_target_" in value:
        base, partial = _slot(hint)
        if base is None:
            raise SettingError(f"{path} takes a plain value, and no _target_.")
        maker = _maker(value, base, path, own)
        return maker if partial else maker()
    if isinstance(value, Mapping):
        return {key: _argument(inner, None, f"{path}.{key}", own) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        inner = next(iter(typing.get_args(hint)), None)
        return [_argument(entry, inner, f"{path}.{i}", own) for i, entry in enumerate(value)]
    return value


def _slot(hint: Any) -> tuple[type | None, bool]:
    """The class that an annotation asks for, and whether it asks for a maker of such."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next((part for part in typing.get_args(hint) if part is not types.NoneType), None)
    if typing.get_origin(hint) is Callable:
        made = typing.get_args(hint)[-1]
        return (made if isinstance(made, type) else None), True
    return (hint if isinstance(hint, type) else None), False


def build_data(settings: Mapping[str, Any]) -> DataModule:
    """The data module; no file is decoded yet. Plug-ins are imported before."""
    own = load(settings["plugins"])
    given = {"batch_size": settings["model"]["batch_size"], "seed": settings["seed"]}
    return build(settings["data"], DataModule, "data", own, **given)


def build_model(settings: Mapping[str, Any], spec: DataSpec) -> GenerativeModel:
    """The model with the initial weights of its seed. Plug-ins are imported before."""
    own = load(settings["plugins"])
    node = {key: value for key, value in settings["model"].items() if key not in RECIPE}
    torch.manual_seed(settings["seed"])
    model = build(node, GenerativeModel, "model", own, spec=spec, seed=settings["seed"])
    model.budget = settings["budget"]
    # Convolutions are faster with channels last, on GPUs and on CPUs; others do not care.
    return model.to(memory_format=torch.channels_last) if spec.kind == "images" else model


def build_callbacks(settings: Mapping[str, Any]) -> list[Callback]:
    """The callbacks, in the order of their configuration."""
    own = prefixes(settings["plugins"])
    nodes = settings["callbacks"].items()
    return [build(node, Callback, f"callbacks.{name}", own) for name, node in nodes]
