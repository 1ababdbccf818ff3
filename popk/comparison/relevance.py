"""How much each covariate matters: its effect over the range in the data, not whether it is zero.

With continuous priors no effect is zero, and none needs a test: what counts is the posterior
probability that it is large enough to matter, here that a parameter changes by more than 20 % (is
multiplied by less than 0.8 or more than 1.25) over the range that is seen in the data. So it is
read off forest plots in the field (Menon-Andersen et al., CPT Pharmacometrics Syst Pharmacol
4:523, 2011), and with the horseshoe the place of inclusion probabilities (Piironen & Vehtari,
Electron J Stat 11:5018, 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.model import PopModel
from popk.population import PopulationDraws, check_seed, dataset_of, model_of
from popk.statistics import NUMPY, CovariateEffect

__all__ = ["covariate_effects"]

type Floats = NDArray[np.float64]

_RANGE = (0.05, 0.95)  # quantiles of the subjects' first values
_FEW_LEVELS = ("fold", "categorical")
_SURE = 0.95
_PRIOR_DRAWS = 4000


def covariate_effects(fit: xr.DataTree, *, relevant: float = 0.2, seed: int = 1) -> pd.DataFrame:
    """The effect of each covariate on each parameter over its range in the data.

    Parameters
    ----------
    fit
        What `popk.sample` returned, with or without a `popk.Horseshoe`.
    relevant
        The relative change that matters: 0.2 is below 0.8 or above 1.25 (1 / 0.8).
    seed
        Seed of the prior's draws.

    Returns
    -------
    One row for each parameter, covariate and, where it has levels, level: ``low`` and ``high``, the
    values compared (5th and 95th percentile of the subjects' first values; for levels the reference
    and the level); ``ratio`` of the parameter at ``high`` to that at ``low``, the posterior median
    with the 90 % interval ``ratio_low`` to ``ratio_high``; ``p_relevant``, the posterior
    probability that it is outside 1 - relevant to 1 / (1 - relevant), and ``p_relevant_prior``,
    what the prior had said; ``verdict``: ``"relevant"`` (0.95 or more), ``"negligible"`` (0.05 or
    less) or ``"not settled"``. Sorted by ``p_relevant``. Other covariates of the same effect are at
    their medians.

    The effects of correlated covariates share what they explain: each may be "not settled" though
    one of them matters.

    Raises
    ------
    FitError, SettingError
        When the tree is no fit, its model has no covariates, or a setting makes no sense.
    """
    check_seed(seed)
    if not 0 < relevant < 1:
        raise SettingError(f"relevant is {relevant!r}; give a share between 0 and 1, as 0.2.")
    model, dataset = model_of(fit), dataset_of(fit)
    if not model.covariates:
        raise SettingError(f"Model {model.name} has no covariate effects.")
    posterior = PopulationDraws.of(fit)
    prior = PopulationDraws.from_prior(model, _PRIOR_DRAWS, np.random.default_rng(seed))
    rows = []
    for effect in model.covariates:
        for covariate, low, high in _contrasts(effect, dataset):
            own = _log_ratio(model, effect, dataset, posterior, (covariate, low, high))
            before = _log_ratio(model, effect, dataset, prior, (covariate, low, high))
            rows.append(_row(effect, (covariate, low, high), own, before, relevant))
    frame = pd.DataFrame(rows).sort_values("p_relevant", ascending=False, kind="stable")
    frame.attrs["units"] = dict(model.units.covariates)
    return frame.reset_index(drop=True)


def _known(dataset: Dataset, covariate: str) -> Floats:
    values = dataset.covariate_table()[covariate].to_numpy(dtype=float)
    return values[np.isfinite(values)]


def _contrasts(effect: CovariateEffect, dataset: Dataset) -> Iterator[tuple[str, float, float]]:
    for covariate in effect.covariates:
        values = _known(dataset, covariate)
        if effect.kind in _FEW_LEVELS or len(np.unique(values)) <= 2:
            reference = float(getattr(effect, "reference", 0.0) or 0.0)
            levels = np.unique(values)
            if reference not in levels:
                reference = float(levels[0])
            for level in levels[levels != reference].tolist():
                yield covariate, reference, level
        else:
            low, high = np.quantile(values, _RANGE).tolist()
            if low < high:
                yield covariate, low, high


def _log_ratio(
    model: PopModel,
    effect: CovariateEffect,
    dataset: Dataset,
    population: PopulationDraws,
    contrast: tuple[str, float, float],
) -> Floats:
    """Log of the parameter at the higher value over that at the lower one (S)."""
    covariate, low, high = contrast
    coefficients = {c.name: c.value(population.values, NUMPY) for c in effect.coefficients}
    usual: dict[str, Any] = {n: float(np.median(_known(dataset, n))) for n in effect.covariates}
    with np.errstate(all="ignore"):
        ends = [
            np.asarray(effect.log_factor(usual | {covariate: np.float64(v)}, coefficients, NUMPY))
            for v in (low, high)
        ]
    return np.broadcast_to(ends[1] - ends[0], (population.size,))


def _row(
    effect: CovariateEffect,
    contrast: tuple[str, float, float],
    own: Floats,
    before: Floats,
    relevant: float,
) -> dict[str, Any]:
    covariate, low, high = contrast
    limit = -np.log1p(-relevant)
    share = float((np.abs(own) > limit).mean())
    verdict = "not settled"
    if share >= _SURE:
        verdict = "relevant"
    elif share <= 1 - _SURE:
        verdict = "negligible"
    least, median, most = np.exp(np.nanquantile(own, [0.05, 0.5, 0.95])).tolist()
    usable = before[np.isfinite(before)]
    return {
        "parameter": effect.parameter,
        "covariate": covariate,
        "low": low,
        "high": high,
        "ratio": median,
        "ratio_low": least,
        "ratio_high": most,
        "p_relevant": share,
        "p_relevant_prior": float((np.abs(usable) > limit).mean()) if len(usable) else np.nan,
        "verdict": verdict,
    }
