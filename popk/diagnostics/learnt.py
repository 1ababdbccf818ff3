"""What the data taught: the posterior beside the prior, parameter by parameter and by patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import gaussian_kde, norm

from popk.diagnostics.replicates import attributes
from popk.population import FitError, PopulationDraws, dataset_of, effects_of, model_of, thinned
from popk.statistics import Fixed

__all__ = ["contraction", "patient_contraction"]

type Floats = NDArray[np.float64]

_MUCH_ALIKE = 0.35  # overlap above which a parameter is hardly identified (Garrett & Zeger)
_LITTLE = 0.5  # contraction
_SURPRISING = 2.0  # prior SDs between the prior's centre and the posterior's
_GRID = 400
_FEWEST = 100


def contraction(fit: xr.DataTree) -> xr.Dataset:
    """How far the posterior of each population parameter differs from its prior.

    All on the scale of the prior's normal scores, on which every prior is standard normal:
    contraction is 1 - Var(posterior)/Var(prior) and the shift the distance of the posterior's mean
    from the prior's in prior SDs (Schad, Betancourt & Vasishth, Psychological Methods 26:103,
    2021); the overlap is the area that the two densities share (Inman & Bradley, Commun Stat Theory
    Methods 18:3851, 1989), above 35 % of which a parameter is weakly identified (Garrett & Zeger,
    Biometrics 56:1055, 2000).

    Parameters
    ----------
    fit
        What `popk.sample` returned.

    Returns
    -------
    Dataset (parameter), without parameters that are fixed: ``contraction`` (below 0 where the
    posterior is wider), ``shift``, ``overlap`` (0 to 1), ``unit`` and ``meaning`` of the parameter.
    ``attrs["notes"]`` (JSON) says which rest on their priors, and which disagree with them.

    Raises
    ------
    FitError
        When the tree is no fit, or no posterior of 100 draws.
    """
    model, population = _of(fit)
    free = [one for one in model.parameters if not isinstance(one.prior, Fixed)]
    scores = [np.asarray(one.prior.score(population.values[one.name])) for one in free]
    spread = np.array([1 - one.var(ddof=1) for one in scores])
    shift = np.array([one.mean() for one in scores])
    overlap = np.array([_overlap(one) for one in scores])
    notes = []
    for k, one in enumerate(free):
        moved, alike = float(shift[k]), f"{100 * overlap[k]:.0f} %"
        if spread[k] < _LITTLE:
            notes.append(
                f"The data say little of {one.name} ({one.meaning}): they take away less than half "
                "of the prior's variance, so that conclusions from it rest on the prior."
            )
        elif overlap[k] > _MUCH_ALIKE:
            notes.append(
                f"{one.name} ({one.meaning}) rests in part on its prior: prior and posterior share "
                f"{alike} of their area."
            )
        if abs(moved) > _SURPRISING:
            notes.append(
                f"The posterior of {one.name} lies {abs(moved):.1f} prior SDs "
                f"{'above' if moved > 0 else 'below'} the prior's centre: prior and data disagree, "
                "or the prior was a guess. Check units and source."
            )
    return xr.Dataset(
        {
            **_columns("parameter", spread, shift, overlap),
            "unit": ("parameter", [one.unit for one in free]),
            "meaning": ("parameter", [one.meaning for one in free]),
        },
        coords={"parameter": [one.name for one in free]},
        attrs=attributes(fit, "contraction", notes),
    )


def patient_contraction(fit: xr.DataTree) -> xr.Dataset:
    """What each patient's own data say of its random effects, beside their population.

    Contraction, shift and overlap as in `contraction`, of the random effects divided by omega,
    whose prior is the standard normal population. Where an effect has another shape (`BoxCox`,
    `HeavyTails`) they are divided by the SD that effects drawn anew have.

    Parameters
    ----------
    fit
        What `popk.sample` returned.

    Returns
    -------
    Dataset (subject, effect): ``contraction``, ``shift``, ``overlap``, and ``n_observations``
    (subject). ``attrs["notes"]`` (JSON) says for how many patients an effect is the population's.

    Raises
    ------
    FitError
        When the tree is no fit, no posterior of 100 draws, or has no random effects.
    """
    model, population = _of(fit)
    if not model.iiv.effects:
        raise FitError(f"{model.name} has no random effects between patients.")
    dataset = dataset_of(fit)
    eta = effects_of(fit, dataset.subjects, thinned(fit, None))
    omega = population.omega[:, None, :].copy()
    fresh = population.new_effects(len(dataset.subjects), np.random.default_rng(1))
    for effect, _ in model.iiv.shapes:
        k = model.iiv.effects.index(effect)
        omega[:, :, k] = fresh[..., k].std()
    z = eta / np.maximum(omega, 1e-300)
    overlap = np.array(
        [[_overlap(z[:, i, k]) for k in range(z.shape[2])] for i in range(z.shape[1])]
    )
    spread, shift = 1 - z.var(axis=0, ddof=1), z.mean(axis=0)
    notes = []
    for k, effect in enumerate(model.iiv.effects):
        little = int((spread[:, k] < _LITTLE).sum())
        if little:
            notes.append(
                f"Of {little} of {len(spread)} patients the own data take away less than half of "
                f"the variance of {effect}: for these, advice rests on the population."
            )
    who = dataset.table["ID"].values[dataset.is_observation]
    count = np.array([int((who == name).sum()) for name in dataset.subjects])
    return xr.Dataset(
        {
            **_columns(("subject", "effect"), spread, shift, overlap),
            "n_observations": ("subject", count),
        },
        coords={"subject": list(dataset.subjects), "effect": list(model.iiv.effects)},
        attrs=attributes(fit, "patient contraction", notes),
    )  # fmt: skip


def _of(fit: xr.DataTree) -> tuple[Any, PopulationDraws]:
    model, population = model_of(fit), PopulationDraws.of(fit)
    if population.size < _FEWEST:
        raise FitError(
            f"The fit of {model.name} has {population.size} draws; a posterior of {_FEWEST} or "
            "more is needed. Sample it by Marginal or NUTS."
        )
    return model, population


def _columns(dims: Any, spread: Floats, shift: Floats, overlap: Floats) -> dict[str, Any]:
    unit = {"units": "1"}
    return {
        "contraction": (dims, spread, {**unit, "long_name": "posterior contraction"}),
        "shift": (dims, shift, {**unit, "long_name": "shift of the mean, in prior SDs"}),
        "overlap": (dims, overlap, {**unit, "long_name": "overlap of prior and posterior"}),
    }


def _overlap(score: Floats) -> float:
    """Area shared by the standard normal density and that of the scores."""
    known = score[np.isfinite(score)]
    if len(known) < 2 or np.ptp(known) == 0:
        return 0.0
    middle, reach = known.mean(), 6 * known.std() + 0.1
    at = np.linspace(min(-5.0, middle - reach), max(5.0, middle + reach), 10 * _GRID)
    fine = at[np.abs(at - middle) <= reach]
    if len(fine) < _GRID:  # a narrow posterior needs points of its own
        fine = np.linspace(middle - reach, middle + reach, _GRID)
    shared = np.minimum(gaussian_kde(known)(fine), norm.pdf(fine))
    return float(min(1.0, np.trapezoid(shared, fine)))
