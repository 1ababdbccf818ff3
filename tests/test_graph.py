"""The PyMC model that is built, against one written by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest

from popk.dataset import DataError, read_dataset
from popk.design import subject_of_output
from popk.graph import build
from popk.model import ModelError, PopModel
from popk.observations import observations
from popk.statistics import (
    IIV,
    Combined,
    Fold,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Proportional,
)
from popk.structure import OneCompartment, events_of

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
LLOQ = 2.0
DOSES = {"1": [(0.0, 100.0), (7.0, 120.0)], "2": [(0.0, 80.0)], "3": [(1.0, 150.0), (15.0, 150.0)]}
# (time, concentration); below the limit where None.
SAMPLES = {
    "1": [(3.0, 15.0), (7.0, 9.0), (21.0, 11.0)],
    "2": [(5.0, 9.5), (30.0, None)],
    "3": [(10.0, 14.0), (15.0, 8.0), (60.0, None)],
}
WEIGHTS = {"1": 62.0, "2": 90.0, "3": 75.0}
PRIORS = {"prop": HalfNormal(0.3), "add": HalfNormal(1.1)}


def frame(doses=None, samples=None, weights=None):
    rows = []
    for subject, given in (doses or DOSES).items():
        base = {"ID": subject, "LLOQ": LLOQ, "WT": (weights or WEIGHTS)[subject], "CMT": 1}
        base |= {"RATE": 0.0}
        taken = [
            base | {"TIME": t, "EVID": 0, "AMT": np.nan, "DV": v or LLOQ, "CENS": int(v is None)}
            for t, v in (samples or SAMPLES)[subject]
        ]
        rows_of = [
            base | {"TIME": t, "EVID": 1, "AMT": a, "DV": np.nan, "CENS": 0} for t, a in given
        ]
        # Samples at the time of a dose are before it.
        rows += sorted(taken + rows_of, key=lambda row: (row["TIME"], row["EVID"]))
    return pd.DataFrame(rows)


def dataset(**changes):
    return read_dataset(frame(**changes), units=UNITS)


def population(error, **changes):
    parts = {
        "typical": {"CL": LogNormal(0.3, cv=0.4), "V": LogNormal(4.2, cv=0.3)},
        "iiv": IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.35)}),
        "covariates": (Power("CL", "WT", reference=70.0, exponent=Normal(0.7, 0.2)),),
        "error": error,
        "units": UNITS,
    }
    return PopModel(OneCompartment(), **(parts | changes))


PROPORTIONAL = population(Proportional(PRIORS["prop"]))
COMBINED = population(Combined(PRIORS["prop"], PRIORS["add"]))
LOG_NORMAL = population(LogNormalError(PRIORS["prop"]))


def by_hand(error):
    """One compartment, boluses, in plain PyMC: a sum over all doses for every sample."""
    ids = list(DOSES)
    whose = np.array([ids.index(i) for i in ids for _ in SAMPLES[i]])
    time = np.array([t for i in ids for t, _ in SAMPLES[i]])
    value = np.array([v or np.nan for i in ids for _, v in SAMPLES[i]])
    quantified = np.flatnonzero(~np.isnan(value))
    below = np.flatnonzero(np.isnan(value))
    with pm.Model() as model:
        cl = pm.LogNormal("CL", math.log(0.3), math.sqrt(math.log(1.16)))
        v = pm.LogNormal("V", math.log(4.2), math.sqrt(math.log(1.09)))
        beta = pm.Normal("beta_CL_WT", 0.7, 0.2)
        omega_cl, omega_v = pm.HalfNormal("omega_CL", 0.4), pm.HalfNormal("omega_V", 0.35)
        prop = pm.HalfNormal("sigma_prop", 0.3)
        add = pm.HalfNormal("sigma_add", 1.1) if error == "combined" else 0.0
        z = pm.Normal("z", shape=(3, 2))
        weight = np.array([WEIGHTS[i] for i in ids])
        cl_i = (cl * (weight / 70.0) ** beta * pt.exp(omega_cl * z[:, 0]))[whose]
        v_i = (v * pt.exp(omega_v * z[:, 1]))[whose]
        c = 0.0
        for number in range(2):
            given = [DOSES[i][number] if number < len(DOSES[i]) else (np.inf, 0.0) for i in ids]
            start, amount = np.array(given)[whose].T
            since = np.where(start < time, time - start, 0.0)
            c += np.where(start < time, amount, 0.0) / v_i * pt.exp(-cl_i / v_i * since)
        sd = pt.sqrt((prop * c) ** 2 + add**2)
        scatter = pm.Normal.dist(c[quantified], sd[quantified])
        pm.Potential("quantified", pm.logp(scatter, value[quantified]).sum())
        pm.Potential("below", pm.logcdf(pm.Normal.dist(c[below], sd[below]), LLOQ).sum())
    return model


def points(model, n=5):
    """Points of the unconstrained space, the same for models with the same free variables."""
    rng = np.random.default_rng(4)
    start = model.initial_point()
    return [
        {
            name: value + 0.5 * rng.standard_normal(value.shape)
            for name, value in sorted(start.items())
        }
        for _ in range(n)
    ]


def density(model):
    """Log density as a function of a point."""
    return model.compile_logp(mode="FAST_COMPILE")


def slopes(model):
    """Gradient of the log density by name, as a function of a point."""
    gradient = model.compile_dlogp(mode="FAST_COMPILE")
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]
    ends = np.cumsum([np.size(model.initial_point()[name]) for name in names])[:-1]
    return lambda point: dict(zip(names, np.split(gradient(point), ends), strict=True))


@pytest.mark.parametrize(("error", "model"), [("prop", PROPORTIONAL), ("combined", COMBINED)])
def test_the_density_is_that_of_the_model_written_by_hand(error, model):
    built, hand = build(model, dataset()), by_hand(error)
    found, found_slopes = density(built), slopes(built)
    exact, exact_slopes = density(hand), slopes(hand)
    for point in points(built):
        # PyMC takes the root of 2 in single precision where an observation is below its limit.
        assert found(point) == pytest.approx(exact(point), rel=1e-8)
        expected = exact_slopes(point)
        for name, slope in found_slopes(point).items():
            np.testing.assert_allclose(slope, expected[name], rtol=1e-7, atol=1e-8)


def test_the_density_of_a_log_normal_error():
    built = build(LOG_NORMAL, dataset())
    value = built.compile_logp(vars=built.observed_RVs, sum=False, mode="FAST_COMPILE")
    point = points(built, 1)[0]
    prediction = evaluated(built, "parameters")(point)
    sd = math.exp(point["sigma_log_log__"])
    found = iter(value(point)[0])
    for i, subject in enumerate(DOSES):
        cl, v = prediction[i]
        for time, dv in SAMPLES[subject]:
            c = sum(a / v * math.exp(-cl / v * (time - t)) for t, a in DOSES[subject] if t < time)
            z = (math.log(dv or LLOQ) - math.log(c)) / sd
            below = math.log(0.5 * math.erfc(-z / math.sqrt(2)))
            exact = -0.5 * z * z - math.log(sd * dv * math.sqrt(2 * math.pi)) if dv else below
            assert next(found) == pytest.approx(exact, rel=1e-7)


def evaluated(model, name):
    """A deterministic variable as a function of a point."""
    (graph,) = model.replace_rvs_by_values([model[name]])
    return model.compile_fn(
        graph, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


OMEGAS = ("omega_CL", "omega_V")


def plain_point(point, z):
    """The point of the plain model, and what its density has more: |d omega/d log omega|, fold."""
    kept = {name: v for name, v in point.items() if name != "u" and "signed" not in name}
    omegas = {name: abs(point[f"{name}_signed"]) for name in OMEGAS}
    logs = {f"{name}_log__": np.log(omega) for name, omega in omegas.items()}
    return kept | logs | {"z": z}, sum(math.log(2.0 * omega) for omega in omegas.values())


@pytest.mark.parametrize("prior", [HalfNormal(0.4), HalfCauchy(0.3), HalfStudentT(4.0, 0.3)])
def test_adapted_coordinates_without_curvature_are_the_plain_ones(prior):
    """The SDs are signed there: half the density at each sign, and effects that change sign."""
    given = population(Proportional(PRIORS["prop"]), iiv=IIV({"CL": prior, "V": HalfNormal(0.35)}))
    plain = density(build(given, dataset()))
    built = build(given, dataset(), adapted=True)
    adapted = density(built)
    for point in points(built):
        signs = np.sign([point[f"{name}_signed"] for name in OMEGAS])
        moved, more = plain_point(point, point["u"] * signs)
        assert adapted(point) == pytest.approx(plain(moved) - more, rel=1e-7)


def test_adapted_coordinates_change_the_density_by_their_determinant():
    """p(u) = p(z) |dz/du|, with the determinant of a numerical Jacobian."""
    plain = density(build(PROPORTIONAL, dataset()))
    built = build(PROPORTIONAL, dataset(), adapted=True)
    rng = np.random.default_rng(5)
    root = rng.standard_normal((3, 2, 2)) * 4.0
    with built:
        pm.set_data({"curvature": root @ root.transpose(0, 2, 1)})
        pm.set_data({"pull": rng.standard_normal((3, 2)) * 3.0})
    adapted = density(built)
    eta = evaluated(built, "eta")
    for point in points(built, 3):
        omega = np.abs([point[f"{name}_signed"] for name in OMEGAS])

        def effects(u, point=point, omega=omega):
            return (eta(point | {"u": u.reshape(3, 2)}) / omega).ravel()

        u = point["u"].ravel()
        columns = [(effects(u + step) - effects(u - step)) / 2 for step in np.eye(6)]
        log_determinant = np.linalg.slogdet(np.stack(columns, axis=1))[1]
        assert abs(log_determinant) > 0.1
        moved, more = plain_point(point, effects(u).reshape(3, 2))
        expected = plain(moved) - more + log_determinant
        assert adapted(point) == pytest.approx(expected, rel=1e-7)


def test_names_dimensions_and_coordinates():
    built = build(PROPORTIONAL, dataset())
    names = {variable.name for variable in built.free_RVs}
    assert names == {"CL", "V", "beta_CL_WT", "omega_CL", "omega_V", "sigma_prop", "z"}
    dims = built.named_vars_to_dims
    assert dims["z"] == dims["eta"] == ("subject", "effect")
    assert dims["parameters"] == ("subject", "parameter")
    assert dims["DV"] == dims["subject_of"] == ("observation",)
    assert list(built.coords["subject"]) == ["1", "2", "3"]
    assert list(built.coords["parameter"]) == ["CL", "V"]
    assert list(built.coords["effect"]) == ["CL", "V"]
    assert list(built.coords["observation"]) == list(range(8))


def test_observations_and_whose_they_are():
    data = dataset()
    found = observations(PROPORTIONAL, data, events_of(data, OneCompartment()))
    assert found.below.tolist() == [False, False, False, False, True, False, False, True]
    assert found.dv.tolist() == [15.0, 9.0, 11.0, 9.5, LLOQ, 14.0, 8.0, LLOQ]
    assert found.lower.tolist() == [LLOQ] * 8
    assert found.upper.tolist() == [1.0] * 8
    assert not found.above.any()
    whose = subject_of_output(events_of(data, OneCompartment()))
    assert whose.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_one_subject_without_variability():
    model = population(Proportional(PRIORS["prop"]), iiv=None, covariates=())
    built = build(model, dataset().select(["1"]))
    assert {variable.name for variable in built.free_RVs} == {"CL", "V", "sigma_prop"}
    point = points(built, 1)[0]
    assert np.isfinite(density(built)(point))
    assert all(np.isfinite(slope).all() for slope in slopes(built)(point).values())


def test_other_units_are_refused_naming_both():
    data = read_dataset(frame(), units=UNITS | {"concentration": "ug/L"})
    with pytest.raises(ModelError) as refusal:
        build(PROPORTIONAL, data)
    assert "ug/L" in str(refusal.value)
    assert "mg/L" in str(refusal.value)


def test_a_missing_covariate_is_refused():
    units = {name: unit for name, unit in UNITS.items() if name != "WT"}
    data = read_dataset(frame().drop(columns="WT"), units=units)
    with pytest.raises(ModelError, match=r'needs the covariate WT, .* units={\.\.\., "WT": "kg"}'):
        build(PROPORTIONAL, data)


def test_a_covariate_that_an_effect_cannot_use_is_refused_once():
    units = UNITS | {"ADA": "1"}
    fold = LogNormal(2.0, cv=0.3)
    model = population(
        Proportional(PRIORS["prop"]),
        units=units,
        covariates=(Fold("CL", "ADA", factor=fold), Fold("V", "ADA", factor=fold)),
    )
    data = read_dataset(frame().assign(ADA=[0] * 5 + [2] * 3 + [1] * 5), units=units)
    with pytest.raises(DataError) as refusal:
        build(model, data)
    found = [(p.id, p.column, p.message) for p in refusal.value.problems]
    assert found == [("2", "ADA", "ADA is 2, but a fold of ADA needs 0 or 1.")]


BEFORE = "comes before any dose has had an effect"


def test_an_observation_before_the_first_dose_has_no_relative_error():
    data = dataset(samples=SAMPLES | {"3": [(0.5, 14.0), (10.0, 14.0)]})
    with pytest.raises(DataError) as refusal:
        build(PROPORTIONAL, data)
    (problem,) = refusal.value.problems
    assert (problem.row, problem.id, problem.column) == (9, "3", "DV")
    assert problem.message.startswith(f"The observation at TIME 0.5 {BEFORE}")
    with pytest.raises(DataError, match=BEFORE):
        build(LOG_NORMAL, data)
    built = build(COMBINED, data)
    point = points(built, 1)[0]
    assert np.isfinite(density(built)(point))
    assert all(np.isfinite(slope).all() for slope in slopes(built)(point).values())


def test_an_observation_at_the_start_of_the_first_infusion_is_as_one_before_it():
    """Nothing has been infused yet, whichever record comes first."""
    table = frame(samples=SAMPLES | {"3": [(1.0, 14.0), (10.0, 14.0)]})
    start = (table["ID"] == "3") & (table["TIME"] == 1.0)
    table[start] = table[start].iloc[::-1].to_numpy()  # the dose first, then the sample
    build(PROPORTIONAL, read_dataset(table, units=UNITS))
    table.loc[start & (table["EVID"] == 1), "RATE"] = 300.0
    with pytest.raises(DataError, match=BEFORE):
        build(PROPORTIONAL, read_dataset(table, units=UNITS))
