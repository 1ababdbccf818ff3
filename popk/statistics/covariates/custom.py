"""An effect whose factor a user writes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, override

import numpy as np

from popk.errors import SettingError
from popk.statistics.covariates.base import Coefficient, CovariateEffect
from popk.statistics.operations import Operations
from popk.statistics.priors import Prior
from popk.statistics.shrinkage import Shrunk
from popk.structure import Equations
from popk.structure.equations import OPERATIONS
from popk.structure.symbolic import trace_factor

type Factor = Callable[[Any, Any], Any] | Equations

_HIGHEST = 700.0  # argument of the exponential function
_LARGEST = 1e30  # factor
_EVERYWHERE: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {kind: OPERATIONS[kind] for kind in ("+", "-", "*", "neg")}
)


@dataclass(frozen=True, init=False, repr=False)
class CustomEffect(CovariateEffect):
    """A factor of one's own, of one or several covariates.

    The function is called when the effect is made, and what it computes is kept, as in
    `popk.Custom`: it is part of the model's identity and is stored with it. It uses ``+ - * / **``
    and the functions of `popk.structure.functions`; a Python ``if`` on a value is refused (write
    ``where_positive``). Numbers in it are in the units of the covariates.

    Where the factor is zero or below, or undefined (the logarithm or the root of a negative
    number, a division by zero), the likelihood is zero.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariates
        Names of the covariates, as in the dataset.
    coefficients
        The coefficients; their names are those in the posterior. A prior alone will do.
    factor
        ``factor(x, b)``: covariates are ``x.AGE``, coefficients ``b.SLOPE``.

    Raises
    ------
    SettingError
        When names are unknown, unused or given twice, or the function does what equations cannot.

    Examples
    --------
    >>> from popk.statistics import Normal
    >>> CustomEffect(
    ...     "CL",
    ...     ("CRCL", "AGE"),
    ...     coefficients={"RENAL": Normal(0.5, 0.2), "AGEING": Normal(0.0, 0.01)},
    ...     factor=lambda x, b: (1 + b.RENAL * (x.CRCL / 100 - 1)) * (1 + b.AGEING * (x.AGE - 40)),
    ... )
    CustomEffect('CL', factor = (1 + (RENAL * ((CRCL / 100) - 1))) * (1 + (AGEING * (AGE - 40))))
    """

    kind: ClassVar[str] = "custom"
    always_positive: ClassVar[bool] = False
    parameter: str
    _covariates: tuple[str, ...]
    _coefficients: tuple[Coefficient, ...]
    _factor: Equations

    def __init__(
        self,
        parameter: str,
        covariates: Iterable[str] | str,
        *,
        coefficients: Mapping[str, Prior | Shrunk] | Iterable[Coefficient],
        factor: Factor,
    ) -> None:
        names = (covariates,) if isinstance(covariates, str) else tuple(covariates)
        given = (
            [Coefficient(name, prior) for name, prior in coefficients.items()]
            if isinstance(coefficients, Mapping)
            else list(coefficients)
        )
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "_covariates", names)
        self._check_names("parameter", (parameter,))
        self._check_names("covariates", names)
        for coefficient in given:
            if not isinstance(coefficient, Coefficient) or not isinstance(
                coefficient.prior, Prior | Shrunk
            ):
                raise SettingError(
                    f"{self.title} was given coefficients={coefficients!r}; expected a prior for "
                    'each name, for example {"SLOPE": Normal(0, 0.1)}, or Coefficient(...).'
                )
        own = tuple(coefficient.name for coefficient in given)
        self._check_names("coefficients", own)
        object.__setattr__(self, "_coefficients", tuple(given))
        object.__setattr__(self, "_factor", self._traced(factor, own))
        self._check_use()

    def _check_names(self, field: str, names: tuple[object, ...]) -> None:
        good = all(
            isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names
        )
        if not names or not good or len(set(names)) < len(names):
            raise SettingError(
                f"CustomEffect on {self.parameter} was given the {field} {names!r}; expected one "
                "or more different names of letters, digits and underscores."
            )

    def _traced(self, factor: Factor, own: tuple[str, ...]) -> Equations:
        place = f"The factors of CustomEffect on {self.parameter}"
        if not isinstance(factor, Equations):
            return trace_factor(factor, place=place, covariates=self._covariates, coefficients=own)
        unknown = (factor.names("a") - set(self._covariates)) | (factor.names("p") - set(own))
        if unknown or len(factor.results) != 1:
            raise SettingError(
                f"{place} were given as {len(factor.results)} equations that use "
                f"{', '.join(sorted(unknown)) or 'known names only'}; expected one of the "
                f"covariates {', '.join(self._covariates)} and the coefficients {', '.join(own)}."
            )
        return factor

    def _check_use(self) -> None:
        used = self._factor.names("a") | self._factor.names("p")
        known = (*self._covariates, *(coefficient.name for coefficient in self._coefficients))
        idle = [name for name in known if name not in used]
        if idle:
            raise SettingError(
                f"The factor of CustomEffect on {self.parameter} does not use {', '.join(idle)}. "
                "Use or remove it."
            )

    @property
    @override
    def covariates(self) -> tuple[str, ...]:
        return self._covariates

    @property
    @override
    def coefficients(self) -> tuple[Coefficient, ...]:
        return self._coefficients

    @property
    def factor(self) -> Equations:
        """The equation of the factor."""
        return self._factor

    @property
    def equations(self) -> tuple[str, ...]:
        """The factor as text, the last line; parts that are used twice stand before it."""
        return tuple(self._factor.lines(["factor"]))

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        listed = ", ".join(
            name if units.get(name, "1") == "1" else f"{name} in {units[name]}"
            for name in self._covariates
        )
        meaning = f"in the factor on {self.parameter}: {'; '.join(self.equations)} ({listed})"
        return tuple(
            Coefficient(
                c.name, c.prior, f"{c.meaning}, {meaning}" if c.meaning else meaning, c.unit
            )
            for c in self._coefficients
        )

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        return _log(self._factor, covariates, coefficients, ops)

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        return None if math.isfinite(value) else f"{covariate} must be a number"

    def __repr__(self) -> str:
        return f"CustomEffect({self.parameter!r}, {'; '.join(self.equations)})"


class _Value(NamedTuple):
    """What a step computes, and where that is defined (None: everywhere)."""

    number: Any
    defined: Any = None


def _log(
    equations: Equations,
    covariates: Mapping[str, Any],
    coefficients: Mapping[str, Any],
    ops: Operations,
) -> Any:
    """Logarithm of a factor; NaN with a slope of zero where it is undefined or not above zero."""
    steps: list[_Value] = []
    for kind, *arguments in equations.steps:
        if kind == "number":
            steps.append(_Value(np.float64(arguments[0])))
        elif kind == "a":
            steps.append(_Value(covariates[str(arguments[0])]))
        elif kind == "p":
            steps.append(_Value(coefficients[str(arguments[0])]))
        else:
            steps.append(_step(str(kind), [steps[int(place)] for place in arguments], ops))
    factor, defined = steps[equations.results[0]]
    usable = _both(defined, (factor > 0.0) & (factor < _LARGEST))
    return ops.where(usable, ops.log(ops.where(usable, factor, 1.0)), math.nan)


def _step(kind: str, given: Sequence[_Value], ops: Operations) -> _Value:
    """One operation, finite everywhere: zero times an infinite slope would be NaN."""
    x, *rest = (value.number for value in given)
    if kind == "where_positive":
        condition, yes, no = (value.defined for value in given)
        if yes is not None or no is not None:  # in the branch that is taken
            always = np.array(True)
            taken = [always if defined is None else defined for defined in (yes, no)]
            condition = _both(condition, ops.where(x > 0.0, *taken))
        return _Value(ops.where(x > 0.0, *rest), condition)
    defined = None
    for value in given:
        defined = _both(defined, value.defined)
    if kind in _EVERYWHERE:
        return _Value(_EVERYWHERE[kind](x, *rest), defined)
    if kind == "/":
        fine = abs(rest[0]) > 0.0
        return _Value(x / ops.where(fine, rest[0], 1.0), _both(defined, fine))
    if kind == "exp":
        fine = x < _HIGHEST
        return _Value(ops.exp(ops.where(fine, x, 0.0)), _both(defined, fine))
    above = x > 0.0
    log = ops.log(ops.where(above, x, 1.0))
    if kind == "log":
        return _Value(log, _both(defined, above))
    # A power is 0 where the base is not above zero, as in popk.structure.functions.
    exponent = 0.5 * log if kind == "sqrt" else rest[0] * log
    fine = exponent < _HIGHEST
    raised = ops.where(above, ops.exp(ops.where(fine, exponent, 0.0)), 0.0)
    return _Value(raised, _both(defined, fine & (x >= 0.0) if kind == "sqrt" else fine))


def _both(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one & other
