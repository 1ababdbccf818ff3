"""Decisions for one patient: intervals, plans, doses, samples, and what each is worth.

The functions are named by the questions of the field. Each takes a fit and patients (or the advice
of `popk.individualise`), starts from the patient's present level, carries all uncertainty of the
posterior draws, and says with every answer how probable it is and what it rests on.
"""

from popk.decision.attainment import target_attainment
from popk.decision.doses import dose_for_auc, dose_for_trough
from popk.decision.information import next_trough
from popk.decision.intervals import interval_for_trough
from popk.decision.plans import Plan, transition_plan
from popk.decision.results import decision_frame
from popk.decision.standing import Patients, Standing, standings_of
from popk.decision.targets import AUC24, Peak, TimeAbove
from popk.decision.utility import (
    PML_CAVEAT,
    Utility,
    expected_utility,
    pml_rate,
    preference_curve,
)
from popk.decision.visits import Visits
from popk.decision.waiting import slipped_visit, time_until

__all__ = [
    "AUC24",
    "PML_CAVEAT",
    "Patients",
    "Peak",
    "Plan",
    "Standing",
    "TimeAbove",
    "Utility",
    "Visits",
    "decision_frame",
    "dose_for_auc",
    "dose_for_trough",
    "expected_utility",
    "interval_for_trough",
    "next_trough",
    "pml_rate",
    "preference_curve",
    "slipped_visit",
    "standings_of",
    "target_attainment",
    "time_until",
    "transition_plan",
]
