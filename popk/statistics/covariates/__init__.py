"""Effects of covariates on individual parameters."""

from popk.statistics.covariates.allometry import Allometry, written_out
from popk.statistics.covariates.base import Coefficient, CovariateEffect
from popk.statistics.covariates.categorical import Fold, Folds
from popk.statistics.covariates.continuous import Exponential, LinearEffect, Maturation, Power
from popk.statistics.covariates.custom import CustomEffect
from popk.statistics.covariates.together import (
    centred_effects,
    coefficients_of,
    estimated,
    faults_of,
)

__all__ = [
    "Allometry",
    "Coefficient",
    "CovariateEffect",
    "CustomEffect",
    "Exponential",
    "Fold",
    "Folds",
    "LinearEffect",
    "Maturation",
    "Power",
    "centred_effects",
    "coefficients_of",
    "estimated",
    "faults_of",
    "written_out",
]
