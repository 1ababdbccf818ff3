"""Priors, written the way the field speaks: a median and a CV, an estimate and its RSE."""

from popk.statistics.priors.base import Prior
from popk.statistics.priors.bounded import Beta, Correlation, LogitNormal, Uniform
from popk.statistics.priors.positive import Half, HalfCauchy, HalfNormal, HalfStudentT, LogNormal
from popk.statistics.priors.published import flattened, from_estimate, from_interval, from_omega
from popk.statistics.priors.real import Fixed, Normal, StudentT

__all__ = [
    "Beta",
    "Correlation",
    "Fixed",
    "Half",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "LogNormal",
    "LogitNormal",
    "Normal",
    "Prior",
    "StudentT",
    "Uniform",
    "flattened",
    "from_estimate",
    "from_interval",
    "from_omega",
]
