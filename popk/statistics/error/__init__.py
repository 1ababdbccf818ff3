"""Residual error: how observations scatter around the individual prediction."""

from popk.statistics.error.autocorrelated import Autocorrelated
from popk.statistics.error.base import OBSERVED, ErrorParameter, Observed, ResidualError
from popk.statistics.error.by_assay import ByAssay
from popk.statistics.error.by_output import ByOutput
from popk.statistics.error.gaussian import (
    Additive,
    Combined,
    CombinedSD,
    LogNormalError,
    PowerError,
    Proportional,
)
from popk.statistics.error.heavy_tails import StudentTError
from popk.statistics.error.measured import Measured

__all__ = [
    "OBSERVED",
    "Additive",
    "Autocorrelated",
    "ByAssay",
    "ByOutput",
    "Combined",
    "CombinedSD",
    "ErrorParameter",
    "LogNormalError",
    "Measured",
    "Observed",
    "PowerError",
    "Proportional",
    "ResidualError",
    "StudentTError",
]
