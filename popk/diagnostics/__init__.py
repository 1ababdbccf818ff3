"""Checks of priors and of a fit: numbers, apart from drawings."""

from popk.diagnostics.convergence import Verdict, convergence_table, judge, verdict_of
from popk.diagnostics.criticism import criticise
from popk.diagnostics.directions import WEAK, identifiability, weak_directions
from popk.diagnostics.effects_table import random_effects
from popk.diagnostics.learnt import contraction, patient_contraction
from popk.diagnostics.plausibility import OutputCheck, PriorCheck, check_priors
from popk.diagnostics.prediction_errors import npde
from popk.diagnostics.residual_table import residuals
from popk.diagnostics.shrunken import shrinkage
from popk.diagnostics.slow_absorption import FlipFlop, flip_flop, flip_flop_in, notes_on_flip_flop
from popk.diagnostics.together import diagnose
from popk.diagnostics.trends import trend
from popk.diagnostics.visual_check import vpc

__all__ = [
    "WEAK",
    "FlipFlop",
    "OutputCheck",
    "PriorCheck",
    "Verdict",
    "check_priors",
    "contraction",
    "convergence_table",
    "criticise",
    "diagnose",
    "flip_flop",
    "flip_flop_in",
    "identifiability",
    "judge",
    "notes_on_flip_flop",
    "npde",
    "patient_contraction",
    "random_effects",
    "residuals",
    "shrinkage",
    "trend",
    "verdict_of",
    "vpc",
    "weak_directions",
]
