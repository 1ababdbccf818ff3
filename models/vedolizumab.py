"""Vedolizumab in ulcerative colitis, intravenous: Rosario et al. 2015.

Rosario et al., Aliment Pharmacol Ther 2015;42:188-202, doi 10.1111/apt.13243.
Two compartments with parallel linear and Michaelis-Menten elimination. Of the published covariates
those whose effect is above 4 % are kept: weight, albumin and antibodies.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Correlated,
    Fixed,
    Fold,
    LogNormal,
    Power,
    Proportional,
    from_estimate,
    from_omega,
)
from popk.structure import ParallelMichaelisMenten, TwoCompartment

# Medians of the published posterior. Days, mg, L, mg/L.
CL = 0.159  # L/d (0.153-0.165), ulcerative colitis
V1 = 3.19  # L; no interval seen of this and the rest
V2 = 1.65  # L
Q = 0.12  # L/d
VMAX = 0.265  # mg/d
KM = 0.964  # mg/L
WEIGHT_ON_CL, WEIGHT_ON_V1 = 0.362, 0.467  # exponents of WT / 70 kg
WEIGHT_ON_V2, WEIGHT_ON_FLOWS = 1.0, 0.75  # fixed by the authors
ALBUMIN_ON_CL = -1.18  # exponent of ALB / 4 g/dL
ANTIBODIES_ON_CL = 1.12
OMEGA_CL, OMEGA_V1, OMEGA_VMAX = 0.346, 0.191, 1.05  # CV % = 100 omega, stated
CORRELATIONS = (0.566, -0.192, -0.267)  # CL-V1, CL-VMAX, V1-VMAX
VARIANCE_PROP = 0.0554
RSE_CL = 0.019  # a quarter of the interval's width
ASSUMED_RSE = 0.20
ASSUMED_RSE_OF_VOLUMES = 0.05

model = PopModel(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    typical={
        "CL": from_estimate(CL, rse=RSE_CL),
        "V1": from_estimate(V1, rse=ASSUMED_RSE_OF_VOLUMES),
        "Q": from_estimate(Q, rse=ASSUMED_RSE),
        "V2": from_estimate(V2, rse=ASSUMED_RSE_OF_VOLUMES),
        "VMAX": from_estimate(VMAX, rse=ASSUMED_RSE),
        "KM": from_estimate(KM, rse=ASSUMED_RSE),
    },
    iiv=IIV(
        {
            "CL": from_omega(sd=OMEGA_CL, rse=ASSUMED_RSE),
            "V1": from_omega(sd=OMEGA_V1, rse=ASSUMED_RSE),
            "VMAX": from_omega(sd=OMEGA_VMAX, rse=ASSUMED_RSE),
        },
        correlations=[Correlated(("CL", "V1", "VMAX"), fixed=CORRELATIONS)],
    ),
    covariates=(
        Power("CL", "WT", 70.0, from_estimate(WEIGHT_ON_CL, rse=ASSUMED_RSE, kind="normal")),
        Power("CL", "ALB", 4.0, from_estimate(ALBUMIN_ON_CL, rse=ASSUMED_RSE, kind="normal")),
        Fold("CL", "ADA", LogNormal(ANTIBODIES_ON_CL, cv=0.10)),
        Power("V1", "WT", 70.0, from_estimate(WEIGHT_ON_V1, rse=ASSUMED_RSE, kind="normal")),
        Power("V2", "WT", 70.0, Fixed(WEIGHT_ON_V2)),
        Power("Q", "WT", 70.0, Fixed(WEIGHT_ON_FLOWS)),
        Power("VMAX", "WT", 70.0, Fixed(WEIGHT_ON_FLOWS)),
    ),
    error=Proportional(from_estimate(VARIANCE_PROP**0.5, rse=0.10)),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "ALB": "g/dL",
        "ADA": "1",
    },
    name="vedolizumab",
    notes=(
        "Reference: ulcerative colitis, 70 kg, 4 g/dL of albumin, no antibodies. In Crohn's "
        "disease CL is 0.155 L/d (0.149-0.161) and V1 1 % larger.",
        "Published effects on CL that are left out, because each is 4 % or less (or a power below "
        "0.06): calprotectin, age, disease activity, prior TNF antagonist, azathioprine, "
        "mercaptopurine, methotrexate, aminosalicylates.",
        "Published troughs are means; the typical trough of this model is lower.",
    ),
    card=Card(
        citation="Rosario M, Dirks NL, Gastonguay MR, Fasanmade AA, Wyant T, Parikh A, Sandborn "
        "WJ, Feagan BG, Reinisch W, Fox I. Population pharmacokinetics-pharmacodynamics of "
        "vedolizumab in patients with ulcerative colitis and Crohn's disease. Aliment Pharmacol "
        "Ther 2015;42(2):188-202.",
        doi="10.1111/apt.13243",
        population="About 2,700 in six studies (6 % healthy), 18-78 years (39), 29.4-156 kg (70), "
        "48 % women, 51 % with Crohn's disease, 4 % with antibodies.",
        route="intravenous infusion",
        seen="The model file of nlmixr2lib; CL and the half-life also in the abstract of Rosario "
        "et al., Clin Pharmacokinet 2017;56:1287-1301.",
        assumptions=(
            "No interval was seen but that of CL: 5 % is assumed for volumes, 10 % for the factor "
            "of antibodies and the residual error, 20 % for the rest.",
            "The range of albumin (ALB) was not seen; the authors call it important below 3.2 "
            "g/dL.",
        ),
        domain=(("WT", 29.4, 156.0), ("ADA", 0.0, 1.0)),
        doses=("300 mg", "in weeks 0, 2 and 6, then every 8 (or 4) weeks"),
        intervals=(4.0, 8.0),
        targets=(
            ("trough at week 6", 18.0, "Frontline Gastroenterol 2022, PMC9380766, Table 1: 18-27"),
            ("trough at week 14", 12.6, "the same: 12.6-17"),
            ("trough", 12.0, "the same, maintenance: 12-13.6"),
        ),
        sources=(
            ("CL", "0.159 L/d (0.153-0.165), abstract of Rosario 2017; nlmixr2lib"),
            ("V1", "3.19 L, nlmixr2lib"),
            ("Q", "0.12 L/d, nlmixr2lib"),
            ("V2", "1.65 L, nlmixr2lib"),
            ("VMAX", "0.265 mg/d, nlmixr2lib"),
            ("KM", "0.964 mg/L, nlmixr2lib"),
            ("omega_CL", "0.346 (CV % = 100 omega), nlmixr2lib"),
            ("omega_V1", "0.191, nlmixr2lib"),
            ("omega_VMAX", "1.05, nlmixr2lib"),
            ("corr_CL_V1", "0.566, nlmixr2lib"),
            ("corr_CL_VMAX", "-0.192, nlmixr2lib"),
            ("pcorr_V1_VMAX", "correlation -0.267, nlmixr2lib; here given CL"),
            ("beta_CL_WT", "0.362, nlmixr2lib"),
            ("beta_CL_ALB", "-1.18, nlmixr2lib"),
            ("fold_CL_ADA", "1.12, nlmixr2lib"),
            ("beta_V1_WT", "0.467, nlmixr2lib"),
            ("beta_V2_WT", "1, fixed, nlmixr2lib"),
            ("beta_Q_WT", "0.75, fixed, nlmixr2lib"),
            ("beta_VMAX_WT", "0.75, fixed, nlmixr2lib"),
            ("sigma_prop", "variance 0.0554, nlmixr2lib"),
        ),
    ),
)
