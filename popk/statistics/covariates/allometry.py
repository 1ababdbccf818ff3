"""Allometric scaling: one short form for the usual exponents of body size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from popk.errors import SettingError
from popk.statistics.covariates.continuous import Power
from popk.statistics.priors import Fixed, Prior
from popk.structure import Structure

# What a parameter of a dimension counts as; a capacity (VMAX) scales as clearances do.
_KINDS = {
    "volume/time": "clearance",
    "amount/time": "clearance",
    "volume": "volume",
    "1/time": "rate",
    "time": "time",
}

_CLEARANCE, _VOLUME, _RATE, _TIME = Fixed(0.75), Fixed(1.0), Fixed(-0.25), Fixed(0.25)


@dataclass(frozen=True)
class Allometry:
    """Power effects of body size on several parameters, with an exponent for each kind of them.

    A short form: `popk.PopModel` keeps the `Power` effects that it stands for. Parameters of one
    kind share their exponent, fixed or estimated (``beta_clearance_WT`` in the posterior); for
    exponents of their own write `Power`.

    Parameters
    ----------
    parameters
        Names of the parameters to scale; their dimensions say which exponent each has.
    covariate
        Name of the covariate, as in the dataset.
    reference
        Size at which the factors are 1, in the covariate's unit; None to take the median of the
        data with `popk.PopModel.centred_on`.
    clearance
        Prior of the exponent of clearances, and of capacities such as VMAX.
    volume
        Prior of the exponent of volumes.
    rate
        Prior of the exponent of rate constants.
    time
        Prior of the exponent of times (a mean transit time).

    Notes
    -----
    Anderson & Holford, Annu. Rev. Pharmacol. Toxicol. 48:303, 2008; the quarter powers are those of
    West, Brown & Enquist, Science 276:122, 1997.
    """

    parameters: tuple[str, ...]
    covariate: str = "WT"
    reference: float | None = 70.0
    clearance: Prior = _CLEARANCE
    volume: Prior = _VOLUME
    rate: Prior = _RATE
    time: Prior = _TIME

    def __post_init__(self) -> None:
        given: object = self.parameters
        names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else ()
        if not names or not all(isinstance(name, str) for name in names):
            raise SettingError(
                f"Allometry was given parameters={given!r}; expected the names of those to scale, "
                'for example ("CL", "V1", "Q", "V2").'
            )
        object.__setattr__(self, "parameters", names)

    def effects(self, structure: Structure) -> tuple[Power, ...]:
        """The power effects that it stands for in a structure.

        Raises
        ------
        SettingError
            When the structure lacks a parameter, or body size does not scale its dimension.
        """
        dimensions = {parameter.name: parameter.dimension for parameter in structure.parameters}
        found = []
        for name in self.parameters:
            if name not in dimensions:
                raise SettingError(
                    f"Allometry names {name}, which {type(structure).__name__} does not have (it "
                    f"has {', '.join(dimensions)})."
                )
            kind = _KINDS.get(dimensions[name])
            if kind is None:
                raise SettingError(
                    f"Allometry names {name}, whose dimension is {dimensions[name]}; it scales "
                    "clearances, capacities, volumes, rate constants and times. For another "
                    "parameter write Power with its exponent."
                )
            prior, label = getattr(self, kind), f"{kind}_{self.covariate}"
            found.append(Power(name, self.covariate, self.reference, prior, label))
        return tuple(found)


def written_out(effects: Iterable[Any], structure: Any) -> tuple[Any, ...]:
    """Effects with short forms replaced by what they stand for in the structure.

    What is neither an effect nor a short form stays as it is.

    Raises
    ------
    SettingError
        When a short form does not fit the structure.
    """
    found: list[Any] = []
    for effect in effects:
        if isinstance(effect, Allometry) and isinstance(structure, Structure):
            found += effect.effects(structure)
        else:
            found.append(effect)
    return tuple(found)
