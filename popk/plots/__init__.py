"""Figures: each function draws what others computed and returns a matplotlib Figure.

No global state of matplotlib is used or changed. Units on the axes are those of the tree.
"""

from popk.plots.individual_fits import plot_individual_fits
from popk.plots.intervals import plot_intervals
from popk.plots.observed_vs_predicted import plot_observed_vs_predicted
from popk.plots.patient import plot_concentration, plot_patient
from popk.plots.population import plot_population
from popk.plots.predictive_check import plot_vpc
from popk.plots.probability_curve import plot_probability_curve
from popk.plots.style import NOT_CONVERGED, PlotError

__all__ = [
    "NOT_CONVERGED",
    "PlotError",
    "plot_concentration",
    "plot_individual_fits",
    "plot_intervals",
    "plot_observed_vs_predicted",
    "plot_patient",
    "plot_population",
    "plot_probability_curve",
    "plot_vpc",
]
