"""Phenobarbital in preterm neonates, intravenous: Grasela & Donn 1985.

Grasela & Donn, Dev Pharmacol Ther 1985;8:374-383, doi 10.1159/000457062.
One compartment; clearance and volume are proportional to weight, the volume is larger after
asphyxia. The residual error is that of a refit of the public data.
"""

from popk.model import Card, PopModel
from popk.statistics import (
    IIV,
    CustomEffect,
    Fixed,
    LogNormal,
    Power,
    Proportional,
    from_estimate,
    from_omega,
)
from popk.structure import OneCompartment
from popk.structure.functions import where_positive

# Abstract; no SE seen. Hours, mg, L, mg/L.
CL_PER_KG = 0.0047  # L/h/kg
V_PER_KG = 0.96  # L/kg
ASPHYXIA_ON_V = 1.13  # where the Apgar score at 5 minutes is below 5
CV_CL, CV_V = 0.19, 0.16
REFERENCE_WEIGHT = 1.3  # kg: median of the public data
CL, V = CL_PER_KG * REFERENCE_WEIGHT, V_PER_KG * REFERENCE_WEIGHT
# NONMEM's refit (FOCEI) of the public data: estimate (SE).
VARIANCE_PROP = 0.0132  # (0.0023), of the residual error
RSE_CL, RSE_V = 0.0447, 0.0273  # 0.00021 / 0.004696; 0.0269 / 0.9843
RSE_ASPHYXIA = 0.072  # 0.084 / 1.159
RSE_VARIANCE_CL, RSE_VARIANCE_V = 0.456, 0.269  # 0.0134 / 0.0294; 0.0075 / 0.0279

model = PopModel(
    OneCompartment(),
    typical={"CL": from_estimate(CL, rse=RSE_CL), "V": from_estimate(V, rse=RSE_V)},
    iiv=IIV(
        {
            "CL": from_omega(cv=CV_CL, rse=RSE_VARIANCE_CL / 2),
            "V": from_omega(cv=CV_V, rse=RSE_VARIANCE_V / 2),
        }
    ),
    covariates=(
        Power("CL", "WT", REFERENCE_WEIGHT, Fixed(1.0)),
        Power("V", "WT", REFERENCE_WEIGHT, Fixed(1.0)),
        CustomEffect(
            "V",
            "APGR",
            coefficients={"fold_V_ASPHYXIA": LogNormal(ASPHYXIA_ON_V, cv=RSE_ASPHYXIA)},
            factor=lambda x, b: where_positive(5.0 - x.APGR, b.fold_V_ASPHYXIA, 1.0),
        ),
    ),
    error=Proportional(from_estimate(VARIANCE_PROP**0.5, rse=0.0023 / 0.0132 / 2)),
    units={"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg", "APGR": "1"},
    name="phenobarbital",
    notes=(
        "APGR is the Apgar score at 5 minutes; below 5 counts as asphyxia.",
        "The refit of the public data gives 0.0047 L/h/kg and 0.984 L/kg, and 1.16 with asphyxia.",
    ),
    card=Card(
        citation="Grasela TH, Donn SM. Neonatal population pharmacokinetics of phenobarbital "
        "derived from routine clinical data. Dev Pharmacol Ther 1985;8(6):374-383.",
        doi="10.1159/000457062",
        population="59 preterm neonates, birth weight 0.600-3.620 kg (mean 1.520), gestational age "
        "24-42 weeks (31).",
        route="intravenous",
        seen="The paper's abstract; residual error and standard errors: a refit of the public data "
        "by NONMEM.",
        assumptions=(
            "The residual error was not seen in the source: that of the refit is taken, and the "
            "refit's relative standard errors for the published numbers; that of its "
            "asphyxia effect is 0.084 of 1.159.",
            "The random effects are uncorrelated.",
        ),
        domain=(("WT", 0.6, 3.62), ("APGR", 1.0, 10.0)),
        doses=("load of 15-20 mg/kg", "2.5-5 mg/kg per day"),
        targets=(("trough", 15.0, "15-30 mg/L: a neonatal manual"),),
        sources=(
            ("CL", "0.0047 * 1.3 L/h (0.0047 L/h/kg), abstract"),
            ("V", "0.96 * 1.3 L (0.96 L/kg), abstract"),
            ("omega_CL", "CV 19 %, abstract"),
            ("omega_V", "CV 16 %, abstract"),
            ("beta_CL_WT", "1: per kg, abstract"),
            ("beta_V_WT", "1: per kg, abstract"),
            ("fold_V_ASPHYXIA", "1.13, abstract"),
            ("sigma_prop", "variance 0.0132 (SE 0.0023), refit by NONMEM"),
        ),
    ),
)
