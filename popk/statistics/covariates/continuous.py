"""Effects of covariates that are measured: weight, age, albumin, creatinine clearance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, override

from popk.errors import SettingError
from popk.statistics.covariates.base import (
    ON,
    Coefficient,
    OneCovariate,
    check_names,
    check_prior,
    per,
    quantity,
)
from popk.statistics.operations import Operations
from popk.statistics.priors import Normal, Prior
from popk.statistics.shrinkage import Shrunk, plain

# The allometric exponent of a clearance, as wide as the choice between 0 and 1.5.
ALLOMETRIC = Normal(0.75, 0.5)


class _Centred(OneCovariate):
    """An effect that is 1 at a reference, which may be left to the data (None)."""

    reference: float | None

    @property
    @override
    def uncentred(self) -> tuple[str, ...]:
        return (self.covariate,) if self.reference is None else ()

    @override
    def centred(self, references: Mapping[str, float]) -> Self:
        if self.reference is not None:
            return self
        # Every concrete effect is a dataclass with a reference.
        return replace(self, reference=references[self.covariate])  # type: ignore[type-var]

    def _check(self, field: str, *, positive: bool) -> None:
        check_names(self)
        plain(self, "reference")
        given = self.reference
        number = isinstance(given, int | float) and not isinstance(given, bool)
        usable = number and math.isfinite(given or 0.0) and not (positive and (given or 0.0) <= 0)
        if given is not None and not usable:
            raise SettingError(
                f"{self.title} was given reference {given!r}; expected a value"
                f"{' above zero' if positive else ''}, or None to take it from the data with "
                "PopModel.centred_on."
            )
        check_prior(self, field)


@dataclass(frozen=True)
class Power(_Centred):
    """``(covariate / reference) ** exponent``, as usual for body weight.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset; its values must be above zero.
    reference
        Value at which the factor is 1, in the covariate's unit; None to take the median of the
        data with `popk.PopModel.centred_on`.
    exponent
        Prior of the exponent, ``beta_CL_WT`` in the posterior.
    label
        Stands for ``CL_WT`` in that name; effects with the same label and prior share the exponent.
    """

    kind: ClassVar[str] = "power"
    parameter: str
    covariate: str
    reference: float | None = None
    exponent: Prior | Shrunk = ALLOMETRIC
    label: str | None = None

    def __post_init__(self) -> None:
        self._check("exponent", positive=True)

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        at = quantity(self.reference, self.covariate, units)
        meaning = f"exponent of {self.covariate}/{at} on {ON}"
        return (Coefficient(f"beta_{self.named}", self.exponent, meaning),)

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        relative = covariates[self.covariate] / self.reference
        return coefficients[f"beta_{self.named}"] * ops.log(relative)

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        if not value > 0:
            return f"a power of {covariate} needs a value above zero"
        known = self.reference is None or 0 < value / self.reference < math.inf
        return (
            None if known else f"{covariate} over {self.reference:g} is no number that can be used"
        )


@dataclass(frozen=True)
class Exponential(_Centred):
    """``exp(slope * (covariate - reference))``.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset.
    slope
        Prior of the change of the parameter's logarithm per unit of the covariate,
        ``slope_CL_AGE`` in the posterior.
    reference
        Value at which the factor is 1, in the covariate's unit; None to take the median of the
        data with `popk.PopModel.centred_on`.
    label
        Stands for ``CL_AGE`` in that name; effects with the same label and prior share the slope.
    """

    kind: ClassVar[str] = "exponential"
    parameter: str
    covariate: str
    slope: Prior | Shrunk
    reference: float | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        self._check("slope", positive=False)

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        at = quantity(self.reference, self.covariate, units)
        meaning = f"change of log {ON} per {_one(self.covariate, units)}, from {at}"
        unit = per(self.covariate, units)
        return (Coefficient(f"slope_{self.named}", self.slope, meaning, unit),)

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        return coefficients[f"slope_{self.named}"] * (covariates[self.covariate] - self.reference)

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        return None if math.isfinite(value) else f"{covariate} must be a number"


@dataclass(frozen=True)
class LinearEffect(_Centred):
    """``1 + slope * (covariate - reference)``; impossible where that is zero or below.

    A slope for which the factor of any subject is zero or below has a likelihood of zero.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset.
    slope
        Prior of the relative change of the parameter per unit of the covariate, ``slope_CL_AGE``
        in the posterior.
    reference
        Value at which the factor is 1, in the covariate's unit; None to take the median of the
        data with `popk.PopModel.centred_on`.
    label
        Stands for ``CL_AGE`` in that name; effects with the same label and prior share the slope.
    """

    kind: ClassVar[str] = "linear"
    always_positive: ClassVar[bool] = False
    parameter: str
    covariate: str
    slope: Prior | Shrunk
    reference: float | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        self._check("slope", positive=False)

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        at = quantity(self.reference, self.covariate, units)
        meaning = f"relative change of {ON} per {_one(self.covariate, units)}, from {at}"
        unit = per(self.covariate, units)
        return (Coefficient(f"slope_{self.named}", self.slope, meaning, unit),)

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        slope = coefficients[f"slope_{self.named}"]
        return log_where_positive(1.0 + slope * (covariates[self.covariate] - self.reference), ops)

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        return None if math.isfinite(value) else f"{covariate} must be a number"


@dataclass(frozen=True)
class Maturation(OneCovariate):
    """``covariate**hill / (covariate**hill + tm50**hill)``: how a function ripens with age.

    The factor is 1 in those who are mature, so the typical value is an adult's; the covariate is
    the postmenstrual age, as a rule. For glomerular filtration TM50 is 47.7 weeks and the Hill
    exponent 3.4 (Rhodin et al., Pediatr. Nephrol. 24:67, 2009).

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset; its values must be above zero.
    tm50
        Prior of the age at half of the mature value, in the covariate's unit; ``tm50_CL_PMA`` in
        the posterior.
    hill
        Prior of the Hill exponent, ``hill_CL_PMA``.
    label
        Stands for ``CL_PMA`` in these names; effects with the same label and priors share them.

    Notes
    -----
    Anderson & Holford, Annu. Rev. Pharmacol. Toxicol. 48:303, 2008.
    """

    kind: ClassVar[str] = "maturation"
    parameter: str
    covariate: str
    tm50: Prior
    hill: Prior
    label: str | None = None

    def __post_init__(self) -> None:
        check_names(self)
        check_prior(self, "tm50", positive=True)
        check_prior(self, "hill", positive=True)

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        half = f"{self.covariate} at which {ON} is half mature"
        hill = f"Hill exponent of the maturation of {ON} with {self.covariate}"
        unit = units.get(self.covariate, "1")
        return (
            Coefficient(f"tm50_{self.named}", self.tm50, half, unit),
            Coefficient(f"hill_{self.named}", self.hill, hill),
        )

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        tm50, hill = (coefficients[f"{name}_{self.named}"] for name in ("tm50", "hill"))
        return -ops.softplus(hill * (ops.log(tm50) - ops.log(covariates[self.covariate])))

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        return None if value > 0 else f"the maturation with {covariate} needs a value above zero"


def log_where_positive(factor: Any, ops: Operations) -> Any:
    """Logarithm of a factor, NaN with a slope of zero where it is not above zero."""
    usable = factor > 0
    return ops.where(usable, ops.log(ops.where(usable, factor, 1.0)), math.nan)


def _one(covariate: str, units: Mapping[str, str]) -> str:
    unit = units.get(covariate, "1")
    return f"unit of {covariate}" if unit == "1" else f"{unit} of {covariate}"
