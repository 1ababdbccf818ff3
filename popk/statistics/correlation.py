"""Correlations of random effects, by their partial correlations: free of each other in (-1, 1).

Under the LKJ prior the partial correlations of a C-vine are independent Beta variables on (-1, 1),
so each can have a prior of its own and no proposal is ever outside of the valid matrices.

Source: Lewandowski, Kurowicka & Joe, J Multivar Anal 2009;100:1989-2001.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.priors import Correlation, Fixed, Prior

__all__ = ["Correlated"]

_LKJ = 2.0  # its eta if nothing is said


@dataclass(frozen=True, init=False, repr=False)
class Correlated:
    """Random effects that are correlated with each other.

    Parameters
    ----------
    effects
        The parameters they act on, two or more.
    eta
        Of the LKJ prior of the correlation matrix: 1 is uniform, more draws it to zero.
    fixed
        Known correlations instead, of each pair in the order of the lower triangle: for three
        effects (2, 1), (3, 1), (3, 2).

    Raises
    ------
    SettingError
        When effects are missing or named twice, no correlation matrix has these correlations, or
        they are given beside a prior.
    """

    effects: tuple[str, ...]
    eta: float
    fixed: tuple[float, ...]

    def __init__(
        self, effects: Iterable[str], eta: float = _LKJ, fixed: Iterable[float] = ()
    ) -> None:
        names = (effects,) if isinstance(effects, str) else tuple(str(name) for name in effects)
        object.__setattr__(self, "effects", names)
        object.__setattr__(self, "eta", float(eta))
        object.__setattr__(self, "fixed", tuple(float(value) for value in fixed))
        listed = ", ".join(names)
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingError(
                f"Correlated was given the effects {listed}; expected two or more, each once."
            )
        if not (self.eta > 0 and math.isfinite(self.eta)):
            raise SettingError(f"Correlated({listed}) was given eta={eta!r}; expected above zero.")
        if self.fixed and self.eta != _LKJ:
            raise SettingError(
                f"Correlated({listed}) was given eta={self.eta:g}, a prior, and fixed={self.fixed},"
                " known correlations; give one of them."
            )
        if self.fixed:
            self._check_fixed()

    def __repr__(self) -> str:
        given = f"fixed={self.fixed!r}" if self.fixed else f"eta={self.eta:g}"
        return f"Correlated({self.effects!r}, {given})"

    def _check_fixed(self) -> None:
        pairs = list(self.pairs)
        listed = ", ".join(f"{a} with {b}" for a, b in pairs)
        if len(self.fixed) != len(pairs):
            raise SettingError(
                f"Correlated({', '.join(self.effects)}) was given {len(self.fixed)} fixed "
                f"correlations; expected {len(pairs)}: {listed}."
            )
        try:
            np.linalg.cholesky(self._matrix())
        except np.linalg.LinAlgError:
            raise SettingError(
                f"Correlated({', '.join(self.effects)}) was given the correlations {self.fixed} "
                f"({listed}); no random effects can have them: the matrix is not positive definite."
            ) from None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs in the order of the lower triangle: later effect, earlier effect."""
        names = self.effects
        return tuple((names[i], names[j]) for i in range(len(names)) for j in range(i))

    def _matrix(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        size = len(self.effects)
        found = np.eye(size)
        rows, columns = np.tril_indices(size, -1)
        found[rows, columns] = found[columns, rows] = self.fixed
        return found

    def priors(self, prefix: str = "") -> tuple[tuple[str, Prior, str], ...]:
        """Name, prior and meaning of each partial correlation, lower triangle row by row."""
        size, names = len(self.effects), self.effects
        known = np.linalg.cholesky(self._matrix()) if self.fixed else None
        found: list[tuple[str, Prior, str]] = []
        for i in range(size):
            for j in range(i):
                if known is None:
                    prior: Prior = Correlation(self.eta + 0.5 * (size - 2 - j))
                else:
                    left = math.sqrt(max(1.0 - float(np.sum(known[i, :j] ** 2)), 1e-300))
                    prior = Fixed(float(known[i, j]) / left)
                kind = "correlation" if j == 0 else "partial correlation"
                given = f", given {' and '.join(names[:j])}" if j else ""
                found.append(
                    (
                        f"{'corr' if j == 0 else 'pcorr'}_{prefix}{names[j]}_{names[i]}",
                        prior,
                        f"{kind} of the random effects on {names[j]} and {names[i]}{given}",
                    )
                )
        return tuple(found)

    def factor(self, values: Mapping[str, Any], prefix: str, ops: Operations) -> list[list[Any]]:
        """Rows of the Cholesky factor of the correlation matrix, up to and with the diagonal.

        Parameters
        ----------
        values
            The partial correlations by name; numbers, arrays or symbolic.
        prefix
            That of the names.
        ops
            The arithmetic to use.
        """
        names = iter(name for name, _, _ in self.priors(prefix))
        rows: list[list[Any]] = [[1.0]]
        for i in range(1, len(self.effects)):
            row: list[Any] = []
            left: Any = 1.0  # what of the variance is left
            for _ in range(i):
                partial = values[next(names)]
                row.append(partial * ops.sqrt(left))
                left = left * (1.0 - partial * partial)
            rows.append([*row, ops.sqrt(left)])
        return rows
