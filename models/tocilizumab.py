"""Tocilizumab in rheumatoid arthritis, intravenous: Frey et al. 2010.

Frey et al., J Clin Pharmacol 2010;50:754-766, doi 10.1177/0091270009350623.
Two compartments with parallel linear and Michaelis-Menten elimination.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Correlated,
    CustomEffect,
    Fold,
    LogNormal,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import ParallelMichaelisMenten, TwoCompartment
from popk.structure.functions import log

# Estimates, published to one or two digits; no SE seen. Days, mg, L, mg/L.
CL = 0.3  # L/d
V1 = 3.5  # L
Q = 0.2  # L/d
V2 = 2.9  # L
VMAX = 7.5  # mg/d
KM = 2.7  # mg/L
BSA_ON_CL = 0.7  # exponent of BSA / 1.8 m2
FEMALE_ON_CL = 0.84  # 1 - 0.16
HDL_ON_CL = -0.2  # exponent of HDL / 54 mg/dL
RF_ON_CL = 0.1  # exponent of ln(RF) / 4.7
PROTEIN_ON_V1 = -1.1  # exponent of TPRO / 74 g/L
ALBUMIN_ON_V1 = 0.7  # exponent of ALB / 38 g/L
ALBUMIN_ON_VMAX = -0.4
CRCL_ON_VMAX = 0.2  # exponent of CRCL / 106 mL/min
SMOKE_ON_VMAX = 1.11  # 1 + 0.11
CV_CL, CV_V1, CV_V2, CV_VMAX = 0.39, 0.37, 0.66, 0.54
CORRELATIONS = (0.6, -0.1, 0.5, -0.5, 0.2, 0.2)  # V1-CL, V2-CL, V2-V1, VMAX-CL, VMAX-V1, VMAX-V2
SIGMA_PROP = 0.22
SIGMA_ADD = 2.4  # mg/L
# Assumed: at least half a unit of the last digit published.
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_EXPONENTS = 0.30
ASSUMED_RSE_OF_VARIABILITY = 0.20


def _exponent(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_EXPONENTS, kind="normal")


model = PopModel(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.25),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "VMAX": from_estimate(VMAX, rse=ASSUMED_RSE),
        "KM": from_estimate(KM, rse=0.20),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V2": from_omega(cv=CV_V2, rse=ASSUMED_RSE_OF_VARIABILITY),
            "VMAX": from_omega(cv=CV_VMAX, rse=ASSUMED_RSE_OF_VARIABILITY),
        },
        correlations=[Correlated(("CL", "V1", "V2", "VMAX"), fixed=CORRELATIONS)],
    ),
    covariates=(
        Power("CL", "BSA", 1.8, _exponent(BSA_ON_CL)),
        Fold("CL", "FEMALE", LogNormal(FEMALE_ON_CL, cv=0.05)),
        Power("CL", "HDL", 54.0, _exponent(HDL_ON_CL)),
        CustomEffect(
            "CL",
            "RF",
            coefficients={"beta_CL_LOGRF": _exponent(RF_ON_CL)},
            factor=lambda x, b: (log(x.RF) / 4.7) ** b.beta_CL_LOGRF,
        ),
        Power("V1", "TPRO", 74.0, _exponent(PROTEIN_ON_V1)),
        Power("V1", "ALB", 38.0, _exponent(ALBUMIN_ON_V1)),
        Power("VMAX", "ALB", 38.0, _exponent(ALBUMIN_ON_VMAX)),
        Power("VMAX", "CRCL", 106.0, _exponent(CRCL_ON_VMAX)),
        Fold("VMAX", "SMOKE", LogNormal(SMOKE_ON_VMAX, cv=0.05)),
    ),
    error=Combined(from_estimate(SIGMA_PROP, rse=0.10), from_estimate(SIGMA_ADD, rse=0.20)),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "BSA": "m2",
        "FEMALE": "1",
        "HDL": "mg/dL",
        "RF": "U/mL",
        "TPRO": "g/L",
        "ALB": "g/L",
        "CRCL": "mL/min",
        "SMOKE": "1",
    },
    name="tocilizumab",
    notes=(
        "Reference: a man who does not smoke, with a body surface of 1.8 m2, HDL cholesterol of 54 "
        "mg/dL, ln(rheumatoid factor) of 4.7, total protein of 74 g/L, albumin of 38 g/L and a "
        "creatinine clearance of 106 mL/min. 82 % of the patients were women.",
        "The published exposures are means of skewed quantities; at 4 mg/kg the trough of a "
        "typical patient is much below the mean.",
    ),
    card=Card(
        citation="Frey N, Grange S, Woodworth T. Population pharmacokinetic analysis of "
        "tocilizumab in patients with rheumatoid arthritis. J Clin Pharmacol 2010;50(7):754-766.",
        doi="10.1177/0091270009350623",
        population="1,793 adults with rheumatoid arthritis (OPTION, TOWARD, RADIATE, AMBITION), "
        "18-89 years (52), 38-150 kg (70), 82 % women.",
        route="intravenous infusion over 1 h",
        seen="The model file of nlmixr2lib; exposures: the US label.",
        assumptions=(
            "No SE was seen. The widths are assumed: 10 % for typical values and the proportional "
            "error, 20 % for KM, variability and the additive error, 25 % for Q, 30 % for "
            "exponents, 5 % for factors.",
            "Correlations are as published, to one digit, and fixed.",
            "The variances of the parts of the residual error add.",
            "Of BSA, HDL, TPRO and CRCL no range was seen.",
            "No published target of tocilizumab concentrations was seen.",
        ),
        domain=(
            ("ALB", 24.0, 50.0),
            ("RF", 15.0, 11800.0),
            ("FEMALE", 0.0, 1.0),
            ("SMOKE", 0.0, 1.0),
        ),
        doses=("4 mg/kg over 1 h", "8 mg/kg over 1 h"),
        intervals=(4.0,),
        sources=(
            ("CL", "0.3 L/d, nlmixr2lib"),
            ("V1", "3.5 L, nlmixr2lib"),
            ("Q", "0.2 L/d, nlmixr2lib"),
            ("V2", "2.9 L, nlmixr2lib"),
            ("VMAX", "7.5 mg/d, nlmixr2lib"),
            ("KM", "2.7 mg/L, nlmixr2lib"),
            ("omega_CL", "CV 39 %, nlmixr2lib"),
            ("omega_V1", "CV 37 %, nlmixr2lib"),
            ("omega_V2", "CV 66 %, nlmixr2lib"),
            ("omega_VMAX", "CV 54 %, nlmixr2lib"),
            ("corr_CL_V1", "0.6, nlmixr2lib"),
            ("corr_CL_V2", "-0.1, nlmixr2lib"),
            ("pcorr_V1_V2", "correlation 0.5, nlmixr2lib; here given CL"),
            ("corr_CL_VMAX", "-0.5, nlmixr2lib"),
            ("pcorr_V1_VMAX", "correlation 0.2, nlmixr2lib; here given CL"),
            ("pcorr_V2_VMAX", "correlation 0.2, nlmixr2lib; here given CL and V1"),
            ("beta_CL_BSA", "0.7, nlmixr2lib"),
            ("fold_CL_FEMALE", "1 - 0.16, nlmixr2lib"),
            ("beta_CL_HDL", "-0.2, nlmixr2lib"),
            ("beta_CL_LOGRF", "0.1, nlmixr2lib"),
            ("beta_V1_TPRO", "-1.1, nlmixr2lib"),
            ("beta_V1_ALB", "0.7, nlmixr2lib"),
            ("beta_VMAX_ALB", "-0.4, nlmixr2lib"),
            ("beta_VMAX_CRCL", "0.2, nlmixr2lib"),
            ("fold_VMAX_SMOKE", "1 + 0.11, nlmixr2lib"),
            ("sigma_prop", "22 %, nlmixr2lib"),
            ("sigma_add", "2.4 mg/L, nlmixr2lib"),
        ),
    ),
)
