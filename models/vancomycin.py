"""Vancomycin in hospitalised adults with and without haemodialysis, intravenous: Goti et al. 2018.

Goti et al., Ther Drug Monit 2018;40:212-221, doi 10.1097/FTD.0000000000000490, and its erratum
(PMID 31306395). Two compartments, linear.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Fixed,
    Fold,
    LogNormal,
    Power,
    from_estimate,
    from_omega,
)
from popk.structure import TwoCompartment

# Estimates; no RSE seen. Hours, mg, L, mg/L.
CL = 4.5  # L/h at a creatinine clearance of 120 mL/min
V1 = 58.4  # L at 70 kg
V2 = 38.4  # L
Q = 6.5  # L/h
CRCL_ON_CL = 0.8  # exponent of CRCL / 120
DIALYSIS_ON_CL, DIALYSIS_ON_V1 = 0.7, 0.5
CV_CL, CV_V1, CV_V2 = 0.398, 0.816, 0.571
SIGMA_PROP = 0.227
SIGMA_ADD = 3.4  # mg/L
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_VARIABILITY = 0.20

model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.20),
        "V2": from_estimate(V2, rse=0.20),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE_OF_VARIABILITY),
            "V2": from_omega(cv=CV_V2, rse=ASSUMED_RSE_OF_VARIABILITY),
        }
    ),
    covariates=(
        Power("CL", "CRCL", 120.0, from_estimate(CRCL_ON_CL, rse=ASSUMED_RSE, kind="normal")),
        Fold("CL", "DIAL", LogNormal(DIALYSIS_ON_CL, cv=ASSUMED_RSE)),
        Power("V1", "WT", 70.0, Fixed(1.0)),
        Fold("V1", "DIAL", LogNormal(DIALYSIS_ON_V1, cv=ASSUMED_RSE)),
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
        "DIAL": "1",
    },
    name="vancomycin",
    notes=(
        "CRCL is that of Cockcroft and Gault, at most 150 mL/min, with a serum creatinine of at "
        "least 1 mg/dL above 65 years (erratum). DIAL is 1 in patients on haemodialysis.",
        "Weight acts on V1 only. Another reading of the paper scales V2 with weight too; its table "
        "and most of those who use the model do not.",
        "The authors accepted an estimation that ended with rounding errors.",
    ),
    card=Card(
        citation="Goti V, Chaturvedula A, Fossler MJ, Mok S, Jacob JT. Hospitalized patients with "
        "and without hemodialysis have markedly different vancomycin pharmacokinetics: a "
        "population pharmacokinetic model-based analysis. Ther Drug Monit 2018;40(2):212-221.",
        doi="10.1097/FTD.0000000000000490",
        population="1,812 adults in hospital, 17-101 years (57), 33-255 kg (79), creatinine "
        "clearance 4-150 mL/min (62), 336 on haemodialysis.",
        route="intravenous infusion",
        seen="The model files of nlmixr2lib, PKPDsim, posologyr and tucuxi, which agree in every "
        "typical value.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 20 % for Q, V2, variability and the additive "
            "error, 10 % for the rest.",
            "The published variability is taken for CV, sqrt(exp(omega^2) - 1).",
            "The variances of the parts of the residual error add (posologyr adds SDs).",
            "The random effects are uncorrelated: no correlation was seen.",
        ),
        domain=(("CRCL", 4.0, 150.0), ("WT", 33.0, 255.0), ("DIAL", 0.0, 1.0)),
        doses=(
            "Chosen for an AUC of 400 to 600 mg h/L in 24 h (Rybak et al., Am J Health Syst Pharm "
            "2020;77:835-864), at intervals of hours",
        ),
        targets=(
            ("trough", 10.0, "10-20 mg/L, quoted in nlmixr2lib"),
            ("trough before dialysis", 15.0, "15-20 mg/L, the same"),
        ),
        sources=(
            ("CL", "4.5 L/h, nlmixr2lib and PKPDsim"),
            ("V1", "58.4 L, the same"),
            ("Q", "6.5 L/h, the same"),
            ("V2", "38.4 L, the same"),
            ("omega_CL", "CV 39.8 %, nlmixr2lib"),
            ("omega_V1", "CV 81.6 %, nlmixr2lib"),
            ("omega_V2", "CV 57.1 %, nlmixr2lib"),
            ("beta_CL_CRCL", "0.8, nlmixr2lib"),
            ("fold_CL_DIAL", "0.7, nlmixr2lib"),
            ("beta_V1_WT", "1, fixed, nlmixr2lib"),
            ("fold_V1_DIAL", "0.5, nlmixr2lib"),
            ("sigma_prop", "0.227, nlmixr2lib"),
            ("sigma_add", "3.4 mg/L, nlmixr2lib"),
        ),
    ),
)
