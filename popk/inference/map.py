"""The mode of the marginal posterior, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.individual import find_modes
from popk.inference.marginal.assemble import assembled
from popk.inference.marginal.coordinates import Coordinates
from popk.inference.marginal.modes import figures_of_modes
from popk.inference.marginal.peak import Peak, find_peaks, prepared
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_cores
from popk.model import PopModel

__all__ = ["MAP"]

type Floats = NDArray[np.float64]

_STEP = 1e-4  # of a score, for the slope of a parameter by it


@dataclass(frozen=True, kw_only=True)
class MAP:
    """Maximum a posteriori: the mode of the population parameters' marginal posterior.

    Each patient's random effects are integrated out, as with `Marginal`. The joint mode over
    population parameters and random effects is no estimate: its density grows without bound as an
    SD between subjects shrinks to zero and the effects with it. The random effects are given at
    their conditional modes (empirical Bayes estimates).

    The mode is that of the density in the coordinates in which the priors are standard normal (a
    log-normal parameter: of its logarithm); a mode is another one in other coordinates. The
    standard errors are those of the normal approximation there: the inverse of the curvature, from
    differences of slopes. They are no posterior SDs, and a mode that lies far to one side of the
    posterior has no sign of it.

    The fit has one chain of one draw. It is a point: predictions from it carry no uncertainty of
    the population parameters, and the verdict never calls it final. ``sample_stats`` holds, over
    ``estimated`` (the parameters that are estimated), ``standard_error`` in the model's units by
    the delta method, ``score`` and ``standard_error_score`` in the coordinates, and their
    ``covariance_score``; NaN where the curvature does not belong to a mode.

    Parameters
    ----------
    cores
        Patients integrated at a time; all of the machine's cores if None. Results do not depend on
        it.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    cores: int | None = None

    def __post_init__(self) -> None:
        check_cores(self, self.cores)

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """The mode as one draw of one chain, and what is known of it.

        Nothing is kept in the store: continued after an interruption, it is done again from the
        seed, with the same result.

        Raises
        ------
        SettingError
            When the model has sub-populations or further levels, nothing is estimated, or no point
            near the priors gives the data a likelihood.
        """
        del store
        cohort, seeds = prepared(self, model, dataset, seed=seed)
        progress("finding the mode")
        peaks = find_peaks(cohort, np.random.default_rng(seeds[0]))
        # The highest, which need not be the one with the most mass.
        peaks = sorted(peaks, key=lambda peak: -peak.log_density)
        x = peaks[0].x[None]
        draws = cohort.coordinates.draws(x)
        z = [find_modes(draws, patient).z for patient in cohort.patients]
        posterior = assembled(cohort, x, z, chains=1)
        centres = [(peak.x, peak.precision) for peak in peaks]
        figures = figures_of_modes(cohort.coordinates, centres, posterior)
        mass = np.exp(np.array([p.log_mass for p in peaks]) - max(p.log_mass for p in peaks))
        figures["mode_share"] = ("mode", mass / mass.sum())
        stats = xr.Dataset(
            {
                "lp": (("chain", "draw"), np.array([[peaks[0].log_density]])),
                "distance": ((), peaks[0].distance),
                "nodes": ("subject", cohort.nodes),
                **_errors(cohort.coordinates, peaks[0]),
            },
            coords={"chain": [0], "draw": [0], "subject": list(dataset.subjects)},
            attrs={"point": "the mode of the marginal posterior"},
        )
        return posterior, stats.assign(figures)


def _errors(coordinates: Coordinates, peak: Peak) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Standard errors in scores and, by the delta method, in the model's units."""
    if peak.is_peak:
        covariance = np.linalg.inv(peak.precision)
    else:
        covariance = np.full(peak.precision.shape, np.nan)
    error = np.sqrt(np.diagonal(covariance))
    ends = [coordinates.draws(peak.x[None] + step).values for step in (_STEP, -_STEP)]
    names = coordinates.names
    slope = [float((ends[0][name] - ends[1][name])[0]) / (2 * _STEP) for name in names]
    return {
        "score": (("estimated",), peak.x),
        "standard_error_score": (("estimated",), error),
        "standard_error": (("estimated",), np.abs(slope) * error),
        "covariance_score": (("estimated", "estimated_too"), covariance),
    }
