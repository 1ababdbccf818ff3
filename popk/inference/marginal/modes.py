"""How the draws of a posterior are divided between its modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.inference.marginal.coordinates import Coordinates

__all__ = ["figures_of_modes"]

type Floats = NDArray[np.float64]


def figures_of_modes(
    coordinates: Coordinates, modes: Sequence[tuple[Floats, Floats]], posterior: xr.Dataset
) -> dict[str, Any]:
    """Statistics of the modes that were found, for ``sample_stats``.

    Parameters
    ----------
    coordinates
        Of the population parameters.
    modes
        Each mode (d) and the precision (d, d) there.
    posterior
        Draws of the population parameters (chain, draw).

    Returns
    -------
    ``mode_at`` (mode, estimated): the values of the parameters there, in the model's units; and
    ``mode_share`` (mode): the share of the draws to which it is nearest, in its own SDs.
    """
    names = coordinates.names
    at = coordinates.draws(np.stack([x for x, _ in modes])).values
    scores = coordinates.scores(
        {name: posterior[name].transpose("chain", "draw").values.ravel() for name in names}
    )
    distances = [
        np.einsum("si,ij,sj->s", scores - x, precision, scores - x) for x, precision in modes
    ]
    nearest = np.argmin(distances, axis=0)
    return {
        "mode_at": (("mode", "estimated"), np.stack([at[name] for name in names], axis=1)),
        "mode_share": ("mode", np.bincount(nearest, minlength=len(modes)) / len(nearest)),
        "estimated": ("estimated", list(names)),
    }
