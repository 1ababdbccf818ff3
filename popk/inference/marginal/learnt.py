"""All that adaptation has learnt, as values that can be stored and given to a new cohort."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from popk.individual import Patient, Shape
from popk.inference.marginal.adapt import Adapted
from popk.inference.marginal.calibration import Correction
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.search import Mode
from popk.inference.marginal.surrogate import Surrogate

__all__ = ["CLASSES", "Learnt"]

type Floats = NDArray[np.float64]

# What belongs to the model, the data and the machine, and is there anyway.
_GIVEN = {"coordinates", "patients", "design", "seed", "cores", "_guides"}


@dataclass(frozen=True)
class Learnt:
    """What proposals are made with.

    ``modes``, each mode (d) and the precision (d, d) there; ``adapted``, the proposals; ``cohort``,
    the fields of `Cohort` that adaptation changes; ``guides``, those of each patient, a patient
    with polynomials for equations being represented by the polynomials.
    """

    modes: list[tuple[Floats, Floats]]
    adapted: Adapted
    cohort: dict[str, Any]
    guides: list[dict[str, Any]]

    @classmethod
    def of(cls, cohort: Cohort, modes: list[Mode], adapted: Adapted) -> Learnt:
        """What a cohort and its proposals have learnt."""
        own = {item.name: getattr(cohort, item.name) for item in fields(cohort)}
        guides = []
        for guide in cohort._guides:
            each = {item.name: getattr(guide, item.name) for item in fields(guide)}
            guides.append({k: v.solver if isinstance(v, Patient) else v for k, v in each.items()})
        changed = {name: value for name, value in own.items() if name not in _GIVEN}
        centres = [(mode.x, mode.precision) for mode in modes]
        return cls(centres, adapted, changed, guides)

    def teach(self, cohort: Cohort) -> None:
        """Give it to a cohort of the same patients."""
        for name, value in self.cohort.items():
            setattr(cohort, name, value)
        for patient, guide, own in zip(cohort.patients, cohort._guides, self.guides, strict=True):
            for name, value in own.items():
                known = value
                if isinstance(value, Surrogate):
                    known = replace(patient, solver=cast("Any", value))
                setattr(guide, name, known)


CLASSES = (Learnt, Adapted, Correction, Mixture, Shape, Surrogate)
"""The dataclasses in it."""
