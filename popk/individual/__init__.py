"""One patient: posterior without a refit, forecast, and how long the next interval may be."""

from popk.individual.advice import decide, individualise
from popk.individual.decision import Trough
from popk.individual.estimates import map_estimates
from popk.individual.latent import expected_of
from popk.individual.modes import Modes, find_modes
from popk.individual.patient import (
    Patient,
    log_joint,
    n_effects,
    parameters_of,
    patients_of,
    split_effects,
)
from popk.individual.prepared import Prepared, prepare
from popk.individual.proposals import Frame, Proposals, Shape, nodes_around, propose

__all__ = [
    "Frame",
    "Modes",
    "Patient",
    "Prepared",
    "Proposals",
    "Shape",
    "Trough",
    "decide",
    "expected_of",
    "find_modes",
    "individualise",
    "log_joint",
    "map_estimates",
    "n_effects",
    "nodes_around",
    "parameters_of",
    "patients_of",
    "prepare",
    "propose",
    "split_effects",
]
