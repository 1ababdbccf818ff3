"""Nimotuzumab in advanced cancer, intravenous: the data of Rodriguez-Vera et al. 2015.

Rodriguez-Vera et al. 2015 describe these data by target-mediated disposition
(quasi-steady state). Here its usual approximation, parallel linear and Michaelis-Menten
elimination, is given weak priors of the right order of magnitude.
"""

from popk.model import Card, PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, LogNormalError
from popk.structure import ParallelMichaelisMenten, TwoCompartment

model = PopModel(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    typical={
        "CL": LogNormal(0.01, cv=1.0),
        "V1": LogNormal(3.0, cv=0.5),
        "Q": LogNormal(0.03, cv=1.0),
        "V2": LogNormal(3.0, cv=1.0),
        "VMAX": LogNormal(1.0, cv=1.5),
        "KM": LogNormal(10.0, cv=1.0),
    },
    iiv=IIV({"CL": HalfNormal(0.5), "V1": HalfNormal(0.5)}),
    error=LogNormalError(HalfNormal(0.5)),
    units={"time": "h", "amount": "mg", "concentration": "mg/L"},
    name="nimotuzumab",
    notes=(
        "Data: Rodriguez-Vera et al. 2015; 12 patients, weekly 30-minute infusions of "
        "50 to 400 mg.",
        "Structure and priors are popk's own, not the authors' model (QSS-TMDD): typical antibody "
        "volumes and clearances, wide.",
        "The data are rich in time but only three patients had each dose.",
    ),
    card=Card(
        citation="Rodriguez-Vera L, et al. 2015 (the data; the priors are popk's own).",
        population="12 patients with advanced cancer, 50 to 400 mg weekly.",
        route="intravenous infusion over 30 minutes",
        seen="The data; of the authors' own model (QSS-TMDD) no number is used.",
        assumptions=(
            "Every prior is popk's own: CL, V1, Q, V2, VMAX and KM have wide priors of the usual "
            "size of an antibody; omega_CL, omega_V1 and sigma_log are left to the data.",
        ),
        doses=("50, 100, 200 or 400 mg over 30 min",),
        intervals=(1.0,),
    ),
)
