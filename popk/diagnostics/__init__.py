"""Checks of priors and of a fit: numbers, apart from drawings."""

from popk.diagnostics.convergence import Verdict, convergence_table, judge, verdict_of
from popk.diagnostics.plausibility import OutputCheck, PriorCheck, check_priors

__all__ = [
    "OutputCheck",
    "PriorCheck",
    "Verdict",
    "check_priors",
    "convergence_table",
    "judge",
    "verdict_of",
]
