"""Nivolumab in advanced solid tumours, intravenous: Bajaj et al. 2017.

Bajaj et al., CPT Pharmacometrics Syst Pharmacol 2017;6:58-66, doi 10.1002/psp4.12143.
Two compartments with a clearance that falls along a sigmoid curve of the time since the first dose.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Correlated,
    Exponential,
    LinearScale,
    Normal,
    Power,
    Prior,
    Proportional,
    from_estimate,
    from_omega,
)
from popk.structure import TimeVaryingClearance, TwoCompartment

# Published in hours; no RSE seen. Here days, mg, L, mg/L.
CL = 0.2256  # L/d: 9.40 mL/h
V1 = 3.63  # L
Q = 0.7704  # L/d: 32.1 mL/h
V2 = 2.78  # L
IMAX = 0.295  # the paper's Emax is -0.295
T50 = 58.75  # d: 1,410 h
GAMMA = 3.15
WEIGHT_ON_CL, WEIGHT_ON_V1 = 0.566, 0.597  # exponents of WT / 80 kg
EGFR_ON_CL = 0.186  # exponent of EGFR / 90
MALE_ON_CL, ECOG_ON_CL, ASIAN_ON_CL = 0.165, 0.172, -0.125  # of the logarithm
MALE_ON_V1 = 0.152
VARIANCE_CL, VARIANCE_V1, COVARIANCE_CL_V1 = 0.123, 0.123, 0.0432
VARIANCE_V2 = 0.258
VARIANCE_IMAX = 0.0719  # the effect is added, not multiplied
SIGMA_PROP = 0.215
ASSUMED_RSE = 0.05
ASSUMED_RSE_OF_EFFECTS = 0.20


def _effect(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_EFFECTS, kind="normal")


model = PopModel(
    TwoCompartment(elimination=TimeVaryingClearance()),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.10),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "IMAXCL": Normal(IMAX, 0.2 * IMAX),
        "T50CL": from_estimate(T50, rse=0.20),
        "GAMMA": from_estimate(GAMMA, rse=0.20),
    },
    scales={"IMAXCL": LinearScale()},
    iiv=IIV(
        {
            "CL": from_omega(variance=VARIANCE_CL, rse=ASSUMED_RSE_OF_EFFECTS),
            "V1": from_omega(variance=VARIANCE_V1, rse=ASSUMED_RSE_OF_EFFECTS),
            "V2": from_omega(variance=VARIANCE_V2, rse=ASSUMED_RSE_OF_EFFECTS),
            "IMAXCL": from_omega(variance=VARIANCE_IMAX, rse=ASSUMED_RSE_OF_EFFECTS),
        },
        correlations=[Correlated(("CL", "V1"), fixed=(COVARIANCE_CL_V1 / VARIANCE_CL,))],
    ),
    covariates=(
        Power("CL", "WT", 80.0, _effect(WEIGHT_ON_CL)),
        Power("CL", "EGFR", 90.0, _effect(EGFR_ON_CL)),
        Exponential("CL", "MALE", _effect(MALE_ON_CL), 0.0),
        Exponential("CL", "ECOG", _effect(ECOG_ON_CL), 0.0),
        Exponential("CL", "ASIAN", _effect(ASIAN_ON_CL), 0.0),
        Power("V1", "WT", 80.0, _effect(WEIGHT_ON_V1)),
        Exponential("V1", "MALE", _effect(MALE_ON_V1), 0.0),
    ),
    error=Proportional(from_estimate(SIGMA_PROP, rse=0.10)),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "EGFR": "mL/min/{1.73_m2}",
        "MALE": "1",
        "ECOG": "1",
        "ASIAN": "1",
    },
    name="nivolumab",
    notes=(
        "Reference: a white woman of 80 kg, eGFR 90, ECOG 0. ECOG is 1 for a performance status of "
        "1 or more.",
        "Time must be 0 at the first dose: the clearance falls with it.",
        "The random effect of IMAXCL is normal and may make the clearance of a subject rise.",
    ),
    card=Card(
        citation="Bajaj G, Wang X, Agrawal S, Gupta M, Roy A, Feng Y. Model-based population "
        "pharmacokinetic analysis of nivolumab in patients with solid tumors. CPT Pharmacometrics "
        "Syst Pharmacol 2017;6(1):58-66.",
        doi="10.1002/psp4.12143",
        population="1,895 adults in 11 studies, 61.1 years (SD 11.1), 79.1 kg (34.1-168.2), 33 % "
        "women, lung cancer 34.8 %, renal 31.9 %, melanoma 29.8 %.",
        route="intravenous infusion",
        seen="nlmixr2lib, twice: from the paper's Table 1 and from the authors' NONMEM listing "
        "(DDMODEL00000284), with identical values; CL, V1, V2 and Q also in J Immunother Cancer "
        "2021;9:e002344, Table 5.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 5 % for CL, V1 and V2, 10 % for Q and the "
            "residual error, 20 % for the rest.",
            "The unit of EGFR was not seen: mL/min/1.73 m2; of its range only mean and SD (78.5, "
            "21.6).",
            "No published target of nivolumab concentrations was seen.",
        ),
        domain=(
            ("WT", 34.1, 168.2),
            ("MALE", 0.0, 1.0),
            ("ECOG", 0.0, 1.0),
            ("ASIAN", 0.0, 1.0),
        ),
        doses=("0.3 to 10 mg/kg every 2 or 3 weeks", "3 mg/kg every 2 weeks (label)"),
        intervals=(2.0, 3.0),
        sources=(
            ("CL", "9.40 mL/h = 0.2256 L/d, Table 1 in nlmixr2lib"),
            ("V1", "3.63 L, the same"),
            ("Q", "32.1 mL/h = 0.7704 L/d, the same"),
            ("V2", "2.78 L, the same"),
            ("IMAXCL", "Emax -0.295, that is IMAXCL 0.295, the same"),
            ("T50CL", "1410 h = 58.75 d, the same"),
            ("GAMMA", "3.15, the same"),
            ("omega_CL", "variance 0.123, the same"),
            ("omega_V1", "variance 0.123, the same"),
            ("omega_V2", "variance 0.258, the same"),
            ("omega_IMAXCL", "variance 0.0719, normal, the same"),
            ("corr_CL_V1", "covariance 0.0432 / 0.123, the same"),
            ("beta_CL_WT", "0.566, the same"),
            ("beta_CL_EGFR", "0.186, the same"),
            ("slope_CL_MALE", "0.165 (of the logarithm), the same"),
            ("slope_CL_ECOG", "0.172 (of the logarithm), the same"),
            ("slope_CL_ASIAN", "-0.125 (of the logarithm), the same"),
            ("beta_V1_WT", "0.597, the same"),
            ("slope_V1_MALE", "0.152 (of the logarithm), the same"),
            ("sigma_prop", "0.215, the same"),
        ),
    ),
)
