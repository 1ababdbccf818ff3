"""Which model predicts best: a new patient, another observation, a patient's future."""

from popk.comparison.advices import averaged_advice
from popk.comparison.averaging import averaged
from popk.comparison.forecasts import evaluate_forecasts, forecast_frame
from popk.comparison.leave_out import loo
from popk.comparison.left_out_ranks import loo_pit
from popk.comparison.questions import QUESTIONS
from popk.comparison.relevance import covariate_effects
from popk.comparison.selection import Selection, select
from popk.comparison.table import compare, comparison_frame, told_apart

__all__ = [
    "QUESTIONS",
    "Selection",
    "averaged",
    "averaged_advice",
    "compare",
    "comparison_frame",
    "covariate_effects",
    "evaluate_forecasts",
    "forecast_frame",
    "loo",
    "loo_pit",
    "select",
    "told_apart",
]
