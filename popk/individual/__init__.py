"""One patient: posterior without a refit, forecast, and how long the next interval may be."""

from popk.individual.advice import decide, individualise
from popk.individual.decision import Trough
from popk.individual.kernel import (
    Modes,
    Patient,
    Proposals,
    Shape,
    find_modes,
    log_joint,
    n_effects,
    nodes_around,
    parameters_of,
    patients_of,
    propose,
    split_effects,
)
from popk.individual.latent import expected_of

__all__ = [
    "Modes",
    "Patient",
    "Proposals",
    "Shape",
    "Trough",
    "decide",
    "expected_of",
    "find_modes",
    "individualise",
    "log_joint",
    "n_effects",
    "nodes_around",
    "parameters_of",
    "patients_of",
    "propose",
    "split_effects",
]
