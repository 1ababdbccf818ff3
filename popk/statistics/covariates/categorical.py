"""Effects of covariates that are one of a few: sex, antibodies, disease, genotype."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, override

import numpy as np

from popk.errors import SettingError
from popk.statistics.covariates.base import (
    ON,
    Coefficient,
    OneCovariate,
    check_names,
    check_prior,
)
from popk.statistics.operations import Operations
from popk.statistics.priors import Fixed, Prior


@dataclass(frozen=True)
class Fold(OneCovariate):
    """``factor ** covariate`` for a covariate that is 0 or 1 (anti-drug antibodies, sex).

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset; 0 leaves the parameter as it is.
    factor
        Prior of the factor at 1, ``fold_CL_ADA`` in the posterior; must be positive.
    label
        Stands for ``CL_ADA`` in that name; effects with the same label and prior share the factor.
    """

    kind: ClassVar[str] = "fold"
    parameter: str
    covariate: str
    factor: Prior
    label: str | None = None

    def __post_init__(self) -> None:
        check_names(self)
        check_prior(self, "factor", positive=True)

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        meaning = f"factor on {ON} where {self.covariate} is 1"
        return (Coefficient(f"fold_{self.named}", self.factor, meaning),)

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        return covariates[self.covariate] * ops.log(coefficients[f"fold_{self.named}"])

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        return None if value in (0, 1) else f"a fold of {covariate} needs 0 or 1"


@dataclass(frozen=True, init=False)
class Folds(OneCovariate):
    """A factor for each level of a covariate, except one level that leaves the parameter as it is.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset, which codes its levels as numbers.
    factors
        Prior of the factor of each level but the reference, ``fold_CL_RACE_2`` in the posterior:
        ``{2: LogNormal(1.0, cv=0.3), 3: Fixed(0.8)}``; must be positive.
    reference
        The level whose factor is 1.
    label
        Stands for ``CL_RACE`` in these names; effects with the same label and priors share them.
    """

    kind: ClassVar[str] = "categorical"
    parameter: str
    covariate: str
    factors: tuple[tuple[float, Prior], ...]
    reference: float
    label: str | None

    def __init__(
        self,
        parameter: str,
        covariate: str,
        *,
        factors: Mapping[float, Prior] | Iterable[tuple[float, Prior]],
        reference: float,
        label: str | None = None,
    ) -> None:
        given = tuple(factors.items() if isinstance(factors, Mapping) else factors)
        pairs = tuple((_plain(level), prior) for level, prior in given)
        reference = _plain(reference)
        for name, value in (
            ("parameter", parameter),
            ("covariate", covariate),
            ("label", label),
            ("factors", pairs),
            ("reference", reference),
        ):
            object.__setattr__(self, name, value)
        check_names(self)
        levels = [reference, *(level for level, _ in pairs)]
        for level in levels:
            number = isinstance(level, int | float) and not isinstance(level, bool)
            if not number or not math.isfinite(level):
                raise SettingError(
                    f"{self.title} was given the level {level!r}; expected the numbers by which "
                    f"the column {covariate} codes its levels."
                )
            if levels.count(level) > 1:
                again = " and as the reference" if level == reference else ""
                raise SettingError(f"{self.title} was given the level {level:g} twice{again}.")
        if not pairs:
            raise SettingError(
                f"{self.title} was given no factors; expected the prior of one for each level "
                "besides the reference."
            )
        object.__setattr__(self, "reference", float(reference))
        object.__setattr__(self, "factors", tuple((float(level), p) for level, p in pairs))
        for level, prior in self.factors:
            self._check_factor(level, prior)

    def _check_factor(self, level: float, prior: object) -> None:
        known = isinstance(prior, Fixed) and prior.value > 0
        if not isinstance(prior, Prior) or not (prior.positive or known):
            raise SettingError(
                f"{self.title} was given {prior!r} for level {level:g}; expected a prior of a "
                "factor above zero: LogNormal(median, cv), or Fixed(value)."
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """All levels, the reference first."""
        return (self.reference, *(level for level, _ in self.factors))

    def _name(self, level: float) -> str:
        return f"fold_{self.named}_{level:g}"

    @override
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        return tuple(
            Coefficient(
                self._name(level),
                prior,
                f"factor on {ON} where {self.covariate} is {level:g} (1 at {self.reference:g})",
            )
            for level, prior in self.factors
        )

    @override
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        value, total = covariates[self.covariate], 0.0
        for level, _ in self.factors:
            own = ops.log(coefficients[self._name(level)])
            total = total + ops.where(ops.equal(value, level), own, 0.0)
        return total

    @override
    def fault(self, covariate: str, value: float) -> str | None:
        if value in self.levels:
            return None
        known = ", ".join(f"{level:g}" for level in sorted(self.levels))
        return f"the effect on {self.parameter} knows the levels {known} of {covariate} only"


def _plain(level: Any) -> Any:
    """A level as one of Python's own numbers."""
    return level.item() if isinstance(level, np.generic) else level
