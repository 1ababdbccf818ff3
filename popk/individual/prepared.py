"""What advice needs of a fit, made ready once for any number of patients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import design_of
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual.point import Population, population_at
from popk.model import PopModel
from popk.population import PopulationDraws, dataset_of, model_of, thinned

__all__ = ["Prepared", "check_count", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A fit made ready for `individualise`: a plain value that can be pickled and sent.

    The advice of a patient is a function of this, the patient's records, the seed and the ID alone.

    Parameters
    ----------
    model
        The model.
    population
        Draws of the population parameters that are combined with a patient's data.
    draws
        The fit's draw that each of them is, chain after chain.
    total
        Draws of the fit.
    outputs
        Indices of the structure's outputs that the fit's data observe.
    known
        Fingerprint of the records of each subject of the fit; empty where its own posterior is not
        to be used.
    fit
        The fit, for subjects of its own; None where only new patients are to come.
    attrs
        What is said about the fit: hashes, convergence.
    """

    model: PopModel
    population: PopulationDraws
    draws: NDArray[np.int64]
    total: int
    outputs: tuple[int, ...]
    known: Mapping[str, str]
    fit: xr.DataTree | None
    attrs: Mapping[str, str | int]

    def of_fit(self, subject: str, fingerprint: str) -> bool:
        """Whether a patient's ID and records are those of a subject of the fit."""
        return self.known.get(subject) == fingerprint

    @cached_property
    def own(self) -> Dataset:
        """The fit's data.

        Raises
        ------
        SettingError
            When it was prepared for new patients alone.
        """
        if self.fit is None:
            raise SettingError(
                "The fit was prepared for new patients alone (own=False); give the patients' data."
            )
        return dataset_of(self.fit)


def prepare(
    fit: xr.DataTree, *, draws: int = 250, population: Population = "posterior", own: bool = True
) -> Prepared:
    """Make a fit ready for `individualise`, once for any number of calls.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    draws
        Draws of the population posterior (all, if it has fewer) that are combined with a patient's
        data, evenly spaced.
    population
        ``"posterior"``: with its uncertainty. Or one value of every parameter, as
        `popk.map_estimates` takes it (``"median"``, ``"mean"``, or estimates by name), for
        comparison with tools that carry none; subjects of the fit are then treated as any other.
    own
        Whether subjects of the fit are to come, who need the whole fit; without, what is prepared
        is small.

    Raises
    ------
    FitError, SettingError
        When the tree is not a fit, or a setting makes no sense.
    """
    model = model_of(fit)
    check_count("prepare", "draws", draws)
    total = len(thinned(fit, None))
    if isinstance(population, str) and population == "posterior":
        combined = thinned(fit, min(int(draws), total))
        values = PopulationDraws.of(fit, min(int(draws), total))
        known = json.loads(fit.attrs["subject_hashes"]) if own else {}
    else:
        combined, values, known = np.zeros(1, dtype=np.int64), population_at(fit, population), {}
    attrs = {
        "fit_model_hash": fit.attrs["model_hash"],
        "fit_data_hash": fit.attrs["data_hash"],
        "fit_converged": int(verdict_of(fit).converged),
    }
    outputs = design_of(model, dataset_of(fit)).outputs
    return Prepared(model, values, combined, total, outputs, known, fit if own else None, attrs)


def check_count(function: str, name: str, count: float) -> None:
    """Refuse what is not a number of draws.

    Raises
    ------
    SettingError
        When it is not a whole number of 1 or more.
    """
    if not float(count).is_integer() or count < 1:
        raise SettingError(f"{function} was given {name}={count!r}; expected 1 or more.")
