"""Observations of a fit beside what its model predicts: replicates, and patient by patient.

A replicate is the whole data set simulated once more: parameters of one draw of the posterior, new
random effects for every patient, residual error, nothing cut off at a limit of quantification.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.dataset.dosing_times import dosing_times
from popk.design import Design, design_of
from popk.diagnostics.convergence import verdict_of
from popk.errors import SettingError
from popk.latent import latent_of
from popk.model import PopModel
from popk.observations import readings
from popk.population import (
    FitError,
    PopulationDraws,
    dataset_of,
    effects_of,
    model_of,
    occasion_effects_of,
    thinned,
)
from popk.prediction import labels_of, output_names, simulate_rows, units_of_outputs

__all__ = [
    "LEAST", "Seen", "attributes", "check_replicates", "individual_predictions", "left_out",
    "replicated", "usual_replicates",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]
type Ints = NDArray[np.int64]

LEAST = 100  # replicates
_USUAL = 1000
_BLOCK = 2_000_000  # individual parameters computed at a time
_LOST = 0.01  # of the replicates of an observation may be without a value


@dataclass(frozen=True, eq=False)
class Seen:
    """The observations of a fit's data, (n_observations) each, in record order.

    Parameters
    ----------
    model, dataset, design
        The fit's model and data, and what the predictions of the one for the other rest on.
    dv
        Observed value; the limit where it lies beyond it.
    status
        As CENS: 0 quantified, 1 below the lower limit, -1 above the upper one.
    lower, upper
        Limits of quantification; minus and plus infinity where there is none.
    subject
        Position of the subject.
    notes
        Sentences on what was assumed of the limits.
    """

    model: PopModel
    dataset: Dataset
    design: Design
    dv: Floats
    status: Ints
    lower: Floats
    upper: Floats
    subject: Ints
    notes: tuple[str, ...]

    @classmethod
    def of(cls, fit: xr.DataTree) -> Seen:
        """The observations of a fit."""
        return cls.in_data(model_of(fit), dataset_of(fit))

    @classmethod
    def in_data(cls, model: PopModel, dataset: Dataset) -> Seen:
        """The observations of data that fit a model."""
        design = design_of(model, dataset)
        table = dataset.table.isel(record=dataset.is_observation)
        status = table["CENS"].values.astype(np.int64)
        dv = table["DV"].values.astype(float)
        names = output_names(model, design, always=True)["OUTPUT"][1]
        kinds = list(zip(names, _assay(table), strict=True))
        notes: list[str] = []
        limits = {}
        for name, side in (("LLOQ", 1), ("ULOQ", -1)):
            limit = np.full(len(dv), np.nan)
            if name in table:
                limit = table[name].values.astype(float).copy()
            notes += _fill(limit, dv, status == 0, kinds, name, side)
            limits[name] = np.where(np.isnan(limit), -side * np.inf, limit)
        place = {name: k for k, name in enumerate(dataset.subjects)}
        subject = np.array([place[name] for name in table["ID"].values.tolist()], dtype=np.int64)
        return cls(
            model, dataset, design, dv, status, limits["LLOQ"], limits["ULOQ"], subject,
            tuple(notes),
        )  # fmt: skip

    @property
    def outputs(self) -> list[str]:
        """Name of the output that each observation is of."""
        return list(output_names(self.model, self.design, always=True)["OUTPUT"][1])

    @property
    def interval(self) -> Floats:
        """Length of the dosing interval that each observation is in; NaN where there is none."""
        return dosing_times(self.dataset).interval

    @property
    def units(self) -> str:
        """Unit of what is observed; as JSON, by output, where there are several units."""
        return units_of_outputs(self.model, self.design)

    @property
    def of_subjects(self) -> Iterator[tuple[str, Ints]]:
        """ID and positions of the observations of each subject that has any."""
        for k in np.unique(self.subject).tolist():
            yield self.dataset.subjects[k], np.flatnonzero(self.subject == k)

    def coordinates(self) -> dict[str, Any]:
        """ID, TIME, TAD, TROUGH, ROW and CENS of each observation, and OUTPUT if there are several.

        CENS is 1 below the limit of quantification (BLQ), -1 above the upper one.
        """
        table = self.dataset.table.isel(record=self.dataset.is_observation)
        when = dosing_times(self.dataset)
        time = {"units": self.dataset.units.time}
        dim = "observation"
        return {
            dim: np.arange(len(self.dv)),
            "ID": (dim, table["ID"].values),
            "TIME": (dim, table["TIME"].values, {**time, "long_name": "time"}),
            "TAD": (dim, when.since, {**time, "long_name": "time after dose"}),
            "TROUGH": (dim, when.trough),
            "ROW": (dim, table["record"].values),
            "CENS": (dim, self.status),
            **output_names(self.model, self.design),
        }


def _assay(table: xr.Dataset) -> list[int]:
    if "ASSAY" not in table:
        return [-1] * table.sizes["record"]
    return [int(level) for level in table["ASSAY"].values]


def _fill(
    limit: Floats, dv: Floats, known: Bools, kinds: Sequence[object], name: str, side: int
) -> list[str]:
    """Give quantified observations the one limit that the others of their kind have."""
    filled, open_ended = 0, 0
    for kind in dict.fromkeys(kinds):
        mine = np.array([one == kind for one in kinds], dtype=bool)
        given = np.unique(limit[mine & ~np.isnan(limit)])
        lacking = mine & np.isnan(limit)
        if not len(given) or not lacking.any():
            continue
        if len(given) == 1:
            own = lacking & known & (side * (dv - given[0]) >= 0)
            limit[own] = given[0]
            filled, lacking = filled + int(own.sum()), lacking & ~own
        open_ended += int(lacking.sum())
    found = []
    if filled:
        found.append(
            f"Quantified observations that name no {name} ({filled}) are taken to have that of the "
            "others, which is one and the same."
        )
    if open_ended:
        found.append(
            f"Of observations that have no {name} although others do ({open_ended}), replicates "
            f"are never beyond it. Give {name} on every record."
        )
    return found


def usual_replicates(most: int) -> int:
    """How many replicates, where a subject has at most `most` observations."""
    return max(_USUAL, 10 * most)


def check_replicates(replicates: object, *, most: int = 1) -> int:
    """The number of replicates, refused where it makes no sense.

    Raises
    ------
    SettingError
        When it is no whole number, below 100, or below 10 for each observation of a subject that
        has `most` of them.
    """
    least = max(LEAST, 10 * most)
    if (
        isinstance(replicates, bool)
        or not isinstance(replicates, int | np.integer)
        or replicates < least
    ):
        why = f" (10 for each of the {most} observations of one subject)" if least > LEAST else ""
        raise SettingError(
            f"{replicates!r} replicates were asked for; give a whole number of {least} or more"
            f"{why}."
        )
    return int(replicates)


def replicated(fit: xr.DataTree, seen: Seen, replicates: int, rng: np.random.Generator) -> Floats:
    """DV (replicates, n_observations), as a laboratory without limits would report them.

    The draws are evenly spaced; where there are fewer than replicates, some serve again, with new
    random effects. Groups (sites) of the fit keep their effects. A replicate that has no finite
    value somewhere is not among them (`left_out` says so).

    Raises
    ------
    FitError
        When the predictions of many replicates cannot be computed.
    """
    population = PopulationDraws.of(fit)
    which = np.linspace(0, population.size - 1, replicates).round().astype(np.int64)
    model, design = seen.model, seen.design
    read = readings(model, seen.dataset, design.events)
    blocks = 1 + replicates * len(design.rows.subject) * len(model.structure.names) // _BLOCK
    found = np.empty((replicates, len(seen.dv)))
    for chosen in np.array_split(np.arange(replicates), min(blocks, replicates)):
        own = population.taken(which[chosen])
        ipred = simulate_rows(model, own.new_rows(design, rng), design.events)
        found[chosen] = model.error.simulate(read, ipred, own.sigma, rng)
    return _all_finite(found, seen)


def left_out(simulated: Floats, asked: int) -> list[str]:
    """A sentence on replicates that could not be computed, where there are any."""
    lost = asked - len(simulated)
    return [f"{lost} of {asked} replicates have no finite value and are left out."] if lost else []


def _all_finite(found: Floats, seen: Seen) -> Floats:
    """The replicates without those that have no value somewhere."""
    finite = np.isfinite(found)
    lost = ~finite.all(axis=1)
    if lost.mean() > _LOST:
        worst = int(np.argmin(finite.mean(axis=0)))
        table = seen.dataset.table.isel(record=seen.dataset.is_observation)
        raise FitError(
            f"{lost.sum()} of {len(found)} replicates have no finite value, most often for ID "
            f"{table['ID'].values[worst]} at TIME {table['TIME'].values[worst]:g}: some draws of "
            "the posterior are parameters that the equations cannot be computed with. Look at "
            "the priors and at the posterior's extremes."
        )
    return found[~lost]


def individual_predictions(
    fit: xr.DataTree, seen: Seen, draws: int | None
) -> tuple[Floats, dict[str, Floats]]:
    """IPRED (S, n_observations) with each subject's own random effects, and sigma (S, 1) by name.

    ``draws`` are evenly spaced; all if None, or if there are not so many.
    """
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    chosen = thinned(fit, None if draws is None or draws >= total else draws)
    population = PopulationDraws.of(fit)
    model, design, dataset = seen.model, seen.design, seen.dataset
    missing = [(one.covariate, dataset.subjects[one.subject]) for one in design.missing]
    names = np.array(dataset.subjects)[design.occasion_subject].tolist()
    occasions = list(zip(names, design.occasion_number.tolist(), strict=True))
    posterior = fit["posterior"].to_dataset()
    blocks = 1 + len(chosen) * len(design.rows.subject) * len(model.structure.names) // _BLOCK
    found = []
    for part in np.array_split(chosen, min(blocks, len(chosen))):
        theta = population.taken(part).row_parameters(
            design,
            effects_of(fit, dataset.subjects, part),
            occasion_effects_of(fit, occasions, part) if model.iov.effects else None,
            latent_of(posterior, missing, part) if missing else None,
            labels=labels_of(fit, dataset.subjects, part),
        )
        found.append(simulate_rows(model, theta, design.events))
    return np.concatenate(found), population.taken(chosen).sigma


def attributes(fit: xr.DataTree, kind: str, notes: Sequence[str]) -> dict[str, Any]:
    """What every table of diagnostics says of its origin."""
    converged = verdict_of(fit).converged
    said = list(notes)
    if not converged:
        said.insert(0, "The fit has not converged: these numbers may say little of the model.")
    return {
        "kind": f"popk {kind}",
        "converged": int(converged),
        "notes": json.dumps(said, ensure_ascii=False),
        "research_use": "Computed by popk, which is research software.",
        **{
            name: fit.attrs[name]
            for name in ("model_name", "model_hash", "data_hash", "units", "popk_version")
        },
    }
