"""Shrinkage of many coefficients at once, to see which of many covariates matter.

The regularised horseshoe (Piironen & Vehtari, Electron. J. Stat. 11:5018, 2017) pulls coefficients
towards zero, all of them together (tau), except those that the data show to be larger (lambda); the
slab (c) bounds these:

    beta_j = z_j tau lambda_j c / sqrt(c^2 + tau^2 lambda_j^2) / spread_j,

z_j ~ Normal(0, 1), lambda_j ~ HalfCauchy(1), tau ~ HalfCauchy(tau_0), c^2 ~ InverseGamma.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, override

import numpy as np
from scipy import stats

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.priors import HalfCauchy, Normal, Prior
from popk.statistics.priors.base import Continuous

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable

__all__ = ["Horseshoe", "InverseGamma", "Shrunk"]


def plain(part: object, *fields: str) -> None:
    """Replace NumPy's numbers in the fields of a frozen value by Python's own."""
    for field in fields:
        value = getattr(part, field)
        if isinstance(value, np.generic):
            object.__setattr__(part, field, value.item())


@dataclass(frozen=True)
class InverseGamma(Continuous):
    """Inverse gamma: density proportional to ``x ** (-shape - 1) * exp(-scale / x)``."""

    shape: float
    scale: float

    def __post_init__(self) -> None:
        plain(self, "shape", "scale")
        for name in ("shape", "scale"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                self._refuse(f"the {name} must be above zero.")

    def __repr__(self) -> str:
        return f"InverseGamma({self.shape:g}, {self.scale:g})"

    @property
    @override
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    @override
    def exact(self) -> Any:
        return stats.invgamma(self.shape, scale=self.scale)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast(
            "TensorVariable[Any, Any]", pm.InverseGamma(name, alpha=self.shape, beta=self.scale)
        )


@dataclass(frozen=True)
class Horseshoe:
    """A group of coefficients of which a few are expected to matter.

    All numbers are in terms of the change of a parameter's logarithm when the covariate changes by
    one SD (`Shrunk` has the SD).

    Parameters
    ----------
    name
        Of the group: ``tau_<name>`` and ``slab_<name>`` in the posterior.
    candidates
        How many coefficients are in the group.
    expected_nonzero
        How many of them are expected to matter.
    scale
        How precisely the data can tell one coefficient: roughly the SD of the random effect over
        the square root of the number of subjects (0.3 and 100 subjects: 0.03).
    slab
        The largest effect that is plausible: 0.5 is a factor of 1.6 for one SD.
    freedom
        Degrees of freedom of the slab; small ones allow an occasional larger effect.

    Notes
    -----
    The median of tau is ``expected_nonzero / (candidates - expected_nonzero) * scale``, as proposed
    there. The posterior has funnels: give `popk.NUTS` a ``target_accept`` of 0.95
    or more.
    """

    name: str
    candidates: int
    expected_nonzero: float
    scale: float
    slab: float = 0.5
    freedom: float = 4.0

    def __post_init__(self) -> None:
        plain(self, "candidates", "expected_nonzero", "scale", "slab", "freedom")
        if not isinstance(self.name, str) or not self.name.isidentifier():
            self._refuse("name", "a name of letters, digits and underscores, such as 'screen'")
        if isinstance(self.candidates, bool) or not isinstance(self.candidates, int):
            self._refuse("candidates", "a whole number")
        for field in ("expected_nonzero", "scale", "slab", "freedom"):
            value = getattr(self, field)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (value > 0 and math.isfinite(value)):
                self._refuse(field, "a number above zero")
        if self.expected_nonzero >= self.candidates:
            self._refuse("expected_nonzero", f"less than the {self.candidates} candidates")

    def _refuse(self, field: str, wanted: str) -> None:
        raise SettingError(
            f"Horseshoe was given {field}={getattr(self, field)!r}; expected {wanted}."
        )

    @property
    def tau(self) -> HalfCauchy:
        """Prior of what all coefficients are shrunk by."""
        ratio = self.expected_nonzero / (self.candidates - self.expected_nonzero)
        return HalfCauchy(ratio * self.scale)

    @property
    def slab_variance(self) -> InverseGamma:
        """Prior of the slab's variance c^2."""
        half = 0.5 * self.freedom
        return InverseGamma(half, half * self.slab**2)


@dataclass(frozen=True, repr=False)
class Shrunk:
    """In the place of a coefficient's prior: one of a group that is shrunk together.

    Parameters
    ----------
    group
        The group; coefficients with equal groups belong together.
    spread
        SD over the subjects of what the coefficient multiplies: of ``log(covariate)`` in `Power`,
        of the covariate in `Exponential` and `LinearEffect`.
    """

    group: Horseshoe
    spread: float = 1.0

    def __post_init__(self) -> None:
        plain(self, "spread")
        if not isinstance(self.group, Horseshoe):
            raise SettingError(f"Shrunk was given {self.group!r}; expected Horseshoe(...).")
        number = isinstance(self.spread, int | float) and not isinstance(self.spread, bool)
        if not number or not (self.spread > 0 and math.isfinite(self.spread)):
            raise SettingError(
                f"Shrunk was given spread={self.spread!r}; expected the SD over the subjects of "
                "what the coefficient multiplies."
            )

    def __repr__(self) -> str:
        return f"Shrunk({self.group.name}, spread={self.spread:g})"

    def parts(self, coefficient: str) -> tuple[tuple[str, Prior, str], ...]:
        """Name, prior and meaning of the population parameters that make up a coefficient."""
        group = self.group
        return (
            (f"tau_{group.name}", group.tau, f"scale of all coefficients of {group.name}"),
            (
                f"slab_{group.name}",
                group.slab_variance,
                f"variance of the large coefficients of {group.name}",
            ),
            (f"lambda_{coefficient}", HalfCauchy(1.0), f"own scale of {coefficient}"),
            (f"z_{coefficient}", Normal(0.0, 1.0), f"standardised {coefficient}"),
        )

    def value(self, coefficient: str, population: Mapping[str, Any], ops: Operations) -> Any:
        """The coefficient, from the values of its parts by name."""
        tau, variance, own, z = (population[name] for name, _, _ in self.parts(coefficient))
        width = tau * own
        return z * width * ops.sqrt(variance / (variance + width * width)) / self.spread
