"""Everything that is checked of one patient, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.individual.forecast import troughs_of
from popk.monitoring.case import Case, Domain
from popk.monitoring.explanations import Explanations, explain, findings_of
from popk.monitoring.finding import Finding
from popk.monitoring.information import (
    Latest,
    below_quantification,
    contraction,
    contradictions,
    information,
    latest_of,
    measured_below,
)
from popk.monitoring.kernel import Drawn, Weighed, population_draws, weigh
from popk.monitoring.records import covariate_range, dose_range, history

__all__ = ["Examined", "examine"]

type Floats = NDArray[np.float64]

_FLOOR = 0.01  # part of the target below which a trough is none


@dataclass(frozen=True)
class Examined:
    """What was found of one patient, and what a wider forecast needs.

    ``contraction`` is 1 - var(log trough | data) / var(log trough) after the usual interval (or the
    shortest candidate); ``changed`` the posterior probability of a change of clearance, NaN where
    it was not computed. ``latest`` is what is held against a target.
    """

    findings: tuple[Finding, ...]
    base: Weighed
    explanations: Explanations
    contraction: float
    latest: tuple[Latest, ...] = ()

    @property
    def severity(self) -> str:
        """The gravest: ``""`` where nothing is found."""
        known = {one.severity for one in self.findings}
        return next((s for s in ("withheld", "widened", "note") if s in known), "")

    def names(self, severity: str) -> set[str]:
        """Names of the findings of a severity."""
        return {one.name for one in self.findings if one.severity == severity}


def examine(
    case: Case, domain: Domain, *, troughs: Mapping[float, Floats], target: float, note: str
) -> Examined:
    """Check one patient.

    Parameters
    ----------
    case, domain
        The patient, and where the model has been.
    troughs
        The advice's own draws of the trough, by interval in the data's unit of time.
    target
        Lowest acceptable trough.
    note
        Why the advice was not computed reliably; empty where it was.
    """
    patient = case.partial.patient
    base = weigh(case.population, patient, case.rng)
    before = population_draws(case.population, patient, case.rng)
    predicted = _predictions(case, before)
    found = [*covariate_range(case, domain), *dose_range(case, domain), *history(case)]
    odd = any(one.name in ("dose range", "history", "covariate range") for one in found)
    seen = explain(case, base, before, predicted, domain=domain, odd=odd)
    prediction = np.asarray(patient.solver.ensemble(base.parameters).value)
    found += findings_of(case, seen)
    usual = case.doses.usual_interval
    interval = min(troughs, key=lambda w: abs(w - usual) if np.isfinite(usual) else w)
    prior = troughs_of(case.model, before.parameters, case.present, np.array([interval]))[:, 0]
    contracted = contraction(prior, troughs[interval], _FLOOR * target)
    found += information(case, contracted)
    found += below_quantification(case, before, predicted)
    found += contradictions(case, base, prediction)
    latest = latest_of(case, base, prediction)
    found += measured_below(latest, target, case.model.units.concentration)
    if note:
        found.append(Finding("computation", "withheld", note))
    return Examined(tuple(found), base, seen, contracted, latest)


def _predictions(case: Case, drawn: Drawn) -> Floats:
    patient = case.partial.patient
    theta = np.ascontiguousarray(drawn.parameters[:, : len(patient.occasion)])
    return np.asarray(patient.solver.ensemble(theta).value)
