"""An antibody in one compartment, without covariates."""

from popk import IIV, HalfNormal, LogNormal, PopModel, Proportional
from popk.structure import OneCompartment

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.5), "V": LogNormal(5, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.3)}),
    error=Proportional(HalfNormal(0.3)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L"},
    name="one compartment",
)
