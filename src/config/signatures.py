"""Constructor signatures read from source text, without importing torch.

A class's constructor is the schema of its settings: names, types and defaults stand there once. To
check a configuration within a second they are read from the syntax tree, since importing torch and
lightning takes about ten.
"""

import ast
import builtins
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from src.config.plugins import find_source
from src.config.ranges import OPTIMIZER, RANGED
from src.errors import SettingError

# What a configuration may name: classes only, and only from here, or of a plug-in that the command
# names (`own`: the beginnings of their names, see `plugins.prefixes`). What is built of them is
# narrower still: in each slot, the subclasses of the slot's base (`check_kind`).
ALLOWED = (
    "src.",
    "torch.nn.",
    "torch.optim.",
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.loggers.",
)

PLAIN = {"bool": bool, "int": int, "float": int | float, "str": str, "dict": Mapping}
PLAIN["_PATH"] = str  # Lightning's name


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor.

    Attributes:
        annotation: its syntax tree; None if there is none.
        required: True if it has no default.
        module: in which the annotation's names have their meaning.
    """

    annotation: ast.expr | None
    required: bool
    module: Path


class Slot(NamedTuple):
    """Base class of an argument that is built from a node of the configuration.

    Attributes:
        base: name of the class, as `module` imports it.
        module: file in which that name has its meaning.
        partial: True if the argument is what makes such an object, `Callable[..., base]`.
    """

    base: str
    module: Path
    partial: bool


@cache
def signature(target: str, own: tuple[str, ...] = ()) -> Mapping[str, Parameter]:
    """Parameters of the constructor of the class with the dotted name `target`.

    Args:
        target: dotted name.
        own: beginnings of the names of plug-ins.

    Raises:
        SettingError: if the name is not allowed, does not exist, or is not that of a class.
    """
    if not target.startswith((*ALLOWED, *own)) or not (
        len(target) <= 200 and re.fullmatch(r"\w+(\.\w+)+", target, re.ASCII)
    ):
        raise SettingError(
            f"_target_={target[:200]} may not be built from a configuration.\n"
            f"Allowed are names that begin with {', '.join((*ALLOWED, *own))}\n"
            "Classes of your own package are allowed by plugins=[PACKAGE]."
        )
    found = _find(target, own)
    if found is None:
        raise SettingError(f"_target_={target} does not exist.")
    function, module = found
    if not isinstance(function, ast.ClassDef):
        raise SettingError(f"_target_={target} is not a class: only classes can be built.")
    while isinstance(function, ast.ClassDef):
        function, module = _constructor(function, module, own)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    aliases = _Aliases(module)
    parameters = {
        argument.arg: Parameter(
            argument.annotation and aliases.visit(argument.annotation), default is None, module
        )
        for argument, default in [
            *zip(positional, defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
    }
    parameters.pop(next(iter(parameters)))  # self
    if target.startswith("torch.optim."):
        for name in parameters.keys() & OPTIMIZER.keys():
            annotation = ast.parse(OPTIMIZER[name], mode="eval").body
            parameters[name] = replace(parameters[name], annotation=annotation)
    return parameters


def find_slot(parameter: Parameter) -> Slot | None:
    """The slot that an argument is; None if it is one of plain values."""
    return _slot(parameter.annotation, parameter.module)


def _slot(annotation: ast.expr | None, module: Path) -> Slot | None:
    match annotation:
        case ast.BinOp(left=left, right=right):  # X | None
            return _slot(left, module) or _slot(right, module)
        case ast.Subscript(value=ast.Name(id="Callable"), slice=ast.Tuple(elts=[_, made])):
            return Slot(ast.unparse(made), module, partial=True)
        case ast.Name(id=name) if name not in PLAIN and name not in RANGED:
            return Slot(name, module, partial=False)
    return None


def check_kind(path: str, target: str, slot: Slot, own: tuple[str, ...] = ()) -> None:
    """Check that a class is what its slot takes, itself or one of its bases.

    Args:
        path: path of the node, for the message.
        target: dotted name of the class.
        slot: where it is to be put.
        own: beginnings of the names of plug-ins.

    Raises:
        SettingError: if it is something else.
    """
    home, _, name = slot.base.rpartition(".")
    if home.startswith("torch."):  # whose files are long: here by the package, later by the class
        fits_there = target.startswith(f"{home}.")
    else:
        base = _find_in(slot.module, slot.base, own)
        fits_there = base is not None and base in _lineage(target, own)
    if not fits_there:
        raise SettingError(f"{path}._target_={target} does not fit there: it is no {name}.")


def constant(target: str, name: str, own: tuple[str, ...] = ()) -> Any:
    """A class attribute that is written out, read without importing the class.

    Args:
        target: dotted name of the class.
        name: name of the attribute, its own or the next base's that has it.
        own: beginnings of the names of plug-ins.

    Raises:
        SettingError: if no class has it, or its value is not written out.
    """
    for node, module in _lineage(target, own):
        for statement in node.body if isinstance(node, ast.ClassDef) else []:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value):
                    pass
                case ast.Assign(targets=[ast.Name(id=found)], value=value):
                    pass
                case _:
                    continue
            if found == name:
                try:
                    return ast.literal_eval(value)
                except ValueError as error:
                    raise SettingError(
                        f"{module}, line {value.lineno}: {node.name}.{name} must be written out, "
                        "since it is read before the class is imported."
                    ) from error
    raise SettingError(f"_target_={target} has no {name}.")


@cache
def _lineage(target: str, own: tuple[str, ...]) -> list[tuple[ast.AST, Path]]:
    """A class and all its bases, as far as they are found."""
    found = [_find(target, own)]
    for node, module in filter(None, found):  # which grows meanwhile
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        found += [_find_in(module, ast.unparse(base).split("[")[0], own) for base in bases]
    return [entry for entry in found if entry is not None]


def fits(value: object, annotation: ast.expr | None) -> bool:
    """True if a plain configuration value can be an argument of the annotated type.

    Types that a configuration cannot spell (tensors, callables, our own classes) are built from a
    mapping with a `_target_`.
    """
    match annotation:
        case None:
            return True
        case ast.BinOp(left=left, right=right):
            return fits(value, left) or fits(value, right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return value is None or fits(value, inner)
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=options)):
            return any(fits(value, option) for option in options)
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id=name) if name in RANGED:
            kind, interval = RANGED[name]
            return fits(value, ast.Name(kind.__name__)) and interval.holds(value)
        case ast.Name(id="bool" | "int" | "float" | "str" | "dict" | "_PATH" as name):
            if isinstance(value, float) and not math.isfinite(value):
                return False
            return isinstance(value, PLAIN[name]) and isinstance(value, bool) == (name == "bool")
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return value in _literals(choices)
        case ast.Subscript(value=ast.Name(id="Sequence" | "tuple" | "list"), slice=inner):
            is_list = isinstance(value, Sequence) and not isinstance(value, str)
            return is_list and _entries_fit(value, inner)
        case _:
            return isinstance(value, Mapping) and "_target_" in value


def _entries_fit(values: Sequence, inner: ast.expr) -> bool:
    match inner:
        case ast.Tuple(elts=[item, ast.Constant(value=builtins.Ellipsis)]):
            return all(fits(value, item) for value in values)
        case ast.Tuple(elts=items):
            return len(values) == len(items) and all(map(fits, values, items))
        case item:
            return all(fits(value, item) for value in values)


def spell(annotation: ast.expr | None) -> str:
    """Spell an annotation out for an error message."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        return "one of " + ", ".join(map(str, _literals(annotation.slice)))
    if annotation is None:
        return "anything"
    text = ast.unparse(annotation).replace(" | ", " or ")
    for name, (kind, interval) in RANGED.items():
        text = re.sub(rf"\b{name}\b", f"{kind.__name__} {interval}", text)
    return text


def _literals(choices: ast.expr) -> list:
    entries = choices.elts if isinstance(choices, ast.Tuple) else [choices]
    return [ast.literal_eval(entry) for entry in entries]


def _constructor(node: ast.ClassDef, module: Path, own: tuple[str, ...]) -> tuple[ast.AST, Path]:
    """`__init__` of a class, its own or the first base's that has one."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return statement, module
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return _dataclass_constructor(node), module
    for base in node.bases:
        if (found := _find_in(module, ast.unparse(base).split("[")[0], own)) is not None:
            return found
    return ast.parse("def __init__(self): ...").body[0], module


def _dataclass_constructor(node: ast.ClassDef) -> ast.FunctionDef:
    function = ast.parse("def __init__(self, *, x): ...").body[0]
    fields = [entry for entry in node.body if isinstance(entry, ast.AnnAssign)]
    function.args.kwonlyargs = [ast.arg(entry.target.id, entry.annotation) for entry in fields]
    function.args.kw_defaults = [entry.value for entry in fields]
    return function


class _Aliases(ast.NodeTransformer):
    """Puts in the place of a module's own type aliases what they stand for."""

    def __init__(self, module: Path) -> None:
        self.meaning = {
            node.targets[0].id: node.value
            for node in _tree(module).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.meaning.get(node.id, node)


@cache
def _find(target: str, own: tuple[str, ...]) -> tuple[ast.AST, Path] | None:
    """The definition of a dotted name, and the file that it stands in; None if there is none."""
    if not target.startswith((*ALLOWED, *own)):
        return None
    package, *rest = target.split(".")
    path = find_source(package)
    while path and rest:
        if (path / rest[0]).is_dir():
            path = path / rest.pop(0)
            continue
        name = rest.pop(0)
        module = path / f"{name}.py"
        if not module.exists():
            module, rest = (path if path.is_file() else path / "__init__.py"), [name, *rest]
        return _find_in(module, rest[0], own) if len(rest) == 1 else None
    return None


@cache
def _tree(module: Path) -> ast.Module:
    try:
        return ast.parse(module.read_text())
    except (SyntaxError, ValueError) as error:  # of a plug-in
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise SettingError(f"{module}{where}: {str(error).partition(' (')[0]}.") from error


@cache
def _find_in(module: Path, name: str, own: tuple[str, ...]) -> tuple[ast.AST, Path] | None:
    """The definition of `name` in a module, or where its imports lead."""
    if not module.exists():
        return None
    head, dot, rest = name.partition(".")
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, module
        if isinstance(node, ast.Import) and dot:
            for alias in node.names:
                if alias.asname == head:
                    return _find(f"{alias.name}.{rest}", own)
                if alias.name.partition(".")[0] == head and not alias.asname:
                    return _find(name, own)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) not in (head, "*"):
                    continue
                wanted = (name, "") if alias.name == "*" else (alias.name, rest)
                found = _imported(module, node, *wanted, own)
                if found or alias.name != "*":
                    return found
    return _find(name, own) if dot else None


def _imported(
    module: Path, node: ast.ImportFrom, name: str, rest: str, own: tuple[str, ...]
) -> tuple[ast.AST, Path] | None:
    """The definition of what a module imports: a class, or `rest` in a module, by `from ...`."""
    if not node.level:
        return _find(".".join(filter(None, [node.module, name, rest])), own)
    place = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    if rest:  # `from . import losses`, and a base `losses.Mine`
        place, name = place / name, rest
    source = place.with_suffix(".py")
    return _find_in(source if source.exists() else place / "__init__.py", name, own)
