"""Ocrelizumab in multiple sclerosis, intravenous: Gibiansky et al. 2021.

Gibiansky et al., Br J Clin Pharmacol 2021;87:2511-2520, doi 10.1111/bcp.14658.
Two compartments with a clearance of which a part vanishes exponentially with time. Its residual
error and the variability of its clearance were not seen: here they are left to the data.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    HalfNormal,
    LogNormalError,
    Power,
    Prior,
    from_estimate,
    from_omega,
)
from popk.structure import DecliningClearance, TwoCompartment

# EU label; no SE seen. Days, mg, L, mg/L.
CL = 0.17  # L/d: what remains in the end
CL0 = 0.0489  # L/d: what vanishes
V1 = 2.78  # L
V2 = 2.68  # L
Q = 0.294  # L/d
# An extract of the paper.
KDES_PER_YEAR = 1.11
KDES = KDES_PER_YEAR / 365.25  # 1/d
WEIGHT_ON_CL, WEIGHT_ON_V1, WEIGHT_ON_V2 = 0.684, 0.397, 0.853
VARIANCE_V1 = 0.026
# Assumed.
REFERENCE_WEIGHT = 75.0  # kg
ASSUMED_RSE = 0.05
ASSUMED_RSE_OF_EFFECTS = 0.20


def _exponent(value: float) -> Prior:
    return from_estimate(value, rse=ASSUMED_RSE_OF_EFFECTS, kind="normal")


model = PopModel(
    TwoCompartment(elimination=DecliningClearance()),
    typical={
        "CL": from_estimate(CL, rse=ASSUMED_RSE),
        "V1": from_estimate(V1, rse=ASSUMED_RSE),
        "Q": from_estimate(Q, rse=0.10),
        "V2": from_estimate(V2, rse=ASSUMED_RSE),
        "CL0": from_estimate(CL0, rse=0.20),
        "KDES": from_estimate(KDES, rse=0.20),
    },
    iiv=IIV(
        {
            "CL": HalfNormal(0.4),
            "V1": from_omega(variance=VARIANCE_V1, rse=ASSUMED_RSE_OF_EFFECTS),
        }
    ),
    covariates=(
        Power("CL", "WT", REFERENCE_WEIGHT, _exponent(WEIGHT_ON_CL), "CL_WT"),
        Power("CL0", "WT", REFERENCE_WEIGHT, _exponent(WEIGHT_ON_CL), "CL_WT"),
        Power("V1", "WT", REFERENCE_WEIGHT, _exponent(WEIGHT_ON_V1)),
        Power("V2", "WT", REFERENCE_WEIGHT, _exponent(WEIGHT_ON_V2)),
    ),
    error=LogNormalError(HalfNormal(0.4)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="ocrelizumab",
    notes=(
        "Residual error assumed: it was not seen, nor was the variability of CL. Both have weak "
        "priors of popk's own (HalfNormal(0.4)) and want data; do not forecast a single patient "
        "from this model without them.",
        "Time must be 0 at the first dose: a part of the clearance vanishes with it.",
    ),
    card=Card(
        citation="Gibiansky E, Petry C, Mercier F, Günther A, Herman A, Kappos L, Hauser S, "
        "Yamamoto Y, Wang Q, Model F, Kletzl H. Ocrelizumab in relapsing and primary progressive "
        "multiple sclerosis: Pharmacokinetic and pharmacodynamic analyses of OPERA I, OPERA II and "
        "ORATORIO. Br J Clin Pharmacol 2021;87(6):2511-2520.",
        doi="10.1111/bcp.14658",
        population="Adults with relapsing or primary progressive multiple sclerosis (OPERA I, "
        "OPERA II, ORATORIO); how many, and their weights, were not seen.",
        route="intravenous infusion",
        seen="Typical values: the EU label. Exponents, rate constant and variance of V1: an "
        "extract of the paper. Half-life and effects of weight: the paper's abstract.",
        assumptions=(
            "omega_CL and sigma_log were not seen: popk's own priors, HalfNormal(0.4); the form of "
            "the residual error (log-normal) is assumed too.",
            "No SE was seen. The widths are assumed: 5 % for CL, V1 and V2, 10 % for Q, 20 % for "
            "the rest.",
            "The reference weight is 75 kg, the middle of the published reference group of 60 to "
            "90 kg; its exponent acts on both parts of the clearance.",
            "The random effects are uncorrelated. The range of WT was not seen.",
            "There is no target of concentrations.",
        ),
        doses=("300 mg twice, two weeks apart, then 600 mg every 24 weeks",),
        intervals=(24.0,),
        sources=(
            ("CL", "0.17 L/d, EU label"),
            ("V1", "2.78 L, EU label"),
            ("Q", "0.294 L/d, EU label"),
            ("V2", "2.68 L, EU label"),
            ("CL0", "0.0489 L/d, EU label"),
            ("KDES", "1.11 / 365.25 d (1.11 per year), extract; half-life 33 weeks in the label"),
            ("omega_V1", "variance 0.026, extract"),
            ("beta_CL_WT", "0.684, extract"),
            ("beta_V1_WT", "0.397, extract"),
            ("beta_V2_WT", "0.853, extract"),
        ),
    ),
)
