"""A model as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from popk.model.coding import encode

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["as_content"]


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
