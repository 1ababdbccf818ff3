"""Who the fall is looked at in: patients, or people of a population on a regimen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.standing import Standing
from popk.design import check_fit, design_of
from popk.errors import SettingError
from popk.individual.forecast import present_of
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws, dataset_of, model_of
from popk.regimen import Regimen

__all__ = ["people_on", "person_on", "usual_regimen"]

type Floats = NDArray[np.float64]

_PEOPLE = 100  # new people under each draw, at least


def usual_regimen(fit: xr.DataTree, *, repeats: int = 10) -> Regimen | None:
    """The usual dose and interval of a fit's data, the medians over subjects, so many times.

    None where the data do not show both.
    """
    presents = present_of(model_of(fit), dataset_of(fit))
    gaps = np.array([present.usual_interval for present in presents])
    amount = float(np.median([present.amount for present in presents]))
    lasted = [p.amount / p.rate if p.rate > 0 else 0.0 for p in presents]
    if np.isnan(gaps).all() or not amount > 0:
        return None
    return Regimen(
        amount=amount, interval=float(np.nanmedian(gaps)), repeats=repeats,
        duration=float(np.median(lasted)), compartment=presents[0].compartment + 1,
    )  # fmt: skip


def person_on(model: PopModel, regimen: Regimen, table: pd.DataFrame) -> Dataset:
    """Subjects on a regimen, with the covariates of a table, as `popk.design` reads them.

    Parameters
    ----------
    model
        The model, whose units the numbers have.
    regimen
        The doses.
    table
        A row for each subject; columns that the model has no unit for are left out.

    Raises
    ------
    ModelError, SettingError
        When a covariate that the model reads is not there, or is missing.
    """
    needed = dict.fromkeys(name for effect in model.covariates for name in effect.covariates)
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise ModelError(
            [
                f"model {model.name} reads {' and '.join(lacking)}, which the people asked about "
                "do not have; give subjects=, a table with a column of that name and a row for "
                "each of some people (on the command line --subject WT=70)."
            ]
        )
    kept = [name for name in table.columns if model.units.covariate(str(name)) is not None]
    found = regimen.dataset(table[kept], [regimen.start + regimen.interval], units=model.units)
    if model.iov.effects:
        found = replace(found, table=found.table.assign(OCC=found.table["EVID"] * 0 + 1))
    check_fit(model, found, estimated=False)
    return found


def people_on(
    source: xr.DataTree | PopModel,
    regimen: Regimen,
    subjects: pd.DataFrame | None,
    *,
    draws: int,
    seed: int,
) -> tuple[Standing, int]:
    """New people on a regimen, after its last dose, and how many there are under each draw.

    Parameters
    ----------
    source
        A fit, whose posterior is used, or a model, whose priors are.
    regimen
        Doses from an empty body.
    subjects
        Covariates of the people meant, a row for each; those of the fit if None.
    draws
        Draws of the population parameters (all, if a fit has fewer).
    seed
        Seed.

    Returns
    -------
    The people as one `Standing` of draws times people rows, draw after draw.
    """
    rng = np.random.default_rng([seed, 4])
    if isinstance(source, PopModel):
        model, population = source, PopulationDraws.from_prior(source, draws, rng)
        table = pd.DataFrame(index=["1"]) if subjects is None else subjects
        read = [k for k, o in enumerate(model.structure.outputs) if o.name in model.error.outputs]
    else:
        model, own = model_of(source), dataset_of(source)
        total = source["posterior"].sizes["chain"] * source["posterior"].sizes["draw"]
        population = PopulationDraws.of(source, min(draws, total))
        table = own.covariate_table() if subjects is None else subjects
        read = list(design_of(model, own).outputs)
    if not len(table):
        raise SettingError("The table of subjects has no row; give one for each of some people.")
    people = person_on(model, regimen, table.set_axis([str(k + 1) for k in range(len(table))]))
    design = design_of(model, people)
    copies = -(-_PEOPLE // len(design.first))  # new people with the same covariates
    every = [population.new_rows(design, rng)[:, design.first] for _ in range(copies)]
    theta = np.concatenate(every, axis=1)
    size, n, m = theta.shape
    present = present_of(model, people, output=_concentration(model, read), design=design)[0]
    rows = np.broadcast_to(
        theta.reshape(size * n, 1, m), (size * n, int(present.history.rows[1]), m)
    )
    standing = Standing(
        model, present, np.ascontiguousarray(rows), {}, float("nan"), True, "", int(seed)
    )
    return standing, n


def _concentration(model: PopModel, read: list[int]) -> int:
    """Index of the output that is the concentration, of those that are measured if one is."""
    outputs = model.structure.outputs
    places = read or list(range(len(outputs)))
    return next((k for k in places if outputs[k].dimension == "concentration"), places[0])
