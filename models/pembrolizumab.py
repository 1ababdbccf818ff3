"""Pembrolizumab in advanced solid tumours, intravenous: Ahamadi et al. 2017.

Ahamadi et al., CPT Pharmacometrics Syst Pharmacol 2017;6:49-57, doi 10.1002/psp4.12139.
Two compartments, linear, with a clearance that does not change with time.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Correlated,
    Fold,
    LogNormal,
    LogNormalError,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import TwoCompartment

# The paper's table (the equations in its footnote print other numbers); no RSE seen. Days, mg, L.
CL = 0.22  # L/d
V1 = 3.48  # L
Q = 0.795  # L/d
V2 = 4.06  # L
WEIGHT_ON_FLOWS, WEIGHT_ON_VOLUMES = 0.595, 0.489  # exponents of WT / 76.8 kg
ALBUMIN_ON_CL, ALBUMIN_ON_V1 = -0.907, -0.208  # exponents of ALB / 39.6 g/L
TUMOUR_ON_CL = 0.0872  # exponent of SLD / 89.6 mm
EGFR_ON_CL = 0.135  # exponent of EGFR / 88.47
FEMALE_ON_CL, FEMALE_ON_V1 = 0.848, 0.866  # 1 - 0.152, 1 - 0.134
NSCLC_ON_CL = 1.145
ECOG_ON_CL = 0.9261  # 1 - 0.0739
IPILIMUMAB_ON_CL, IPILIMUMAB_ON_V1 = 1.140, 1.0736
VARIANCE_CL, VARIANCE_V1 = 0.134, 0.0417  # one effect for CL and Q, one for V1 and V2
SIGMA_LOG = 0.272
ASSUMED_RSE = 0.05
ASSUMED_RSE_OF_EFFECTS = 0.20


def _exponent(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_EFFECTS, kind="normal")


def _factor(value: float) -> Prior:
    return LogNormal(value, cv=0.05)


model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.10),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
    },
    iiv=IIV(
        {
            "CL": from_omega(variance=VARIANCE_CL, rse=ASSUMED_RSE_OF_EFFECTS),
            "V1": from_omega(variance=VARIANCE_V1, rse=ASSUMED_RSE_OF_EFFECTS),
        },
        shared={"Q": "CL", "V2": "V1"},
        correlations=[Correlated(("CL", "V1"))],
    ),
    covariates=(
        Power("CL", "WT", 76.8, _exponent(WEIGHT_ON_FLOWS), "CL_Q_WT"),
        Power("Q", "WT", 76.8, _exponent(WEIGHT_ON_FLOWS), "CL_Q_WT"),
        Power("V1", "WT", 76.8, _exponent(WEIGHT_ON_VOLUMES), "V1_V2_WT"),
        Power("V2", "WT", 76.8, _exponent(WEIGHT_ON_VOLUMES), "V1_V2_WT"),
        Power("CL", "ALB", 39.6, _exponent(ALBUMIN_ON_CL)),
        Power("CL", "SLD", 89.6, _exponent(TUMOUR_ON_CL)),
        Power("CL", "EGFR", 88.47, _exponent(EGFR_ON_CL)),
        Fold("CL", "FEMALE", _factor(FEMALE_ON_CL)),
        Fold("CL", "NSCLC", _factor(NSCLC_ON_CL)),
        Fold("CL", "ECOG", _factor(ECOG_ON_CL)),
        Fold("CL", "IPI", _factor(IPILIMUMAB_ON_CL)),
        Power("V1", "ALB", 39.6, _exponent(ALBUMIN_ON_V1)),
        Fold("V1", "FEMALE", _factor(FEMALE_ON_V1)),
        Fold("V1", "IPI", _factor(IPILIMUMAB_ON_V1)),
    ),
    error=LogNormalError(from_estimate(SIGMA_LOG, rse=0.10)),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "ALB": "g/L",
        "SLD": "mm",
        "EGFR": "mL/min/{1.73_m2}",
        "FEMALE": "1",
        "NSCLC": "1",
        "ECOG": "1",
        "IPI": "1",
    },
    name="pembrolizumab",
    notes=(
        "Reference: a man of 76.8 kg with melanoma, ECOG 0, no prior ipilimumab, 39.6 g/L of "
        "albumin, lesions of 89.6 mm in sum, eGFR 88.47.",
        "ECOG is 1 for a performance status of 1 or more, NSCLC 1 in non-small-cell lung cancer, "
        "IPI 1 after ipilimumab, SLD the sum of the longest diameters of the lesions.",
        "Clearance falls with treatment by about 23 % (US label); this model has its average.",
    ),
    card=Card(
        citation="Ahamadi M, Freshwater T, Prohn M, Li CH, de Alwis DP, de Greef R, "
        "Elassaiss-Schaap J, Kondic A, Stone JA. Model-based characterization of the "
        "pharmacokinetics of pembrolizumab: a humanized anti-PD-1 monoclonal antibody in advanced "
        "solid tumors. CPT Pharmacometrics Syst Pharmacol 2017;6(1):49-57.",
        doi="10.1002/psp4.12139",
        population="2,188 adults (KEYNOTE-001, -002, -006), 15-94 years (62), 73.7 % melanoma, "
        "25.3 % non-small-cell lung cancer.",
        route="intravenous infusion",
        seen="The model file of nlmixr2lib; CL, V1, V2, Q and their variability also in J "
        "Immunother Cancer 2021;9:e002344, Table 5.",
        assumptions=(
            "No RSE was seen. The widths are assumed: 5 % for CL, V1, V2 and factors, 10 % for Q "
            "and the residual error, 20 % for exponents and variances.",
            "The covariance of the two random effects was estimated but not published: "
            "corr_CL_V1 has an LKJ prior.",
            "The unit of EGFR was not seen: mL/min/1.73 m2. Of WT no range was tabulated.",
            "No published target of pembrolizumab concentrations was seen.",
        ),
        domain=(
            ("ALB", 15.0, 59.0),
            ("SLD", 10.0, 895.0),
            ("EGFR", 25.0, 403.0),
            ("FEMALE", 0.0, 1.0),
            ("NSCLC", 0.0, 1.0),
            ("ECOG", 0.0, 1.0),
            ("IPI", 0.0, 1.0),
        ),
        doses=("2 mg/kg every 3 weeks", "200 mg every 3 weeks", "400 mg every 6 weeks"),
        intervals=(3.0, 6.0),
        sources=(
            ("CL", "0.22 L/d, nlmixr2lib; JITC 2021, Table 5"),
            ("V1", "3.48 L, the same"),
            ("Q", "0.795 L/d, the same"),
            ("V2", "4.06 L, the same"),
            ("omega_CL", "variance 0.134 (38 %), shared by CL and Q, nlmixr2lib"),
            ("omega_V1", "variance 0.0417 (21 %), shared by V1 and V2, nlmixr2lib"),
            ("beta_CL_Q_WT", "0.595, nlmixr2lib"),
            ("beta_V1_V2_WT", "0.489, nlmixr2lib"),
            ("beta_CL_ALB", "-0.907, nlmixr2lib"),
            ("beta_CL_SLD", "0.0872, nlmixr2lib"),
            ("beta_CL_EGFR", "0.135, nlmixr2lib"),
            ("fold_CL_FEMALE", "1 - 0.152, nlmixr2lib"),
            ("fold_CL_NSCLC", "1 + 0.145, nlmixr2lib"),
            ("fold_CL_ECOG", "1 - 0.0739, nlmixr2lib"),
            ("fold_CL_IPI", "1 + 0.140, nlmixr2lib"),
            ("beta_V1_ALB", "-0.208, nlmixr2lib"),
            ("fold_V1_FEMALE", "1 - 0.134, nlmixr2lib"),
            ("fold_V1_IPI", "1 + 0.0736, nlmixr2lib"),
            ("sigma_log", "0.272, additive on the logarithm, nlmixr2lib"),
        ),
    ),
)
