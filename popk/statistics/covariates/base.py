"""What an effect of covariates is: a factor on a parameter, with coefficients that have priors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.priors import Fixed, Prior
from popk.statistics.shrinkage import Shrunk

ON = "{parameter}"  # in a meaning: the parameters that the coefficient acts on


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient of a covariate effect.

    Parameters
    ----------
    name
        Its name in the posterior. Effects that give one the same name and prior share it.
    prior
        Its prior; `Shrunk` where many are screened together.
    meaning
        A few words for tables; ``{parameter}`` stands for what it acts on.
    unit
        Its unit.
    """

    name: str
    prior: Prior | Shrunk
    meaning: str = ""
    unit: str = "1"

    @property
    def parts(self) -> tuple[Coefficient, ...]:
        """Population parameters that make it up: itself, or those of its shrinkage."""
        if isinstance(self.prior, Shrunk):
            return tuple(Coefficient(*part) for part in self.prior.parts(self.name))
        return (self,)

    def value(self, population: Mapping[str, Any], ops: Operations) -> Any:
        """Its value, from those of the population parameters."""
        if isinstance(self.prior, Shrunk):
            return self.prior.value(self.name, population, ops)
        return population[self.name]


class CovariateEffect(ABC):
    """A factor on a parameter that depends on covariates and coefficients.

    ``always_positive`` says whether the factor is above zero for all values that are not at fault;
    otherwise the logarithm is NaN where it is not, which the likelihood takes for impossible.
    """

    parameter: str
    kind: ClassVar[str]
    always_positive: ClassVar[bool] = True

    @property
    @abstractmethod
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates, as in the dataset."""

    @abstractmethod
    def coefficients_in(self, units: Mapping[str, str]) -> tuple[Coefficient, ...]:
        """The coefficients, described with the units of the covariates, by name."""

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """The coefficients, described without units."""
        return self.coefficients_in({})

    @abstractmethod
    def log_factor(
        self, covariates: Mapping[str, Any], coefficients: Mapping[str, Any], ops: Operations
    ) -> Any:
        """Logarithm of the factor, for values by name that broadcast."""

    @abstractmethod
    def fault(self, covariate: str, value: float) -> str | None:
        """Why a value of one of the covariates cannot be used, or None."""

    @property
    def uncentred(self) -> tuple[str, ...]:
        """Covariates whose reference was left to the data, and is not known yet."""
        return ()

    def centred(self, references: Mapping[str, float]) -> Self:
        """The effect with references that were left to the data, by covariate."""
        return self

    @property
    def title(self) -> str:
        """How errors call it: ``The power effect of WT on CL``."""
        return f"The {self.kind} effect of {' and '.join(self.covariates)} on {self.parameter}"


class OneCovariate(CovariateEffect):
    """An effect of one covariate, whose coefficients are named by ``label``."""

    covariate: str
    label: str | None

    @property
    def covariates(self) -> tuple[str, ...]:
        """The one covariate."""
        return (self.covariate,)

    @property
    def named(self) -> str:
        """What the coefficients are named after."""
        return f"{self.parameter}_{self.covariate}" if self.label is None else self.label


def check_names(effect: OneCovariate) -> None:
    """Refuse what is not a name.

    Raises
    ------
    SettingError
        With what was given.
    """
    for field in ("parameter", "covariate", "label"):
        given = getattr(effect, field)
        if field == "label" and given is None:
            continue
        if not isinstance(given, str) or not given.strip():
            raise SettingError(
                f"{type(effect).__name__} was given {field}={given!r}; expected a name such as "
                f"'{'WT' if field == 'covariate' else 'CL'}'."
            )


def check_prior(effect: CovariateEffect, field: str, *, positive: bool = False) -> None:
    """Refuse what is not a prior, or allows values that make no sense.

    Raises
    ------
    SettingError
        With what was given and what was expected.
    """
    given = getattr(effect, field)
    if isinstance(given, Shrunk) and not positive:
        return
    if isinstance(given, Shrunk):
        raise SettingError(
            f"{effect.title} was given {field}={given!r}, which shrinks towards 0; a factor is "
            f"shrunk as the coefficient of Exponential({effect.parameter!r}, "
            f"{effect.covariates[0]!r}, ..., reference=0), its logarithm."
        )
    if not isinstance(given, Prior):
        number = isinstance(given, int | float) and not isinstance(given, bool)
        known = f"; for a known value write Fixed({given:g})" if number else ""
        raise SettingError(f"{effect.title} was given {field}={given!r}; expected a prior{known}.")
    if positive and not (given.positive or (isinstance(given, Fixed) and given.value > 0)):
        raise SettingError(
            f"{effect.title} was given the prior {given!r}, which allows a {field} of zero or "
            "below; use LogNormal."
        )


def per(covariate: str, units: Mapping[str, str]) -> str:
    """Unit of a coefficient per unit of a covariate: ``1/kg``."""
    unit = units.get(covariate, "1")
    if unit == "1":
        return "1"
    return f"1/({unit})" if "/" in unit else f"1/{unit}"


def quantity(value: float | None, covariate: str, units: Mapping[str, str]) -> str:
    """A value of a covariate with its unit: ``70 kg``."""
    if value is None:
        return "(median)"
    unit = units.get(covariate, "1")
    return f"{value:g}" if unit == "1" else f"{value:g} {unit}"
