"""Checks of priors and of a fit: numbers, apart from drawings."""

from popk.diagnostics.convergence import Verdict, convergence_table, judge, verdict_of
from popk.diagnostics.directions import identifiability, weak_directions
from popk.diagnostics.plausibility import OutputCheck, PriorCheck, check_priors
from popk.diagnostics.slow_absorption import FlipFlop, flip_flop, flip_flop_in, notes_on_flip_flop

__all__ = [
    "FlipFlop",
    "OutputCheck",
    "PriorCheck",
    "Verdict",
    "check_priors",
    "convergence_table",
    "flip_flop",
    "flip_flop_in",
    "identifiability",
    "judge",
    "notes_on_flip_flop",
    "verdict_of",
    "weak_directions",
]
