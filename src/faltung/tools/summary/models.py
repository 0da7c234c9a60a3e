"""A model and its inputs, from what a user writes: `package.module:factory(10)`, `1x3x224x224`."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ArgumentError, ArgumentTypeError
from ..options import sizes

_FORM = "package.module:name, path/to/file.py:name or package.module:name(64, bias=False)"


class _Function(nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        """The function's value."""
        return self.function(*inputs)


def as_module(model: Any) -> nn.Module:
    """The model, or a module around a function.

    Raises `ArgumentTypeError` for what cannot be called.
    """
    if isinstance(model, nn.Module):
        return model
    if not callable(model):
        raise ArgumentTypeError(
            f"a model is a torch.nn.Module or a function of tensors, got {type(model).__name__}"
        )
    return _Function(model)


def as_inputs(model: nn.Module, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The inputs, with zeros in place of shapes, of the dtype and on the device of the model.

    >>> as_inputs(nn.Conv2d(3, 8, 3).double(), [(1, 3, 9, 9)])[0].dtype
    torch.float64
    """
    if not inputs:
        raise ArgumentError("a model needs its inputs: tensors, or shapes like (1, 3, 224, 224)")
    learned = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    like = learned[0] if learned else torch.zeros(0)
    return tuple(like.new_zeros(tuple(given)) if _is_shape(given) else given for given in inputs)


def shape_of(text: str) -> tuple[int, ...]:
    """The shape that the command line spells.

    >>> shape_of("1x3x224x224")
    (1, 3, 224, 224)
    """
    return sizes(text, "--input")


def load_model(expression: str) -> nn.Module:
    """The module that an expression names, made by calling what it names if that is a factory.

    Names are looked up in modules that can be imported from here, arguments are plain Python
    values. Raises `ArgumentError` for an expression that cannot be read or followed.
    """
    place, colon, rest = expression.partition(":")
    if not colon or not rest:
        raise ArgumentError(f"a model reads like {_FORM}, got {expression!r}")
    name, positional, named = _call(rest, expression)
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"{place!r} has no {name!r}")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ArgumentError(f"{expression!r} is no module and no factory of one")
    try:
        model = found(*positional, **named)
    except TypeError as mistake:
        raise ArgumentError(f"{expression!r} cannot be made: {mistake}") from mistake
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"{expression!r} makes a {type(model).__name__}, not a torch.nn.Module")
    return model


@contextmanager
def running(expression: str, inputs: Sequence[str]) -> Iterator[None]:
    """What goes wrong inside a model, as one line for the command line."""
    try:
        yield
    except (ArgumentError, ArgumentTypeError):
        raise
    except Exception as mistake:
        first = (str(mistake) or type(mistake).__name__).splitlines()[0]
        raise ArgumentError(
            f"{expression} does not run on {', '.join(inputs)}: {first}"
        ) from mistake


def _call(text: str, expression: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name that is called, and the arguments, which must be plain values."""
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.Call):
            return _dotted(tree), [], {}
        positional = [ast.literal_eval(argument) for argument in tree.args]
        named = {k.arg: ast.literal_eval(k.value) for k in tree.keywords if k.arg is not None}
        return _dotted(tree.func), positional, named
    except (SyntaxError, ValueError) as mistake:
        raise ArgumentError(f"a model reads like {_FORM}, got {expression!r}") from mistake


def _dotted(tree: ast.expr) -> str:
    if isinstance(tree, ast.Attribute):
        return f"{_dotted(tree.value)}.{tree.attr}"
    if isinstance(tree, ast.Name):
        return tree.id
    raise ValueError("neither a name nor an attribute")


def _module(place: str) -> Any:
    """A module by its name or by its file; the working directory is searched, too."""
    if place.endswith(".py"):
        path = Path(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ArgumentError(f"there is no file {place!r}")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # classes look themselves up by their module
        spec.loader.exec_module(module)
        return module
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        importlib.invalidate_caches()  # the file may be newer than what Python knows of the folder
        return importlib.import_module(place)
    except ModuleNotFoundError as missing:
        if missing.name is not None and not f"{place}.".startswith(f"{missing.name}."):
            raise
        raise ArgumentError(f"there is no module {place!r} to import") from missing


def _is_shape(given: Any) -> bool:
    return (
        isinstance(given, list | tuple)
        and not isinstance(given, Tensor)
        and bool(given)
        and all(isinstance(size, int) for size in given)
    )
