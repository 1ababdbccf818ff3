"""The parts of a model from its JSON: nothing that was written is to be ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from popk.errors import PopkError
from popk.model.card import Card
from popk.model.coding import decode, decoded, decoded_list
from popk.model.refusal import ModelError
from popk.statistics import IIV, IOV

__all__ = ["read_model", "refusing"]

# Fields of a model's JSON: those of every model, and those of models that use them.
_ALWAYS = ("structure", "typical", "iiv", "covariates", "error", "units", "name", "notes")
_IF_USED = (
    "iiv_correlations", "iiv_shapes", "iiv_shared", "iov", "iov_correlations", "scales",
    "latent", "levels", "subpopulations", "card",
)  # fmt: skip
_DEEP = "the text is no JSON of a model: parts in parts, deeper than any model."


def read_model(text: str) -> tuple[Any, dict[str, Any]]:
    """The structure, and everything else that `popk.PopModel` is made from, by name.

    Raises
    ------
    ModelError
        When the text is no model, names a part that is not known, or has a field that is not known,
        missing or of another kind than expected.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except ValueError as fault:
        raise ModelError([f"the text is no JSON: {fault}."]) from None
    except RecursionError:
        raise ModelError([_DEEP]) from None
    _check_fields(content)
    try:
        _check_texts(content)
        return _parts(content)
    except RecursionError:
        raise ModelError([_DEEP]) from None


def _parts(content: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    def named(field: str) -> dict[str, Any]:
        return decoded(content.get(field, {}), field)

    def listed(field: str) -> tuple[Any, ...]:
        return decoded_list(content.get(field, []), field)

    return decode(content["structure"]), {
        "typical": named("typical"),
        "iiv": IIV(
            named("iiv"),
            correlations=listed("iiv_correlations"),
            shapes=named("iiv_shapes"),
            shared=named("iiv_shared"),
        ),
        "iov": IOV(named("iov"), correlations=listed("iov_correlations")),
        "scales": named("scales"),
        "covariates": listed("covariates"),
        "latent": listed("latent"),
        "levels": listed("levels"),
        "subpopulations": decode(content.get("subpopulations")),
        "error": decode(content["error"]),
        "units": content["units"],
        "name": content["name"],
        "notes": listed("notes"),
        "card": Card.from_dict(content["card"]) if "card" in content else None,
    }


@contextmanager
def refusing() -> Iterator[None]:
    """Makes what fails while a model is put together a sentence: its JSON may hold anything.

    Raises
    ------
    ModelError
        Instead of what parts say that were given something else than they expect.
    """
    try:
        yield
    except PopkError:
        raise
    except (
        TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError,
    ) as fault:  # fmt: skip
        said = str(fault) or type(fault).__name__
        raise ModelError([f"the JSON holds parts that do not go together: {said}."]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, each of whose fields is given once."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError([f"the JSON gives {twice} twice in one object."])
    return dict(pairs)


def _check_texts(content: Mapping[str, Any]) -> None:
    if not isinstance(content["name"], str):
        raise ModelError([f"the JSON has {json.dumps(content['name'])} as name; expected a text."])
    notes = content["notes"]
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ModelError([f"the JSON has {json.dumps(notes)} as notes; expected a list of texts."])


def _check_fields(content: Any) -> None:
    if not isinstance(content, Mapping):
        raise ModelError([f"the JSON holds {type(content).__name__}; expected an object."])
    if missing := [field for field in _ALWAYS if field not in content]:
        raise ModelError([f"the JSON of a model has no field {', '.join(missing)}."])
    if unknown := [field for field in content if field not in (*_ALWAYS, *_IF_USED)]:
        known = ", ".join((*_ALWAYS, *_IF_USED))
        raise ModelError([f"the JSON has the field {', '.join(unknown)}; known are {known}."])
