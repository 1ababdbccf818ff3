"""Exposures of the posterior as a distribution that a further model can take up.

Given the population parameters patients are independent; through them they are correlated. So the
exposure of patient i is written ``x_i = q_i(g_i)``, where ``g_i = loadings_i . f + own_i e_i`` is
standard normal, f are standardised population parameters (factors) and e_i the patient's own. The
map q_i is the patient's quantile function: smooth, increasing, fitted to the draws, so that neither
skewness nor an atom (no time under a threshold in most draws) is taken for normal.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import ndtr, ndtri
from scipy.stats import kurtosis, rankdata, skew

from popk.errors import SettingError
from popk.response.exposed import checked, steps_of

__all__ = ["represent", "steps_at"]

type Floats = NDArray[np.float64]

FEWEST = 200  # draws
_KNOTS = 9
_REACH = 3.0  # of the knots, at most, in SDs
_TAIL = 5.0  # draws beyond the last knot, at least
_LEVELS = 61  # quantiles that the map is fitted to
_SMALL = 1e-6  # relative variance of a direction of the population that is left out


def represent(tree: xr.DataTree) -> xr.Dataset:
    """The distribution of the patients' exposures, as steps from the reference.

    Parameters
    ----------
    tree
        From `exposures`.

    Returns
    -------
    Dataset over ``subject``, ``factor`` and ``knot``: ``loading`` (subject, factor), ``own``
    (subject), ``base`` (subject, coefficient) and ``bend`` (subject, knot), with which the exposure
    is ``base_0 + base_1 g + sum_k bend_k max(g - knot_k, 0)^2``; and what says how well it holds:
    ``skewness`` and ``kurtosis`` (excess) of the draws, which a normal distribution would miss,
    ``worst`` (subject), the largest distance of the fitted quantiles from the draws' in posterior
    SDs, and in attrs ``correlation``, the root mean square of what correlation between patients the
    factors leave, beside ``by_chance``, what so many draws leave of none.

    Raises
    ------
    SettingError
        When there are too few draws.
    """
    own = checked(tree)["exposure"]["exposure"].transpose("chain", "draw", "subject")
    steps = steps_of(tree, own.values).reshape(-1, own.sizes["subject"])
    size, n = steps.shape
    score = tree["population"]["score"].transpose("chain", "draw", "parameter").values
    factors = _whitened(score.reshape(size, -1))
    if size < max(FEWEST, 10 * factors.shape[1]):
        raise SettingError(
            f"There are {size} draws of the exposures; {max(FEWEST, 10 * factors.shape[1])} are "
            "needed to describe their distribution. Sample more draws."
        )
    normal = _normal_scores(steps)
    loading = factors.T @ normal / size
    share = np.minimum((loading**2).sum(axis=0), 0.999)
    rest = normal - factors @ loading
    knots = np.linspace(-1.0, 1.0, _KNOTS) * min(_REACH, -float(ndtri(_TAIL / size)))
    maps = [_quantile_map(steps[:, k], knots) for k in range(n)]
    left, chance = _left(rest)
    with np.errstate(all="ignore"):
        moments = [np.nan_to_num(of(steps, axis=0)) for of in (skew, kurtosis)]
    return xr.Dataset(
        {
            "loading": (("subject", "factor"), loading.T),
            "own": ("subject", np.sqrt(1.0 - share)),
            "base": (("subject", "coefficient"), np.stack([one[0] for one in maps])),
            "bend": (("subject", "knot"), np.stack([one[1] for one in maps])),
            "worst": ("subject", np.array([one[2] for one in maps])),
            "skewness": ("subject", moments[0]),
            "kurtosis": ("subject", moments[1]),
        },
        coords={
            "subject": own["subject"].values,
            "knot": knots,
            "factor": np.arange(factors.shape[1]),
        },
        attrs={"draws": size, "correlation": left, "by_chance": chance},
    )


def steps_at(representation: xr.Dataset, g: Floats) -> Floats:
    """Exposures (..., n_subjects), as steps from the reference, at normal scores of that shape."""
    base, bend = representation["base"].values, representation["bend"].values
    beyond = np.maximum(g[..., None] - representation["knot"].values, 0.0)
    return np.asarray(base[:, 0] + base[:, 1] * g + (bend * beyond**2).sum(axis=-1))


def _whitened(score: Floats) -> Floats:
    """Uncorrelated standardised combinations (S, n_factors) of the population parameters."""
    if not score.shape[1]:
        return np.zeros((len(score), 0))
    centred = (score - score.mean(axis=0)) / score.std(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept = size**2 > _SMALL * (size**2).sum()
    return np.asarray(left[:, kept] * np.sqrt(len(score)))


def _normal_scores(steps: Floats) -> Floats:
    """Standard normal numbers in the order of the draws (S, n); equal draws in turn."""
    size = len(steps)
    # Among equal draws the order of the draws must not come to stand for an order.
    shuffle = np.random.default_rng(0).permutation(size)
    ranks = np.empty_like(steps)
    ranks[shuffle] = rankdata(steps[shuffle], method="ordinal", axis=0)
    scores = ndtri((ranks - 0.5) / size)
    return np.asarray(scores / scores.std(axis=0))


def _quantile_map(draws: Floats, knots: Floats) -> tuple[Floats, Floats, float]:
    """Base (2) and bends (n_knots) of the quantile function, and how far it is off in SDs.

    Its slope is a straight line between knots and constant beyond them: the coefficients of its
    values at the knots are fitted so that none is negative.
    """
    n, gap = len(knots), knots[1] - knots[0]
    at = np.linspace(knots[0], knots[-1], _LEVELS)
    wanted = np.quantile(draws, ndtr(at))
    middle, sd = float(np.median(draws)), float(draws.std())
    if sd <= 1e-12 * max(1.0, abs(middle)):
        return np.array([middle, 0.0]), np.zeros(n), 0.0
    rises = np.stack([_rise(at, knots, k) for k in range(n)], axis=1)
    centre = _LEVELS // 2
    weight = np.exp(-(at**2) / 8.0)
    slope, _ = nnls((rises - rises[centre]) * weight[:, None], (wanted - middle) * weight / sd)
    fitted = middle + sd * ((rises - rises[centre]) @ slope)
    change = np.diff(slope, prepend=slope[0], append=slope[-1]) / gap  # of the slope, by piece
    bend = sd * 0.5 * np.diff(change)
    start = middle - sd * float(rises[centre] @ slope)
    base = np.array([start - sd * slope[0] * knots[0], sd * slope[0]])
    return base, bend, float(np.max(np.abs(fitted - wanted)) / sd)


def _rise(at: Floats, knots: Floats, k: int) -> Floats:
    """Integral from the first knot of the hat function at knot k, constant beyond the ends."""
    gap = knots[1] - knots[0]
    part = np.clip((at - knots[k]) / gap, -1.0, 1.0)
    found = gap * np.where(part < 0, 0.5 * (1 + part) ** 2, 0.5 + part - 0.5 * part**2)
    return np.asarray(found - (0.5 * gap if k == 0 else 0.0))


def _left(rest: Floats) -> tuple[float, float]:
    """Root mean square correlation between patients that is left, and that of chance alone."""
    size, n = rest.shape
    chance = float(1.0 / np.sqrt(size))
    if n < 2:
        return 0.0, chance
    found = np.asarray(np.corrcoef(rest.T))[np.triu_indices(n, 1)]
    return float(np.sqrt(np.mean(found**2))), chance
