"""A population model as a value: what is assumed, before and apart from any fitting."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from popk import statistics, structure
from popk.errors import PopkError
from popk.statistics import IIV, CovariateEffect, Prior, ResidualError
from popk.structure import Structure
from popk.units import UnitError, Units

__all__ = ["ModelError", "PopModel", "PopulationParameter"]


class ModelError(PopkError):
    """A model that cannot be used, with everything that is wrong in it."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"The model cannot be used: {self.faults[0]}"
        return "The model cannot be used:\n" + "\n".join(f"  {fault}" for fault in self.faults)


@dataclass(frozen=True, slots=True)
class PopulationParameter:
    """One parameter of the population posterior: its name, prior, unit and meaning."""

    name: str
    prior: Prior
    unit: str
    meaning: str


@dataclass(frozen=True, init=False, repr=False)
class PopModel:
    """Structure, typical values, variability, covariates and residual error, each with priors.

    Parameters
    ----------
    structure
        The equations for one subject.
    typical
        Prior of the typical value of every parameter of the structure.
    iiv
        Which parameters vary between subjects, and the prior of each SD.
    covariates
        Effects of covariates.
    error
        Residual error.
    units
        Units in which the numbers above are meant: time, amount, concentration and covariates;
        data in other units are refused.
    name
        For tables and files.
    notes
        What a reader must know: population, sources, assumptions.

    Raises
    ------
    ModelError
        With every fault found: parameters that the structure needs and were not given, unknown
        ones, priors that allow impossible values.
    """

    structure: Structure
    typical: tuple[tuple[str, Prior], ...]
    iiv: IIV
    covariates: tuple[CovariateEffect, ...]
    error: ResidualError
    units: Units
    name: str
    notes: tuple[str, ...]

    def __init__(  # noqa: PLR0913 - one argument for each part of a population model
        self,
        structure: Structure,
        *,
        typical: Mapping[str, Prior] | Iterable[tuple[str, Prior]],
        iiv: IIV | None = None,
        covariates: Iterable[CovariateEffect] = (),
        error: ResidualError,
        units: Units | Mapping[str, str],
        name: str = "model",
        notes: Iterable[str] = (),
    ) -> None:
        pairs = dict(typical.items() if isinstance(typical, Mapping) else typical)
        try:
            parsed = Units.parse(units)
            _ = parsed.volume
        except UnitError as fault:
            raise ModelError([str(fault)]) from None
        values = {
            "structure": structure,
            "typical": tuple(pairs.items()),
            "iiv": iiv if iiv is not None else IIV(),
            "covariates": tuple(covariates),
            "error": error,
            "units": parsed,
            "name": str(name),
            "notes": tuple(str(note) for note in notes),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)
        faults = list(_type_faults(self)) or list(_faults(self))
        if faults:
            raise ModelError(faults)
        order = {name: k for k, name in enumerate(structure.names)}
        ordered = tuple(sorted(pairs.items(), key=lambda pair: order[pair[0]]))
        object.__setattr__(self, "typical", ordered)

    @property
    def parameters(self) -> tuple[PopulationParameter, ...]:
        """Population parameters, in the order of tables."""
        units = self.units
        found = []
        priors = dict(self.typical)
        for parameter in self.structure.parameters:
            unit = units.of(parameter.dimension)
            meaning = f"typical {parameter.meaning}"
            found.append(PopulationParameter(parameter.name, priors[parameter.name], unit, meaning))
        for effect in self.covariates:
            found.append(PopulationParameter(effect.coefficient, effect.prior, "1", effect.meaning))
        for name, prior in self.iiv.omegas:
            meaning = f"SD of log {name} between subjects (IIV)"
            found.append(PopulationParameter(self.iiv.omega_name(name), prior, "1", meaning))
        for (name, prior), dimension in zip(self.error.priors, self.error.dimensions, strict=True):
            meaning = "residual error, " + {
                "sigma_prop": "proportional SD",
                "sigma_add": "additive SD",
                "sigma_log": "SD of the logarithm",
            }.get(name, name)
            found.append(PopulationParameter(name, prior, units.of(dimension), meaning))
        return tuple(found)

    @property
    def hash(self) -> str:
        """SHA-256 of everything that determines a number (not the name and the notes)."""
        content = self.to_dict()
        content.pop("name")
        content.pop("notes")
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, dicts, strings and numbers."""
        return {
            "structure": _encode(self.structure),
            "typical": {name: _encode(prior) for name, prior in self.typical},
            "iiv": {name: _encode(prior) for name, prior in self.iiv.omegas},
            "covariates": [_encode(effect) for effect in self.covariates],
            "error": _encode(self.error),
            "units": self.units.to_dict(),
            "name": self.name,
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The model as JSON; `from_json` reads it back to an equal model."""
        return json.dumps(self.to_dict(), sort_keys=False)

    @classmethod
    def from_json(cls, text: str) -> PopModel:
        """The model that `to_json` wrote.

        Raises
        ------
        ModelError
            When it names a part that this version of popk (or an imported extension) lacks.
        """
        content = json.loads(text)
        return cls(
            _decode(content["structure"]),
            typical={name: _decode(prior) for name, prior in content["typical"].items()},
            iiv=IIV({name: _decode(prior) for name, prior in content["iiv"].items()}),
            covariates=[_decode(effect) for effect in content["covariates"]],
            error=_decode(content["error"]),
            units=content["units"],
            name=content["name"],
            notes=content["notes"],
        )

    def __repr__(self) -> str:
        return f"<PopModel {self.name}: {_written(self.structure)}, hash {self.hash[:8]}>"

    def __str__(self) -> str:
        structure = _written(self.structure)
        lines = [f"{self.name}: {structure}", f"error: {type(self.error).__name__}"]
        units = ["" if p.unit == "1" else f" {p.unit}" for p in self.parameters]
        priors = [f"{p.prior!r}{unit}" for p, unit in zip(self.parameters, units, strict=True)]
        width, wide = max(len(p.name) for p in self.parameters), max(map(len, priors))
        for parameter, prior in zip(self.parameters, priors, strict=True):
            lines.append(f"  {parameter.name:<{width}}  {prior:<{wide}}  {parameter.meaning}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _type_faults(model: PopModel) -> Iterable[str]:
    expected: list[tuple[str, object, type, str]] = [
        ("structure", model.structure, Structure, "a structure such as TwoCompartment()"),
        ("iiv", model.iiv, IIV, "IIV({...})"),
        ("error", model.error, ResidualError, "a residual error such as Proportional(...)"),
    ]
    expected += [
        (f"typical[{name!r}]", prior, Prior, "a prior such as LogNormal(0.2, cv=0.3)")
        for name, prior in model.typical
    ]
    if isinstance(model.iiv, IIV):
        expected += [
            (f"iiv[{name!r}]", prior, Prior, "a prior such as HalfNormal(0.4)")
            for name, prior in model.iiv.omegas
        ]
    expected += [
        (f"covariates[{k}]", effect, CovariateEffect, "an effect such as Power('CL', 'WT', ...)")
        for k, effect in enumerate(model.covariates)
    ]
    for place, given, kind, wanted in expected:
        if not isinstance(given, kind):
            yield f"{place} was given {given!r}; expected {wanted}."


def _faults(model: PopModel) -> Iterable[str]:
    names = model.structure.names
    lacks = f"which {type(model.structure).__name__} does not have (it has {', '.join(names)})."
    yield from _typical_faults(model, names, lacks)
    yield from _iiv_faults(model, names, lacks)
    yield from _covariate_faults(model, names, lacks)
    for name, prior in model.error.priors:
        if not _allows_only_positive(prior):
            yield f"{name} has the prior {prior!r}; an SD needs one above zero (HalfNormal)."


def _typical_faults(model: PopModel, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    given = dict(model.typical)
    for name in names:
        if name not in given:
            kind = type(model.structure).__name__
            yield f"{kind} needs a typical value for {name}; typical has none."
    for name in given:
        if name not in names:
            yield f"typical names {name}, {lacks}"
    for name, prior in given.items():
        if name in names and not _allows_only_positive(prior):
            yield (
                f"the typical value of {name} has the prior {prior!r}, which allows values of zero "
                "or below; use LogNormal(median, cv)."
            )


def _iiv_faults(model: PopModel, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    seen: set[str] = set()
    for name, prior in model.iiv.omegas:
        if name not in names:
            yield f"iiv names {name}, {lacks}"
        if name in seen:
            yield f"iiv names {name} twice."
        seen.add(name)
        if not _allows_only_positive(prior):
            yield f"iiv of {name} has the prior {prior!r}; an SD needs one above zero (HalfNormal)."


def _covariate_faults(model: PopModel, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    coefficients: set[str] = set()
    for effect in model.covariates:
        if effect.parameter not in names:
            yield f"a covariate effect acts on {effect.parameter}, {lacks}"
        if model.units.covariate(effect.covariate) is None:
            yield (
                f"the covariate {effect.covariate} has no unit; add it to units, for example "
                f'"{effect.covariate}": "kg" ("1" if it has none).'
            )
        if effect.coefficient in coefficients:
            yield f"the effect of {effect.covariate} on {effect.parameter} is given twice."
        coefficients.add(effect.coefficient)


def _allows_only_positive(prior: Prior) -> bool:
    return prior.positive or (isinstance(prior, statistics.Fixed) and prior.value > 0)


def _encode(part: Any) -> Any:
    """A part as plain values: tuples as lists, anything else by its type and arguments.

    Arguments that were left empty, and settings (by keyword only) that were left at their default,
    are left out, so that a structure that learns to take one more keeps the hash of the models that
    do not use it.
    """
    if part is None or isinstance(part, str | int | float | bool):
        return part
    if isinstance(part, tuple):
        return [_encode(item) for item in part]
    encoded = {name: _encode(value) for name, value in _arguments(part).items()}
    return {"type": type(part).__name__, **encoded}


def _decode(content: Any) -> Any:
    if isinstance(content, list):
        return tuple(map(_decode, content))
    if not isinstance(content, Mapping):
        return content
    kinds = _known_parts()
    name = content["type"]
    if name not in kinds:
        raise ModelError([f"it uses {name}, which is not known here; import what defines it."])
    return kinds[name](**{k: _decode(value) for k, value in content.items() if k != "type"})


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
    return value is None or value == ()


def _written(part: Any) -> str:
    """A structure as a user would write it."""
    how = getattr(type(part), "__dataclass_params__", None)
    if how is None or not how.repr:  # it has a text of its own
        return repr(part)
    given = (f"{name}={_written(value)}" for name, value in _arguments(part).items())
    return f"{type(part).__name__}({', '.join(given)})"


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
