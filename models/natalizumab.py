"""Natalizumab in multiple sclerosis, intravenous: van den Berg et al. 2025.

van den Berg et al., CPT: Pharmacometrics & Systems Pharmacology 2025, doi 10.1002/psp4.70014.
Two compartments with parallel linear and Michaelis-Menten elimination. Priors below are centred on
Table 2 of that paper; how wide they are against its bootstrap intervals is said in the notes.
"""

from popk.model import Card, PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, LogNormalError, Normal, Power
from popk.structure import ParallelMichaelisMenten, TwoCompartment

# Table 2, point estimates (bootstrap 95 % CI). Days, mg, L, mg/L.
CL = 0.164  # L/d (0.155-0.173)
V1 = 3.48  # L (3.25-3.76)
V2 = 3.48  # L (2.98-3.95)
Q = 0.40  # L/d; no interval seen: fixed by the authors, probably
VMAX = 2.86  # mg/d (2.52-3.20)
KM = 0.875  # mg/L (0.11-1.55)
WEIGHT_ON_CL = 0.60  # (0.44-0.76)
WEIGHT_ON_V1 = 0.26  # (0.01-0.48)
OMEGA_CL, OMEGA_V2, OMEGA_VMAX = 0.228, 0.315, 0.26  # IIV, given as CV
SIGMA_PROP = 0.219  # bootstrap median (0.210-0.229)
REFERENCE_WEIGHT = 70.0  # kg; assumed

model = PopModel(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    typical={
        "CL": LogNormal(CL, cv=0.30),
        "V1": LogNormal(V1, cv=0.04),
        "Q": LogNormal(Q, cv=0.05),
        "V2": LogNormal(V2, cv=0.10),
        "VMAX": LogNormal(VMAX, cv=0.15),
        "KM": LogNormal(KM, cv=0.25),
    },
    iiv=IIV(
        {
            "CL": HalfNormal(0.4),
            "V2": LogNormal(OMEGA_V2, cv=0.35),
            "VMAX": LogNormal(OMEGA_VMAX, cv=0.35),
        }
    ),
    covariates=(
        Power("CL", "WT", reference=REFERENCE_WEIGHT, exponent=Normal(WEIGHT_ON_CL, 0.20)),
        Power("V1", "WT", reference=REFERENCE_WEIGHT, exponent=Normal(WEIGHT_ON_V1, 0.12)),
    ),
    error=LogNormalError(HalfNormal(0.4)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="natalizumab",
    notes=(
        "Source: van den Berg et al. 2025, CPT:PSP, doi 10.1002/psp4.70014, Table 2 (as extracted "
        "from the paper).",
        "Population: adults with multiple sclerosis, 300 mg intravenously, Amsterdam.",
        "Assumed, because it was not seen in the source: the exponent 0.60 acts on CL and 0.26 on "
        "V1; the reference weight is 70 kg; the random effects are uncorrelated; the residual "
        "error of 21.9 % is proportional on the logarithmic scale (DV = prediction * exp(error)). "
        "The same on the natural scale would take a prediction near zero for infinitely precise.",
        "V1, Q, V2, VMAX and KM are weakly identified by troughs and have informative priors. "
        "Against the paper's bootstrap interval the prior of V1 is as wide, of V2 1.4 times, of "
        "VMAX 2.5 times, and of KM 0.6 times as wide; Q has 5 %, as no interval was seen. CL and "
        "the weight exponent on CL have wider priors and are left to the data. Troughs at a "
        "four-week interval alone do not separate VMAX from CL.",
        "The variability of V2 and VMAX is weakly identified too: its priors are centred on the "
        "published values, and their width (35 %) is an assumption, as no interval was seen.",
        "Laboratories differ by about 1.4 times in level: use it with one assay, and check the "
        "level.",
        "Intravenous doses only: subcutaneous natalizumab has another bioavailability.",
    ),
    card=Card(
        citation="van den Berg SPH, Toorop AA, Hooijberg F, et al. Pharmacokinetic Model-Informed "
        "Precision Dosing of Natalizumab in Multiple Sclerosis. CPT Pharmacometrics Syst Pharmacol "
        "2025.",
        doi="10.1002/psp4.70014",
        population="Adults with relapsing-remitting multiple sclerosis on 300 mg every four weeks; "
        "how many, their ages and weights were not seen.",
        route="intravenous infusion",
        seen="The abstract of the paper, and an extract of its Table 2; not the paper itself.",
        assumptions=(
            "The exponent 0.60 acts on CL and 0.26 on V1; the reference weight is 70 kg.",
            "The random effects are uncorrelated: no correlation was seen.",
            "The residual error of 21.9 % (sigma_log) is proportional on the logarithmic scale.",
            "Weights: those of other published cohorts (van Kempen; NOVA), as the paper's own were "
            "not seen.",
            "Intervals: 4 weeks is the label's; up to 8 are those of personalised dosing.",
        ),
        domain=(("WT", 50.0, 120.0),),
        doses=("300 mg over 1 h",),
        intervals=(4.0, 5.0, 6.0, 7.0, 8.0),
        targets=(
            ("trough", 10.0, "van den Berg 2025, abstract"),
            ("trough", 5.0, "van den Berg 2025, abstract"),
            ("trough", 2.0, "van den Berg 2025, abstract"),
        ),
        sources=(
            ("CL", "0.164 L/d (95 % CI 0.155-0.173), Table 2"),
            ("V1", "3.48 L (3.25-3.76), Table 2"),
            ("Q", "0.40 L/d, no interval: fixed, probably; Table 2"),
            ("V2", "3.48 L (2.98-3.95), Table 2"),
            ("VMAX", "2.86 mg/d (2.52-3.20), Table 2"),
            ("KM", "0.875 mg/L (0.11-1.55), Table 2"),
            ("omega_CL", "CV 22.8 %, Table 2; the prior HalfNormal(0.4) leaves it to the data"),
            ("omega_V2", "CV 31.5 %, Table 2"),
            ("omega_VMAX", "CV 26 %, Table 2"),
            ("beta_CL_WT", "0.60 (0.44-0.76), Table 2"),
            ("beta_V1_WT", "0.26 (0.01-0.48), Table 2"),
            ("sigma_log", "21.9 % (21.0-22.9), Table 2; HalfNormal(0.4) leaves it to the data"),
        ),
    ),
)
