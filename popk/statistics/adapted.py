"""Random effects in coordinates adapted to what each subject's data say.

Centred random effects sample badly where data are weak, non-centred ones where data are strong, and
sparse troughs are both: strong along one combination of CL and VMAX, weak across it. Given a
quadratic approximation of each subject's log likelihood in phi, its parameters on their scales,

    l_i(phi) ~ pull_i . phi - phi . curvature_i . phi / 2,

the conditional posterior of the standardised effects z (eta = B z) is Gaussian with precision
A = I + B^T J B and mean A^-1 B^T (pull - curvature . expected), J the curvature's part for the
effects. The map u -> z that whitens it, z = C^-T (C^-1 B^T r + u) with C C^T = A, makes u nearly
independent of the population parameters: for each effect of each subject it lies between the
centred and the non-centred form, as far as its data inform it. It is only a change of coordinates:
its log determinant enters the density, so the posterior is exact however rough the approximation.
With zero curvature and pull it is the non-centred form (z = u).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popk.statistics.operations import Operations


def adapted_effects(
    u: Sequence[Any],
    mixing: Sequence[Sequence[Any]],
    residual: Mapping[int, Any],
    *,
    positions: Sequence[Sequence[int]],
    curvature: Any,
    ops: Operations,
) -> tuple[list[Any], Any]:
    """Standardised random effects z and the log determinant of dz/du.

    Parameters
    ----------
    u
        Coordinates, one array (n_subjects) per effect.
    mixing
        B, rows of n_effects: SDs times the Cholesky factor of the correlations; 0.0 where zero.
    residual
        Slope of the approximation at the expected parameters, pull - curvature . expected: an array
        (n_subjects) for the position of each parameter that an effect moves.
    positions
        Positions of the parameters that each effect moves.
    curvature
        That of the approximation, (n_subjects, n_parameters, n_parameters).
    ops
        The arithmetic to use.

    Returns
    -------
    z, one array (n_subjects) per effect; log determinant (n_subjects).
    """
    size = len(u)
    own = [
        [_sum(curvature[:, p, q] for p in positions[i] for q in positions[j]) for j in range(size)]
        for i in range(size)
    ]
    slope = [_sum(residual[p] for p in positions[i]) for i in range(size)]
    columns = [[k for k in range(size) if _is_there(mixing[k][i])] for i in range(size)]
    factor: dict[tuple[int, int], Any] = {}
    for i in range(size):
        for j in range(i + 1):
            total: Any = 1.0 if i == j else 0.0
            for k in columns[i]:
                for m in columns[j]:
                    total = total + mixing[k][i] * mixing[m][j] * own[k][m]
            for k in range(j):
                total = total - factor[i, k] * factor[j, k]
            factor[i, j] = ops.sqrt(total) if i == j else total / factor[j, j]
    half: list[Any] = []
    log_determinant: Any = 0.0
    for i in range(size):
        total = _sum(mixing[k][i] * slope[k] for k in columns[i])
        for k in range(i):
            total = total - factor[i, k] * half[k]
        half.append(total / factor[i, i])
        log_determinant = log_determinant - ops.log(factor[i, i])
    z: list[Any] = [None] * size
    for i in reversed(range(size)):
        total = half[i] + u[i]
        for k in range(i + 1, size):
            total = total - factor[k, i] * z[k]
        z[i] = total / factor[i, i]
    return z, log_determinant


def _sum(terms: Any) -> Any:
    total: Any = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _is_there(entry: Any) -> bool:
    return not (isinstance(entry, float) and entry == 0.0)
