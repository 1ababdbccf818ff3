"""Gentamicin in premature and term neonates, intravenous: Fuchs et al. 2014.

Fuchs et al., Br J Clin Pharmacol 2014;78:1090-1101, doi 10.1111/bcp.12444.
Two compartments, linear; weight, gestational and postnatal age, and dopamine.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    Combined,
    Correlated,
    Fixed,
    Fold,
    LinearEffect,
    LogNormal,
    Power,
    from_estimate,
    from_omega,
)
from popk.structure import TwoCompartment

# Estimate (SE in %), at 2.17 kg. Hours, mg, L, mg/L.
CL = 0.089  # L/h (1 %)
V1 = 0.908  # L (2 %)
Q = 0.157  # L/h (7 %)
V2 = 0.560  # L (4 %)
GA_ON_CL = 1.870  # (3 %), of GA / 34 weeks - 1
PNA_ON_CL = 0.054  # (6 %), of PNA / 1 day - 1
DOPAMINE_ON_CL = 0.880  # 1 - 0.120 (22 %)
GA_ON_V1 = -0.922  # (8 %)
WEIGHT_ON_FLOWS, WEIGHT_ON_VOLUMES = 0.75, 1.0  # fixed by the authors
CV_CL, CV_V1 = 0.28, 0.18
CORRELATION = 0.87
SIGMA_PROP = 0.18  # (1 %)
SIGMA_ADD = 0.10  # mg/L (24 %)
REFERENCE_GA = 34.0  # weeks
ASSUMED_RSE = 0.10  # of the variability

model = PopModel(
    TwoCompartment(),
    typical={
        "CL": from_estimate(CL, rse=0.01),
        "V1": from_estimate(V1, rse=0.02),
        "Q": from_estimate(Q, rse=0.07),
        "V2": from_estimate(V2, rse=0.04),
    },
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=ASSUMED_RSE),
            "V1": from_omega(cv=CV_V1, rse=ASSUMED_RSE),
        },
        correlations=[Correlated(("CL", "V1"), fixed=(CORRELATION,))],
    ),
    covariates=(
        Power("CL", "WT", 2.17, Fixed(WEIGHT_ON_FLOWS)),
        Power("Q", "WT", 2.17, Fixed(WEIGHT_ON_FLOWS)),
        Power("V1", "WT", 2.17, Fixed(WEIGHT_ON_VOLUMES)),
        Power("V2", "WT", 2.17, Fixed(WEIGHT_ON_VOLUMES)),
        LinearEffect(
            "CL",
            "GA",
            from_estimate(GA_ON_CL / REFERENCE_GA, rse=0.03, kind="normal"),
            REFERENCE_GA,
        ),
        LinearEffect("CL", "PNA", from_estimate(PNA_ON_CL, rse=0.06, kind="normal"), 1.0),
        Fold("CL", "DOPA", LogNormal(DOPAMINE_ON_CL, cv=0.03)),
        LinearEffect(
            "V1",
            "GA",
            from_estimate(GA_ON_V1 / REFERENCE_GA, rse=0.08, kind="normal"),
            REFERENCE_GA,
        ),
    ),
    error=Combined(from_estimate(SIGMA_PROP, rse=0.01), from_estimate(SIGMA_ADD, rse=0.24)),
    units={
        "time": "h",
        "amount": "mg",
        "concentration": "mg/L",
        "WT": "kg",
        "GA": "wk",
        "PNA": "d",
        "DOPA": "1",
    },
    name="gentamicin_fuchs2014",
    notes=(
        "Reference: 2.17 kg, a gestational age of 34 weeks, one day old, no dopamine. DOPA is 1 "
        "while dopamine is given.",
        "A neonate's age and weight change within days: give them on every record.",
    ),
    card=Card(
        citation="Fuchs A, Guidi M, Giannoni E, Werner D, Buclin T, Widmer N, Csajka C. Population "
        "pharmacokinetic study of gentamicin in a large cohort of premature and term neonates. Br "
        "J Clin Pharmacol 2014;78(5):1090-1101.",
        doi="10.1111/bcp.12444",
        population="1,449 neonates (994 preterm), 0.44-5.51 kg (2.17), gestational age 24-42 weeks "
        "(34), 0-94 days old (1), 9.4 % on dopamine.",
        route="intravenous infusion over 30 min",
        seen="The paper's abstract (typical values), and the model file of nlmixr2lib.",
        assumptions=(
            "No SE was seen of the variability: 10 % is assumed. The SE of 22 % of the fall with "
            "dopamine (0.120) is 3 % of the factor.",
            "The variances of the parts of the residual error add.",
        ),
        domain=(("WT", 0.44, 5.51), ("GA", 24.0, 42.0), ("PNA", 0.0, 94.0), ("DOPA", 0.0, 1.0)),
        doses=(
            "5 mg/kg every 48 h up to 29 weeks of gestation",
            "4.5 mg/kg every 36 h from 30 to 34 weeks",
            "4 mg/kg every 24 h from 35 weeks on; each over 0.5 h",
        ),
        targets=(
            ("peak", 8.0, "about 8 mg/L, Fuchs 2014 in nlmixr2lib"),
            ("trough", 1.0, "at most 1 mg/L, the same"),
        ),
        sources=(
            ("CL", "0.089 L/h (SE 1 %), abstract"),
            ("V1", "0.908 L (SE 2 %), abstract"),
            ("Q", "0.157 L/h (SE 7 %), abstract"),
            ("V2", "0.560 L (SE 4 %), abstract"),
            ("omega_CL", "CV 28 %, nlmixr2lib"),
            ("omega_V1", "CV 18 %, nlmixr2lib"),
            ("corr_CL_V1", "0.87, nlmixr2lib"),
            ("beta_CL_WT", "0.75, fixed, nlmixr2lib"),
            ("beta_Q_WT", "0.75, fixed, nlmixr2lib"),
            ("beta_V1_WT", "1, fixed, nlmixr2lib"),
            ("beta_V2_WT", "1, fixed, nlmixr2lib"),
            ("slope_CL_GA", "1.870 / 34 wk (SE 3 %), nlmixr2lib"),
            ("slope_CL_PNA", "0.054 / 1 d (SE 6 %), nlmixr2lib"),
            ("fold_CL_DOPA", "1 - 0.120 (SE 22 %), nlmixr2lib"),
            ("slope_V1_GA", "-0.922 / 34 wk (SE 8 %), nlmixr2lib"),
            ("sigma_prop", "0.18 (SE 1 %), nlmixr2lib"),
            ("sigma_add", "0.10 mg/L (SE 24 %), nlmixr2lib"),
        ),
    ),
)
