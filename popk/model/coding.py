"""The parts of a model as plain values and back: what JSON and the hash rest on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from popk import statistics, structure
from popk.errors import PopkError, SettingError
from popk.model.refusal import ModelError
from popk.statistics import (
    CovariateEffect,
    Prior,
    ResidualError,
)
from popk.structure import Structure


def encode(part: Any) -> Any:
    """A part as plain values: tuples as lists, anything else by its type and arguments.

    Arguments that were left empty, and settings (by keyword only) that were left at their default,
    are left out, so that a structure that learns to take one more keeps the hash of the models that
    do not use it.
    """
    if part is None or isinstance(part, str | int | float | bool):
        return part
    if isinstance(part, tuple):
        return [encode(item) for item in part]
    encoded = {name: encode(value) for name, value in _arguments(part).items()}
    return {"type": type(part).__name__, **encoded}


def decoded(content: Any, field: str) -> dict[str, Any]:
    """Parts by name, from the plain values of a field.

    Raises
    ------
    ModelError
        When these are no parts by name, or one is not known.
    """
    if not isinstance(content, Mapping):
        raise ModelError([_no_fit(field, content, "an object, parts by name")])
    return {name: decode(value) for name, value in content.items()}


def decoded_list(content: Any, field: str) -> tuple[Any, ...]:
    """Parts in order, from the plain values of a field.

    Raises
    ------
    ModelError
        When these are no list, or a part is not known.
    """
    if not isinstance(content, list):
        raise ModelError([_no_fit(field, content, "a list")])
    return tuple(map(decode, content))


def _no_fit(field: str, content: Any, wanted: str) -> str:
    return f"the JSON has {json.dumps(content)} as {field}; expected {wanted}."


def decode(content: Any) -> Any:
    """A part from what `encode` made of it.

    Raises
    ------
    ModelError
        When the part is not known, has a field that it does not take, or lacks one.
    """
    if isinstance(content, list):
        return tuple(map(decode, content))
    if not isinstance(content, Mapping):
        return content
    kinds = _known_parts()
    if "type" not in content:
        raise ModelError([f"the JSON has {json.dumps(content)}, a part without its type."])
    name = content["type"]
    if not isinstance(name, str) or name not in kinds:
        raise ModelError([f"it uses {name}, which is not known here; import what defines it."])
    kind, given = kinds[name], {k: v for k, v in content.items() if k != "type"}
    known = inspect.signature(kind).parameters
    if unknown := [field for field in given if field not in known]:
        raise ModelError(
            [f"{name} has no {', '.join(unknown)}; it takes {', '.join(known) or 'nothing'}."]
        )
    needed = [field for field, p in known.items() if p.default is inspect.Parameter.empty]
    if missing := [field for field in needed if field not in given]:
        raise ModelError([f"{name} needs {', '.join(missing)}, which the JSON does not have."])
    parts = {field: decode(value) for field, value in given.items()}
    try:
        return kind(**parts)
    except (TypeError, ValueError, AttributeError) as fault:
        if isinstance(fault, PopkError):
            raise
        raise ModelError(
            [f"{name} cannot be made of {json.dumps(given)}, which the JSON has: {fault}."]
        ) from None


def _arguments(part: Any) -> dict[str, Any]:
    """What a part was made from, without arguments and settings that were not given."""
    given = {name: getattr(part, name) for name in inspect.signature(type(part)).parameters}
    # A field whose value a property shows has an underscore before its name.
    known = {f.name.removeprefix("_"): f for f in fields(part)} if is_dataclass(part) else {}

    def left_out(name: str, value: Any) -> bool:
        field = known.get(name)
        may_be = field is not None and (_is_empty(value) or field.kw_only is True)
        return may_be and bool(value == _default(field))

    return {name: value for name, value in given.items() if not left_out(name, value)}


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _is_empty(value: Any) -> bool:
    if is_dataclass(value) and not isinstance(value, type) and fields(value):
        return all(_is_empty(getattr(value, field.name)) for field in fields(value))
    return value is None or (isinstance(value, tuple) and not value)


def written(part: Any) -> str:
    """A part as a user would write it: without what would be the same if it were not given."""
    how = getattr(type(part), "__dataclass_params__", None)
    if how is None or not how.repr:  # it has a text of its own
        return repr(part)
    given = _arguments(part)
    known = inspect.signature(type(part)).parameters
    for name in [name for name in given if known[name].default is not inspect.Parameter.empty]:
        fewer = {key: value for key, value in given.items() if key != name}
        try:
            given = fewer if type(part)(**fewer) == part else given
        except SettingError:  # the others need it
            continue
    listed = (f"{name}={written(value)}" for name, value in given.items())
    return f"{type(part).__name__}({', '.join(listed)})"


def _known_parts() -> dict[str, type]:
    parts: dict[str, type] = {}
    for module in (structure, statistics):
        for name in module.__all__:
            if isinstance(part := getattr(module, name), type):
                parts[name] = part
    bases: list[type[Any]] = [Structure, Prior, CovariateEffect, ResidualError]
    while bases:
        derived: list[type[Any]] = bases.pop().__subclasses__()
        for kind in derived:
            parts.setdefault(kind.__name__, kind)
        bases += derived
    return parts
