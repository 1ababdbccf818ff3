"""Where each observation lies among what the others predict: LOO-PIT.

Gelfand, Dey & Chang, Bayesian Statistics 4:147, 1992; as a check of calibration: Gabry, Simpson,
Vehtari, Betancourt & Gelman, J R Stat Soc A 182:389, 2019. ArviZ has it for likelihoods
conditional on a patient's own random effects, which have seen the observation: with few
observations of each patient they hide what is wrong. Here they are integrated out given the
patient's other observations.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp, ndtri
from threadpoolctl import threadpool_limits

from popk.comparison.integrals import integrate
from popk.comparison.leave_out import check_draws
from popk.comparison.smoothing import khat_limit
from popk.dataset import Dataset
from popk.diagnostics.replicates import Seen, attributes
from popk.individual import find_modes, propose
from popk.individual.partial import Partial, partial_of
from popk.individual.posterior import patient_seed
from popk.population import FitError, PopulationDraws, check_seed
from popk.statistics import NUMPY

__all__ = ["loo_pit"]

type Floats = NDArray[np.float64]

_DRAWS = 500
_NODES = 32
_LEVEL = 0.01
_NONE = 1e-9  # range of log ratios that are the same


def loo_pit(fit: xr.DataTree, *, draws: int | None = None, seed: int) -> xr.Dataset:
    """Probability of a value below each observation, as all OTHER observations predict it.

    Uniform between 0 and 1 if the model is right. The population's draws are weighed as if the
    observation had not been fitted (Pareto-smoothed), and the patient's random effects integrated
    out given its other observations. An observation below its limit of quantification has a number
    drawn evenly between 0 and the probability of lying there (randomised PIT: Czado, Gneiting &
    Held, Biometrics 65:1254, 2009); above an upper limit likewise.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by a method that gives a posterior.
    draws
        So many draws of the population, evenly spaced; at most 500 if None.
    seed
        Seed of the integrals and of observations beyond a limit.

    Returns
    -------
    Dataset (observation) with ``pit``, ``score`` (its normal quantile: a leave-one-out residual,
    standard normal if the model is right), ``khat`` and ``reliable`` (0 or 1), and the coordinates
    ID, TIME, TAD, TROUGH, ROW and CENS; NaN where the model leaves an observation out (M1).
    ``attrs["p_value"]`` is Kolmogorov and Smirnov's against uniformity, ``attrs["verdict"]`` says
    it in words. Observations of one patient are not quite independent, so that the p-value is
    approximate.

    Raises
    ------
    FitError, SettingError
        When the fit is no posterior, or its residuals are correlated in time.
    """
    check_seed(seed)
    seen = Seen.of(fit)
    if seen.model.error.is_sequential:
        raise FitError(
            "LOO-PIT is not made for residuals that are correlated in time (Autocorrelated); use "
            "popk.loo with unit='observation' or popk.npde."
        )
    total = check_draws(fit, "observation", draws)
    size = min(total, _DRAWS) if draws is None else total
    population = PopulationDraws.of(fit)
    chosen = np.linspace(0, population.size - 1, size).round().astype(np.int64)
    population = population.taken(chosen)
    pairs = list(seen.of_subjects)

    def one(subject: str) -> tuple[Floats, Floats]:
        # Far from the mode densities overflow, to the -inf that they are next to.
        with np.errstate(over="ignore"):
            return _of_patient(population, seen.dataset.select([subject]), seed)

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(cpu_count() or 1) as pool,
    ):
        found = list(pool.map(one, [subject for subject, _ in pairs]))
    pit, khat = np.full(len(seen.dv), np.nan), np.full(len(seen.dv), np.nan)
    for (_, rows), (own, k) in zip(pairs, found, strict=True):
        pit[rows], khat[rows] = own, k
    return _table(fit, seen, pit, khat, size=size, seed=seed)


def _table(
    fit: xr.DataTree, seen: Seen, pit: Floats, khat: Floats, *, size: int, seed: int
) -> xr.Dataset:
    known = pit[np.isfinite(pit)]
    p = float(stats.kstest(known, "uniform").pvalue) if len(known) > 2 else float("nan")
    reliable = ~(khat > khat_limit(size))
    notes = list(seen.notes)
    poor = int((~reliable).sum())
    if poor:
        notes.append(
            f"Of {poor} of {len(pit)} observations the weights are too uneven to trust the number "
            f"(Pareto k-hat up to {np.nanmax(khat):.2f}); `reliable` says which."
        )
    attrs: dict[str, Any] = attributes(fit, "loo pit", notes)
    attrs |= {"p_value": p, "verdict": _said(known, p), "seed": int(seed), "draws": size}
    one, dim = {"units": "1"}, "observation"
    return xr.Dataset(
        {
            "pit": (dim, pit, {**one, "long_name": "LOO-PIT"}),
            "score": (dim, ndtri(pit), {**one, "long_name": "normal score of LOO-PIT"}),
            "khat": (dim, khat),
            "reliable": (dim, reliable.astype(int)),
            "DV": (dim, seen.dv, {"units": seen.units}),
        },
        coords=seen.coordinates(),
        attrs=attrs,
    )


def _said(pit: Floats, p: float) -> str:
    if np.isnan(p):
        return "There are too few observations to judge."
    if p >= _LEVEL:
        return f"LOO-PIT are compatible with a uniform distribution (p = {p:.2g})."
    inside = float(((pit > 0.25) & (pit < 0.75)).mean())
    faults = []
    if abs(pit.mean() - 0.5) > 2 / np.sqrt(12 * len(pit)):
        faults.append(f"predictions are too {'low' if pit.mean() > 0.5 else 'high'}")
    if inside > 0.5 + 1 / np.sqrt(len(pit)):
        faults.append("predictions are less certain than they might be")
    if inside < 0.5 - 1 / np.sqrt(len(pit)):
        faults.append("predictions are too certain")
    return (
        f"LOO-PIT are not uniform (p = {p:.2g}): {'; '.join(faults) or 'their shape is another'}."
    )


def _of_patient(population: PopulationDraws, own: Dataset, seed: int) -> tuple[Floats, Floats]:
    """PIT and k-hat (n each) of a patient's observations."""
    partial = partial_of(population, own)[0]
    rng = patient_seed(seed, partial.patient.subject)
    population = population.of_class(partial.patient.label)
    whole = integrate(population, partial.patient, rng).log_likelihood
    pairs = [
        _of_observation(population, partial, k, whole, rng) for k in range(partial.n_observations)
    ]
    return np.array([pit for pit, _ in pairs]), np.array([khat for _, khat in pairs])


def _of_observation(
    population: PopulationDraws, partial: Partial, k: int, whole: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    error = population.model.error
    status = int(partial.patient.observed.status[k])
    if status == 1 and error.leaves_out_below:
        return float("nan"), float("nan")
    patient = partial.seeing(np.arange(partial.n_observations) != k)
    nodes = propose(population, patient, find_modes(population, patient), each=_NODES, rng=rng)
    known = logsumexp(nodes.log_weight, axis=1)
    with np.errstate(invalid="ignore"):
        ratio = known - whole
    if not np.isfinite(ratio).all():
        return float("nan"), float("inf")
    khat, weight = float("nan"), np.full(len(ratio), -np.log(len(ratio)))
    if np.ptp(ratio) > _NONE:
        smooth, shape = array_stats.psislw(-ratio)
        weight, khat = smooth - logsumexp(smooth), float(shape)
    joint = np.exp(nodes.log_weight - known[:, None] + weight[:, None])
    size, each = joint.shape
    theta = nodes.parameters.reshape(size * each, *nodes.parameters.shape[2:])
    f = partial.patient.solver.ensemble(theta).value[:, k : k + 1]
    sigma = {name: np.repeat(value, each, axis=0) for name, value in population.sigma.items()}
    one = partial.patient.observed.part(slice(k, k + 1))
    asked = one._replace(upper=one.dv, status=np.array([-1]))
    above = np.exp(np.asarray(error.log_likelihood(asked, f, sigma, NUMPY)))[:, 0]
    tail = float(np.clip((joint.ravel() * above).sum() / joint.sum(), 1e-12, 1 - 1e-12))
    if status == 1:
        return (1 - tail) * rng.random(), khat
    if status == -1:
        return 1 - tail * rng.random(), khat
    return 1 - tail, khat
