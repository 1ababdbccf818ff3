"""What a fit holds: its model, its data, and the subjects' random effects draw by draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import PopkError
from popk.model import PopModel

__all__ = [
    "FitError",
    "dataset_of",
    "effects_of",
    "model_of",
    "occasion_effects_of",
    "thinned",
]


class FitError(PopkError):
    """A tree that is not a fit of popk, or not one that can answer the question."""


def model_of(fit: xr.DataTree) -> PopModel:
    """The model that a fit was made with.

    Raises
    ------
    FitError
        When the tree is not a fit.
    """
    if fit.attrs.get("kind") != "popk fit":
        raise FitError(
            f"This is not a fit of popk (its kind is {fit.attrs.get('kind', 'not given')!r}); give "
            "what popk.sample returned or popk.load read."
        )
    return PopModel.from_json(fit.attrs["model"])


def dataset_of(fit: xr.DataTree) -> Dataset:
    """The data that a fit was made from."""
    model_of(fit)
    return Dataset.from_xarray(fit["data"].to_dataset())


def thinned(fit: xr.DataTree, draws: int | None) -> NDArray[np.int64]:
    """Indices of evenly spaced draws among all chains, chain after chain; all if None.

    Raises
    ------
    FitError
        When more draws are asked for than there are.
    """
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    if draws is None:
        return np.arange(total)
    if not float(draws).is_integer() or not 1 <= draws <= total:
        raise FitError(f"{draws} draws were asked for; the fit has {total}.")
    return np.linspace(0, total - 1, int(draws)).round().astype(np.int64)


def effects_of(
    fit: xr.DataTree, subjects: Sequence[str], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Random effects (S, n_subjects, n_effects) of subjects of the fit in the chosen draws."""
    if "eta" not in fit["posterior"]:
        return np.zeros((len(chosen), len(subjects), 0))
    eta = fit["posterior"]["eta"].transpose("chain", "draw", "subject", "effect")
    places = xr.DataArray(np.arange(eta.sizes["subject"]), coords={"subject": eta["subject"]})
    values = eta.values.reshape(-1, *eta.shape[2:])
    # Of a large fit no more is copied than is asked for.
    return np.asarray(values[chosen[:, None], places.sel(subject=list(subjects)).values])


def occasion_effects_of(
    fit: xr.DataTree, occasions: Sequence[tuple[str, int]], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Random effects (S, n_occasions, n_effects) of occasions in the chosen draws.

    Parameters
    ----------
    fit
        A fit of a model with variability between occasions.
    occasions
        Subject and OCC of each; NaN comes back for those that the fit does not know.
    chosen
        Indices of the draws.
    """
    kappa = fit["posterior"]["kappa"]
    subjects, numbers = (kappa[f"occasion_{x}"].to_numpy().tolist() for x in ("subject", "number"))
    place = {which: k for k, which in enumerate(zip(subjects, numbers, strict=True))}
    ordered = kappa.transpose("chain", "draw", "occasion", "occasion_effect").values
    values = ordered.reshape(-1, *ordered.shape[2:])[chosen]
    unknown = np.full((*values.shape[:1], 1, values.shape[2]), np.nan)
    values = np.concatenate([values, unknown], axis=1)
    return np.asarray(values[:, [place.get(which, -1) for which in occasions]])
