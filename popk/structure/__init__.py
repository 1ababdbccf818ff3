"""PK structures: the equations for one subject, their events, and their solution."""

from popk.structure.absorption import (
    Absorption,
    FirstOrder,
    ParallelFirstOrder,
    Sequential,
    Transit,
    ZeroOrder,
)
from popk.structure.base import Dosing, Output, Parameter, Structure
from popk.structure.compartments import OneCompartment, ThreeCompartment, TwoCompartment
from popk.structure.custom import Custom
from popk.structure.elimination import (
    DecliningClearance,
    Elimination,
    Linear,
    MichaelisMenten,
    ParallelMichaelisMenten,
    TimeVaryingClearance,
)
from popk.structure.equations import Equations
from popk.structure.events import Events, events_of
from popk.structure.indirect import IndirectResponse
from popk.structure.jax_route import jax_outputs
from popk.structure.metabolite import ParentMetabolite
from popk.structure.response import DirectEffect, EffectCompartment, Emax, Response, SigmoidEmax
from popk.structure.solve import (
    Solution,
    Solver,
    concentrations,
    concentrations_with_gradient,
)
from popk.structure.target_mediated import Full, QuasiSteadyState, TargetMediated, Wagner

__all__ = [
    "Absorption",
    "Custom",
    "DecliningClearance",
    "DirectEffect",
    "Dosing",
    "EffectCompartment",
    "Elimination",
    "Emax",
    "Equations",
    "Events",
    "FirstOrder",
    "Full",
    "IndirectResponse",
    "Linear",
    "MichaelisMenten",
    "OneCompartment",
    "Output",
    "ParallelFirstOrder",
    "ParallelMichaelisMenten",
    "Parameter",
    "ParentMetabolite",
    "QuasiSteadyState",
    "Response",
    "Sequential",
    "SigmoidEmax",
    "Solution",
    "Solver",
    "Structure",
    "TargetMediated",
    "ThreeCompartment",
    "TimeVaryingClearance",
    "Transit",
    "TwoCompartment",
    "Wagner",
    "ZeroOrder",
    "concentrations",
    "concentrations_with_gradient",
    "events_of",
    "jax_outputs",
]
