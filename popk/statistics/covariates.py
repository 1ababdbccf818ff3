"""Effects of covariates on individual parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.priors import Fixed, Normal, Prior

# The allometric exponent of a clearance, as wide as the choice between 0 and 1.5.
ALLOMETRIC = Normal(0.75, 0.5)


class CovariateEffect(ABC):
    """A factor on a parameter that depends on one covariate and one coefficient."""

    parameter: str
    covariate: str

    @property
    @abstractmethod
    def coefficient(self) -> str:
        """Name of the coefficient in the posterior."""

    @property
    @abstractmethod
    def prior(self) -> Prior:
        """Prior of the coefficient."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """A few words for tables."""

    @abstractmethod
    def log_factor(self, value: Any, coefficient: Any, ops: Operations) -> Any:
        """Logarithm of the factor, for covariate values and coefficients that broadcast."""

    @abstractmethod
    def fault(self, value: float) -> str | None:
        """Why a covariate value cannot be used, or None."""


@dataclass(frozen=True)
class Power(CovariateEffect):
    """``(covariate / reference) ** exponent``, as usual for body weight.

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset.
    reference
        Value at which the factor is 1, in the covariate's unit.
    exponent
        Prior of the exponent.
    """

    parameter: str
    covariate: str
    reference: float
    exponent: Prior = ALLOMETRIC

    def __post_init__(self) -> None:
        if not (self.reference > 0 and math.isfinite(self.reference)):
            raise SettingError(
                f"The power effect of {self.covariate} on {self.parameter} was given reference "
                f"{self.reference!r}; expected a value above zero."
            )

    @property
    @override
    def coefficient(self) -> str:
        return f"beta_{self.parameter}_{self.covariate}"

    @property
    @override
    def prior(self) -> Prior:
        return self.exponent

    @property
    @override
    def meaning(self) -> str:
        return f"exponent of {self.covariate}/{self.reference:g} on {self.parameter}"

    @override
    def log_factor(self, value: Any, coefficient: Any, ops: Operations) -> Any:
        return coefficient * ops.log(value / self.reference)

    @override
    def fault(self, value: float) -> str | None:
        return None if value > 0 else f"a power of {self.covariate} needs a value above zero"


@dataclass(frozen=True)
class Fold(CovariateEffect):
    """``factor ** covariate`` for a covariate that is 0 or 1 (anti-drug antibodies, sex).

    Parameters
    ----------
    parameter
        Name of the parameter it acts on.
    covariate
        Name of the covariate, as in the dataset; 0 leaves the parameter as it is.
    factor
        Prior of the factor at 1; must be positive.
    """

    parameter: str
    covariate: str
    factor: Prior

    def __post_init__(self) -> None:
        known = isinstance(self.factor, Fixed) and self.factor.value > 0
        if not (self.factor.positive or known):
            raise SettingError(
                f"The fold effect of {self.covariate} on {self.parameter} was given the prior "
                f"{self.factor!r}, which allows factors of zero or below; use LogNormal."
            )

    @property
    @override
    def coefficient(self) -> str:
        return f"fold_{self.parameter}_{self.covariate}"

    @property
    @override
    def prior(self) -> Prior:
        return self.factor

    @property
    @override
    def meaning(self) -> str:
        return f"factor on {self.parameter} where {self.covariate} is 1"

    @override
    def log_factor(self, value: Any, coefficient: Any, ops: Operations) -> Any:
        return value * ops.log(coefficient)

    @override
    def fault(self, value: float) -> str | None:
        return None if value in (0, 1) else f"a fold of {self.covariate} needs 0 or 1"
