"""The exposure of every patient of a fit, draw by draw."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.fitted import FitError
from popk.latent import latent_of
from popk.model import PopModel
from popk.population import PopulationDraws, dataset_of, effects_of, model_of, occasion_effects_of
from popk.prediction import labels_of
from popk.response.course import History, histories_of, with_readings
from popk.response.measures import Measure
from popk.structure import Solver

__all__ = ["EXPOSURE", "PROBABILITY", "checked", "exposure_frame", "exposures", "steps_of"]

type Floats = NDArray[np.float64]

EXPOSURE = "popk exposure"
PROBABILITY = 0.9  # of every interval of the package

_BLOCK = 4_000_000  # concentrations that are computed at a time
_VARIED = 0.02  # relative difference of doses or intervals from which a regimen differs


def exposures(fit: xr.DataTree, measure: Measure) -> xr.DataTree:
    """The exposure of every patient of a fit, for every draw of its posterior.

    The patient's own individual parameters go through the engine over the patient's real dose
    history: true concentrations, without residual error.

    Parameters
    ----------
    fit
        What `popk.sample` returned. A point (MAP) has no uncertainty to carry and is refused.
    measure
        What is taken as exposure: `MeanTrough`, `MeanConcentration`, `TimeUnder` or `Saturation`.

    Returns
    -------
    DataTree with the groups

    - ``exposure``: ``exposure`` (chain, draw, subject) in the unit of its attrs;
    - ``population``: ``score`` (chain, draw, parameter), the population parameters of the same
      draws (logarithms of what is positive), through which exposures are correlated;
    - ``history`` (subject): doses, interval, end, and the mean of the observed concentrations with
      those below the LLOQ at half of it, which a naive analysis would take.

    ``reference`` in attrs is the exposure at which effects are centred: the median over patients
    of posterior medians.

    Raises
    ------
    FitError
        When the tree is no fit or a point, or a subject has no exposure.
    SettingError, UnitError
        When the measure is none, or its unit is not the model's.
    """
    model, dataset = model_of(fit), dataset_of(fit)
    if not isinstance(measure, Measure):
        raise SettingError(
            f"The measure of exposure is {measure!r}; give one such as popk.response.MeanTrough()."
        )
    measure.check_units(model.units)
    if verdict_of(fit).kind == "point":
        raise FitError(
            "This fit is a point (MAP): it has no uncertainty, so none could be carried to the "
            "response. Sample by Marginal."
        )
    design = design_of(model, dataset)
    histories = histories_of(design, dataset.subjects)
    values = _exposures(fit, model, dataset, design, histories, measure)
    chains, draws = (fit["posterior"].sizes[name] for name in ("chain", "draw"))
    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    unit = measure.unit_in(model.units)
    exposure = xr.DataArray(
        values.reshape(chains, draws, -1),
        dims=("chain", "draw", "subject"),
        coords={**coords, "subject": list(dataset.subjects)},
        attrs={"units": unit, "long_name": measure.words},
    )
    names, scores = _scores(PopulationDraws.of(fit))
    population = xr.DataArray(
        scores.reshape(chains, draws, -1),
        dims=("chain", "draw", "parameter"),
        coords={**coords, "parameter": names},
    )
    tree = xr.DataTree.from_dict(
        {
            "exposure": xr.Dataset({"exposure": exposure}),
            "population": xr.Dataset({"score": population}),
            "history": _described(histories, dataset),
        }
    )
    tree.attrs = _attrs(fit, model, measure, values, histories)
    return tree


def _attrs(
    fit: xr.DataTree, model: PopModel, measure: Measure, values: Floats, histories: list[History]
) -> dict[str, str | int | float]:
    reference = float(np.median(np.median(values, axis=0)))
    if measure.log and not np.all(values > 0):
        raise FitError(
            f"The {measure.words} is zero in some draws, so it has no logarithm; take TimeUnder or "
            "Saturation."
        )
    return {
        "kind": EXPOSURE,
        "popk_version": version("popk"),
        "measure": repr(measure),
        "words": measure.words,
        "note": measure.note,
        "log": int(measure.log),
        "step": measure.step,
        "per": measure.per,
        "reference": reference,
        "unit": measure.unit_in(model.units),
        "units": json.dumps(model.units.to_dict()),
        "model_name": model.name,
        "model_hash": fit.attrs["model_hash"],
        "data_hash": fit.attrs["data_hash"],
        "seed": int(fit.attrs["seed"]),
        "converged": int(verdict_of(fit).converged),
        "varied_regimen": int(_varied(histories)),
        "rests_on": (
            f"{len(values)} draws of the posterior of {model.name} ({fit.attrs['model_hash'][:12]})"
            ", each patient's dose history as recorded, true concentrations"
        ),
    }


def _exposures(
    fit: xr.DataTree,
    model: PopModel,
    dataset: Dataset,
    design: Design,
    histories: list[History],
    measure: Measure,
) -> Floats:
    """Exposure (S, n_subjects)."""
    readings = [measure.readings(history) for history in histories]
    what = next(
        k for k, one in enumerate(model.structure.outputs) if one.dimension == "concentration"
    )
    solver = Solver(model.structure, with_readings(design.events, readings, what=what))
    ends = np.cumsum([len(times) for times in readings])
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    found = np.empty((total, len(histories)))
    for chosen in np.array_split(np.arange(total), 1 + total * int(ends[-1]) // _BLOCK):
        value = solver.ensemble(_rows(fit, dataset, design, chosen)).value
        parts = np.split(value, ends[:-1], axis=1)
        for k, (history, times, own) in enumerate(zip(histories, readings, parts, strict=True)):
            found[chosen, k] = measure.of(history, times, own)
    if not np.isfinite(found).all():
        which = dataset.subjects[int(np.argmin(np.isfinite(found).all(axis=0)))]
        raise FitError(
            f"The concentrations of ID {which} could not be solved in some draws; check the fit's "
            "verdict and the subject's records."
        )
    return found


def _rows(fit: xr.DataTree, dataset: Dataset, design: Design, chosen: NDArray[np.int64]) -> Floats:
    """Individual parameters (S, n_rows, m) of the fit's own subjects in the chosen draws."""
    population = PopulationDraws.of(fit).taken(chosen)
    subjects = dataset.subjects
    kappa = latent = None
    if population.model.iov.effects:
        names = np.array(subjects)[design.occasion_subject].tolist()
        occasions = list(zip(names, design.occasion_number.tolist(), strict=True))
        kappa = occasion_effects_of(fit, occasions, chosen)
    if design.missing:
        missing = [(one.covariate, subjects[one.subject]) for one in design.missing]
        latent = latent_of(fit["posterior"].to_dataset(), missing, chosen)
    eta = effects_of(fit, subjects, chosen)
    labels = labels_of(fit, subjects, chosen)
    return population.row_parameters(design, eta, kappa, latent, labels=labels)


def _scores(population: PopulationDraws) -> tuple[list[str], Floats]:
    """Names and draws (S, n) of what moves: population parameters and effects of groups."""
    columns = {
        name: np.log(value) if np.all(value > 0) else value
        for name, value in population.values.items()
    }
    for covariate, groups in population.levels.items():
        own = groups.eta.reshape(len(groups.eta), -1)
        columns |= {f"{covariate}[{k}]": own[:, k] for k in range(own.shape[1])}
    moving = {name: value for name, value in columns.items() if np.ptp(value) > 0}
    scores = np.stack(list(moving.values()), axis=1) if moving else np.zeros((population.size, 0))
    return list(moving), scores


def _varied(histories: list[History]) -> bool:
    """Whether doses or intervals differ between patients or change within one."""
    gaps = np.concatenate([np.diff(one.doses) for one in histories])
    amounts = np.concatenate([one.amounts for one in histories])
    return any(
        len(values) > 0 and np.ptp(values) > _VARIED * np.median(values)
        for values in (gaps[gaps > 0], amounts)
    )


def _described(histories: list[History], dataset: Dataset) -> xr.Dataset:
    """Doses and what was observed, of each subject."""
    units, table = dataset.units, dataset.table.isel(record=dataset.is_observation)
    value, cens = table["DV"].values.astype(float), table["CENS"].values
    value = np.where(cens == 1, 0.5 * table["LLOQ"].values, value)
    subject = table["ID"].values
    mean = [
        float(value[subject == one.subject].mean()) if (subject == one.subject).any() else np.nan
        for one in histories
    ]
    below = [int((cens[subject == one.subject] == 1).sum()) for one in histories]
    count = [int((subject == one.subject).sum()) for one in histories]
    concentration, time = {"units": units.concentration}, {"units": units.time}
    return xr.Dataset(
        {
            "doses": ("subject", [len(one.doses) for one in histories], {"units": "1"}),
            "interval": ("subject", [one.interval for one in histories], time),
            "end": ("subject", [one.end for one in histories], time),
            "observed": ("subject", mean, concentration),
            "samples": ("subject", count, {"units": "1"}),
            "below_lloq": ("subject", below, {"units": "1"}),
        },
        coords={"subject": list(dataset.subjects)},
    )


def checked(tree: xr.DataTree) -> xr.DataTree:
    """The tree, when it is one of exposures.

    Raises
    ------
    SettingError
        When it is not.
    """
    if not isinstance(tree, xr.DataTree) or tree.attrs.get("kind") != EXPOSURE:
        kind = getattr(tree, "attrs", {}).get("kind", type(tree).__name__)
        raise SettingError(
            f"These are not exposures of popk (kind: {kind}); give what popk.response.exposures "
            "returned."
        )
    return tree


def steps_of(tree: xr.DataTree, values: Floats) -> Floats:
    """Exposures as steps from the reference: doublings, or the measure's own step."""
    reference, step = float(tree.attrs["reference"]), float(tree.attrs["step"])
    if int(tree.attrs["log"]):
        return np.asarray(np.log2(np.asarray(values) / reference))
    return np.asarray((np.asarray(values) - reference) / step)


def exposure_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row for each patient: median and 90 % interval of the exposure; units in ``.attrs``."""
    own = checked(tree)["exposure"]["exposure"]
    tail = (1 - PROBABILITY) / 2
    low, median, high = own.quantile([tail, 0.5, 1 - tail], dim=("chain", "draw")).values
    frame = pd.DataFrame({"ID": own["subject"].values, "low": low, "median": median, "high": high})
    history = tree["history"].to_dataset().to_dataframe().reset_index(drop=True)
    frame = pd.concat([frame, history], axis=1)
    units = {name: tree["history"][name].attrs["units"] for name in history.columns}
    frame.attrs["units"] = {**dict.fromkeys(("low", "median", "high"), own.attrs["units"]), **units}
    frame.attrs["interval"] = f"{100 * PROBABILITY:g} %"
    return frame
