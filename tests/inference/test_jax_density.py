"""The joint density by JAX is the one that every other method samples, gradient included."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode

from popk.dataset import read_dataset
from popk.graph import build
from popk.inference.jax_density import jax_density
from popk.model import PopModel
from popk.statistics import (
    IIV,
    IOV,
    Autocorrelated,
    Beta,
    Combined,
    Correlated,
    Fixed,
    Fold,
    HalfNormal,
    LatentCovariate,
    Level,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Proportional,
    StudentTError,
    Subpopulations,
    check_forms,
)
from popk.structure import FirstOrder, OneCompartment

UNITS = {
    "time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ADA": "1", "SITE": "1",
}  # fmt: skip
PLAIN = Mode(linker="py", optimizer=None)  # what was written, without JAX or rewriting
SD = HalfNormal(0.4)
ONE = {"CL": LogNormal(2.0, cv=0.5), "V": LogNormal(10.0, cv=0.5)}


def made(structure, *uses, **parts):
    units = {name: UNITS[name] for name in ("time", "amount", "concentration", *uses)}
    return PopModel(structure, units=units, name="a model", **parts)


IV = {"typical": ONE, "iiv": IIV({"CL": SD, "V": SD})}
COMBINED, PROPORTIONAL = Combined(SD, HalfNormal(0.5)), Proportional(SD)
SIMPLE = made(OneCompartment(), **IV, error=COMBINED)
CORRELATED = IIV({"CL": SD, "V": SD}, correlations=[Correlated(("CL", "V"))])
FULL = made(
    OneCompartment(),
    "WT",
    "ADA",
    typical=ONE,
    iiv=CORRELATED,
    error=COMBINED,
    iov=IOV({"CL": HalfNormal(0.2)}),
    covariates=(
        *(Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.1)),),
        Fold("CL", "ADA", LogNormal(2, cv=0.3)),
    ),
)
MODELS = {
    "covariates that change, correlated effects, occasions, BLQ": FULL,
}
MORE = {
    "Student's t, censored": made(
        OneCompartment(), **IV, error=StudentTError(COMBINED, Fixed(4.0))
    ),
    "nothing but a dose and a half-life": SIMPLE,
    "log-normal error, censored": made(
        OneCompartment(absorption=FirstOrder()),
        typical=ONE | {"KA": LogNormal(0.8, cv=0.5)},
        iiv=IIV({"CL": SD}),
        error=LogNormalError(SD),
    ),
    "autocorrelated": made(
        OneCompartment(), **IV, error=Autocorrelated(PROPORTIONAL, LogNormal(3.0, cv=0.5))
    ),
    "sites": made(
        OneCompartment(),
        "SITE",
        **IV,
        error=COMBINED,
        levels=[Level("SITE", {"CL": HalfNormal(0.2)})],
    ),
    "classes": made(
        OneCompartment(),
        **IV,
        error=COMBINED,
        subpopulations=Subpopulations(
            ("slow", "fast"),
            shares={"fast": Beta(0.3, n=10)},
            folds={"CL": {"fast": LogNormal(2.0, cv=0.3)}},
        ),
    ),
    "a weight that is missing": made(
        OneCompartment(),
        "WT",
        **IV,
        error=COMBINED,
        covariates=(Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.1)),),
        latent=[LatentCovariate("WT", mean=LogNormal(70, cv=0.1), sd=HalfNormal(0.3))],
    ),
}


def cohort(model, *, missing=False, lloq=0.5):
    """Boluses (or oral doses) and infusions at a steady state; samples of which some are below."""
    rng = np.random.default_rng(3)
    oral = len(model.structure.names) == 3
    rows = []
    for k in range(5):
        base = {"ID": f"S{k}", "WT": 55.0 + 8 * k, "ADA": 0, "SITE": k % 2 + 1, "LLOQ": lloq}
        base |= {"ADDL": 0, "II": 0.0, "SS": 0, "RATE": 0.0, "CENS": 0, "OCC": 1}
        if missing and k == 2:
            base["WT"] = np.nan
        dose = base | {"EVID": 1, "AMT": 100.0, "CMT": 1, "DV": np.nan}
        rows.append(dose | {"TIME": 0.0, "ADDL": 2, "II": 12.0})
        if k == 1:
            rows[-1] |= {"SS": 1}
        if k == 3:
            rows[-1] |= {"RATE": 50.0, "CMT": 1 + oral}
        for time in (1.0, 5.0, 11.0, 26.0, 70.0):
            dv = 9.0 * math.exp(-0.08 * time + 0.2 * rng.standard_normal())
            below = dv < lloq
            later = {"OCC": 2, "ADA": int(k < 3 and bool(model.covariates))} if time > 20 else {}
            rows.append(
                base
                | {"EVID": 0, "AMT": np.nan, "TIME": time, "CMT": 1 + oral, "CENS": int(below)}
                | {"DV": lloq if below else dv}
                | later
            )
    frame = pd.DataFrame(rows)
    unused = {"WT", "ADA", "SITE"} - {name for name, _ in model.units.covariates}
    if not model.iov.effects:
        unused.add("OCC")
    more = {"missing": {"WT": "model"}} if missing else {}
    return read_dataset(frame.drop(columns=list(unused)), units=model.units, carry="nonmem", **more)


def by_pytensor(model, dataset, density, forms):
    """The same density and gradient of the flat vector, by PyTensor without JAX."""
    import pymc as pm

    graph = build(model, dataset, adapted=True, forms=forms)
    with graph:
        for name, values in density.data.items():
            pm.set_data({name: values})
    names, places = list(density.places), list(density.places.values())
    free = [graph.rvs_to_values[variable].name for variable in graph.free_RVs]
    assert names[: len(free)] == free
    value = graph.compile_logp(mode=PLAIN)
    gradient = graph.compile_dlogp(mode=PLAIN)

    def both(x):
        point = {
            name: x[place].reshape(shape)
            for name, (place, shape) in zip(free, places, strict=False)
        }
        return float(value(point)), gradient(point)

    return both


def check(model, forms=None, **given):
    dataset = cohort(model, **given)
    forms = check_forms(model.iiv, forms or {})
    density = jax_density(model, dataset, forms)
    rng = np.random.default_rng(8)
    shaped = {}
    for name, values in density.data.items():
        if "curvature" in name:
            root = rng.standard_normal(values.shape)
            square = root.shape[-1] == root.shape[-2]
            shaped[name] = root @ root.swapaxes(-1, -2) if square else root
        else:
            shaped[name] = np.abs(rng.standard_normal(values.shape)) + 0.1
    density = density.with_data(**shaped)
    both = by_pytensor(model, dataset, density, forms)
    for _ in range(3):
        x = 0.4 * rng.standard_normal(density.size)
        value, gradient = density.log_density(x)
        expected, slopes = both(x)
        assert np.isfinite(expected)
        assert value == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-9 * np.abs(slopes).max())
    return density


@pytest.mark.parametrize("name", MODELS)
def test_value_and_gradient_are_those_of_the_other_methods(name):
    check(MODELS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_value_and_gradient_of_further_models(name):
    check(MORE[name], missing="missing" in name, lloq=1e-3 if name == "autocorrelated" else 0.5)


@pytest.mark.slow
def test_other_coordinates():
    check(SIMPLE, {"CL": "centred", "V": "non-centred"})
