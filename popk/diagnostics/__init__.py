"""Checks of a fit: numbers, apart from drawings."""

from popk.diagnostics.convergence import Verdict, convergence_table, judge, verdict_of

__all__ = ["Verdict", "convergence_table", "judge", "verdict_of"]
