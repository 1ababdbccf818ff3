"""Trastuzumab in solid tumours, intravenous: Quartino et al. 2019.

Quartino et al., Cancer Chemother Pharmacol 2019;83:329-340, doi 10.1007/s00280-018-3728-z.
Two compartments with parallel linear and Michaelis-Menten elimination.
"""

import math

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Correlated,
    Exponential,
    Fold,
    LogNormal,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import ParallelMichaelisMenten, TwoCompartment

# Estimates; no RSE seen. Days, mg, L, mg/L.
CL = 0.127  # L/d: breast cancer (metastatic or early) and healthy volunteers
CL_GASTRIC = 0.176  # L/d: advanced gastric cancer
CL_OTHER = 0.148  # L/d: other tumours
V1 = 2.62  # L
V1_GASTRIC = 3.63  # L
Q = 0.544  # L/d
V2 = 2.97  # L
VMAX = 8.81  # mg/d
KM = 8.92  # mg/L
WEIGHT_ON_CL = 0.967  # exponent of WT / 66 kg
AST_ON_CL = 0.205  # exponent of AST / 24
ALBUMIN_ON_CL = -0.998  # exponent of ALB / 4 g/dL
LIVER_ON_CL = 0.152  # exp(0.152) with liver metastases
CV_CL, CV_V1, CV_V2, CV_KM = 0.401, 0.246, 0.495, 1.39
COVARIANCE_CL_V1 = 0.0230
SIGMA_PROP = 0.197
SIGMA_ADD = 1.38  # mg/L
ASSUMED_RSE = 0.05  # of typical values of 26,040 samples; VMAX and KM more
ASSUMED_RSE_OF_EFFECTS = 0.20
CORRELATION_CL_V1 = COVARIANCE_CL_V1 / math.sqrt(math.log1p(CV_CL**2) * math.log1p(CV_V1**2))


def _effect(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_EFFECTS, kind="normal")


model = PopModel(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.10),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "VMAX": from_estimate(VMAX, rse=0.20),
        "KM": from_estimate(KM, rse=0.20),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE_OF_EFFECTS),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE_OF_EFFECTS),
            "V2": from_omega(cv=CV_V2, rse=ASSUMED_RSE_OF_EFFECTS),
            "KM": from_omega(cv=CV_KM, rse=ASSUMED_RSE_OF_EFFECTS),
        },
        correlations=[Correlated(("CL", "V1"), fixed=(CORRELATION_CL_V1,))],
    ),
    covariates=(
        Power("CL", "WT", 66.0, _effect(WEIGHT_ON_CL)),
        Power("CL", "AST", 24.0, _effect(AST_ON_CL)),
        Power("CL", "ALB", 4.0, _effect(ALBUMIN_ON_CL)),
        Exponential("CL", "LIVER", _effect(LIVER_ON_CL), 0.0),
        Fold("CL", "GASTRIC", LogNormal(CL_GASTRIC / CL, cv=0.10)),
        Fold("CL", "OTHER", LogNormal(CL_OTHER / CL, cv=0.10)),
        Fold("V1", "GASTRIC", LogNormal(V1_GASTRIC / V1, cv=0.10)),
    ),
    error=Combined(from_estimate(SIGMA_PROP, rse=0.10), from_estimate(SIGMA_ADD, rse=0.20)),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "AST": "U/L",
        "ALB": "g/dL",
        "LIVER": "1",
        "GASTRIC": "1",
        "OTHER": "1",
    },
    name="trastuzumab",
    notes=(
        "Reference: breast cancer, 66 kg, AST 24 U/L, 4 g/dL of albumin, no liver metastases. "
        "GASTRIC is 1 in advanced gastric cancer, OTHER 1 in tumours other than breast and "
        "gastric, LIVER 1 with liver metastases.",
        "The total clearance of gastric cancer that the paper gives (0.189-0.337 L/d) does not "
        "follow from its own parameters.",
    ),
    card=Card(
        citation="Quartino AL, Li H, Kirschbrown WP, Mangat R, Wada DR, Garg A, Jin JY, Lum B. "
        "Population pharmacokinetic and covariate analyses of intravenous trastuzumab (Herceptin), "
        "a HER2-targeted monoclonal antibody, in patients with a variety of solid tumors. Cancer "
        "Chemother Pharmacol 2019;83(2):329-340.",
        doi="10.1007/s00280-018-3728-z",
        population="1,582 in 18 studies: 810 with metastatic and 391 with early breast cancer, 274 "
        "with advanced gastric cancer, 107 with others, 6 healthy; medians 53 years and 66 kg, "
        "82.7 % women.",
        route="intravenous infusion",
        seen="The model file and article of nlmixr2lib, the paper's abstract; exposures also in "
        "the EU label.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 5 % for CL, V1 and V2, 10 % for Q, factors "
            "of tumours and the proportional error, 20 % for the rest.",
            "The published variability in % is taken for a CV, sqrt(exp(omega^2) - 1), and the "
            "covariance of CL and V1 divided accordingly.",
            "The variances of the parts of the residual error add.",
            "The unit of AST was not seen: U/L. Of WT, AST and ALB no range was seen but that the "
            "paper shows weights from 46 to 98 kg.",
        ),
        domain=(
            ("WT", 46.0, 98.0),
            ("LIVER", 0.0, 1.0),
            ("GASTRIC", 0.0, 1.0),
            ("OTHER", 0.0, 1.0),
        ),
        doses=("8 mg/kg, then 6 mg/kg every 3 weeks", "4 mg/kg, then 2 mg/kg weekly"),
        intervals=(1.0, 3.0),
        targets=(("trough", 20.0, "Quartino et al. 2016, abstract"),),
        sources=(
            ("CL", "0.127 L/d, nlmixr2lib"),
            ("V1", "2.62 L, nlmixr2lib"),
            ("Q", "0.544 L/d, nlmixr2lib"),
            ("V2", "2.97 L, nlmixr2lib"),
            ("VMAX", "8.81 mg/d, nlmixr2lib"),
            ("KM", "8.92 mg/L, nlmixr2lib"),
            ("omega_CL", "CV 40.1 %, nlmixr2lib"),
            ("omega_V1", "CV 24.6 %, nlmixr2lib"),
            ("omega_V2", "CV 49.5 %, nlmixr2lib"),
            ("omega_KM", "CV 139 %, nlmixr2lib"),
            ("corr_CL_V1", "covariance 0.0230, nlmixr2lib"),
            ("beta_CL_WT", "0.967, nlmixr2lib"),
            ("beta_CL_AST", "0.205, nlmixr2lib"),
            ("beta_CL_ALB", "-0.998, nlmixr2lib"),
            ("slope_CL_LIVER", "0.152 (of the logarithm), nlmixr2lib"),
            ("fold_CL_GASTRIC", "0.176 / 0.127 L/d, nlmixr2lib"),
            ("fold_CL_OTHER", "0.148 / 0.127 L/d, nlmixr2lib"),
            ("fold_V1_GASTRIC", "3.63 / 2.62 L, nlmixr2lib"),
            ("sigma_prop", "0.197, nlmixr2lib"),
            ("sigma_add", "1.38 mg/L, nlmixr2lib"),
        ),
    ),
)
