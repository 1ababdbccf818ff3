"""Finding the model that a user named: one that comes with popk, or one in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk.errors import PopkError

if TYPE_CHECKING:
    from popk.model import PopModel

__all__ = ["CatalogueError", "find_model", "list_models"]


class CatalogueError(PopkError):
    """There is no such model, or its file does not hold one; the text says what to do."""


def find_model(name: str) -> PopModel:
    """The model a user named: one that comes with popk, one in a JSON file or in a Python file.

    Raises
    ------
    CatalogueError
        When there is none.
    ModelError
        When a JSON file does not hold one.
    """
    from popk.model import PopModel

    if name.endswith(".json"):
        return PopModel.from_json(_text_of(Path(name)))
    file, _, attribute = name.rpartition(":") if ".py:" in name else (name, "", "model")
    found = _from_file(Path(file), attribute) if file.endswith(".py") else _shipped(name)
    if not isinstance(found, PopModel):
        raise CatalogueError(
            f"{name}: {attribute} is of type {type(found).__name__}; expected a popk.PopModel."
        )
    return found


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise CatalogueError(f"There is no model file {path}.") from None
    except OSError as fault:
        raise CatalogueError(f"The model file {path} cannot be opened: {fault.strerror}.") from None
    except UnicodeDecodeError as fault:
        raise CatalogueError(
            f"The model file {path} is not UTF-8 text (byte {fault.start + 1}), which JSON is."
        ) from None


def list_models() -> tuple[PopModel, ...]:
    """The models that come with popk, by name."""
    return tuple(find_model(name) for name in _names())


def _names() -> list[str]:
    from importlib import import_module
    from pkgutil import iter_modules

    models = import_module("popk.models")
    return sorted(module.name for module in iter_modules(models.__path__))


def _shipped(name: str) -> Any:
    from importlib import import_module

    names = _names()
    if name not in names:
        raise CatalogueError(
            f"There is no model {name}; popk comes with {', '.join(names)}. For a model of your "
            "own give a Python file that defines `model`, as my_model.py."
        )
    return getattr(import_module(f"popk.models.{name}"), "model", None)


def _from_file(path: Path, attribute: str) -> Any:
    from importlib.util import module_from_spec, spec_from_file_location

    if not path.is_file():
        raise CatalogueError(f"There is no model file {path}.")
    name = "popk_model_file"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CatalogueError(f"{path} cannot be read as a Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses defined in the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as fault:
        raise CatalogueError(f"The model file {path} fails: {_explained(fault, path)}") from fault
    if not hasattr(module, attribute):
        raise CatalogueError(
            f"{path} does not define {attribute}. Give the model that name, or say which one is "
            f"meant: {path}:NAME."
        )
    return getattr(module, attribute)


def _explained(fault: Exception, path: Path) -> str:
    from traceback import extract_tb

    lines = [at.lineno for at in extract_tb(fault.__traceback__) if at.filename == str(path)]
    line = fault.lineno if isinstance(fault, SyntaxError) else lines[-1] if lines else None
    what = fault.msg if isinstance(fault, SyntaxError) else str(fault)
    return f"line {line}, {type(fault).__name__}: {what}"
