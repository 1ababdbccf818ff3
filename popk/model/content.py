"""A model as plain values, and its parts read back from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from popk.model.card import Card
from popk.model.coding import decode, decoded, encode
from popk.model.refusal import ModelError
from popk.statistics import IIV, IOV
from popk.structure import Structure

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["as_content", "parts_in"]

# Fields of a model's JSON: those of every model, and those of models that use them.
_ALWAYS = ("structure", "typical", "iiv", "covariates", "error", "units", "name", "notes")
_IF_USED = (
    "iiv_correlations", "iiv_shapes", "iiv_shared", "iov", "iov_correlations", "scales",
    "latent", "levels", "subpopulations", "card",
)  # fmt: skip


def as_content(model: PopModel) -> dict[str, Any]:
    """A model as plain lists, dicts, strings and numbers."""
    # What a model does not use is left out: it keeps its hash when models learn more.
    more = {
        "iiv_correlations": encode(model.iiv.correlations),
        "iiv_shapes": {name: encode(shape) for name, shape in model.iiv.shapes},
        "iiv_shared": dict(model.iiv.shared),
        "iov": {name: encode(prior) for name, prior in model.iov.omegas},
        "iov_correlations": encode(model.iov.correlations),
        "scales": {name: encode(scale) for name, scale in model.scales},
        "latent": encode(model.latent),
        "levels": encode(model.levels),
        "subpopulations": encode(model.subpopulations),
    }
    return {
        "structure": encode(model.structure),
        "typical": {name: encode(prior) for name, prior in model.typical},
        "iiv": {name: encode(prior) for name, prior in model.iiv.omegas},
        **{name: value for name, value in more.items() if value},
        "covariates": [encode(effect) for effect in model.covariates],
        "error": encode(model.error),
        "units": model.units.to_dict(),
        "name": model.name,
        "notes": list(model.notes),
        **({"card": model.card.to_dict()} if model.card is not None else {}),
    }


def parts_in(text: str) -> tuple[Structure, dict[str, Any]]:
    """The structure, and the other arguments by name, of the model in a JSON text.

    Raises
    ------
    ModelError
        When it is no model, names a part that this version of popk (or an imported extension)
        lacks, or has a field that is not known.
    """
    try:
        content = json.loads(text)
    except ValueError as fault:
        raise ModelError([f"the text is no JSON: {fault}."]) from None
    _check_fields(content)
    parts = {
        "typical": decoded(content["typical"]),
        "iiv": IIV(
            decoded(content["iiv"]),
            correlations=decode(content.get("iiv_correlations", [])),
            shapes=decoded(content.get("iiv_shapes", {})),
            shared=content.get("iiv_shared", {}),
        ),
        "iov": IOV(
            decoded(content.get("iov", {})),
            correlations=decode(content.get("iov_correlations", [])),
        ),
        "scales": decoded(content.get("scales", {})),
        "covariates": [decode(effect) for effect in content["covariates"]],
        "latent": decode(content.get("latent", [])),
        "levels": decode(content.get("levels", [])),
        "subpopulations": decode(content.get("subpopulations")),
        "error": decode(content["error"]),
        "units": content["units"],
        "name": content["name"],
        "notes": content["notes"],
        "card": Card.from_dict(content["card"]) if "card" in content else None,
    }
    return decode(content["structure"]), parts


def _check_fields(content: Any) -> None:
    """Refuse what is no model's JSON: nothing that was written is to be ignored."""
    if not isinstance(content, Mapping):
        raise ModelError([f"the JSON holds {type(content).__name__}; expected an object."])
    if missing := [field for field in _ALWAYS if field not in content]:
        raise ModelError([f"the JSON of a model has no field {', '.join(missing)}."])
    if unknown := [field for field in content if field not in (*_ALWAYS, *_IF_USED)]:
        known = ", ".join((*_ALWAYS, *_IF_USED))
        raise ModelError([f"the JSON has the field {', '.join(unknown)}; known are {known}."])
