"""What a model says is random, as each draw of its posterior has it: residuals and random effects.

Under the model a draw from the posterior has residuals that are independent and standard normal,
and random effects from their population distribution, whatever was observed: such quantities are
pivotal (Johnson, Bayesian Analysis 2:719, 2007; Yuan & Johnson, Biometrics 68:156, 2012). What
they look like in the draws is therefore compared with what they should look like, without a refit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri

from popk.diagnostics.replicates import Seen, individual_predictions
from popk.observations import observations
from popk.population import PopulationDraws, effects_of, thinned
from popk.statistics import NUMPY, Observed

__all__ = ["Realised", "realised"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

_SMALLEST = 1e-15  # probability of a tail


@dataclass(frozen=True, eq=False)
class Realised:
    """Residuals and random effects of D draws.

    Parameters
    ----------
    residual
        (D, n_observations), standard normal under the model; NaN where the model leaves an
        observation out.
    prediction
        Individual predictions (D, n_observations).
    eta
        Random effects between subjects (D, n_subjects, n_effects).
    population
        The draws.
    """

    residual: Floats
    prediction: Floats
    eta: Floats
    population: PopulationDraws

    @property
    def counted(self) -> Bools:
        """Observations (n) that have a residual in every draw."""
        return np.asarray(np.isfinite(self.residual).all(axis=0))


def realised(fit: xr.DataTree, seen: Seen, draws: int, rng: np.random.Generator) -> Realised:
    """Residuals and random effects of evenly spaced draws, all if there are not so many.

    A residual is the normal quantile of the observation's probability under the draw. For an
    observation beyond a limit of quantification it is drawn from what lies beyond, so that it is
    standard normal as well (data augmentation).

    Parameters
    ----------
    fit, seen
        The fit and its observations.
    draws
        How many.
    rng
        Random numbers for observations beyond a limit.
    """
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    chosen = thinned(fit, None if draws >= total else draws)
    prediction, sigma = individual_predictions(fit, seen, draws)
    model, design, subjects = seen.model, seen.design, seen.dataset.subjects
    observed = observations(model, seen.dataset, design.events)
    return Realised(
        _residuals(seen, observed, prediction, sigma, rng),
        prediction,
        effects_of(fit, subjects, chosen),
        PopulationDraws.of(fit).taken(chosen),
    )


def _residuals(
    seen: Seen, observed: Observed, prediction: Floats, sigma: dict[str, Floats],
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    error = seen.model.error
    if error.is_sequential:
        return _innovations(seen, observed, prediction, sigma)

    def above(value: Floats) -> Floats:
        """Probability of an observation above a value, under each draw."""
        asked = observed._replace(upper=value, dv=value, status=np.full(len(value), -1))
        return np.exp(np.asarray(error.log_likelihood(asked, prediction, sigma, NUMPY)))

    tail = above(seen.dv)
    shape = tail.shape
    low, high = np.where(seen.status == 1, tail, 0.0), np.where(seen.status == -1, tail, 1.0)
    beyond = low + (high - low) * rng.random(shape)
    tail = np.where(seen.status == 0, tail, beyond)
    tail = np.clip(tail, _SMALLEST, 1 - _SMALLEST)
    if error.leaves_out_below:
        tail[:, seen.status == 1] = np.nan
    return np.asarray(-ndtri(tail))


def _innovations(
    seen: Seen, observed: Observed, prediction: Floats, sigma: dict[str, Floats]
) -> Floats:
    """What is new in each residual, where they are correlated in time."""
    error = seen.model.error
    z = np.asarray(error.standardised(observed, prediction, sigma, NUMPY)[0])
    rho = np.broadcast_to(error.correlation(observed, sigma, NUMPY), z.shape)
    before = z[:, np.arange(z.shape[1]) - observed.back]
    new = (z - rho * before) / np.sqrt(1 - rho**2)
    return np.where(seen.status == 0, new, np.nan)
