"""Random effects that are not normal: skewed, or with heavy tails.

Source: Petersson, Hanze, Savic & Karlsson, Semiparametric distributions with estimated shape
parameters, Pharm Res 2009;26:2174-2185.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.priors import Fixed, Prior

__all__ = ["BoxCox", "EffectShape", "HeavyTails"]

_SMALL = 1e-5  # below it, (exp(x) - 1)/x is its series


class EffectShape(ABC):
    """What makes a random effect of a standard normal number z and an SD omega."""

    @property
    @abstractmethod
    def name(self) -> str:
        """First part of the parameter's name in the posterior."""

    @property
    @abstractmethod
    def prior(self) -> Prior:
        """Prior of the shape parameter."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """A few words for tables, with ``{name}`` for the parameter that varies."""

    @abstractmethod
    def effect(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        """The random effect."""

    @abstractmethod
    def slope(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        """Its derivative by z."""


@dataclass(frozen=True, slots=True)
class BoxCox(EffectShape):
    """``(exp(shape omega z) - 1) / shape``: skewed to the right where the shape is above zero.

    Parameters
    ----------
    shape
        Prior of the shape; at 0 the effect is normal.
    """

    shape: Prior

    @property
    @override
    def name(self) -> str:
        return "boxcox"

    @property
    @override
    def prior(self) -> Prior:
        return self.shape

    @property
    @override
    def meaning(self) -> str:
        return "Box-Cox shape of the random effects on {name}"

    @override
    def effect(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        eta = omega * z
        bent = shape * eta
        small = abs(bent) < _SMALL
        divisor = ops.where(small, 1.0, shape)
        series = eta * (1.0 + 0.5 * bent + bent * bent / 6.0)
        return ops.where(small, series, (ops.exp(bent) - 1.0) / divisor)

    @override
    def slope(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        return omega * ops.exp(shape * omega * z)


@dataclass(frozen=True, slots=True)
class HeavyTails(EffectShape):
    """Nearly a Student t: ``omega t(z)``, t the expansion of its quantiles in 1/freedom.

    Source: Fisher & Cornish 1960, as used by Petersson et al.

    Parameters
    ----------
    freedom
        Prior of the degrees of freedom (3 or more; many: normal).
    """

    freedom: Prior

    def __post_init__(self) -> None:
        known = isinstance(self.freedom, Fixed) and self.freedom.value > 0
        if not (self.freedom.positive or known):
            raise SettingError(
                f"HeavyTails was given the prior {self.freedom!r}, which allows degrees of freedom "
                "of zero or below; use LogNormal."
            )

    @property
    @override
    def name(self) -> str:
        return "freedom"

    @property
    @override
    def prior(self) -> Prior:
        return self.freedom

    @property
    @override
    def meaning(self) -> str:
        return "degrees of freedom of the random effects on {name}"

    @override
    def effect(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        s, n = z * z, 1.0 / shape
        second = (5.0 * s + 16.0) * s + 3.0
        third = ((3.0 * s + 19.0) * s + 17.0) * s - 15.0
        return omega * z * (1.0 + n * ((s + 1.0) / 4.0 + n * (second / 96.0 + n * third / 384.0)))

    @override
    def slope(self, z: Any, omega: Any, shape: Any, ops: Operations) -> Any:
        s, n = z * z, 1.0 / shape
        second = (25.0 * s + 48.0) * s + 3.0
        third = ((21.0 * s + 95.0) * s + 51.0) * s - 15.0
        return omega * (1.0 + n * ((3.0 * s + 1.0) / 4.0 + n * (second / 96.0 + n * third / 384.0)))
