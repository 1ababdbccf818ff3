"""The same, with clearance that follows weight."""

from popk import IIV, HalfNormal, LogNormal, Normal, PopModel, Power, Proportional
from popk.structure import OneCompartment

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.5), "V": LogNormal(5, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.3)}),
    covariates=(Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.25)),),
    error=Proportional(HalfNormal(0.3)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="one compartment, weight",
)
