"""How well simulated data explain observed ones, each observation on its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from popk.dataset import Dataset
from popk.design import Design
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.prediction import simulate_observations

__all__ = [
    "CENTRAL",
    "Measured",
    "as_percent",
    "as_times",
    "log_densities",
    "outside",
    "simulate_from_prior",
    "typical_ratio",
]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

CENTRAL = 0.999  # the part of the prior predictive that data are expected in
_TINY = 1e-6  # of the lowest positive observation: where the logarithm is cut off
_NARROWEST = 0.02  # bandwidth, on the log scale 2 %
_FREEDOM = 3.0  # of the kernel: its tails decide between two hypotheses that are both bad
_KERNEL = float(stats.t.logpdf(0.0, _FREEDOM))


class Measured(NamedTuple):
    """Observed values, each (n); ``value`` is the limit where ``below`` or ``above`` it."""

    value: Floats
    below: Bools
    above: Bools

    @classmethod
    def of(cls, dataset: Dataset) -> Measured:
        """The observations of a dataset, in record order."""
        table = dataset.table.isel(record=dataset.is_observation)
        censored = table["CENS"].values
        return cls(np.array(table["DV"].values, dtype=float), censored == 1, censored == -1)

    @property
    def quantified(self) -> Bools:
        """Which values are numbers and not limits."""
        return ~(self.below | self.above)

    def taken(self, which: Bools) -> Measured:
        """Some of them."""
        return Measured(self.value[which], self.below[which], self.above[which])


def simulate_from_prior(
    model: PopModel, dataset: Dataset, design: Design, *, draws: int, seed: int
) -> Floats:
    """DV (draws, n_outputs) of the prior predictive; with a seed the same draws for any data."""
    rng = np.random.default_rng(seed)
    population = PopulationDraws.from_prior(model, draws, rng)
    theta = population.new_rows(design, rng)
    outputs = simulate_observations(
        population, theta, dataset, design, described=design.outputs, rng=rng
    )
    return outputs["DV"]


def _medians(simulated: Floats) -> Floats:
    """Median of each simulated observation (n); NaN where most could not be computed."""
    ordered = np.sort(simulated, axis=0)  # NaN last
    middle = ordered[(len(ordered) - 1) // 2]
    return np.where(np.isfinite(middle), middle, np.nan)


def typical_ratio(simulated: Floats, measured: Measured) -> float:
    """Median ratio of the quantified values to their simulated medians; NaN without any."""
    known = measured.quantified
    expected = _medians(simulated)
    usable = known & np.isfinite(expected) & (expected != 0)
    if not usable.any():
        return float("nan")
    with np.errstate(over="ignore"):  # a drug that is gone is expected at less than 1e-308
        return float(np.median(measured.value[usable] / expected[usable]))


def outside(simulated: Floats, measured: Measured, *, central: float) -> Bools:
    """Which observations (n) lie outside the central part of their simulated values (draws, n).

    One below a limit does when hardly any of them are below it; one above, likewise.
    """
    tail = (1 - central) / 2
    with np.errstate(invalid="ignore"):
        lower = np.mean(simulated < measured.value, axis=0)
        upper = np.mean(simulated > measured.value, axis=0)
    low_side = np.where(measured.above, np.inf, lower)
    high_side = np.where(measured.below, np.inf, upper)
    return np.asarray(np.minimum(low_side, high_side) < tail)


def log_densities(simulated: Floats, measured: Measured, *, positive: bool) -> Floats:
    """Log predictive density of each observation (n) under simulated values (draws, n).

    A kernel density estimate (Student t kernels, Silverman's bandwidth from the interquartile
    range) of the value, of its logarithm if ``positive``; for an observation below or above a
    limit, the log share of simulated values there.
    """
    count = len(simulated)
    with np.errstate(invalid="ignore"):
        share_below = np.mean(simulated < measured.value, axis=0)
        share_above = np.mean(simulated > measured.value, axis=0)
    share = np.where(measured.below, share_below, share_above)
    censored = np.log((count * share + 0.5) / (count + 1))
    x, y = _scaled(simulated, measured, positive=positive)
    low, high = np.quantile(x, [0.25, 0.75], axis=0)
    bandwidth = np.maximum(0.9 * (high - low) / 1.34 * count**-0.2, _NARROWEST)
    z = (y - x) / bandwidth
    kernel = -0.5 * (_FREEDOM + 1) * np.log1p(z * z / _FREEDOM)
    top = kernel.max(axis=0)
    density = top + np.log(np.mean(np.exp(kernel - top), axis=0)) - np.log(bandwidth) + _KERNEL
    return np.asarray(np.where(measured.quantified, density, censored))


def _scaled(simulated: Floats, measured: Measured, *, positive: bool) -> tuple[Floats, Floats]:
    """Simulated and observed values on the scale of the density, all finite."""
    value = measured.value
    known = np.isfinite(simulated)
    if positive:
        tiny = _TINY * value[value > 0].min()
        return (
            np.log(np.maximum(np.where(known, simulated, tiny), tiny)),
            np.log(np.maximum(value, tiny)),
        )
    spread = float(np.subtract(*np.quantile(value, [0.75, 0.25]))) or 1.0
    most = np.abs(value).max() + spread / _TINY
    usual = np.clip(np.where(known, simulated, most), -most, most)
    return usual / spread, value / spread


def as_times(factor: float) -> str:
    """A factor in words, two digits: ``12 times``, ``360,000 times``."""
    if factor > 1e6:
        return "more than a million times"
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.0f} times" if rounded >= 10 else f"{rounded:g} times"


def as_percent(share: float) -> str:
    """A share as a percentage: ``12 %``."""
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1g} %"
