"""A fit made ready to answer for one patient at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import xarray as xr

from popk.dataset import Dataset
from popk.diagnostics import Verdict, verdict_of
from popk.errors import PopkError
from popk.individual import Prepared, Trough, prepare
from popk.monitoring import individualise
from popk.reporting import sheet
from popk.reporting.bedside.case import Case, case_of
from popk.serving.entered import Entered
from popk.serving.events import Recorded, recorded
from popk.serving.faults import Fault, FormError
from popk.serving.needs import Needs, needs_of

__all__ = ["Advised", "Study", "study_of"]

# Figures share caches of fonts that are not made for several threads.
_DRAWING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Advised:
    """An advice, with what it was made from."""

    entered: Entered
    recorded: Recorded
    case: Case


@dataclass(frozen=True, eq=False)
class Study:
    """A fit, ready; nothing of any patient is kept in it.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    prepared
        The same, as advice reads it.
    needs
        What is asked of a patient.
    """

    fit: xr.DataTree
    prepared: Prepared
    needs: Needs

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the fit converged."""
        return verdict_of(self.fit)

    def advised(self, entered: Entered) -> Advised:
        """The advice for what was entered.

        Raises
        ------
        FormError
            When the model cannot describe it.
        """
        records = recorded(entered, self.needs)
        try:
            advice = individualise(
                self.prepared, records.dataset,
                target=Trough(entered.target, self.needs.units.concentration),
                probability=entered.probability, weeks=entered.weeks, seed=entered.seed,
            )  # fmt: skip
        except PopkError as error:
            raise FormError([Fault("", str(error))]) from None
        last = self._last_dose(entered)
        return Advised(entered, records, case_of(self.fit, advice, entered.patient, last))

    def sheet(self, entered: Entered) -> str:
        """The patient's sheet, as one HTML page.

        Raises
        ------
        FormError
            As `advised`.
        """
        found = self.advised(entered)
        with _DRAWING:
            page = sheet(
                self.fit, found.case.advice, entered.patient, last_dose=found.case.last_dose
            )
        return page.html

    def warm_up(self) -> None:
        """Compile and load what the first answer needs, by a patient of the fit under another ID.

        A second time with a last concentration that surprises, for what is computed then only.
        """
        own = self.prepared.own.select([self.prepared.own.subjects[0]])
        target = Trough(self.needs.usual_target, self.needs.units.concentration)
        for factor in (1.01, 0.4):
            individualise(self.prepared, _stranger(own, factor), target=target, weeks=[4])

    def _last_dose(self, entered: Entered) -> date | None:
        if entered.origin is None:
            return None
        last = max(one.last for one in entered.doses)
        return (entered.origin + timedelta(days=last / self.needs.per_day)).date()


def study_of(fit: xr.DataTree) -> Study:
    """Make a fit ready.

    Raises
    ------
    FitError
        When the tree is no fit.
    """
    prepared = prepare(fit)
    return Study(fit, prepared, needs_of(prepared.model, prepared.own, prepared.outputs))


def _stranger(own: Dataset, factor: float) -> Dataset:
    """A subject with other concentrations, so that the fit does not know its records."""
    table = own.table.copy(deep=True)
    values = np.array(table["DV"].values)
    values[np.flatnonzero(own.is_observation)[-1:]] *= factor
    table["DV"] = ("record", values)
    return replace(own, table=table)
