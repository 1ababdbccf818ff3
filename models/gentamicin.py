"""Gentamicin in hospitalised adults, once daily, intravenous: Xuan et al. 2004.

Xuan et al., Int J Antimicrob Agents 2004;23:291-295, doi 10.1016/j.ijantimicag.2003.07.010.
Two compartments, linear. The authors estimated the micro-constants K12 and K21; the model here has
Q = K12 V1 and V2 = K12 V1 / K21, whose random effects follow from theirs exactly.
"""

import math

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Correlated,
    Fixed,
    Power,
    from_estimate,
    from_omega,
)
from popk.structure import TwoCompartment

# Table 2. Hours, mg, L, mg/L.
CL_PER_CRCL = 0.047  # L/h per mL/min
V1_PER_KG = 0.28  # L/kg
K12, K21 = 0.092, 0.071  # 1/h; 95 % CI of K21 0.0033-0.14
CV_CL, CV_V1, CV_K12, CV_K21 = 0.296, 0.058, 0.699, 0.639  # RSE of V1's 350 %, of K21's 48.6 %
SIGMA_PROP = 0.237
SIGMA_ADD = 0.23  # mg/L
REFERENCE_CRCL, REFERENCE_WEIGHT = 92.0, 70.0  # mL/min, kg: popk's, the published mean CL is there
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_VARIABILITY = 0.30

CL = CL_PER_CRCL * REFERENCE_CRCL  # 4.324 L/h
V1 = V1_PER_KG * REFERENCE_WEIGHT  # 19.6 L
Q = K12 * V1  # 1.803 L/h
V2 = Q / K21  # 25.4 L
# log Q and log V2 are sums and differences of the authors' effects, which are independent.
_VAR_V1, _VAR_K12, _VAR_K21 = (math.log1p(cv**2) for cv in (CV_V1, CV_K12, CV_K21))
VARIANCE_Q = _VAR_K12 + _VAR_V1
VARIANCE_V2 = _VAR_K12 + _VAR_V1 + _VAR_K21
CORRELATIONS = (
    _VAR_V1 / math.sqrt(_VAR_V1 * VARIANCE_Q),  # Q with V1
    _VAR_V1 / math.sqrt(_VAR_V1 * VARIANCE_V2),  # V2 with V1
    VARIANCE_Q / math.sqrt(VARIANCE_Q * VARIANCE_V2),  # V2 with Q
)

model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.30),
        "V2": from_estimate(V2, rse=0.50),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE_OF_VARIABILITY),
            "Q": from_omega(variance=VARIANCE_Q, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V2": from_omega(variance=VARIANCE_V2, rse=ASSUMED_RSE_OF_VARIABILITY),
        },
        correlations=[Correlated(("V1", "Q", "V2"), fixed=CORRELATIONS)],
    ),
    covariates=(
        Power("CL", "CRCL", REFERENCE_CRCL, Fixed(1.0)),
        Power("V1", "WT", REFERENCE_WEIGHT, Fixed(1.0), "V1_Q_V2_WT"),
        Power("Q", "WT", REFERENCE_WEIGHT, Fixed(1.0), "V1_Q_V2_WT"),
        Power("V2", "WT", REFERENCE_WEIGHT, Fixed(1.0), "V1_Q_V2_WT"),
    ),
    error=Combined(from_estimate(SIGMA_PROP, rse=0.20), from_estimate(SIGMA_ADD, rse=0.20)),
    units={
        "time": "h",
        "amount": "mg",
        "concentration": "mg/L",
        "CRCL": "mL/min",
        "WT": "kg",
    },
    name="gentamicin",
    notes=(
        "CRCL is that of Cockcroft and Gault on total body weight; clearance is proportional to "
        "it.",
        "The peripheral compartment is poorly known (K21 0.0033-0.14 /h).",
    ),
    card=Card(
        citation="Xuan D, Nicolau DP, Nightingale CH. Population pharmacokinetics of gentamicin in "
        "hospitalized patients receiving once-daily dosing. Int J Antimicrob Agents "
        "2004;23(3):291-295.",
        doi="10.1016/j.ijantimicag.2003.07.010",
        population="939 adults in hospital, 16-96 years, 1,294 samples.",
        route="intravenous infusion",
        seen="A dosing calculator's model file that transcribes Table 2, and posologyr's, which "
        "agree.",
        assumptions=(
            "RSE were seen of few numbers. The widths are assumed: 10 % for CL and V1, 20 % for "
            "the residual error, 30 % for Q and variability, 50 % for V2 (the interval of K21).",
            "The published variability is taken for CV, sqrt(exp(omega^2) - 1), as posologyr does.",
            "The variances of the parts of the residual error add (posologyr adds SDs).",
            "The ranges of CRCL and WT were not seen.",
            "No target was seen in the source for adults.",
        ),
        doses=("once daily; the doses were not seen",),
        sources=(
            ("CL", "0.047 * 92 L/h (0.047 L/h per mL/min), Table 2"),
            ("V1", "0.28 * 70 L (0.28 L/kg), Table 2"),
            ("Q", "K12 0.092 /h times V1: 0.092 * 19.6 L/h, Table 2"),
            ("V2", "K12 V1 / K21: 0.092 / 0.071 * 19.6 L, Table 2"),
            ("omega_CL", "CV 29.6 %, Table 2"),
            ("omega_V1", "CV 5.8 % (RSE 350 %), Table 2"),
            ("omega_Q", "variance 0.398 (K12) + 0.0034 (V1), posologyr; CV 69.9 and 5.8 %"),
            ("omega_V2", "variance 0.398 (K12) + 0.0034 (V1) + 0.342 (K21), posologyr"),
            ("corr_V1_Q", "from the variances of K12 and V1"),
            ("corr_V1_V2", "from the variances of K12, K21 and V1"),
            ("pcorr_Q_V2", "from the variances of K12, K21 and V1"),
            ("beta_CL_CRCL", "1: proportional, Table 2"),
            ("beta_V1_Q_V2_WT", "1: per kg, Table 2"),
            ("sigma_prop", "0.237, Table 2"),
            ("sigma_add", "0.23 mg/L, Table 2"),
        ),
    ),
)
