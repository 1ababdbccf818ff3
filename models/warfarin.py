"""Warfarin, racemate, a single oral dose: the data of O'Reilly et al. 1963 and 1968.

O'Reilly, Aggeler & Leong, J Clin Invest 1963;42:1542-1551; O'Reilly & Aggeler, Circulation
1968;38:169-177. One compartment with a lag and first-order absorption; CL and V are apparent. The
numbers are a fit of those data by Monolix, with weight.
"""

from popk.model import Card, PopModel
from popk.statistics import IIV, CombinedSD, Power, from_estimate, from_omega
from popk.structure import Dosing, FirstOrder, OneCompartment

# Estimate (SE). Hours, mg, L, mg/L.
ALAG1 = 0.780  # h (0.178)
KA = 1.359  # 1/h (0.411)
V = 8.061  # L (0.220)
CL = 0.1336  # L/h (0.00637)
WEIGHT_ON_V = 0.899  # (0.140), exponent of WT / 70 kg
WEIGHT_ON_CL = 0.595  # (0.253)
OMEGA_ALAG1, OMEGA_KA, OMEGA_V, OMEGA_CL = 0.542, 0.850, 0.137, 0.264
SIGMA_ADD = 0.239  # mg/L
SIGMA_PROP = 0.0527
ASSUMED_RSE = 0.20  # of variability and residual error; ALAG1 and KA more

model = PopModel(
    OneCompartment(FirstOrder(), dosing=Dosing(lag=(1,))),
    typical={
        "CL": from_estimate(CL, se=0.00637),
        "V": from_estimate(V, se=0.220),
        "KA": from_estimate(KA, se=0.411),
        "ALAG1": from_estimate(ALAG1, se=0.178),
    },
    iiv=IIV(
        {
            "CL": from_omega(sd=OMEGA_CL, rse=ASSUMED_RSE),
            "V": from_omega(sd=OMEGA_V, rse=ASSUMED_RSE),
            "KA": from_omega(sd=OMEGA_KA, rse=0.40),
            "ALAG1": from_omega(sd=OMEGA_ALAG1, rse=0.40),
        }
    ),
    covariates=(
        Power("CL", "WT", 70.0, from_estimate(WEIGHT_ON_CL, se=0.253, kind="normal")),
        Power("V", "WT", 70.0, from_estimate(WEIGHT_ON_V, se=0.140, kind="normal")),
    ),
    error=CombinedSD(
        from_estimate(SIGMA_PROP, rse=ASSUMED_RSE), from_estimate(SIGMA_ADD, rse=ASSUMED_RSE)
    ),
    units={"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="warfarin",
    notes=(
        "For teaching and for tests: one dose. Both enantiomers together, and no "
        "genotype; the effect on coagulation is not in it.",
        "The SDs of the residual error add (Monolix's combined1).",
    ),
    card=Card(
        citation="O'Reilly RA, Aggeler PM, Leong LS. J Clin Invest 1963;42(10):1542-1551; O'Reilly "
        "RA, Aggeler PM. Circulation 1968;38:169-177 (the data).",
        population="32 subjects, 21-63 years (27.5), 40-102 kg (71.65), 251 concentrations.",
        route="oral, a single dose of 1.5 mg/kg",
        seen="A fit of the data by Monolix (SAEM) with standard errors.",
        assumptions=(
            "No SE was seen of the variability and the residual error: 20 % is assumed, 40 % of "
            "omega_KA and omega_ALAG1.",
            "The random effects are uncorrelated.",
            "There is no target of concentrations: the INR is what is aimed at.",
        ),
        domain=(("WT", 40.0, 102.0),),
        doses=("a single oral dose of 1.5 mg/kg",),
        sources=(
            ("CL", "0.1336 L/h (SE 0.00637), Monolix"),
            ("V", "8.061 L (SE 0.220), Monolix"),
            ("KA", "1.359 /h (SE 0.411), Monolix"),
            ("ALAG1", "0.780 h (SE 0.178), Monolix"),
            ("beta_CL_WT", "0.595 (SE 0.253), Monolix"),
            ("beta_V_WT", "0.899 (SE 0.140), Monolix"),
            ("omega_CL", "SD 0.264, Monolix"),
            ("omega_V", "SD 0.137, Monolix"),
            ("omega_KA", "SD 0.850, Monolix"),
            ("omega_ALAG1", "SD 0.542, Monolix"),
            ("sigma_prop", "0.0527, Monolix"),
            ("sigma_add", "0.239 mg/L, Monolix"),
        ),
    ),
)
