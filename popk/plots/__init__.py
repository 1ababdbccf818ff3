"""Figures: each function draws what others computed and returns a matplotlib Figure.

``explore_...`` return a plotly Figure, to look around in. No global state of matplotlib is used or
changed. Units on the axes are those of the tree.
"""

from popk.plots.calibration import plot_calibration
from popk.plots.compared import plot_elpd_differences, plot_khat, plot_pointwise
from popk.plots.contraction import plot_contraction
from popk.plots.criticism import plot_criticism
from popk.plots.description import plot_description
from popk.plots.explore import explore_dataset, explore_patient
from popk.plots.forecasts import plot_forecasts
from popk.plots.goodness_of_fit import plot_goodness_of_fit, plot_observations
from popk.plots.half_life import plot_half_life
from popk.plots.individual_fits import plot_individual_fits
from popk.plots.influence import plot_influence
from popk.plots.intervals import plot_intervals
from popk.plots.learnt import plot_learnt
from popk.plots.left_out_ranks import plot_loo_pit
from popk.plots.observed_vs_predicted import plot_observed_vs_predicted
from popk.plots.patient import plot_concentration, plot_patient
from popk.plots.patients import plot_dataset
from popk.plots.plan import plot_plan
from popk.plots.points import Points
from popk.plots.population import plot_population
from popk.plots.power_scaling import (
    plot_interval_sensitivity,
    plot_interval_shifts,
    plot_power_scaling,
)
from popk.plots.predictive_check import plot_vpc
from popk.plots.preferences import plot_preferences
from popk.plots.probability_curve import plot_probability_curve
from popk.plots.random_effects import plot_effects_against_covariates, plot_random_effects
from popk.plots.residual_panels import plot_npde, plot_residuals
from popk.plots.sheet_panels import plot_sheet
from popk.plots.style import NOT_CONVERGED, PlotError
from popk.plots.trial import plot_trial

__all__ = [
    "NOT_CONVERGED",
    "PlotError",
    "Points",
    "explore_dataset",
    "explore_patient",
    "plot_calibration",
    "plot_concentration",
    "plot_contraction",
    "plot_criticism",
    "plot_dataset",
    "plot_description",
    "plot_effects_against_covariates",
    "plot_elpd_differences",
    "plot_forecasts",
    "plot_goodness_of_fit",
    "plot_half_life",
    "plot_individual_fits",
    "plot_influence",
    "plot_interval_sensitivity",
    "plot_interval_shifts",
    "plot_intervals",
    "plot_khat",
    "plot_learnt",
    "plot_loo_pit",
    "plot_npde",
    "plot_observations",
    "plot_observed_vs_predicted",
    "plot_patient",
    "plot_plan",
    "plot_pointwise",
    "plot_population",
    "plot_power_scaling",
    "plot_preferences",
    "plot_probability_curve",
    "plot_random_effects",
    "plot_residuals",
    "plot_sheet",
    "plot_trial",
    "plot_vpc",
]
