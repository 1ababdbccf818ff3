"""The methods of sampling, and their settings as plain values that can be stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from popk.errors import SettingError
from popk.inference.laplace import Laplace
from popk.inference.map import MAP
from popk.inference.marginal import Marginal
from popk.inference.numpyro_nuts import NumpyroNUTS
from popk.inference.nuts import NUTS
from popk.inference.pathfinder import Pathfinder
from popk.inference.smc import SMC
from popk.inference.vi import VI

__all__ = ["Method", "as_values", "from_values"]

type Method = NUTS | NumpyroNUTS | Marginal | SMC | Laplace | Pathfinder | VI | MAP

_METHODS: tuple[type[Method], ...] = (
    NUTS, NumpyroNUTS, Marginal, SMC, Laplace, Pathfinder, VI, MAP,
)  # fmt: skip


def as_values(method: Method) -> dict[str, Any]:
    """A method's name and settings."""
    return {"name": type(method).__name__, **asdict(method)}


def from_values(values: dict[str, Any]) -> Method:
    """The method that `as_values` described.

    Raises
    ------
    SettingError
        When it is no method of this version of popk.
    """
    settings = {name: value for name, value in values.items() if name != "name"}
    chosen = {method.__name__: method for method in _METHODS}.get(str(values.get("name")))
    if chosen is None:
        raise SettingError(
            f"The run was sampled by {values.get('name')!r}, which this version of popk does not "
            "have. Continue it with the version that began it."
        )
    try:
        if settings.get("otherwise") is not None:
            settings["otherwise"] = NUTS(**settings["otherwise"])
        return chosen(**settings)
    except (TypeError, ValueError, AttributeError) as fault:
        if isinstance(fault, SettingError):
            raise
        raise SettingError(
            f"The run was begun by another version of popk: {fault}. Continue it with that version."
        ) from fault
