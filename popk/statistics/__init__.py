"""The statistical model: priors, variability, covariates and residual error."""

from popk.statistics.adapted import adapted_effects
from popk.statistics.covariates import CovariateEffect, Fold, Power
from popk.statistics.curvature import prediction_slopes
from popk.statistics.error import Additive, Combined, LogNormalError, Proportional, ResidualError
from popk.statistics.individual import individual_parameters, log_expected
from popk.statistics.operations import NUMPY, Operations, pytensor_operations
from popk.statistics.priors import Fixed, HalfNormal, LogNormal, Normal, Prior
from popk.statistics.variability import IIV

__all__ = [
    "IIV",
    "NUMPY",
    "Additive",
    "Combined",
    "CovariateEffect",
    "Fixed",
    "Fold",
    "HalfNormal",
    "LogNormal",
    "LogNormalError",
    "Normal",
    "Operations",
    "Power",
    "Prior",
    "Proportional",
    "ResidualError",
    "adapted_effects",
    "individual_parameters",
    "log_expected",
    "prediction_slopes",
    "pytensor_operations",
]
