"""Which model predicts best: a new patient, another observation, a patient's future."""

from popk.comparison.averaging import averaged
from popk.comparison.leave_out import loo
from popk.comparison.left_out_ranks import loo_pit
from popk.comparison.questions import QUESTIONS
from popk.comparison.table import compare, comparison_frame, told_apart

__all__ = ["QUESTIONS", "averaged", "compare", "comparison_frame", "loo", "loo_pit", "told_apart"]
