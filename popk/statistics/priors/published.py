"""Priors from what a table says: estimate and RSE, interval, omega as CV, variance or SD."""

from __future__ import annotations

import math
from typing import Literal

from scipy import stats

from popk.errors import SettingError
from popk.statistics.priors.base import Prior, check_level, number
from popk.statistics.priors.positive import WIDEST_CV, LogNormal
from popk.statistics.priors.real import Normal

__all__ = ["flattened", "from_estimate", "from_interval", "from_omega"]

type Kind = Literal["lognormal", "normal"]

_KINDS = ("lognormal", "normal")
_WIDEST_OMEGA_CV = 5.0  # a variability of 500 % between subjects


def from_estimate(
    value: float,
    *,
    rse: float | None = None,
    se: float | None = None,
    kind: Kind = "lognormal",
) -> Prior:
    """The prior that a published estimate and its standard error make.

    ``from_estimate(0.164, rse=0.12)`` is LogNormal(0.164, cv=0.12);
    ``from_estimate(0.60, se=0.08, kind="normal")`` is Normal(0.60, 0.08).

    Parameters
    ----------
    value
        The estimate.
    rse
        Its relative standard error, as a fraction: 0.12 for 12 %.
    se
        Its standard error, in the estimate's unit: one of the two is given.
    kind
        "lognormal" for positive quantities, with the estimate as the median and the RSE as the CV;
        "normal" for coefficients.

    Raises
    ------
    SettingError
        When neither or both of rse and se are given, one makes no sense (an RSE of 12 is 1200 %),
        or a log-normal prior is asked for an estimate that is not above zero.
    """
    what = "from_estimate"
    value = number(what, "value", value)
    _check_kind(what, kind)
    if (rse is None) == (se is None):
        given = "neither was" if rse is None else "both were"
        raise SettingError(
            f"from_estimate needs the precision as rse (0.12 for 12 %) or as se; {given} given."
        )
    if not math.isfinite(value):
        raise SettingError(f"from_estimate was given the value {value!r}; expected a number.")
    if kind == "lognormal" and value <= 0:
        raise SettingError(
            f"from_estimate was given the value {value:g}, and a log-normal prior is above zero. "
            'For a coefficient that may be zero or negative add kind="normal".'
        )
    if rse is not None and value == 0:
        raise SettingError(
            "from_estimate was given the value 0, of which an RSE says nothing; give se."
        )
    if rse is not None:
        relative = _checked_rse(what, rse)
        spread = relative * abs(value)
    else:
        spread = number(what, "se", se)
        if not (spread > 0 and math.isfinite(spread)):
            raise SettingError(
                f"from_estimate was given se={spread:g}; a standard error is above zero."
            )
        relative = spread / value if kind == "lognormal" else 0.0
    return LogNormal(value, cv=relative) if kind == "lognormal" else Normal(value, spread)


def from_interval(
    low: float, high: float, *, level: float = 0.95, kind: Kind | None = None
) -> Prior:
    """The prior whose central interval of probability `level` is the published one.

    Log-normal where both ends are above zero, with the median at their geometric mean, otherwise
    normal. An estimate that is not near that median says that the interval is not symmetric on this
    scale: try the other kind, or write the prior from what matters more.

    Parameters
    ----------
    low, high
        Ends of the interval (confidence, credible, or bootstrap percentiles).
    level
        Its probability: 0.95 for a 95 % interval.
    kind
        "lognormal" or "normal"; chosen from the ends if None.

    Raises
    ------
    SettingError
        When the ends are not in rising order, the level does not lie between 0 and 1, or a
        log-normal prior is asked for an interval that reaches zero.
    """
    what = "from_interval"
    low, high = number(what, "low", low), number(what, "high", high)
    level = check_level(level)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError(
            f"from_interval was given {low:g} to {high:g}; expected two numbers, the lower first."
        )
    if kind is None:
        kind = "lognormal" if low > 0 else "normal"
    _check_kind(what, kind)
    z = float(stats.norm.ppf((1 + level) / 2))
    if kind == "normal":
        return Normal((low + high) / 2, (high - low) / (2 * z))
    if low <= 0:
        raise SettingError(
            f"from_interval was given {low:g} to {high:g}, and a log-normal prior is above zero; "
            'use kind="normal".'
        )
    sd_log = (math.log(high) - math.log(low)) / (2 * z)
    if sd_log**2 > math.log1p(WIDEST_CV**2):
        raise SettingError(
            f"from_interval was given {low:g} to {high:g}, which is a log-normal prior with a cv "
            f'above {WIDEST_CV:g}; check both ends, or use kind="normal".'
        )
    return LogNormal(math.sqrt(low) * math.sqrt(high), cv=math.sqrt(math.expm1(sd_log**2)))


def from_omega(
    *,
    rse: float,
    cv: float | None = None,
    variance: float | None = None,
    sd: float | None = None,
) -> LogNormal:
    """The prior of an omega, the SD of a log-normal random effect, as tables publish it.

    Parameters
    ----------
    rse
        Relative standard error of the number given, as a fraction (0.25 for 25 %). For omega it is
        half of a variance's and nearly that of a CV (by the delta method); where a table gives a
        variance with the RSE of its square root, give the root as `sd`.
    cv
        The variability between subjects as a CV, as a fraction (0.26 for 26 %):
        CV = sqrt(exp(omega^2) - 1). Where a paper calls 100 * omega its CV %, give it as `sd`.
    variance
        omega^2, as NONMEM prints it.
    sd
        omega itself, as Monolix prints it. One of the three is given.

    Raises
    ------
    SettingError
        When not exactly one of cv, variance and sd is given, or a number makes no sense (a CV of 26
        is 2600 %).
    """
    forms = {"cv": cv, "variance": variance, "sd": sd}
    given = {name: value for name, value in forms.items() if value is not None}
    if len(given) != 1:
        found = f"{' and '.join(given)} were" if given else "none was"
        raise SettingError(
            f"from_omega needs one of cv (0.26 for 26 %), variance and sd; {found} given."
        )
    (name, raw), relative = next(iter(given.items())), _checked_rse("from_omega", rse)
    value = number("from_omega", name, raw)
    if not (value > 0 and math.isfinite(value)):
        raise SettingError(f"from_omega was given {name}={value:g}; expected a number above zero.")
    if name == "cv" and value > _WIDEST_OMEGA_CV:
        raise SettingError(
            f"from_omega was given cv={value:g}, and a CV of {value:g} is {100 * value:g} %; for "
            f"{value:g} % give cv={value / 100:g}."
        )
    if name == "sd":
        return LogNormal(value, cv=relative)
    if name == "variance":
        return LogNormal(math.sqrt(value), cv=relative / 2)
    omega2 = math.log1p(value**2)
    slope = value**2 / ((1 + value**2) * omega2)  # of log omega against log CV
    return LogNormal(math.sqrt(omega2), cv=relative * slope)


def flattened(prior: Prior, factor: float) -> Prior:
    """`Prior.flattened` of a prior: `factor` times its variance."""
    if not isinstance(prior, Prior):
        raise SettingError(
            f"flattened was given {prior!r}; expected a prior such as LogNormal(0.2, cv=0.3), or "
            "for all typical values of a model model.flattened(factor)."
        )
    return prior.flattened(factor)


def _checked_rse(what: str, rse: object) -> float:
    value = number(what, "rse", rse)
    if not (value > 0 and math.isfinite(value)):
        raise SettingError(
            f"{what} was given rse={value:g}; a relative standard error is above zero, 0.12 for "
            "12 %."
        )
    if value > 1:
        raise SettingError(
            f"{what} was given rse={value:g}, and an RSE of {value:g} is {100 * value:g} %; for "
            f"{value:g} % give rse={value / 100:g}. An estimate that is less precise than 100 % "
            "says little: write its prior as LogNormal(median, cv=...)."
        )
    return value


def _check_kind(what: str, kind: object) -> None:
    if kind not in _KINDS:
        raise SettingError(f'{what} was given kind={kind!r}; expected "lognormal" or "normal".')
