"""$ERROR as a residual error: what Y is, given the prediction and the epsilons."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from popk.nonmem.evaluation import names_in, symbol
from popk.nonmem.individual import columns_in, etas_in, thetas_in
from popk.nonmem.observation import Observation, without_epsilons
from popk.nonmem.points import compiled, same
from popk.nonmem.priors import Estimates, half_normal
from popk.nonmem.refusal import NonmemError
from popk.statistics import (
    Additive,
    Combined,
    CombinedSD,
    Fixed,
    LogNormalError,
    Normal,
    PowerError,
    Prior,
    Proportional,
    ResidualError,
)

__all__ = ["Residual", "residual_of"]

_FACTORS = (0.5, 1.0, 2.0, 5.0, 11.0, 30.0, 80.0)


@dataclass(frozen=True)
class Residual:
    """A residual error, how it was coded, and the remarks that go with it.

    ``left_out`` are sentences on what it does not carry, ``thetas`` those that it rests on.
    """

    error: ResidualError
    limit: str | None
    remarks: tuple[str, ...]
    left_out: tuple[str, ...]
    thetas: frozenset[int] = frozenset()


def residual_of(
    observation: Observation,
    estimates: Estimates,
    sigma: tuple[np.ndarray[Any, Any], Sequence[bool]],
    where: str,
) -> Residual:
    """The residual error of an observation.

    Parameters
    ----------
    observation
        What Y is.
    estimates
        Of the thetas.
    sigma
        Covariance matrix of the epsilons, and which are fixed.
    where
        For sentences.

    Raises
    ------
    NonmemError
        When the SD is none that popk has, or depends on columns.
    """
    import sympy

    left_out: list[str] = []
    y = observation.y
    prediction = sympy.Symbol("prediction", positive=True)
    y = y.xreplace({observation.positive: prediction * observation.divisor})
    epsilons = sorted(int(n[4:-1]) for n in names_in(y) if re.fullmatch(r"EPS\(\d+\)", n))
    slopes = {k: without_epsilons(sympy.diff(y, symbol(f"EPS({k})"))) for k in epsilons}
    if not any(slope != 0 for slope in slopes.values()):
        raise NonmemError([f"Y in {where} has no epsilon; popk needs a residual error."])
    # The scale of the prediction may hold etas and columns: it cancels, or is refused below.
    slopes = {k: sympy.simplify(slope) for k, slope in slopes.items()}
    if any(etas_in(slope) for slope in slopes.values()):
        numbers = ", ".join(
            f"ETA({k})" for k in sorted(set().union(*map(etas_in, slopes.values())))
        )
        left_out.append(f"{numbers} on the residual error: popk has no variability of it.")
        slopes = {k: _without_etas(slope) for k, slope in slopes.items()}
    columns = sorted({c for s in slopes.values() for c in columns_in(s)} - {"prediction"})
    if columns:
        raise NonmemError(
            [f"the residual error ({where}) depends on {', '.join(columns)}. popk has errors that "
             "differ between assays (ByAssay) and outputs; give one as error, to have it instead."]
        )  # fmt: skip
    variance = _variance(slopes, sigma, estimates)
    moved = _variance(slopes, sigma, estimates, factor=1.3)
    exponential = not observation.logarithmic and _is_exponential(y, slopes)
    error, remarks = _recognised(variance, moved, observation.logarithmic, exponential, where)
    limit = None
    if observation.censored is not None:
        limit = _limit(observation, variance, estimates, where)
    thetas = frozenset(k for slope in slopes.values() for k in thetas_in(slope))
    return Residual(error, limit, tuple(remarks), tuple(left_out), thetas)


def _without_etas(expression: Any) -> Any:
    import sympy

    zero = sympy.Integer(0)
    return expression.xreplace(
        {s: zero for s in expression.free_symbols if s.name.startswith("ETA(")}
    )


type Variance = Callable[[float], float]


def _variance(
    slopes: Mapping[int, Any], sigma: Any, estimates: Estimates, *, factor: float = 1.0
) -> Variance:
    """Variance of Y as a function of the prediction; what is estimated is taken times a factor."""
    matrix, fixed = sigma
    order = sorted(slopes)
    functions = [compiled(slopes[k]) for k in order]
    scale = [1.0 if fixed[k - 1] else factor for k in order]
    part = np.array(
        [
            [matrix[i - 1, j - 1] * math.sqrt(a * b) for j, b in zip(order, scale, strict=True)]
            for i, a in zip(order, scale, strict=True)
        ]
    )
    thetas = {
        f"THETA({k})": theta.value * (1.0 if theta.fixed else factor)
        for k, theta in estimates.thetas.items()
    }

    def at(prediction: float) -> float:
        point = {**thetas, "prediction": prediction}
        slope = np.array([function(point) for function in functions])
        return float(slope @ part @ slope)

    return at


def _is_exponential(y: Any, slopes: Mapping[int, Any]) -> bool:
    """Whether Y is the prediction times the exponential of an epsilon."""
    import sympy

    if len(slopes) != 1:
        return False
    (k,) = slopes
    epsilon = symbol(f"EPS({k})")
    slope = sympy.simplify(sympy.diff(y, epsilon) / y)
    return epsilon not in slope.free_symbols


def _recognised(
    variance: Variance, moved: Variance, logarithmic: bool, exponential: bool, where: str
) -> tuple[ResidualError, list[str]]:
    """The error with this variance at all predictions.

    A coefficient that is the same where all that is estimated has moved is fixed.
    """
    at = np.array(_FACTORS)
    found, other = (np.array([function(x) for x in at]) for function in (variance, moved))
    if not np.all(np.isfinite(found)) or not np.all(found > 0):
        raise NonmemError(
            [f"the residual error in {where} has no variance above zero; check $SIGMA and the "
             "thetas that it uses."]
        )  # fmt: skip
    if logarithmic or exponential:
        relative, shifted = (x if logarithmic else x / at**2 for x in (found, other))
        if _all_same(relative):
            own = "DV holds logarithms: read the data with log_dv=True." if logarithmic else (
                "Y = F EXP(EPS) is taken as log-normal, which NONMEM's first-order methods fit "
                "as a proportional error."
            )  # fmt: skip
            return LogNormalError(_sd(relative[0], shifted[0])), [own]
        raise NonmemError(
            [f"the SD of the logarithm in {where} depends on the prediction; popk has a constant "
             "one (LogNormalError)."]
        )  # fmt: skip
    if _all_same(found):
        return Additive(_sd(found[0], other[0])), []
    if _all_same(found / at**2):
        return Proportional(_sd(found[0] / at[0] ** 2, other[0] / at[0] ** 2)), []
    error = _combined(at, found, other) or _power(at, found, other)
    if error is None:
        raise NonmemError(
            [f"the residual error in {where} is none that popk has: additive, proportional, "
             "combined, a power of the prediction, log-normal."]
        )  # fmt: skip
    return error, []


def _sd(variance: float, moved: float) -> Prior:
    return half_normal(math.sqrt(variance), fixed=same(float(variance), float(moved)))


def _combined(at: Any, found: Any, other: Any) -> ResidualError | None:
    """Variances or SDs of a proportional and an additive part that add; None if they do not."""
    # Two coefficients from two points; the others tell whether they are right.
    ends = [0, -1]
    squares = np.array([[x**2, 1.0] for x in at[ends]])
    a, b = np.linalg.solve(squares, found[ends])
    if a > 0 and b > 0 and _all_same(found / (a * at**2 + b)):
        a2, b2 = np.linalg.solve(squares, other[ends])
        return Combined(_sd(a, a2), _sd(b, b2))
    lines = np.array([[x, 1.0] for x in at[ends]])
    a, b = np.linalg.solve(lines, np.sqrt(found[ends]))
    if a > 0 and b > 0 and _all_same(np.sqrt(found) / (a * at + b)):
        a2, b2 = np.linalg.solve(lines, np.sqrt(other[ends]))
        return CombinedSD(_sd(a**2, a2**2), _sd(b**2, b2**2))
    return None


def _power(at: Any, found: Any, other: Any) -> ResidualError | None:
    """An SD that is a power of the prediction; None if it is not."""
    wide = np.log(at[-1] / at[0]) * 2
    exponent, shifted = (float(np.log(x[-1] / x[0]) / wide) for x in (found, other))
    one = _FACTORS.index(1.0)
    if not _all_same(found / (found[one] * at ** (2 * exponent))):
        return None
    power: Prior = Fixed(exponent) if same(exponent, shifted) else Normal(exponent, 0.25)
    return PowerError(_sd(found[one], other[one]), power)


def _all_same(values: Any) -> bool:
    return all(same(float(values[0]), float(x)) for x in values[1:])


def _limit(observation: Observation, variance: Variance, estimates: Estimates, where: str) -> str:
    """The limit of quantification in Y = PHI((LLOQ - prediction)/SD), the method M3 of Beal."""
    import sympy

    refused = NonmemError(
        [f"the likelihood of observations below the limit in {where} is not "
         "PHI((LLOQ - prediction)/SD), the method M3, which popk has. Remove F_FLAG and mark these "
         "observations with CENS."]
    )  # fmt: skip
    y = observation.censored
    if getattr(y.func, "__name__", "") != "PHI":
        raise refused
    source = observation.positive
    prediction = sympy.Symbol("prediction", positive=True)
    argument = sympy.simplify(y.args[0].xreplace({source: prediction * observation.divisor}))
    columns = sorted(columns_in(argument) - {"prediction"})
    if len(columns) > 1 or etas_in(argument):
        raise refused
    value = compiled(argument)
    limits = []
    for at in _FACTORS:
        point = {**estimates.values, "prediction": at, **dict.fromkeys(columns, 3.7)}
        centre = math.log(at) if observation.logarithmic else at
        limits.append(value(point) * math.sqrt(variance(at)) + centre)
    if not all(same(limits[0], limit, scale=1.0) for limit in limits[1:]):
        raise refused
    if columns and not same(limits[0], 3.7):
        raise refused
    if columns:
        return columns[0]
    return f"{math.exp(limits[0]) if observation.logarithmic else limits[0]:g}"
