"""Random effects in coordinates adapted to what each subject's data say.

Centred random effects sample badly where data are weak, non-centred ones where data are strong, and
sparse troughs are both: strong along one combination of CL and VMAX, weak across it. Given a
quadratic approximation of each subject's log likelihood in the log parameters x,

    l_i(x) ~ pull_i . x - x . curvature_i . x / 2,

the conditional posterior of the standardised effects z (eta = omega z) is Gaussian with precision
A = I + D J D and mean A^-1 D (pull - curvature . expected), J the curvature's part for the effects,
D = diag(omega). The map u -> z that whitens it, z = C^-T (C^-1 D r + u) with C C^T = A, makes u
nearly independent of the population parameters. It is only a change of coordinates: its log
determinant enters the density, so the posterior is exact however rough the approximation. With zero
curvature and pull it is the non-centred form (z = u).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from popk.statistics.operations import Operations


def adapted_effects(
    u: Sequence[Any],
    omega: Sequence[Any],
    expected: Sequence[Any],
    *,
    positions: Sequence[int],
    curvature: Any,
    pull: Any,
    ops: Operations,
) -> tuple[list[Any], Any]:
    """Standardised random effects z and the log determinant of dz/du.

    Parameters
    ----------
    u
        Coordinates, one array (n_subjects) per effect.
    omega
        SD of each effect.
    expected
        Log parameters without random effects, from `log_expected`, one per parameter.
    positions
        Position of each effect's parameter.
    curvature, pull
        The approximation: (n_subjects, n_parameters, n_parameters) and (n_subjects, n_parameters).

    Returns
    -------
    z, one array (n_subjects) per effect; log determinant (n_subjects).
    """
    size = len(u)
    factor: dict[tuple[int, int], Any] = {}
    for i in range(size):
        for j in range(i + 1):
            block = curvature[:, positions[i], positions[j]]
            total = (1.0 if i == j else 0.0) + omega[i] * omega[j] * block
            for k in range(j):
                total = total - factor[i, k] * factor[j, k]
            factor[i, j] = ops.sqrt(total) if i == j else total / factor[j, j]
    half: list[Any] = []
    log_determinant: Any = 0.0
    for i in range(size):
        residual = pull[:, positions[i]]
        for p, column in enumerate(expected):
            residual = residual - curvature[:, positions[i], p] * column
        total = omega[i] * residual
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
