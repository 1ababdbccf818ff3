"""Variational inference on the joint posterior, with a deterministic objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.density import Density, compiled_density
from popk.inference.marginal.importance import smoothed, systematic_chains
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_proposals, check_whole
from popk.inference.start import Point, find_start
from popk.model import PopModel
from popk.statistics import check_forms

__all__ = ["VI"]

type Floats = NDArray[np.float64]

_FIRST_SD = 0.1  # of a coordinate in the beginning, by its scale
_MOST_STEPS = 500
_BATCH = 200
_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, kw_only=True)
class VI:
    """Mean-field variational inference on population parameters and random effects together.

    Independent normal distributions in the coordinates adapted to each patient's data that `NUTS`
    works in, where random effects are nearly independent of the rest. Their means and SDs maximise
    the ELBO over fixed random numbers, by quasi-Newton steps (deterministic ADVI: Giordano, Ingram
    & Broderick, JMLR 25:18, 2024): there is no learning rate, and convergence is seen. The draws
    are weighed against the posterior and resampled by Pareto-smoothed weights: without that, SDs of
    the population parameters would come out too small. With many patients the weights are far from
    even, k-hat is above 0.7, and the verdict says that the draws may not be used. It is meant for a
    quick look at models that `Laplace` does not take (sub-populations, further levels).

    Parameters
    ----------
    draws
        Draws of each chain.
    chains
        Number of chains, which share nothing but the approximation.
    proposals
        Draws of the approximation, in each chain, of which the draws are resampled.
    fixed
        Fixed draws over which the ELBO is averaged while it is maximised; more are closer to the
        ELBO, and slower.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    draws: int = 1000
    chains: int = 4
    proposals: int = 2000
    fixed: int = 32

    def __post_init__(self) -> None:
        check_proposals(self)
        check_whole(self, {"fixed": 8})

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and statistics, each (chain, draw, …).

        Nothing is kept in the store: continued after an interruption, it is done again from the
        seed, with the same result.
        """
        del store
        with threadpool_limits(1, user_api="blas"):  # small matrices: threads only wait
            return self._run(model, dataset, seed, progress)

    def _run(
        self, model: PopModel, dataset: Dataset, seed: int, progress: Progress
    ) -> tuple[xr.Dataset, xr.Dataset]:
        progress("compiling the model")
        forms = check_forms(model.iiv, {})
        density = compiled_density(model, dataset, forms)
        progress("finding a starting point")
        start = find_start(model, dataset, density, forms)
        known = {name: value for name, value in start.approximation.items() if name in density.data}
        density = density.with_data(**known)
        point = Point(density)
        rng = np.random.default_rng(seed)
        fitted = _fitted(point, start.position, start.scale, self._fixed(point.size, rng), progress)
        scores = rng.standard_normal((self.chains * self.proposals, point.size))
        x = fitted.mean + fitted.sd * scores
        log_posterior = _log_densities(point, x, progress)
        log_proposal = -0.5 * (scores**2).sum(axis=1) - np.log(fitted.sd).sum()
        log_weight = log_posterior - log_proposal + 0.5 * point.size * _LOG_TWO_PI
        smooth, khat = smoothed(log_weight)
        flat = systematic_chains(smooth, self.chains, self.draws, rng)
        posterior = _posterior(density, point, x[flat], self.chains)
        return posterior, self._statistics(fitted, log_posterior[flat], log_weight, khat)

    def _fixed(self, size: int, rng: np.random.Generator) -> Floats:
        """The fixed scores, each with its mirror image."""
        half = rng.standard_normal(((self.fixed + 1) // 2, size))
        return np.concatenate([half, -half])

    def _statistics(
        self, fitted: _Fitted, log_posterior: Floats, log_weight: Floats, khat: float
    ) -> xr.Dataset:
        possible = log_weight[np.isfinite(log_weight)]
        elbo = float(possible.mean())
        error = float(possible.std() / np.sqrt(len(possible)))
        return xr.Dataset(
            {
                "lp": (("chain", "draw"), log_posterior.reshape(self.chains, self.draws)),
                "khat": ((), khat),
                "elbo": ((), elbo),
                "elbo_error": ((), error),
                "elbo_change": ((), fitted.change),
                "steps": ((), fitted.steps),
            },
            coords={"chain": np.arange(self.chains), "draw": np.arange(self.draws)},
            attrs={
                "approximation": (
                    "Draws of a mean-field normal approximation of the joint posterior, resampled "
                    f"by importance weights (ELBO {elbo:.2f}, standard error {error:.2g})."
                ),
            },
        )


@dataclass(frozen=True)
class _Fitted:
    """Mean and SD of each coordinate, steps taken, and the last relative change of the ELBO."""

    mean: Floats
    sd: Floats
    steps: int
    change: float


def _fitted(
    point: Point, position: Floats, scale: Floats, scores: Floats, progress: Progress
) -> _Fitted:
    """Means and SDs that maximise the average log density at fixed scores, plus the entropy."""
    n = point.size
    history: list[float] = []

    def objective(at: Floats) -> tuple[float, Floats]:
        sd = scale * np.exp(at[n:])
        total, by_mean, by_sd = 0.0, np.zeros(n), np.zeros(n)
        for score in scores:
            value, gradient = point.log_density(scale * at[:n] + sd * score)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                return 1e300, np.zeros(2 * n)
            total += value
            by_mean += gradient * scale
            by_sd += gradient * sd * score
        size = len(scores)
        return -total / size - at[n:].sum(), -np.concatenate([by_mean / size, by_sd / size + 1.0])

    # SciPy hands over more than the point to a callback with this very argument.
    def report(intermediate_result: Any) -> None:
        history.append(-float(intermediate_result.fun))
        progress("maximising the ELBO", len(history), _MOST_STEPS)

    first = np.concatenate([position / scale, np.full(n, np.log(_FIRST_SD))])
    if not objective(first)[0] < 1e299:
        raise SettingError(
            "The posterior is zero around the point from which VI starts. Check the units of the "
            "data and the priors (popk.check_priors), or sample by NUTS."
        )
    found = minimize(
        objective, first, jac=True, method="L-BFGS-B",
        callback=report,
        options={"maxiter": _MOST_STEPS, "maxfun": 4 * _MOST_STEPS, "maxcor": 20},
    )  # fmt: skip
    late = history[-max(2, len(history) // 10) :]
    change = abs(late[-1] - late[0]) / max(abs(late[-1]), 1.0) if len(late) > 1 else 0.0
    return _Fitted(scale * found.x[:n], scale * np.exp(found.x[n:]), len(history), change)


def _log_densities(point: Point, x: Floats, progress: Progress) -> Floats:
    """Log density (S) at points (S, n), minus infinity where it is not a number."""
    found = np.empty(len(x))
    for k, one in enumerate(x):
        if k % _BATCH == 0:
            progress("sampling", k, len(x))
        value = point.log_density(one)[0]
        found[k] = value if np.isfinite(value) else -np.inf
    progress("sampling", len(x), len(x))
    return found


def _posterior(density: Density, point: Point, x: Floats, chains: int) -> xr.Dataset:
    """The variables of the model at points (S, n), each (chain, draw, …)."""
    values = [point.values(one) for one in x]
    shape = (chains, len(x) // chains)
    variables = {}
    for name in density.places:
        if name not in density.transformed:
            stacked = np.stack([value[name] for value in values])
            dims = ("chain", "draw", *density.dims.get(name, ()))
            variables[name] = (dims, stacked.reshape(*shape, *stacked.shape[1:]))
    used = {dim for dims, _ in variables.values() for dim in dims}
    coords = {name: labels for name, labels in density.coords.items() if name in used}
    return xr.Dataset(
        variables, coords={"chain": np.arange(shape[0]), "draw": np.arange(shape[1]), **coords}
    )
