"""Infliximab CT-P13, subcutaneous and intravenous, in Crohn's disease and ulcerative colitis.

Hanzel et al., Aliment Pharmacol Ther 2021;54:1309-1319, doi 10.1111/apt.16609.
Two compartments, linear, with first-order absorption and variability of CL between doses.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    IOV,
    Combined,
    Fold,
    LogitNormal,
    LogNormal,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import Dosing, FirstOrder, TwoCompartment

# Estimates at 70 kg and 44 g/L of albumin; no RSE seen. Days, mg, L, mg/L.
CL = 0.355  # L/d
V1 = 3.10  # L
V2 = 1.93  # L
Q = 0.598  # L/d
KA = 0.273  # 1/d
F1 = 0.791
WEIGHT_ON_CL, WEIGHT_ON_V1, WEIGHT_ON_V2, WEIGHT_ON_Q = 0.666, 0.385, 1.08, 1.26
ALBUMIN_ON_CL = -0.826  # exponent of ALB / 44 g/L
ANTIBODIES_ON_CL = 1.39
CV_CL, CV_F1, CV_V1, CV_KA = 0.277, 0.164, 0.214, 0.485
CV_IOV_CL = 0.175
SIGMA_PROP = 0.102
SIGMA_ADD = 1.66  # mg/L
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_VARIABILITY = 0.20


def _exponent(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_VARIABILITY, kind="normal")


def _omega(cv: float) -> Prior:
    return from_omega(cv=cv, rse=ASSUMED_RSE_OF_VARIABILITY)


model = PopModel(
    TwoCompartment(FirstOrder(), dosing=Dosing(bioavailability=(1,))),
    typical={
        "CL": from_estimate(CL, rse=0.05),
        "V1": from_estimate(V1, rse=0.05),
        "Q": from_estimate(Q, rse=ASSUMED_RSE),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "KA": from_estimate(KA, rse=ASSUMED_RSE),
        "F1": LogitNormal(F1, sd=0.2),
    },
    iiv=IIV({"CL": _omega(CV_CL), "V1": _omega(CV_V1), "KA": _omega(CV_KA), "F1": _omega(CV_F1)}),
    iov=IOV({"CL": _omega(CV_IOV_CL)}),
    covariates=(
        Power("CL", "WT", 70.0, _exponent(WEIGHT_ON_CL)),
        Power("V1", "WT", 70.0, _exponent(WEIGHT_ON_V1)),
        Power("V2", "WT", 70.0, _exponent(WEIGHT_ON_V2)),
        Power("Q", "WT", 70.0, _exponent(WEIGHT_ON_Q)),
        Power("CL", "ALB", 44.0, _exponent(ALBUMIN_ON_CL)),
        Fold("CL", "ADA", LogNormal(ANTIBODIES_ON_CL, cv=0.05)),
    ),
    error=Combined(
        from_estimate(SIGMA_PROP, rse=ASSUMED_RSE), from_estimate(SIGMA_ADD, rse=ASSUMED_RSE)
    ),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "ALB": "g/L",
        "ADA": "1",
    },
    name="infliximab_hanzel2021",
    notes=(
        "Reference: 70 kg, 44 g/L of albumin, no antibodies; covariates may change with time. Each "
        "dose is an occasion (OCC).",
        "Subcutaneous doses go into compartment 1, intravenous ones into compartment 2.",
        "The random effect of F1 is log-normal, as published: that of a subject may be above 1.",
    ),
    card=Card(
        citation="Hanzel J, Bukkems LH, Gecse KB, D'Haens GR, Mathot RAA. Population "
        "pharmacokinetics of subcutaneous infliximab CT-P13 in Crohn's disease and ulcerative "
        "colitis. Aliment Pharmacol Ther 2021;54(10):1309-1319.",
        doi="10.1111/apt.16609",
        population="175 adults (NCT02883452), 55 % Crohn's disease, 45 % ulcerative colitis, 18-70 "
        "years (36), 43-118 kg (median 69), albumin 28-54 g/L (44), 54 % women, 33 % with "
        "neutralising antibodies.",
        route="subcutaneous injection, and intravenous infusion",
        seen="The paper's abstract (CL, V1, V2, KA, F1); the rest: the model file of nlmixr2lib.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 5 % for CL, V1 and the factor of antibodies, "
            "10 % for Q, V2, KA and the residual error, 20 % for exponents and variability, 0.2 on "
            "the logit of F1.",
            "The random effects are uncorrelated: whether the published off-diagonals are "
            "correlations (all below 0.07) or covariances could not be settled.",
            "The variances of the parts of the residual error add.",
        ),
        domain=(("WT", 43.0, 118.0), ("ALB", 28.0, 54.0), ("ADA", 0.0, 1.0)),
        doses=(
            "120, 180 or 240 mg subcutaneously every 2 weeks",
            "5 mg/kg intravenously in weeks 0, 2 and after",
        ),
        intervals=(2.0,),
        sources=(
            ("CL", "0.355 L/d, abstract"),
            ("V1", "3.10 L, abstract"),
            ("Q", "0.598 L/d, nlmixr2lib"),
            ("V2", "1.93 L, abstract"),
            ("KA", "0.273 /d, abstract"),
            ("F1", "0.791, abstract"),
            ("omega_CL", "CV 27.7 %, nlmixr2lib"),
            ("omega_V1", "CV 21.4 %, nlmixr2lib"),
            ("omega_KA", "CV 48.5 %, nlmixr2lib"),
            ("omega_F1", "CV 16.4 %, nlmixr2lib"),
            ("omega_iov_CL", "CV 17.5 %, nlmixr2lib"),
            ("beta_CL_WT", "0.666, nlmixr2lib"),
            ("beta_V1_WT", "0.385, nlmixr2lib"),
            ("beta_V2_WT", "1.08, nlmixr2lib"),
            ("beta_Q_WT", "1.26, nlmixr2lib"),
            ("beta_CL_ALB", "-0.826, nlmixr2lib"),
            ("fold_CL_ADA", "1.39, abstract"),
            ("sigma_prop", "0.102, nlmixr2lib"),
            ("sigma_add", "1.66 mg/L, nlmixr2lib"),
        ),
    ),
)
