"""A cohort: what its troughs say before any kinetic model, and what covariates mean for them."""

from popk.cohort.consequences import covariate_consequences
from popk.cohort.description import describe, description_frame
from popk.cohort.hierarchy import build_trough_model
from popk.cohort.troughs import Troughs, find_troughs

__all__ = [
    "Troughs",
    "build_trough_model",
    "covariate_consequences",
    "describe",
    "description_frame",
    "find_troughs",
]
