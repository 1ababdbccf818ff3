"""The posterior without one patient, sampled anew."""

from __future__ import annotations

import json
from dataclasses import dataclass

import xarray as xr

from popk.dataset import Dataset
from popk.diagnostics import verdict_of
from popk.errors import PopkError
from popk.inference import NUTS, Marginal, Method, NumpyroNUTS, sample
from popk.inference.method import from_values
from popk.model import PopModel
from popk.population import PopulationDraws, model_of

__all__ = ["Refit", "method_of", "refit_without"]


@dataclass(frozen=True)
class Refit:
    """Draws without one patient, the number of their chains, and what is to be said of them.

    ``population`` is None where there are none, and ``note`` says why.
    """

    population: PopulationDraws | None
    chains: int
    note: str = ""


def method_of(fit: xr.DataTree) -> Method:
    """How a fit is sampled anew: as it was, with the same settings.

    A fit by NUTS of a model that `Marginal` suits is sampled by the latter, with as many draws: it
    has the same posterior and nothing to compile.
    """
    method = from_values(json.loads(fit.attrs["method"]))
    if isinstance(method, NumpyroNUTS) and _suits_marginal(model_of(fit)):
        return Marginal(draws=method.draws, chains=method.chains)
    if isinstance(method, NUTS) and _suits_marginal(model_of(fit)):
        return Marginal(
            draws=method.draws, chains=method.chains, cores=method.cores, otherwise=method
        )
    return method


def _suits_marginal(model: PopModel) -> bool:
    closed = model.structure.closed_form is not None
    return closed and not model.classes and not model.levels


def refit_without(fit: xr.DataTree, dataset: Dataset, subject: str, *, seed: int) -> Refit:
    """The posterior of a fit's model without one of its patients.

    Parameters
    ----------
    fit, dataset
        The fit and its data.
    subject
        ID of the patient.
    seed
        Seed of the new fit.
    """
    others = [one for one in dataset.subjects if one != subject]
    if not others:
        return Refit(None, 0, f"ID {subject} is the only patient: there is nothing to refit.")
    try:
        again = sample(
            model_of(fit), dataset.select(others), method_of(fit), seed=seed, progress=False
        )
    except PopkError as fault:
        return Refit(None, 0, f"The model cannot be fitted without ID {subject}: {fault}")
    verdict = verdict_of(again)
    note = ""
    if not verdict.converged:
        note = f"The refit without ID {subject} did not converge: {verdict.failures[0]}"
    return Refit(PopulationDraws.of(again), again["posterior"].sizes["chain"], note)
