"""Adalimumab in hidradenitis suppurativa, subcutaneous: Nader et al. 2017.

Nader et al., Clin Pharmacokinet 2017;56:1091-1102, doi 10.1007/s40262-016-0502-4.
One compartment with first-order absorption; CL and V are apparent (CL/F, V/F).
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Correlated,
    Fold,
    LogNormal,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import FirstOrder, OneCompartment

# Estimate (RSE). Days, mg, L, mg/L.
CL = 0.667  # L/d (2.65 %)
V = 13.5  # L (3.40 %)
KA = 0.195  # 1/d (9.9 %)
# RSE of these not seen: assumed.
ANTIBODIES_ON_CL = 6.76
CRP_ON_CL = 0.173  # exponent of CRP / 7.9 mg/L
WEIGHT_ON_CL, WEIGHT_ON_V = 0.888, 0.707  # exponents of WT / 94 kg
VARIANCE_CL, VARIANCE_V = 0.346, 0.091
VARIANCE_PROP, VARIANCE_ADD = 0.052, 2.06  # of the residual error; mg2/L2
ASSUMED_RSE = 0.20


def _exponent(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE, kind="normal")


model = PopModel(
    OneCompartment(FirstOrder()),
    typical={
        "CL": from_estimate(CL, rse=0.0265),
        "V": from_estimate(V, rse=0.0340),
        "KA": from_estimate(KA, rse=0.099),
    },
    iiv=IIV(
        {
            "CL": from_omega(variance=VARIANCE_CL, rse=ASSUMED_RSE),
            "V": from_omega(variance=VARIANCE_V, rse=ASSUMED_RSE),
        },
        correlations=[Correlated(("CL", "V"))],
    ),
    covariates=(
        Fold("CL", "AAA", LogNormal(ANTIBODIES_ON_CL, cv=ASSUMED_RSE)),
        Power("CL", "CRP", 7.9, _exponent(CRP_ON_CL)),
        Power("CL", "WT", 94.0, _exponent(WEIGHT_ON_CL)),
        Power("V", "WT", 94.0, _exponent(WEIGHT_ON_V)),
    ),
    error=Combined(
        from_estimate(VARIANCE_PROP**0.5, rse=0.10), from_estimate(VARIANCE_ADD**0.5, rse=0.20)
    ),
    units={
        "time": "d",
        "amount": "mg",
        "concentration": "mg/L",
        "AAA": "1",
        "CRP": "mg/L",
        "WT": "kg",
    },
    name="adalimumab",
    notes=(
        "Reference: 94 kg, C-reactive protein of 7.9 mg/L, no antibodies. AAA is 1 from day 22 on "
        "in patients with antibodies to adalimumab, 0 before.",
        "CL and V are apparent: the bioavailability of 64 % (label) is in them, so intravenous "
        "doses do not fit this model.",
        "Hidradenitis: heavier patients and higher doses than in arthritis.",
    ),
    card=Card(
        citation="Nader A, Beck D, Noertersheuser P, Williams D, Mostafa N. Population "
        "Pharmacokinetics and Immunogenicity of Adalimumab in Adult Patients with "
        "Moderate-to-Severe Hidradenitis Suppurativa. Clin Pharmacokinet 2017;56(9):1091-1102.",
        doi="10.1007/s40262-016-0502-4",
        population="600 adults with hidradenitis suppurativa, 18-67 years (35), 43-221 kg (94), "
        "CRP 0.1-189 mg/L (7.9), 66 % women, 6.5 % with antibodies.",
        route="subcutaneous injection",
        seen="The model file of nlmixr2lib.",
        assumptions=(
            "RSE were seen of CL/F, V/F and KA only: 10 % is assumed for the proportional error "
            "and 20 % for the rest.",
            "The covariance of CL and V was not published: corr_CL_V has an LKJ prior.",
        ),
        domain=(("AAA", 0.0, 1.0), ("CRP", 0.1, 189.0), ("WT", 43.0, 221.0)),
        doses=("160 mg, 80 mg in week 2, then 40 mg weekly from week 4", "40 mg every 2 weeks"),
        intervals=(1.0, 2.0),
        targets=(("trough", 5.0, "rheumatoid arthritis, 5-8 mg/L: summary of a study of 221"),),
        sources=(
            ("CL", "0.667 L/d (RSE 2.65 %), nlmixr2lib"),
            ("V", "13.5 L (RSE 3.40 %), nlmixr2lib"),
            ("KA", "0.195 /d (RSE 9.9 %), nlmixr2lib"),
            ("omega_CL", "variance 0.346, nlmixr2lib"),
            ("omega_V", "variance 0.091, nlmixr2lib"),
            ("fold_CL_AAA", "6.76, nlmixr2lib"),
            ("beta_CL_CRP", "0.173, nlmixr2lib"),
            ("beta_CL_WT", "0.888, nlmixr2lib"),
            ("beta_V_WT", "0.707, nlmixr2lib"),
            ("sigma_prop", "variance 0.052, nlmixr2lib"),
            ("sigma_add", "variance 2.06, nlmixr2lib"),
        ),
    ),
)
