"""Variability between subjects (IIV) and between the occasions of a subject (IOV)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, override

from popk.statistics.correlation import Correlated
from popk.statistics.operations import Operations
from popk.statistics.priors import Prior
from popk.statistics.shapes import EffectShape

__all__ = ["IIV", "IOV", "Variability"]

type Pairs[V] = Mapping[str, V] | Iterable[tuple[str, V]]


def _pairs[V](given: Pairs[V]) -> tuple[tuple[str, V], ...]:
    pairs = given.items() if isinstance(given, Mapping) else given
    return tuple((str(name), value) for name, value in pairs)


class Variability(ABC):
    """Random effects of one level: their SDs and correlations.

    ``omegas`` has a prior of the SD for each parameter that varies; ``correlations`` are blocks.
    """

    omegas: tuple[tuple[str, Prior], ...]
    correlations: tuple[Correlated, ...]

    @property
    @abstractmethod
    def level(self) -> str:
        """What the names of its parameters carry, empty or with an underscore at the end."""

    @property
    @abstractmethod
    def between(self) -> str:
        """Between what it varies, for tables."""

    @property
    def effects(self) -> tuple[str, ...]:
        """Parameters that vary, in order: the dimension of the random effects."""
        return tuple(name for name, _ in self.omegas)

    def omega_name(self, effect: str) -> str:
        """Name of an effect's SD in the posterior."""
        return f"omega_{self.level}{effect}"

    def factor(self, values: Mapping[str, Any], ops: Operations) -> list[list[Any]]:
        """Cholesky factor of the correlations of all effects: rows of n_effects, 0.0 where zero.

        Parameters
        ----------
        values
            Population parameters by name; numbers, arrays or symbolic.
        ops
            The arithmetic to use.
        """
        size = len(self.effects)
        found: list[list[Any]] = [
            [1.0 if i == j else 0.0 for j in range(size)] for i in range(size)
        ]
        for block in self.correlations:
            places = [self.effects.index(name) for name in block.effects]
            for i, row in zip(places, block.factor(values, self.level, ops), strict=True):
                for j, value in zip(places, row, strict=False):
                    found[i][j] = value
        return found

    def _written(self, extra: str = "") -> str:
        inner = ", ".join(f"{name!r}: {prior!r}" for name, prior in self.omegas)
        blocks = f", correlations={list(self.correlations)!r}" if self.correlations else ""
        return f"{type(self).__name__}({{{inner}}}{blocks}{extra})"


@dataclass(frozen=True, repr=False, init=False)
class IIV(Variability):
    """Variability between subjects.

    The individual parameter is the typical value with ``eta`` ~ Normal(0, omega) added on its scale
    (`popk.statistics.LogScale` unless the model says otherwise: typical value times exp(eta)). As a
    CV, omega on the logarithm is sqrt(exp(omega^2) - 1).

    Parameters
    ----------
    omegas
        Prior of omega for each parameter that varies.
    correlations
        Blocks of effects that are correlated; an effect can be in one of them. The rows of the
        blocks follow the order given there.
    shapes
        Effects that are not normal: `BoxCox` or `HeavyTails` by parameter.
    shared
        Parameters that have the random effect of another, on their own scale:
        ``{"Q": "CL"}`` moves Q with the eta of CL.
    """

    omegas: tuple[tuple[str, Prior], ...]
    correlations: tuple[Correlated, ...]
    shapes: tuple[tuple[str, EffectShape], ...]
    shared: tuple[tuple[str, str], ...]

    def __init__(
        self,
        omegas: Pairs[Prior] = (),
        *,
        correlations: Iterable[Correlated] = (),
        shapes: Pairs[EffectShape] = (),
        shared: Pairs[str] = (),
    ) -> None:
        object.__setattr__(self, "omegas", _pairs(omegas))
        object.__setattr__(self, "correlations", tuple(correlations))
        object.__setattr__(self, "shapes", _pairs(shapes))
        object.__setattr__(self, "shared", _pairs(shared))

    def __repr__(self) -> str:
        shapes = f", shapes={dict(self.shapes)!r}" if self.shapes else ""
        shared = f", shared={dict(self.shared)!r}" if self.shared else ""
        return self._written(shapes + shared)

    @property
    @override
    def level(self) -> str:
        return ""

    @property
    @override
    def between(self) -> str:
        return "between subjects (IIV)"

    def shape_name(self, effect: str) -> str:
        """Name of an effect's shape parameter in the posterior."""
        return f"{dict(self.shapes)[effect].name}_{effect}"

    def acts_on(self, effect: str) -> tuple[str, ...]:
        """The parameters that an effect moves."""
        return (effect, *(name for name, other in self.shared if other == effect))


@dataclass(frozen=True, repr=False, init=False)
class IOV(Variability):
    """Variability between occasions of a subject (the data's OCC).

    ``kappa`` ~ Normal(0, omega_iov) adds on the parameter's scale, anew for each occasion (Karlsson
    & Sheiner, J Pharmacokinet Biopharm 1993;21:735-750).

    Parameters
    ----------
    omegas
        Prior of the SD for each parameter that varies.
    correlations
        Blocks of effects that are correlated.
    """

    omegas: tuple[tuple[str, Prior], ...]
    correlations: tuple[Correlated, ...]

    def __init__(
        self, omegas: Pairs[Prior] = (), *, correlations: Iterable[Correlated] = ()
    ) -> None:
        object.__setattr__(self, "omegas", _pairs(omegas))
        object.__setattr__(self, "correlations", tuple(correlations))

    def __repr__(self) -> str:
        return self._written()

    @property
    @override
    def level(self) -> str:
        return "iov_"

    @property
    @override
    def between(self) -> str:
        return "between occasions (IOV)"
