"""What a patient's advice says of covariates that were not measured, and of unknown groups."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from popk.individual.patient import Patient
from popk.individual.posterior import PatientPosterior
from popk.model import PopModel

__all__ = ["unknown_groups", "unmeasured", "unmeasured_category"]


def unmeasured(model: PopModel, posterior: PatientPosterior, *, observed: bool) -> str:
    """Sentences on each latent covariate that is missing; empty where none is.

    Parameters
    ----------
    model
        The model.
    posterior
        The patient's posterior.
    observed
        Whether there are observations of the patient, which say something of the covariate.
    """
    basis = "the population and the patient's observations" if observed else "the population"
    found = []
    for name, values in posterior.latent.items():
        unit = model.units.covariate(name) or "1"
        suffix = "" if unit == "1" else f" {unit}"
        text = f"{name} was not measured: the result allows for every value that {basis} leave"
        text += "" if observed else "s"
        usable = values[np.isfinite(values)]
        if usable.size:
            low, median, high = np.quantile(usable, [0.05, 0.5, 0.95])
            text += f" (median {median:.3g}{suffix}, 90 % {low:.3g} to {high:.3g}{suffix})"
        found.append(f"{text}, so it is less certain than with the value.")
    return " ".join(found)


def unmeasured_category(model: PopModel, patient: Patient, posterior: PatientPosterior) -> str:
    """A sentence on the category that was not measured; empty where it was, or there is none."""
    category, probability = model.category, posterior.class_probability
    if category is None or patient.label >= 0:
        return ""
    name = category.covariate
    text = f"{name} was not measured: the result is an average over its levels"
    if np.isfinite(probability).all():
        pairs = zip(category.levels, probability, strict=True)
        text += f" ({', '.join(f'{level:g} with {p:.0%}' for level, p in pairs)})"
    return f"{text}, so it is less certain than with the value."


def unknown_groups(patient: Patient) -> Iterator[str]:
    """A sentence on each further level of variability whose group the fit does not know."""
    for level in patient.new_levels:
        name, value = level.covariate, float(patient.covariates[level.covariate][0])
        yield (
            f"{name} {value:g} is not in the data of the fit: the result allows for all that "
            f"{', '.join(level.effects)} may differ between groups of {name}, so it is less "
            f"certain than for a known {name}."
        )
