"""A therapeutic antibody without a saturable path, intravenous and subcutaneous: Davda et al. 2014.

Davda et al., MAbs 2014;6:1094-1102, doi 10.4161/mabs.29095.
Two compartments, linear, with first-order absorption: what to expect of an antibody against a
soluble target before there are data of it.
"""

import math

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Allometry,
    Correlated,
    LogitNormal,
    Prior,
    Proportional,
    from_estimate,
    from_omega,
)
from popk.structure import Dosing, FirstOrder, TwoCompartment

# Table 3, at 70 kg; RSE not seen. Days, mg, L, mg/L.
CL = 0.200  # L/d
V1 = 3.61  # L
V2 = 2.75  # L
Q = 0.747  # L/d
KA = 0.282  # 1/d
F1 = 0.744
WEIGHT_ON_CLEARANCES, WEIGHT_ON_VOLUMES = 0.865, 0.957
VARIANCE_CL, VARIANCE_V1, VARIANCE_V2 = 0.0987, 0.116, 0.0789
VARIANCE_Q, VARIANCE_KA = 0.699, 0.416
COVARIANCES = {("CL", "V1"): 0.0786, ("CL", "V2"): 0.0377, ("V1", "V2"): 0.0619}
SIGMA_PROP = 0.144
ASSUMED_RSE = 0.10
ASSUMED_RSE_OF_EFFECTS = 0.20


def _omega(variance: float) -> Prior:
    return from_omega(variance=variance, rse=ASSUMED_RSE_OF_EFFECTS)


model = PopModel(
    TwoCompartment(FirstOrder(), dosing=Dosing(bioavailability=(1,))),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=ASSUMED_RSE),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "KA": from_estimate(KA, rse=ASSUMED_RSE),
        "F1": LogitNormal(F1, sd=0.2),
    },
    iiv=IIV(
        {
            "CL": _omega(VARIANCE_CL),
            "V1": _omega(VARIANCE_V1),
            "V2": _omega(VARIANCE_V2),
            "Q": _omega(VARIANCE_Q),
            "KA": _omega(VARIANCE_KA),
        },
        correlations=[
            Correlated(
                ("CL", "V1", "V2"),
                fixed=(
                    COVARIANCES["CL", "V1"] / math.sqrt(VARIANCE_CL * VARIANCE_V1),
                    COVARIANCES["CL", "V2"] / math.sqrt(VARIANCE_CL * VARIANCE_V2),
                    COVARIANCES["V1", "V2"] / math.sqrt(VARIANCE_V1 * VARIANCE_V2),
                ),
            )
        ],
    ),
    covariates=(
        Allometry(
            ("CL", "Q", "V1", "V2"),
            reference=70.0,
            clearance=from_estimate(WEIGHT_ON_CLEARANCES, rse=ASSUMED_RSE, kind="normal"),
            volume=from_estimate(WEIGHT_ON_VOLUMES, rse=ASSUMED_RSE, kind="normal"),
        ),
    ),
    error=Proportional(from_estimate(SIGMA_PROP, rse=ASSUMED_RSE)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="generic_antibody",
    notes=(
        "Healthy adults; patients, membrane-bound targets and antibodies against the drug change "
        "the clearance. Give the typical values wider priors (`flattened`) for another antibody.",
        "Subcutaneous doses go into compartment 1, intravenous ones into compartment 2.",
    ),
    card=Card(
        citation="Davda JP, Dodds MG, Gibbs MA, Wisdom W, Gibbs JP. A model-based meta-analysis of "
        "monoclonal antibody pharmacokinetics to guide optimal first-in-human study design. MAbs "
        "2014;6(4):1094-1102.",
        doi="10.4161/mabs.29095",
        population="171 healthy adults, four antibodies (three IgG2, one IgG1), 2,716 samples.",
        route="intravenous and subcutaneous",
        seen="The model file and article of nlmixr2lib (Table 3 of the paper).",
        assumptions=(
            "No RSE was seen. The widths are assumed: 10 % for typical values, exponents and the "
            "residual error, 20 % for variances, 0.2 on the logit of F1.",
            "The range of WT was not seen.",
        ),
        doses=("1-700 mg intravenously", "2.1-700 mg subcutaneously"),
        sources=(
            ("CL", "0.200 L/d, Table 3 in nlmixr2lib"),
            ("V1", "3.61 L, the same"),
            ("Q", "0.747 L/d, the same"),
            ("V2", "2.75 L, the same"),
            ("KA", "0.282 /d, the same"),
            ("F1", "0.744, the same"),
            ("beta_clearance_WT", "0.865, the same"),
            ("beta_volume_WT", "0.957, the same"),
            ("omega_CL", "variance 0.0987 (31.4 %), the same"),
            ("omega_V1", "variance 0.116 (34.1 %), the same"),
            ("omega_V2", "variance 0.0789 (28.1 %), the same"),
            ("omega_Q", "variance 0.699 (83.6 %), the same"),
            ("omega_KA", "variance 0.416 (64.5 %), the same"),
            ("corr_CL_V1", "covariance 0.0786, the same"),
            ("corr_CL_V2", "covariance 0.0377, the same"),
            ("pcorr_V1_V2", "covariance 0.0619, the same; here given CL"),
            ("sigma_prop", "0.144, the same"),
        ),
    ),
)
