"""The card of a published model: where its numbers are from and where it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from popk.model.refusal import ModelError

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["Card"]

_TEXTS = ("citation", "population", "route", "seen")


@dataclass(frozen=True)
class Card:
    """Source, population and domain of a model, for those who are to judge whether it fits.

    It determines no number, and is no part of a model's hash.

    Parameters
    ----------
    citation
        Authors, journal, year.
    population
        Whom the model describes: how many, age, weight, disease.
    route
        How the drug is given.
    seen
        Where the numbers were seen: the paper, its abstract, a label, somebody else's model file.
    doi
        Of the citation; empty where it has none.
    assumptions
        What was not seen in the source and had to be assumed.
    domain
        Covariate, lowest and highest value for which the model holds, in the model's unit.
    doses
        Feasible doses in words, with units.
    intervals
        Feasible dosing intervals in weeks; empty where doses are hours apart.
    targets
        What is aimed at (``"trough"``), its value in the model's unit of concentration, the source.
    sources
        Population parameter, and its number as it was published, with precision and place.

    Raises
    ------
    ModelError
        With every field that cannot be used.
    """

    citation: str
    population: str
    route: str
    seen: str
    doi: str = ""
    assumptions: tuple[str, ...] = ()
    domain: tuple[tuple[str, float, float], ...] = ()
    doses: tuple[str, ...] = ()
    intervals: tuple[float, ...] = ()
    targets: tuple[tuple[str, float, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        faults = list(self._type_faults())
        if faults:
            raise ModelError(faults)
        plain = {
            "assumptions": tuple(self.assumptions),
            "domain": tuple((str(n), float(a), float(b)) for n, a, b in self.domain),
            "doses": tuple(self.doses),
            "intervals": tuple(float(weeks) for weeks in self.intervals),
            "targets": tuple((str(what), float(c), str(s)) for what, c, s in self.targets),
            "sources": tuple((str(name), str(text)) for name, text in self.sources),
        }
        for field, value in plain.items():
            object.__setattr__(self, field, value)
        faults = list(self._value_faults())
        if faults:
            raise ModelError(faults)

    def _type_faults(self) -> Iterator[str]:
        for field in (*_TEXTS, "doi"):
            if not isinstance(given := getattr(self, field), str):
                yield f"{_on(field)} was given {given!r}; expected a text."
        shapes: dict[str, tuple[type, ...]] = {
            "assumptions": (str,),
            "domain": (str, float, float),
            "doses": (str,),
            "intervals": (float,),
            "targets": (str, float, str),
            "sources": (str, str),
        }
        for field, kinds in shapes.items():
            given = getattr(self, field)
            if not isinstance(given, list | tuple):
                yield f"{_on(field)} was given {given!r}; expected a tuple."
                continue
            for item in given:
                parts = (item,) if len(kinds) == 1 else item
                if not _fits(parts, kinds):
                    wanted = " and ".join("a text" if k is str else "a number" for k in kinds)
                    yield f"{_on(field)} holds {item!r}; expected {wanted}."

    def _value_faults(self) -> Iterator[str]:
        for field in _TEXTS:
            if not getattr(self, field).strip():
                yield f"{_on(field)} is empty."
        for name, low, high in self.domain:
            if not low < high:
                yield (
                    f"{_on('domain')} says that {name} lies between {low:g} and {high:g}; expected "
                    "the lower first."
                )
        for weeks in self.intervals:
            if not (weeks > 0 and math.isfinite(weeks)):
                yield f"{_on('intervals')} holds {weeks:g}; an interval is above zero, in weeks."
        for what, value, _ in self.targets:
            if not (value > 0 and math.isfinite(value)):
                yield f"{_on('targets')} has {value:g} as {what}; expected a value above zero."
        for field, named in (("domain", self.domain), ("sources", self.sources)):
            names = [item[0] for item in named]
            for name in dict.fromkeys(n for n in names if names.count(n) > 1):
                yield f"{_on(field)} names {name} twice."

    def faults_with(self, model: PopModel) -> Iterator[str]:
        """What the card says of covariates and parameters that the model does not have."""
        covariates = dict(model.units.covariates)
        for name, _, _ in self.domain:
            if name not in covariates:
                yield (
                    f"{_on('domain')} names {name}, which is no covariate of the model (those: "
                    f"{', '.join(covariates) or 'none'})."
                )
        known = [parameter.name for parameter in model.parameters]
        for name, _ in self.sources:
            if name not in known:
                yield (
                    f"{_on('sources')} names {name}, which is no population parameter of the model "
                    f"(those: {', '.join(known)})."
                )

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and strings."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, content: Any) -> Card:
        """The card that `to_dict` gave.

        Raises
        ------
        ModelError
            When a field is missing or not known, or cannot be used.
        """
        if not isinstance(content, Mapping):
            raise ModelError([f"its card is {type(content).__name__}; expected an object."])
        known = [field.name for field in fields(cls)]
        if missing := [name for name in _TEXTS if name not in content]:
            raise ModelError([f"its card has no {', '.join(missing)}."])
        if unknown := [name for name in content if name not in known]:
            raise ModelError(
                [f"its card has the field {', '.join(unknown)}; known are {', '.join(known)}."]
            )
        return cls(**content)


def _on(field: str) -> str:
    return f"the card's {field}"


def _fits(parts: Any, kinds: Iterable[type]) -> bool:
    kinds = tuple(kinds)
    if not isinstance(parts, list | tuple) or len(parts) != len(kinds):
        return False
    return all(
        isinstance(part, str)
        if kind is str
        else isinstance(part, int | float) and not isinstance(part, bool)
        for part, kind in zip(parts, kinds, strict=True)
    )


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
