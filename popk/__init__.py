"""popk: Bayesian population pharmacokinetics, from troughs to the next dosing interval."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popk.dataset import DataError, Dataset, read_dataset
    from popk.diagnostics import PriorCheck, Verdict, check_priors, verdict_of
    from popk.errors import PopkError
    from popk.graph import build
    from popk.individual import Trough, decide, individualise
    from popk.inference import NUTS, sample
    from popk.model import ModelError, PopModel
    from popk.prediction import predict
    from popk.prior_prediction import prior_predictive
    from popk.regimen import Regimen
    from popk.reporting import report
    from popk.statistics import (
        IIV,
        Additive,
        Allometry,
        Autocorrelated,
        Beta,
        ByAssay,
        Coefficient,
        Combined,
        CombinedSD,
        Correlation,
        CustomEffect,
        Exponential,
        Fixed,
        Fold,
        Folds,
        HalfCauchy,
        HalfNormal,
        HalfStudentT,
        Horseshoe,
        LinearEffect,
        LogitNormal,
        LogNormal,
        LogNormalError,
        Maturation,
        Normal,
        Power,
        PowerError,
        Proportional,
        Shrunk,
        StudentT,
        StudentTError,
        Uniform,
        flattened,
        from_estimate,
        from_interval,
        from_omega,
    )
    from popk.storage import load, save
    from popk.structure import (
        Custom,
        DecliningClearance,
        DirectEffect,
        Dosing,
        EffectCompartment,
        Emax,
        FirstOrder,
        Full,
        IndirectResponse,
        Linear,
        MichaelisMenten,
        OneCompartment,
        Output,
        ParallelFirstOrder,
        ParallelMichaelisMenten,
        Parameter,
        ParentMetabolite,
        QuasiSteadyState,
        Sequential,
        SigmoidEmax,
        Structure,
        TargetMediated,
        ThreeCompartment,
        TimeVaryingClearance,
        Transit,
        TwoCompartment,
        Wagner,
        ZeroOrder,
    )
    from popk.units import UnitError, Units

# PyMC and Numba take seconds to import: every name is loaded when it is first used.
_HOMES = {
    "popk.graph": ("build",),
    "popk.dataset": ("DataError", "Dataset", "read_dataset"),
    "popk.errors": ("PopkError",),
    "popk.diagnostics": ("PriorCheck", "Verdict", "check_priors", "verdict_of"),
    "popk.individual": ("Trough", "decide", "individualise"),
    "popk.inference": ("NUTS", "sample"),
    "popk.model": ("ModelError", "PopModel"),
    "popk.prediction": ("predict",),
    "popk.prior_prediction": ("prior_predictive",),
    "popk.regimen": ("Regimen",),
    "popk.reporting": ("report",),
    "popk.statistics": (
        "Additive",
        "Allometry",
        "Autocorrelated",
        "Beta",
        "ByAssay",
        "Coefficient",
        "Combined",
        "CombinedSD",
        "Correlation",
        "CustomEffect",
        "Exponential",
        "Fixed",
        "Fold",
        "Folds",
        "HalfCauchy",
        "HalfNormal",
        "HalfStudentT",
        "Horseshoe",
        "IIV",
        "LinearEffect",
        "LogNormal",
        "LogNormalError",
        "LogitNormal",
        "Maturation",
        "Normal",
        "Power",
        "PowerError",
        "Proportional",
        "Shrunk",
        "StudentT",
        "StudentTError",
        "Uniform",
        "flattened",
        "from_estimate",
        "from_interval",
        "from_omega",
    ),
    "popk.storage": ("load", "save"),
    "popk.structure": (
        "Custom", "DecliningClearance", "DirectEffect", "Dosing", "EffectCompartment", "Emax",
        "FirstOrder", "Full", "IndirectResponse", "Linear", "MichaelisMenten", "OneCompartment",
        "Output", "ParallelFirstOrder", "ParallelMichaelisMenten", "Parameter", "ParentMetabolite",
        "QuasiSteadyState", "Sequential", "SigmoidEmax", "Structure", "TargetMediated",
        "ThreeCompartment", "TimeVaryingClearance", "Transit", "TwoCompartment", "Wagner",
        "ZeroOrder",
    ),
    "popk.units": ("UnitError", "Units"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "IIV",
    "NUTS",
    "Additive",
    "Allometry",
    "Autocorrelated",
    "Beta",
    "ByAssay",
    "Coefficient",
    "Combined",
    "CombinedSD",
    "Correlation",
    "Custom",
    "CustomEffect",
    "DataError",
    "Dataset",
    "DecliningClearance",
    "DirectEffect",
    "Dosing",
    "EffectCompartment",
    "Emax",
    "Exponential",
    "FirstOrder",
    "Fixed",
    "Fold",
    "Folds",
    "Full",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Horseshoe",
    "IndirectResponse",
    "Linear",
    "LinearEffect",
    "LogNormal",
    "LogNormalError",
    "LogitNormal",
    "Maturation",
    "MichaelisMenten",
    "ModelError",
    "Normal",
    "OneCompartment",
    "Output",
    "ParallelFirstOrder",
    "ParallelMichaelisMenten",
    "Parameter",
    "ParentMetabolite",
    "PopModel",
    "PopkError",
    "Power",
    "PowerError",
    "PriorCheck",
    "Proportional",
    "QuasiSteadyState",
    "Regimen",
    "Sequential",
    "Shrunk",
    "SigmoidEmax",
    "Structure",
    "StudentT",
    "StudentTError",
    "TargetMediated",
    "ThreeCompartment",
    "TimeVaryingClearance",
    "Transit",
    "Trough",
    "TwoCompartment",
    "Uniform",
    "UnitError",
    "Units",
    "Verdict",
    "Wagner",
    "ZeroOrder",
    "build",
    "check_priors",
    "decide",
    "flattened",
    "from_estimate",
    "from_interval",
    "from_omega",
    "individualise",
    "load",
    "predict",
    "prior_predictive",
    "read_dataset",
    "report",
    "sample",
    "save",
    "verdict_of",
]

try:
    __version__ = version("popk")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        # No submodule carries the name of a function: importing it would hide the function.
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'popk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
