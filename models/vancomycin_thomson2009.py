"""Vancomycin in adults, intravenous: Thomson et al. 2009.

Thomson et al., J Antimicrob Chemother 2009;63:1050-1057, doi 10.1093/jac/dkp085.
Two compartments, linear; clearance rises linearly with creatinine clearance.
"""

from popk.model import Card, PopModel
from popk.statistics import IIV, Combined, Fixed, LinearEffect, Power, from_estimate, from_omega
from popk.structure import TwoCompartment

# Table 2; no RSE seen. Hours, mg, L, mg/L.
CL = 2.99  # L/h at a creatinine clearance of 66 mL/min
CRCL_ON_CL = 0.0154  # per mL/min, from 66
V1_PER_KG, V2_PER_KG = 0.675, 0.732  # L/kg
Q = 2.28  # L/h
CV_CL, CV_V1, CV_V2, CV_Q = 0.27, 0.15, 1.30, 0.49
SIGMA_PROP = 0.15
SIGMA_ADD = 1.6  # mg/L
REFERENCE_WEIGHT = 70.0  # kg; popk's, the volumes are per kg
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_VARIABILITY = 0.20

model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, rse=0.05),
        "V1": from_estimate(V1_PER_KG * REFERENCE_WEIGHT, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.20),
        "V2": from_estimate(V2_PER_KG * REFERENCE_WEIGHT, rse=0.20),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE_OF_VARIABILITY),
            "Q": from_omega(cv=CV_Q, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V2": from_omega(cv=CV_V2, rse=ASSUMED_RSE_OF_VARIABILITY),
        }
    ),
    covariates=(
        # Above 1/66 the clearance of a patient without renal function would be negative.
        LinearEffect("CL", "CRCL", from_estimate(CRCL_ON_CL, rse=0.05, kind="normal"), 66.0),
        Power("V1", "WT", REFERENCE_WEIGHT, Fixed(1.0)),
        Power("V2", "WT", REFERENCE_WEIGHT, Fixed(1.0)),
    ),
    error=Combined(
        from_estimate(SIGMA_PROP, rse=ASSUMED_RSE),
        from_estimate(SIGMA_ADD, rse=ASSUMED_RSE_OF_VARIABILITY),
    ),
    units={
        "time": "h",
        "amount": "mg",
        "concentration": "mg/L",
        "CRCL": "mL/min",
        "WT": "kg",
    },
    name="vancomycin_thomson2009",
    notes=(
        "CRCL is that of Cockcroft and Gault on total body weight. At 1 mL/min and below the "
        "clearance would be negative: not for patients without renal function.",
    ),
    card=Card(
        citation="Thomson AH, Staatz CE, Tobin CM, Gall M, Lovering AM. Development and evaluation "
        "of vancomycin dosage guidelines. J Antimicrob Chemother 2009;63:1050-1057.",
        doi="10.1093/jac/dkp085",
        population="398 adults in routine therapeutic drug monitoring.",
        route="intravenous infusion",
        seen="The model file of PKPDsim, and a dosing calculator's that transcribes Table 2; they "
        "agree. The end of the title was not seen.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 5 % for CL and its slope, 10 % for V1 and "
            "the proportional error, 20 % for the rest.",
            "The published variability is taken for CV, sqrt(exp(omega^2) - 1), and uncorrelated.",
            "The paper prints Q in 1/h; L/h is meant, as both files have it.",
            "The variances of the parts of the residual error add.",
            "The ranges of CRCL and WT were not seen.",
        ),
        doses=(
            "Chosen for an AUC of 400 to 600 mg h/L in 24 h (Rybak et al., Am J Health Syst Pharm "
            "2020;77:835-864), at intervals of hours",
        ),
        targets=(("trough", 10.0, "10-20 mg/L, quoted in nlmixr2lib"),),
        sources=(
            ("CL", "2.99 L/h, Table 2"),
            ("V1", "0.675 * 70 L (0.675 L/kg), Table 2"),
            ("Q", "2.28 L/h, Table 2"),
            ("V2", "0.732 * 70 L (0.732 L/kg), Table 2"),
            ("omega_CL", "CV 27 %, Table 2"),
            ("omega_V1", "CV 15 %, Table 2"),
            ("omega_Q", "CV 49 %, Table 2"),
            ("omega_V2", "CV 130 %, Table 2"),
            ("slope_CL_CRCL", "0.0154 per mL/min, Table 2"),
            ("beta_V1_WT", "1: per kg, Table 2"),
            ("beta_V2_WT", "1: per kg, Table 2"),
            ("sigma_prop", "0.15, Table 2"),
            ("sigma_add", "1.6 mg/L, Table 2"),
        ),
    ),
)
