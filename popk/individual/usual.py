"""The arithmetic around the structure's solver in one compiled pass, for the usual model.

From standardised effects to parameters, and from predictions to the log likelihood and its slopes,
it is a few operations for each number, but some forty passes over memory as array operations,
which then take longer than solving the equations. Here they are one pass each, for what most models
are: normal random effects between subjects, Gaussian residuals, all observations quantified. Every
other model goes the way of `popk.statistics`, which is also what this is tested against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import (
    Additive,
    Combined,
    CombinedSD,
    LinearScale,
    LogitScale,
    LogNormalError,
    LogScale,
    Observed,
    Proportional,
)

__all__ = ["Mixed", "Usual", "usual_of"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_SCALES = {LogScale: 0, LinearScale: 1, LogitScale: 2}
_VARIANCE, _SD, _LOGARITHM = 0, 1, 2  # what of an observation is a + b times the prediction('s)
_ERRORS: dict[type, tuple[int, str, str]] = {
    Additive: (_VARIANCE, "sigma_add", ""),
    Proportional: (_VARIANCE, "", "sigma_prop"),
    Combined: (_VARIANCE, "sigma_add", "sigma_prop"),
    CombinedSD: (_SD, "sigma_add", "sigma_prop"),
    LogNormalError: (_LOGARITHM, "sigma_log", ""),
}
_LARGE, _SMALL = 1e120, 1e-120  # products of variances beyond which their logarithm is taken


class Mixed(NamedTuple):
    """What the passes need of S population draws: effects and residual error.

    ``mixing`` (S, k, k), the SDs times the factor of the correlations: eta = mixing z; ``constant``
    and ``factor`` (S), the SD of the residual error at a prediction of 0, and for each unit of it.
    """

    mixing: Floats
    constant: Floats
    factor: Floats


@dataclass(frozen=True)
class Usual:
    """A model for which there is one pass.

    Parameters
    ----------
    model
        The model.
    effect_of
        Which random effect moves each parameter (m), -1 if none.
    scale
        What scale it moves on (m): 0 logarithmic, 1 linear, 2 logit.
    low, width
        Of that scale (m).
    error
        0 where the variances of two parts of the residual error add, 1 where their SDs do, 2 where
        it is that of the logarithm.
    names
        Parameters of the constant and the proportional part, "" for none.
    positive
        Whether predictions must be above zero.
    """

    model: PopModel
    effect_of: Ints
    scale: Ints
    low: Floats
    width: Floats
    error: int
    names: tuple[str, str]
    positive: bool

    def mixed(self, population: PopulationDraws) -> Mixed:
        """What the passes need of the draws."""
        none = np.zeros(population.size)
        constant, factor = (
            np.ascontiguousarray(population.values[name], dtype=float) if name else none
            for name in self.names
        )
        return Mixed(population.omega[..., None] * population.factor, constant, factor)

    def parameters(self, mixed: Mixed, expected: Floats, z: Floats, rows: Ints) -> Floats:
        """Parameters (R, J, n_rows, m) for standardised effects z (R, J, k) under some draws.

        ``rows`` (R) says which draws; ``expected`` (S, n_rows, m) and ``mixed`` are those of all.
        """
        found = np.empty((*z.shape[:2], *expected.shape[1:]))
        _parameters(
            np.ascontiguousarray(expected), np.ascontiguousarray(z), rows, mixed.mixing,
            self.effect_of, self.scale, self.low, self.width, found,
        )  # fmt: skip
        return found

    def log_likelihood(
        self, mixed: Mixed, observed: Observed, prediction: Floats, rows: Ints
    ) -> Floats:
        """Log likelihood (R, J) of predictions (R, J, n_observations); -inf where undefined."""
        found = np.empty(prediction.shape[:2])
        _log_likelihood(
            observed.dv, np.ascontiguousarray(prediction), rows, mixed.constant, mixed.factor,
            self.error, self.positive, found,
        )  # fmt: skip
        return found

    def density(
        self, mixed: Mixed, observed: Observed, prediction: Floats, by_row: Floats, theta: Floats,
        z: Floats, rows: Ints,
    ) -> tuple[Floats, Floats, Floats]:  # fmt: skip
        """Log density (R) of z up to a constant, gradient (R, k), Gauss-Newton precision.

        Of predictions (R, n_observations), their derivatives (R, n_observations * n_rows, m) by
        theta (R, n_rows, m), at z (R, k).
        """
        size, k = z.shape
        value = self.log_likelihood(mixed, observed, prediction[:, None], rows)[:, 0]
        gradient, precision = np.empty((size, k)), np.empty((size, k, k))
        _curved(
            observed.dv, prediction, by_row.reshape(*prediction.shape, *theta.shape[1:]), theta,
            np.ascontiguousarray(z), rows, mixed.mixing, mixed.constant, mixed.factor,
            self.effect_of, self.scale, self.low, self.width, self.error, gradient, precision,
        )  # fmt: skip
        return value - 0.5 * (z**2).sum(axis=1), gradient, precision


def usual_of(model: PopModel) -> Usual | None:
    """The passes for a model; None where there are none.

    Those are models with effects that are not normal, vary between occasions or belong to groups,
    and with other residual errors.
    """
    known = _ERRORS.get(type(model.error))
    scales = list(model.scale_of.values())
    if (
        known is None
        or model.iiv.shapes
        or model.iov.effects
        or model.levels
        or any(type(scale) not in _SCALES for scale in scales)
        or not cast("Any", model.error).is_gaussian
    ):
        return None
    effect_of = np.full(len(scales), -1)
    names = model.structure.names
    for e, effect in enumerate(model.iiv.effects):
        for name in model.iiv.acts_on(effect):
            effect_of[names.index(name)] = e
    bounded = [isinstance(scale, LogitScale) for scale in scales]
    low = np.array([s.low if b else 0.0 for s, b in zip(scales, bounded, strict=True)])
    high = np.array([s.high if b else 1.0 for s, b in zip(scales, bounded, strict=True)])
    kinds = np.array([_SCALES[type(scale)] for scale in scales])
    positive = cast("Any", model.error).needs_positive_prediction
    kind, constant, factor = known
    return Usual(
        model, effect_of, kinds, low, high - low, kind, (constant, factor), bool(positive)
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _parameters(  # noqa: PLR0913, PLR0917
    expected: Any, z: Any, rows: Any, mixing: Any, effect_of: Any, scale: Any, low: Any,
    width: Any, found: Any,
) -> None:  # fmt: skip
    size, each, k = z.shape
    n_rows, m = expected.shape[1], expected.shape[2]
    eta = np.empty(k)
    still = np.empty((n_rows, m))  # parameters without a random effect
    for i in range(size):
        s = rows[i]
        for j in range(each):
            for e in range(k):
                total = 0.0
                for f in range(k):
                    total += mixing[s, e, f] * z[i, j, f]
                eta[e] = total
            for r in range(n_rows):
                for p in range(m):
                    e = effect_of[p]
                    if e < 0 and j > 0:
                        found[i, j, r, p] = still[r, p]
                        continue
                    phi = expected[s, r, p]
                    if e >= 0:
                        phi += eta[e]
                    if scale[p] == 0:
                        phi = math.exp(phi)
                    elif scale[p] == 2:
                        phi = low[p] + width[p] / (1.0 + math.exp(-phi))
                    found[i, j, r, p] = phi
                    if e < 0:
                        still[r, p] = phi


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _log_likelihood(  # noqa: PLR0913, PLR0917
    dv: Any, prediction: Any, rows: Any, constant: Any, factor: Any, error: Any, positive: Any,
    found: Any,
) -> None:  # fmt: skip
    size, each, n = prediction.shape
    by_log = 0.0
    logs = np.empty(n)
    if error == 2:
        for o in range(n):
            logs[o] = math.log(dv[o])
            by_log += logs[o]
    for i in range(size):
        a, b = constant[rows[i]], factor[rows[i]]
        for j in range(each):
            total, product = 0.0, 1.0  # of squared standardised residuals; of variances
            usable = True
            for o in range(n):
                f = prediction[i, j, o]
                if not f < np.inf or (positive and not f > 0.0):
                    usable = False
                    break
                if error == 0:
                    variance = a * a + b * b * f * f
                    off = dv[o] - f
                elif error == 1:
                    sd = a + b * abs(f)
                    variance = sd * sd
                    off = dv[o] - f
                else:
                    variance = a * a
                    off = logs[o] - math.log(f)
                total += off * off / variance
                product *= variance
                if product > _LARGE or product < _SMALL:
                    total += math.log(product)
                    product = 1.0
            total += math.log(product)
            value = -0.5 * total - n * _HALF_LOG_TWO_PI - by_log
            found[i, j] = value if usable and math.isfinite(value) else -np.inf


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _curved(  # noqa: PLR0912, PLR0913, PLR0917
    dv: Any, prediction: Any, by_theta: Any, theta: Any, z: Any, rows: Any, mixing: Any,
    constant: Any, factor: Any, effect_of: Any, scale: Any, low: Any, width: Any, error: Any,
    gradient: Any, precision: Any,
) -> None:  # fmt: skip
    size, n = prediction.shape
    k, n_rows, m = z.shape[1], theta.shape[1], theta.shape[2]
    by_eta, by_z = np.empty(k), np.empty(k)
    for i in range(size):
        s = rows[i]
        a, b = constant[s], factor[s]
        for e in range(k):
            gradient[i, e] = -z[i, e]
            for f in range(k):
                precision[i, e, f] = 1.0 if e == f else 0.0
        for o in range(n):
            at = prediction[i, o]
            # The residual's scale, and how its logarithm changes with the prediction.
            first, second = 0.0, 0.0
            if error == 0:
                variance = a * a + b * b * at * at
                size_of = math.sqrt(variance)
                first = b * b * at / variance
                second = b * b / variance - 2.0 * first * first
            elif error == 1:
                size_of = a + b * abs(at)
                first = (b if at >= 0.0 else -b) / size_of
                second = -first * first
            else:
                size_of = abs(at * a)
            if not (math.isfinite(at) and size_of > 0.0):
                continue
            if error == 2:
                residual = (math.log(dv[o]) - math.log(at)) / a
            else:
                residual = (dv[o] - at) / size_of
            slope = residual / size_of + (residual * residual - 1.0) * first
            bend = max(1.0 / (size_of * size_of) + second, 0.0)
            slope = slope if math.isfinite(slope) else 0.0
            bend = bend if math.isfinite(bend) else 0.0
            for e in range(k):
                by_eta[e] = 0.0
            for r in range(n_rows):
                for p in range(m):
                    e = effect_of[p]
                    if e < 0:
                        continue
                    own = by_theta[i, o, r, p]
                    value = theta[i, r, p]
                    if scale[p] == 0:
                        own *= value
                    elif scale[p] == 2:
                        own *= (value - low[p]) * (low[p] + width[p] - value) / width[p]
                    by_eta[e] += own
            for f in range(k):
                total = 0.0
                for e in range(k):
                    total += by_eta[e] * mixing[s, e, f]
                by_z[f] = total if math.isfinite(total) else 0.0
            for e in range(k):
                gradient[i, e] += slope * by_z[e]
                for f in range(k):
                    precision[i, e, f] += bend * by_z[e] * by_z[f]
