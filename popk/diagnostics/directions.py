"""What the data say of each population parameter, against what its prior said before.

In normal scores of the priors the prior is standard normal, so that the covariance of the posterior
says directly how much was learnt: an SD near 1 in some direction is the prior's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.model import PopModel
from popk.statistics import Fixed

__all__ = ["WEAK", "identifiability", "weak_directions"]

type Floats = NDArray[np.float64]

WEAK = 0.5  # of the prior's variance that is left
RIDGE = 0.95  # correlation of two parameters
_TAKES_PART = 0.4  # loading of a parameter on a direction
_NAMED = 6  # parameters in a sentence
_FEWEST = 20  # draws, with which a covariance means something
_ABSORPTION = ("KA", "DKA", "ALAG", "MTT", "KTR", "D1", "F1", "FR")


def identifiability(
    model: PopModel, posterior: xr.Dataset, covariance: Floats | None = None
) -> xr.Dataset:
    """Posterior SDs and correlations of the population parameters in normal scores of the priors.

    Parameters
    ----------
    model
        The model.
    posterior
        Draws of the population parameters (chain, draw).
    covariance
        Their covariance in scores (d, d), where it is known otherwise than from draws.

    Returns
    -------
    ``sd_ratio`` (estimated), posterior SD over prior SD: 1 where the data say nothing; and
    ``correlation`` (estimated, estimated_too). NaN with fewer than 20 draws.
    """
    priors = {p.name: p.prior for p in model.parameters if not isinstance(p.prior, Fixed)}
    names = list(priors)
    if covariance is None:
        draws = [
            prior.score(posterior[name].transpose("chain", "draw").values.ravel())
            for name, prior in priors.items()
        ]
        scores = np.asarray(draws, dtype=np.float64).reshape(len(names), -1)
        few = scores.shape[1] < _FEWEST
        shape = (len(names), len(names))
        covariance = np.full(shape, np.nan) if few else np.cov(scores).reshape(shape)
    sd = np.sqrt(np.diagonal(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / sd / sd[:, None]
    return xr.Dataset(
        {
            "sd_ratio": (
                "estimated",
                sd,
                {"units": "1", "long_name": "posterior SD over prior SD, in normal scores"},
            ),
            "correlation": (
                ("estimated", "estimated_too"),
                correlation,
                {"units": "1", "long_name": "posterior correlation in normal scores"},
            ),
        },
        coords={"estimated": names, "estimated_too": names},
    )


def weak_directions(found: xr.Dataset) -> tuple[str, ...]:
    """Sentences on what the data hardly identify, with what to do; none where all is well.

    Parameters
    ----------
    found
        From `identifiability`.
    """
    names = [str(name) for name in found["estimated"].values]
    sd, correlation = found["sd_ratio"].values, found["correlation"].values
    if not names or not (np.isfinite(sd).all() and np.isfinite(correlation).all()):
        return ()
    weak = sd**2 > WEAK
    sentences = []
    if weak.any():
        sentences.append(_of_parameters([n for n, is_so in zip(names, weak, strict=True) if is_so],
                                        sd[weak]))  # fmt: skip
    rest = np.flatnonzero(~weak)
    covariance = correlation * sd * sd[:, None]
    sentences += _of_directions([names[k] for k in rest], covariance[np.ix_(rest, rest)])
    rows, columns = np.nonzero(np.triu(np.abs(correlation) > RIDGE, 1))
    for i, j in zip(rows, columns, strict=True):
        if weak[i] and weak[j]:
            continue
        sentences.append(
            f"{names[i]} and {names[j]} are hardly told apart: their posterior correlation is "
            f"{correlation[i, j]:.2f} (in normal scores). Fix one of them, give it an informative "
            f"prior, or collect {_needed([names[i], names[j]])}."
        )
    return tuple(sentences)


def _of_parameters(names: Sequence[str], sd: Floats) -> str:
    order = np.argsort(-sd)
    first = [names[k] for k in order[:_NAMED]]
    figures = ", ".join(f"{sd[k]:.2f}" for k in order[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    several = len(names) > 1
    it, prior = ("them", "their priors") if several else ("it", "its prior")
    informed = "informative priors" if several else "an informative prior"
    return (
        f"The data say little of {', '.join(first)}{more} (posterior SD over the prior's: "
        f"{figures}): what is said of {it} rests on {prior}. Fix {it}, give {it} {informed} "
        f"from a source, or collect {_needed(first)}."
    )


def _of_directions(names: Sequence[str], covariance: Floats) -> Iterator[str]:
    """Of directions across parameters, each of which is identified well enough by itself."""
    if len(names) < 2:
        return
    values, vectors = np.linalg.eigh(covariance)
    for value, direction in zip(values, vectors.T, strict=True):
        part = [k for k in np.argsort(-np.abs(direction)) if abs(direction[k]) > _TAKES_PART]
        if value <= WEAK or len(part) < 2:
            continue
        signs = {bool(direction[k] > 0) for k in part}
        how = "in the same direction" if len(signs) == 1 else "against each other"
        named = [names[k] for k in part]
        yield (
            f"The data say little of {' and '.join(named)} where they move {how} (posterior SD "
            f"over the prior's: {np.sqrt(value):.2f}). Fix one of them, give it an informative "
            f"prior, or collect {_needed(named)}."
        )


def _needed(names: Sequence[str]) -> str:
    """Which data would inform parameters."""
    wanted = dict.fromkeys(_needed_for(name) for name in names)
    return " and ".join(wanted)


def _needed_for(name: str) -> str:
    if name.startswith(("omega", "corr", "pcorr", "boxcox", "share", "fold")):
        return "more subjects"
    if name.startswith("sigma"):
        return "more samples of each subject"
    if name.startswith(_ABSORPTION):
        return "samples during absorption"
    return f"samples at times at which {name} matters"
