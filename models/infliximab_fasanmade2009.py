"""Infliximab in ulcerative colitis, intravenous: Fasanmade et al. 2009.

Fasanmade et al., Eur J Clin Pharmacol 2009;65:1211-1228, doi 10.1007/s00228-009-0718-4.
Two compartments, linear; albumin, antibodies and sex act on CL, weight and sex on V1.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Fold,
    LogNormal,
    Power,
    from_estimate,
    from_omega,
)
from popk.structure import TwoCompartment

# Estimate ± SE (abstract). Days, mg, L, mg/L.
CL = 0.407  # L/d ± 0.0103
V1 = 3.29  # L ± 0.0679
V2 = 4.13  # L ± 0.16
Q = 7.14  # L/d ± 0.489
# SE of these not seen: assumed.
ALBUMIN_ON_CL = -1.54  # exponent of ALB / 4.1 g/dL
ANTIBODIES_ON_CL = 1.471  # 1 + 0.471
FEMALE_ON_CL = 0.764  # 1 - 0.236
WEIGHT_ON_V1 = 0.538  # exponent of WT / 77 kg
FEMALE_ON_V1 = 0.863  # 1 - 0.137
CV_CL, CV_V1 = 0.377, 0.221  # IIV (abstract)
SIGMA_PROP = 0.403
SIGMA_ADD = 0.0413  # mg/L
ASSUMED_RSE = 0.20  # of exponents, variability and residual error
ASSUMED_CV_OF_FOLDS = 0.10

model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, se=0.0103),
        "V1": from_estimate(V1, se=0.0679),
        "Q": from_estimate(Q, se=0.489),
        "V2": from_estimate(V2, se=0.16),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE),
        }
    ),
    covariates=(
        Power("CL", "ALB", 4.1, from_estimate(ALBUMIN_ON_CL, rse=ASSUMED_RSE, kind="normal")),
        Fold("CL", "ADA", LogNormal(ANTIBODIES_ON_CL, cv=ASSUMED_CV_OF_FOLDS)),
        Fold("CL", "FEMALE", LogNormal(FEMALE_ON_CL, cv=ASSUMED_CV_OF_FOLDS)),
        Power("V1", "WT", 77.0, from_estimate(WEIGHT_ON_V1, rse=ASSUMED_RSE, kind="normal")),
        Fold("V1", "FEMALE", LogNormal(FEMALE_ON_V1, cv=ASSUMED_CV_OF_FOLDS)),
    ),
    error=Combined(
        from_estimate(SIGMA_PROP, rse=ASSUMED_RSE), from_estimate(SIGMA_ADD, rse=ASSUMED_RSE)
    ),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "ALB": "g/dL",
        "ADA": "1",
        "FEMALE": "1",
    },
    name="infliximab_fasanmade2009",
    notes=(
        "Reference: a man of 77 kg with 4.1 g/dL of albumin and no antibodies. Weight does not act "
        "on CL in this model.",
        "Albumin is in g/dL. ADA is 1 where antibodies to infliximab were found at any time.",
    ),
    card=Card(
        citation="Fasanmade AA, Adedokun OJ, Ford J, Hernandez D, Johanns J, Hu C, Davis HM, "
        "Zhou H. Population pharmacokinetic analysis of infliximab in patients with ulcerative "
        "colitis. Eur J Clin Pharmacol 2009;65(12):1211-1228.",
        doi="10.1007/s00228-009-0718-4",
        population="482 adults with moderate to severe ulcerative colitis (ACT 1, ACT 2), 18-75 "
        "years (median 41), 36-159 kg (median 77), 39 % women, 6.8 % with antibodies.",
        route="intravenous infusion over 2 h",
        seen="Typical values with SE and the variability: the paper's abstract. Covariates and "
        "residual error: the model file Fasanmade_2009_infliximab of nlmixr2lib.",
        assumptions=(
            "No SE was seen of the covariate effects, the variability and the residual error: 20 % "
            "(10 % of factors) is assumed.",
            "Whether the additive 0.0413 is an SD or a variance was not verified; it is taken for "
            "an SD, and the variances of both parts add.",
            "The random effects are uncorrelated: no correlation was seen.",
            "The range of albumin (ALB) was not seen.",
        ),
        domain=(("WT", 36.0, 159.0), ("ADA", 0.0, 1.0), ("FEMALE", 0.0, 1.0)),
        doses=("5 mg/kg over 2 h", "10 mg/kg over 2 h", "in weeks 0, 2 and 6, then every 8 weeks"),
        intervals=(8.0,),
        targets=(
            ("trough", 7.5, "endoscopic healing: Papamichael et al., Aliment Pharmacol Ther 2018"),
            ("trough", 10.5, "histologic healing: Papamichael et al. 2018"),
        ),
        sources=(
            ("CL", "0.407 L/d (SE 0.0103), abstract"),
            ("V1", "3.29 L (SE 0.0679), abstract"),
            ("Q", "7.14 L/d (SE 0.489), abstract"),
            ("V2", "4.13 L (SE 0.16), abstract"),
            ("omega_CL", "CV 37.7 %, abstract; variance 0.131 in nlmixr2lib"),
            ("omega_V1", "CV 22.1 %, abstract; variance 0.048 in nlmixr2lib"),
            ("beta_CL_ALB", "-1.54, nlmixr2lib"),
            ("fold_CL_ADA", "1 + 0.471, nlmixr2lib"),
            ("fold_CL_FEMALE", "1 - 0.236, nlmixr2lib"),
            ("beta_V1_WT", "0.538, nlmixr2lib"),
            ("fold_V1_FEMALE", "1 - 0.137, nlmixr2lib"),
            ("sigma_prop", "0.403, nlmixr2lib"),
            ("sigma_add", "0.0413 mg/L, nlmixr2lib"),
        ),
    ),
)
