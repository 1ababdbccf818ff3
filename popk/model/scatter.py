"""Equations of the residual error: how an observation DV scatters around its prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING

from popk.model.formula import Formula, Section, population
from popk.model.notation import (
    Call,
    Expression,
    Number,
    Symbol,
    add,
    call,
    divide,
    multiply,
    negative,
    power,
)
from popk.statistics import (
    Additive,
    Autocorrelated,
    ByAssay,
    ByOutput,
    Combined,
    CombinedSD,
    LogNormalError,
    PowerError,
    Proportional,
    ResidualError,
    StudentTError,
)

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["error_section"]

_TWO = Number(2.0)
_MEASURED = (
    Additive | Combined | CombinedSD | LogNormalError | PowerError | Proportional | StudentTError
)
_BEYOND = {
    "M1": "Observations below their limit of quantification are left out (M1)",
    "M3": "An observation beyond its limit of quantification counts with the probability of lying "
    "there (M3)",
    "M4": "An observation beyond its limit of quantification counts with the probability of lying "
    "there, and every probability is given DV > 0 (M4)",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Of which observations an error is: their names, prediction, suffix, and where they are."""

    observed: Symbol
    prediction: Expression
    suffix: str = ""
    where: str = ""

    def own(self, name: str) -> Symbol:
        """A parameter of the error."""
        return population(f"{name}{self.suffix}")


def error_section(model: PopModel) -> Section:
    """How each observed output scatters."""
    error, outputs = model.error, model.structure.outputs
    if isinstance(error, ByOutput):
        formulas: list[Formula] = []
        notes: list[str] = []
        for name, own in error.errors:
            several = len(error.errors) > 1
            observed = Symbol(f"DV_{name}" if several else "DV", "population")
            place = _Place(observed, Symbol(name, "output"), f"_{name}" if several else "")
            formulas += _formulas(own, place)
            notes += _notes(own, f" of {name}" if several else "")
    else:
        first = outputs[0].name
        formulas = list(_formulas(error, _Place(Symbol("DV"), Symbol(first, "output"))))
        notes = list(_notes(error, ""))
        if len(outputs) > 1:
            notes.append(f"Where another output than {first} is observed, it stands in its place.")
    return Section("Residual error", tuple(formulas), tuple(dict.fromkeys(notes)))


def _formulas(error: ResidualError, place: _Place) -> Iterator[Formula]:
    """As `_scatter`, by the type itself: what is derived from it may compute something else."""
    write = _scatter.registry.get(type(error), _scatter.registry[object])
    return write(error, place)


@singledispatch
def _scatter(error: ResidualError, place: _Place) -> Iterator[Formula]:
    """Distribution of an observation; of an error that is not known here, what it depends on."""
    own = [place.own(parameter.name) for parameter in error.parameters]
    right = call(type(error).__name__, place.prediction, *own)
    yield Formula(place.observed, right, "~", place.where)


@_scatter.register(Additive)
@_scatter.register(Combined)
@_scatter.register(CombinedSD)
@_scatter.register(PowerError)
@_scatter.register(Proportional)
def _(error: ResidualError, place: _Place) -> Iterator[Formula]:
    right = call("Normal", place.prediction, _sd(error, place))
    yield Formula(place.observed, right, "~", place.where)


@_scatter.register
def _(error: LogNormalError, place: _Place) -> Iterator[Formula]:
    centre = call("log", place.prediction)
    right = call("Normal", centre, place.own("sigma_log"))
    yield Formula(call("log", place.observed), right, "~", place.where)


@_scatter.register
def _(error: StudentTError, place: _Place) -> Iterator[Formula]:
    freedom = place.own("freedom")
    for line in _formulas(error.error, place):
        match line.right:
            case Call("Normal", arguments):
                yield replace(line, right=call("StudentT", freedom, *arguments))
            case other:
                yield replace(line, right=call("StudentT", freedom, other))


@_scatter.register
def _(error: ByAssay, place: _Place) -> Iterator[Formula]:
    scaled = dict(error.scale)
    for level in error.assays:
        where = f"{error.label} {level}"
        prediction = place.prediction
        if level in scaled:
            prediction = multiply(place.own(f"scale_{error.label}{level}"), prediction)
        if isinstance(error.errors, ResidualError):
            inner, suffix = error.errors, place.suffix
        else:
            inner = dict(error.errors)[level]
            suffix = f"_{error.label}{level}{place.suffix}"
        yield from _formulas(inner, _Place(place.observed, prediction, suffix, where))


@_scatter.register
def _(error: Autocorrelated, place: _Place) -> Iterator[Formula]:
    yield from _formulas(error.error, place)
    decay = divide(multiply(call("log", _TWO), Symbol("dt")), place.own("half_time"))
    left = call("corr", Symbol("residual"), Symbol("residual_dt_before"))
    yield Formula(left, call("exp", negative(decay)))


def _sd(error: ResidualError, place: _Place) -> Expression:
    f = place.prediction
    match error:
        case Additive():
            return place.own("sigma_add")
        case Proportional():
            return multiply(place.own("sigma_prop"), f)
        case PowerError():
            return multiply(place.own("sigma_power"), power(f, place.own("power")))
        case CombinedSD():
            return add(multiply(place.own("sigma_prop"), call("abs", f)), place.own("sigma_add"))
    relative, absolute = multiply(place.own("sigma_prop"), f), place.own("sigma_add")
    return call("sqrt", add(_squared(relative), _squared(absolute)))


def _squared(x: Expression) -> Expression:
    return multiply(x, x)


def _notes(error: ResidualError, of: str) -> Iterator[str]:
    """What the distributions mean, and what becomes of observations beyond their limits."""
    parts = list(_parts(error))
    if any(isinstance(part, StudentTError) for part in parts):
        yield "StudentT(degrees of freedom, location, scale)."
    else:
        yield "Normal(mean, SD)."
    methods = [part.method for part in parts if isinstance(part, _MEASURED)]
    if isinstance(error, Autocorrelated):  # which refuses observations beyond a limit
        methods = [method for method in methods if method == "M1"]
    for method in dict.fromkeys(methods):
        yield f"{_BEYOND[method]}{of}."


def _parts(error: ResidualError) -> Iterator[ResidualError]:
    """An error and those that it is made of."""
    yield error
    inner: list[ResidualError] = []
    if isinstance(error, ByAssay):
        one = error.errors
        inner = [one] if isinstance(one, ResidualError) else [own for _, own in one]
    elif isinstance(error, Autocorrelated):
        inner = [error.error]
    for own in inner:
        yield from _parts(own)
