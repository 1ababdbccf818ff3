"""Theophylline, a single oral dose: the data of Upton in Boeckmann, Sheiner & Beal 1994.

One compartment with first-order absorption; CL and V are apparent. The numbers are a fit of those
data by nlmixr2 (adaptive quadrature), without weight.
"""

from popk.model import Card, PopModel
from popk.statistics import IIV, Additive, from_estimate, from_omega
from popk.structure import FirstOrder, OneCompartment

# Estimate (SE of its logarithm). Hours, mg, L, mg/L.
KA = 1.580  # 1/h (0.197); logarithm 0.4577
CL = 2.750  # L/h (0.0758); logarithm 1.0117
V = 31.60  # L (0.0431); logarithm 3.4533
VARIANCE_KA, VARIANCE_CL, VARIANCE_V = 0.398, 0.0706, 0.0182
SIGMA_ADD = 0.696  # mg/L (SE 0.093)
ASSUMED_RSE = 0.40  # of variances between twelve subjects: sqrt(2 / 12)

model = PopModel(
    OneCompartment(FirstOrder()),
    typical={
        "CL": from_estimate(CL, rse=0.0758),
        "V": from_estimate(V, rse=0.0431),
        "KA": from_estimate(KA, rse=0.197),
    },
    iiv=IIV(
        {
            "CL": from_omega(variance=VARIANCE_CL, rse=ASSUMED_RSE),
            "V": from_omega(variance=VARIANCE_V, rse=ASSUMED_RSE),
            "KA": from_omega(variance=VARIANCE_KA, rse=ASSUMED_RSE),
        }
    ),
    error=Additive(from_estimate(SIGMA_ADD, se=0.093)),
    units={"time": "h", "amount": "mg", "concentration": "mg/L"},
    name="theophylline",
    notes=(
        "For teaching and for tests: twelve volunteers, one dose. Not meant for therapeutic drug "
        "monitoring: no covariate is in it.",
        "CL and V are apparent (CL/F, V/F), of subjects of 54.6-86.4 kg.",
    ),
    card=Card(
        citation="Boeckmann AJ, Sheiner LB, Beal SL. NONMEM Users Guide, Part V. 1994 (the data, "
        "of R. Upton).",
        population="12 volunteers of 54.6-86.4 kg (70.5), 132 samples.",
        route="oral, a single dose",
        seen="A fit of the data by nlmixr2 7.0.1 with standard errors.",
        assumptions=(
            "No SE was seen of the variances: 40 % is assumed, as for twelve subjects.",
            "The random effects are uncorrelated.",
        ),
        doses=("a single oral dose",),
        targets=(("concentration", 10.0, "the customary range of 10-20 mg/L"),),
        sources=(
            ("CL", "2.750 L/h: logarithm 1.0117 (SE 0.0758), nlmixr2"),
            ("V", "31.60 L: logarithm 3.4533 (SE 0.0431), nlmixr2"),
            ("KA", "1.580 /h: logarithm 0.4577 (SE 0.197), nlmixr2"),
            ("omega_CL", "variance 0.0706, nlmixr2"),
            ("omega_V", "variance 0.0182, nlmixr2"),
            ("omega_KA", "variance 0.398, nlmixr2"),
            ("sigma_add", "0.696 mg/L (SE 0.093), nlmixr2"),
        ),
    ),
)
