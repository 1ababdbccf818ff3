"""Virtual patients: covariates, parameters that nobody in the trial knows, and measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.design import check_fit
from popk.errors import SettingError
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws, dataset_of, thinned
from popk.regimen import Regimen
from popk.statistics import NUMPY, Observed, ResidualError
from popk.structure import Solver
from popk.trials.course import Infusion, course

__all__ = ["People", "known_draws", "likelihood", "observed_as", "people_of", "resampled"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class People:
    """Virtual patients.

    Parameters
    ----------
    population
        A draw of the population parameters for each patient (n).
    covariates
        Values (n) of each covariate, by name.
    parameters
        Their true parameters (n, n_rows, m): a row for each interval where the model has
        variability between occasions, else one.
    infusion
        The dose of every visit.
    output
        Index of the structure's output that is the trough.
    """

    population: PopulationDraws
    covariates: Mapping[str, Floats]
    parameters: Floats
    infusion: Infusion
    output: int

    @property
    def model(self) -> PopModel:
        """The model that is true."""
        return self.population.model

    def concentrations(self, chosen: Ints, given: Floats, times: Floats) -> Floats:
        """True concentrations (n_chosen, n_times) after infusions at ``given`` (n_chosen, n)."""
        what = np.full(times.shape[1], self.output)
        many = self.parameters.shape[1] > 1
        theta = self.parameters[chosen]
        theta = theta[:, : given.shape[1]] if many else theta
        events = course(self.infusion, given, times, what, occasions=many)
        solver = Solver(self.model.structure, events)
        value = solver.run(theta.reshape(-1, theta.shape[2]), with_gradient=False).value
        # What the solver gave up on is infinite, and must not count as above a target.
        return np.where(np.isfinite(value), value, np.nan).reshape(times.shape)

    def measured(self, visit: int, troughs: Floats, lloq: float | None, seed: int) -> Observed:
        """What the laboratory says of everybody's troughs (n); NaN where there are none.

        Noise depends on the seed, the visit and the patient, not on the level.
        """
        known = np.isfinite(troughs)
        usual = np.where(known, troughs, 1.0)[None]
        seen = observed_as(self.model, self.output, usual[0], np.zeros(len(troughs), np.int64))
        sigma = {name: value[None, :, 0] for name, value in self.population.sigma.items()}
        rng = np.random.default_rng([seed, 2, visit])
        dv = self.model.error.simulate(seen, usual, sigma, rng)[0]
        below = np.zeros(len(dv), dtype=bool) if lloq is None else known & (dv < lloq)
        dv = np.where(below, 1.0 if lloq is None else lloq, np.where(known, dv, np.nan))
        return observed_as(self.model, self.output, dv, below.astype(np.int64), lloq)


def observed_as(
    model: PopModel, output: int, dv: Floats, status: Ints, lloq: float | None = None
) -> Observed:
    """Observations as residual errors read them, by the reference assay."""
    error = model.error.of(model.structure.outputs[output].name)
    described, size = model.error.outputs, len(dv)
    name = model.structure.outputs[output].name
    place = described.index(name) if name in described else 0
    assay = error.assays[0] if error is not None and error.assays else 0
    lower = np.full(size, 1.0 if lloq is None else lloq)
    none = np.zeros(size, dtype=np.int64)
    return Observed(dv, lower, np.ones(size), status, none + place, none + assay, none,
                    np.ones(size))  # fmt: skip


def likelihood(
    error: ResidualError, observed: Observed, prediction: Floats, sigma: Mapping[str, Floats]
) -> Floats:
    """Log likelihood (..., n) of each observation; 0 where nothing was measured (DV is NaN)."""
    known = np.isfinite(observed.dv)
    usual = observed._replace(dv=np.where(known, observed.dv, 1.0))
    with np.errstate(all="ignore"):
        found = np.asarray(error.log_likelihood(usual, prediction, sigma, NUMPY))
    found = np.where(np.isfinite(found), found, -np.inf)
    return np.where(known, found, 0.0)


def known_draws(source: xr.DataTree | PopModel, size: int, seed: int) -> PopulationDraws:
    """Draws of the population parameters of a fit, or from a model's priors."""
    rng = np.random.default_rng([seed, 3])
    if isinstance(source, PopModel):
        known = all(np.ptp(p.prior.support) == 0 for p in source.parameters)
        return PopulationDraws.from_prior(source, 1 if known else size, rng)
    whole = PopulationDraws.of(source)
    if size <= whole.size:
        return PopulationDraws.of(source, size)
    return whole.taken(rng.integers(whole.size, size=size))


def resampled(
    source: xr.DataTree | PopModel, table: pd.DataFrame | None, size: int, seed: int
) -> pd.DataFrame:
    """Covariates of the virtual patients: rows of a table, or of the fit's data, with replacement.

    Raises
    ------
    SettingError
        When the table has no row.
    """
    if table is None:
        if isinstance(source, PopModel):
            return pd.DataFrame(index=_names(size))
        table = dataset_of(source).covariate_table()
    if not len(table):
        raise SettingError("The table of covariates has no row; give one for each of some people.")
    rng = np.random.default_rng([seed, 4])
    rows = rng.integers(len(table), size=size)
    return table.iloc[rows].set_axis(_names(size), axis=0)


def people_of(
    source: xr.DataTree | PopModel,
    table: pd.DataFrame,
    run_in: Regimen,
    *,
    intervals: int,
    seed: int,
) -> People:
    """The virtual patients under the model that is true.

    Parameters
    ----------
    source
        A fit, whose posterior draws are used, or a model, whose priors are.
    table
        Covariates, a row for each patient.
    run_in
        The regimen of the run-in.
    intervals
        Most intervals of a patient, each an occasion.
    seed
        Seed.
    """
    n = len(table)
    population = _spread(source, n, seed)
    model = population.model
    _refuse(model, "simulated")
    covariates, labels, output = covariates_of(model, table, run_in)
    rng = np.random.default_rng([seed, 5])
    known = population.new_labels(np.array([-1]), rng)
    if known is not None:
        known = np.where(labels[:, None] >= 0, labels[:, None], known)
    expected = population.expected({k: v[:, None] for k, v in covariates.items()}, known)
    eta, kappa = population.new_effects(1, rng), None
    if model.iov.effects:
        kappa = population.new_occasions(intervals, rng)
    theta = population.parameters(np.broadcast_to(expected, (n, 1, expected.shape[-1])), eta, kappa)
    every = {str(name): table[name].to_numpy(dtype=float) for name in table.columns}
    return People(population, every, theta, Infusion.of(run_in), output)


def covariates_of(
    model: PopModel, table: pd.DataFrame, run_in: Regimen
) -> tuple[dict[str, Floats], Ints, int]:
    """Covariates (n) that a model uses, known classes (n), and the output that is the trough.

    Raises
    ------
    DataError, ModelError, SettingError
        When a covariate is missing, has no unit, or is one that the model does not know.
    """
    needed = dict.fromkeys(name for effect in model.covariates for name in effect.covariates)
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise ModelError(
            [
                f"model {model.name} reads {' and '.join(lacking)}, which the virtual patients do "
                "not have; give covariates= (--covariates), a table with a column of that name and "
                "a row for each of some people."
            ]
        )
    kept = [name for name in table.columns if model.units.covariate(str(name)) is not None]
    dataset = run_in.dataset(table[kept], [run_in.start + run_in.interval], units=model.units)
    if model.iov.effects:
        dataset = replace(dataset, table=dataset.table.assign(OCC=dataset.table["EVID"] * 0 + 1))
    design = check_fit(model, dataset, estimated=False)
    if design.missing:
        raise ModelError(
            [
                f"the virtual patients have no value of {design.missing[0].covariate}, which the "
                "model reads; give it in the table of covariates."
            ]
        )
    outputs = model.structure.outputs
    described = [k for k, o in enumerate(outputs) if o.name in model.error.outputs]
    places = described or list(range(len(outputs)))
    output = next((k for k in places if outputs[k].dimension == "concentration"), places[0])
    return design.covariates, design.labels, output


def _spread(source: xr.DataTree | PopModel, n: int, seed: int) -> PopulationDraws:
    """A population draw for each patient; in no order that a chain has."""
    rng = np.random.default_rng([seed, 6])
    if isinstance(source, PopModel):
        return PopulationDraws.from_prior(source, n, rng)
    total = len(thinned(source, None))
    chosen = np.concatenate([rng.permutation(total) for _ in range(-(-n // total))])[:n]
    return PopulationDraws.of(source).taken(chosen)


def _refuse(model: PopModel, how: str) -> None:
    """Refuse models of which no virtual patients can be made."""
    if model.levels:
        named = ", ".join(level.covariate for level in model.levels)
        raise ModelError(
            [
                f"model {model.name} has variability between groups of {named}, which cannot be "
                f"{how} in a trial; give a model without it."
            ]
        )
    if model.error.is_sequential:
        raise ModelError(
            [
                f"the residual errors of model {model.name} are autocorrelated, which cannot be "
                f"{how} in a trial; give a model without autocorrelation."
            ]
        )


def _names(size: int) -> list[str]:
    return [str(k + 1) for k in range(size)]
