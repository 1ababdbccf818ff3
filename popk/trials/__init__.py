"""Policies for the next interval, tried on virtual patients."""

from popk.trials.conduct import Conduct
from popk.trials.measures import trial_frame, trial_records
from popk.trials.policies import (
    DecisionTree,
    FixedInterval,
    History,
    ModelInformed,
    Policy,
    Rule,
    WeightBands,
)
from popk.trials.run import ORACLE, trial

__all__ = [
    "ORACLE",
    "Conduct",
    "DecisionTree",
    "FixedInterval",
    "History",
    "ModelInformed",
    "Policy",
    "Rule",
    "WeightBands",
    "trial",
    "trial_frame",
    "trial_records",
]
