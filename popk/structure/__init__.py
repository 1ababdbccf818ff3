"""PK structures: the equations for one subject, their events, and their solution."""

from popk.structure.base import Parameter, Structure
from popk.structure.compartments import (
    Linear,
    OneCompartment,
    ParallelMichaelisMenten,
    TwoCompartment,
)
from popk.structure.events import Events, events_of
from popk.structure.solve import concentrations, concentrations_with_gradient, ensemble

__all__ = [
    "Events",
    "Linear",
    "OneCompartment",
    "ParallelMichaelisMenten",
    "Parameter",
    "Structure",
    "TwoCompartment",
    "concentrations",
    "concentrations_with_gradient",
    "ensemble",
    "events_of",
]
