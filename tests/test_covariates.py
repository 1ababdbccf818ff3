"""Covariate effects from the data to the density, the predictions and the individual posterior."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.design import check_fit, design_of
from popk.graph import build
from popk.individual import Trough, find_modes, individualise, patients_of, propose
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.reporting.card import model_tables
from popk.statistics import (
    IIV,
    NUMPY,
    CustomEffect,
    Exponential,
    Fixed,
    Fold,
    Folds,
    Horseshoe,
    LinearEffect,
    LogitScale,
    LogNormal,
    Normal,
    Power,
    Proportional,
    Shrunk,
    Uniform,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "AGE": "a", "ADA": "1"}
TIMES = (7.0, 14.0, 28.0)


def model(*effects, notes=()):
    return PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.05), "V": LogNormal(5.0, cv=0.05)},
        iiv=IIV({"CL": LogNormal(0.3, cv=0.05)}),
        covariates=effects,
        error=Proportional(LogNormal(0.2, cv=0.05)),
        units=UNITS,
        notes=notes,
    )


def frame(weights=(60.0, 71.6, 90.0), ages=(30.0, 40.0, 85.0)):
    rows = []
    for k, (weight, age) in enumerate(zip(weights, ages, strict=True)):
        base = {"ID": f"P{k + 1}", "WT": weight, "AGE": age, "ADA": 0, "AMT": None, "DV": None}
        rows.append(base | {"TIME": 0.0, "EVID": 1, "AMT": 300.0})
        rows += [base | {"TIME": t, "EVID": 0, "DV": 60 * np.exp(-t / 25)} for t in TIMES]
    return pd.DataFrame(rows)


def data(table=None, **settings):
    return read_dataset(frame() if table is None else table, units=UNITS, **settings)


# --- references ---------------------------------------------------------------------------------


def test_open_references_become_medians_of_two_digits_and_the_notes_say_so():
    given = Fold("V", "ADA", Fixed(1.0))
    slope = Exponential("V", "AGE", Normal(0.0, 0.02))
    centred = model(Power("CL", "WT"), slope, given, notes=("A note.",)).centred_on(data())
    assert [e.reference for e in centred.covariates[:2]] == [72.0, 40.0]
    assert centred.covariates[2] == given
    assert centred.notes == (
        "A note.",
        "The reference of WT is 72 kg: the median of the 3 subjects' first values, 71.6, rounded "
        "to two significant digits.",
        "The reference of AGE is 40 a: the median of the 3 subjects' first values, 40, rounded "
        "to two significant digits.",
    )
    assert "exponent of WT/72 kg on CL" in str(centred)
    assert centred.centred_on(data(frame(weights=(5.0,) * 3))) == centred


def test_a_reference_that_is_given_stays():
    own = model(Power("CL", "WT", 70.0))
    assert own.centred_on(data()) == own


def test_an_open_reference_is_refused_before_anything_is_computed():
    sentence = (
        "the power effect of WT on CL has no reference (None); give it one, or take "
        "model.centred_on(dataset), whose references are the medians of the data. (model model)"
    )
    for use in (build, check_fit, design_of):
        with pytest.raises(ModelError) as refusal:
            use(model(Power("CL", "WT")), data())
        assert refusal.value.faults == (sentence,)


def test_a_model_is_not_centred_on_what_is_not_there():
    table = frame()
    units = {name: unit for name, unit in UNITS.items() if name != "WT"}
    with pytest.raises(ModelError, match=r"centred on WT, which the data do not have; they ha"):
        model(Power("CL", "WT")).centred_on(read_dataset(table, units=units))
    with pytest.raises(ModelError, match="WT is in kg on one side and in g on the other"):
        model(Power("CL", "WT")).centred_on(read_dataset(table, units=UNITS | {"WT": "g"}))


# --- what the data must be ----------------------------------------------------------------------


def test_levels_that_the_data_do_not_have_are_refused_when_they_are_to_be_estimated():
    table = frame().assign(ADA=[0] * 4 + [1] * 8)
    factors = {1: LogNormal(2.0, cv=0.3), 2: LogNormal(3.0, cv=0.3)}
    with pytest.raises(ModelError) as refusal:
        check_fit(model(Folds("CL", "ADA", factors=factors, reference=0)), data(table))
    assert refusal.value.faults == (
        "the effect of ADA on CL has a factor for level 2, but the data have only 0, 1. Leave the "
        "level out, or give its factor a Fixed value.",
    )
    known = model(Folds("CL", "ADA", factors=factors | {2: Fixed(3.0)}, reference=0))
    assert check_fit(known, data(table)).covariates["ADA"].tolist() == [0, 1, 1]
    assert design_of(model(Folds("CL", "ADA", factors=factors, reference=0)), data(table))


def test_one_new_patient_need_not_have_every_level(fits):
    factors = {1: LogNormal(2.0, cv=0.3), 2: LogNormal(3.0, cv=0.3)}
    made = model(Folds("CL", "ADA", factors=factors, reference=0))
    fit = fits.fit_of(made, data(frame().assign(ADA=[0] * 4 + [1] * 4 + [2] * 4)))
    patient = data(frame().iloc[4:8].assign(ID="new", ADA=1))
    advice = individualise(
        fit, patient, target=Trough(5, "mg/L"), probability=0.9, weeks=[4], seed=1
    )
    assert np.isfinite(advice["decision"]["probability"].values).all()


def test_a_level_that_the_effect_does_not_know_is_named_with_row_and_id():
    table = frame().assign(ADA=[0] * 8 + [7] * 4)
    with pytest.raises(DataError) as refusal:
        design_of(model(Folds("CL", "ADA", factors={1: Fixed(2.0)}, reference=0)), data(table))
    first = refusal.value.problems[0]
    assert (first.row, first.id, first.column) == (9, "P3", "ADA")
    assert first.message == "ADA is 7, but the effect on CL knows the levels 0, 1 of ADA only."


def test_negative_values_where_a_power_needs_positive_ones():
    table = frame(ages=(30.0, -1.0, 85.0))
    with pytest.raises(DataError) as refusal:
        check_fit(model(Power("CL", "AGE", 40.0)), data(table))
    (problem,) = refusal.value.problems
    assert (problem.row, problem.id, problem.column) == (5, "P2", "AGE")
    assert "AGE is -1, but a power of AGE needs a value above zero." in str(refusal.value)


def test_a_factor_that_is_not_above_zero_at_the_prior_medians_is_refused():
    slope = LinearEffect("CL", "AGE", Normal(-0.03, 0.01), 40.0)
    with pytest.raises(DataError) as refusal:
        check_fit(model(slope), data())
    (problem,) = refusal.value.problems
    assert (problem.id, problem.column) == ("P3", "AGE")
    assert problem.message == (
        "At AGE 85 the factor of the linear effect on CL is not above zero with its coefficients "
        "at their prior medians (slope_CL_AGE -0.03)."
    )
    assert check_fit(model(slope), data(frame(ages=(30.0, 40.0, 60.0))))


# --- the density --------------------------------------------------------------------------------


def functions(built):
    """Log density and gradient of a model at a point."""
    value, slope = built.compile_logp(mode="FAST_COMPILE"), built.compile_dlogp(mode="FAST_COMPILE")
    return lambda point: (float(value(point)), np.asarray(slope(point)))


def custom(x, b):
    return 1 + b.AGEING * (x.AGE - 40) * x.WT / 70


@pytest.mark.parametrize(
    ("effect", "name", "bad"),
    [
        (LinearEffect("CL", "AGE", Normal(0.0, 0.02), 40.0), "slope_CL_AGE", -1 / 45 - 0.001),
        (CustomEffect("V", ("AGE", "WT"), coefficients={"AGEING": Normal(0.0, 0.02)},
                      factor=custom), "AGEING", -0.1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("adapted", [False, True])
def test_an_impossible_factor_has_no_density_and_a_slope_of_zero(effect, name, bad, adapted):
    built = build(model(effect), data(), adapted=adapted)
    density = functions(built)
    start = built.initial_point()
    value, slope = density(start)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    value, slope = density(start | {name: np.array(bad)})
    assert value == -np.inf
    assert np.isfinite(slope).all()
    # What is left are the slopes of the priors: nothing of the data.
    prior = functions(build(model(), data(), adapted=adapted))
    alone = prior({k: v for k, v in start.items() if k != name})[1]
    assert len(slope) == len(alone) + 1


def limited(factor):
    """V between 0 and 8 L, typically 5, and more where there are antibodies."""
    return replace(
        model(Fold("V", "ADA", LogNormal(factor, cv=0.3))),
        typical={"CL": LogNormal(0.2, cv=0.05), "V": Uniform(4.0, 6.0)},
        scales={"V": LogitScale(0.0, 8.0)},
    )


def test_a_factor_that_leaves_the_limits_of_a_scale_is_refused_at_the_prior_medians():
    table = data(frame().assign(ADA=lambda t: 1.0 * (t["ID"] == "P2")))
    assert check_fit(limited(1.2), table).events.n_subjects == 3
    with pytest.raises(DataError) as refusal:
        check_fit(limited(1.7), table)
    (problem,) = refusal.value.problems
    assert (problem.id, problem.column) == ("P2", "ADA")
    assert "the typical V is 8.5, but its scale is LogitScale(low=0.0, high=8.0)" in problem.message


@pytest.mark.parametrize("adapted", [False, True])
def test_a_factor_that_leaves_the_limits_has_no_density_and_a_slope_of_zero(adapted):
    table = data(frame().assign(ADA=lambda t: 1.0 * (t["ID"] == "P2")))
    built = build(limited(1.2), table, adapted=adapted)
    density, start = functions(built), built.initial_point()
    assert np.isfinite(density(start)[0])
    value, slope = density(start | {"fold_V_ADA_log__": np.log(2.0)})
    assert value == -np.inf
    assert np.isfinite(slope).all()


def test_the_density_with_every_kind_of_effect_is_that_by_numpy():
    effects = (
        Power("CL", "WT", 70.0, Normal(0.75, 0.2)),
        LinearEffect("CL", "AGE", Normal(0.0, 0.005), 40.0),
        CustomEffect("V", ("AGE", "WT"), coefficients={"AGEING": Normal(0.0, 0.005)},
                     factor=custom),
        Exponential("V", "WT", Normal(0.0, 0.01), 70.0),
    )  # fmt: skip
    own, table = model(*effects), data()
    built = build(own, table)
    names = [p.name for p in own.parameters]
    rng = np.random.default_rng(2)
    population = PopulationDraws.from_prior(own, 3, rng)
    z = rng.standard_normal((3, 3, 1))
    theta = population.row_parameters(check_fit(own, table), population.omega[:, None] * z)
    run = built.compile_fn(
        built["parameters"],
        inputs=[built[name] for name in (*names, "z")],
        point_fn=False,
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )
    weight, age = np.array([60.0, 71.6, 90.0]), np.array([30.0, 40.0, 85.0])
    for k in range(3):
        value = {name: population.values[name][k] for name in names}
        cl = value["CL"] * (weight / 70) ** value["beta_CL_WT"]
        cl = cl * (1 + value["slope_CL_AGE"] * (age - 40)) * np.exp(value["omega_CL"] * z[k, :, 0])
        v = value["V"] * (1 + value["AGEING"] * (age - 40) * weight / 70)
        v = v * np.exp(value["slope_V_WT"] * (weight - 70))
        expected = np.stack([cl, v], axis=1)
        np.testing.assert_allclose(theta[k], expected, rtol=1e-12)
        np.testing.assert_allclose(run(*value.values(), z[k]), expected, rtol=1e-12)


# --- screening ----------------------------------------------------------------------------------

SCREEN = Horseshoe("screen", candidates=2, expected_nonzero=1, scale=0.05)
SCREENED = (
    Power("CL", "WT", 70.0, Shrunk(SCREEN, spread=0.2)),
    Exponential("CL", "AGE", Shrunk(SCREEN, spread=20.0), 40.0),
)


def test_a_screened_coefficient_is_a_quantity_of_the_model():
    own = model(*SCREENED)
    built = build(own, data())
    population = PopulationDraws.from_prior(own, 1, np.random.default_rng(2))
    parts = ("tau_screen", "slab_screen", "lambda_beta_CL_WT", "z_beta_CL_WT")
    run = built.compile_fn(
        built["beta_CL_WT"],
        inputs=[built[name] for name in parts],
        point_fn=False,
        mode="FAST_COMPILE",
    )
    tau, variance, local, z = (population.values[name][0] for name in parts)
    expected = z * tau * local / np.sqrt(1 + (tau * local) ** 2 / variance) / 0.2
    assert run(tau, variance, local, z) == pytest.approx(expected, rel=1e-12)
    (weight, _) = own.derived
    assert weight.value(population.values, NUMPY)[0] == pytest.approx(expected, rel=1e-12)
    # It acts on CL through its parts alone.
    found = np.exp(population.expected({"WT": np.array([140.0]), "AGE": np.array([40.0])}))
    typical = population.values["CL"][0]
    assert found[0, 0, 0] == pytest.approx(typical * 2**expected, rel=1e-12)


# --- predictions --------------------------------------------------------------------------------


def changing(carry, becomes=20.0):
    """One patient whose antibodies turn positive on day 20, with a blank in between."""
    rows = [
        (0.0, 1, 300.0, None, 0),
        (10.0, 0, None, 30.0, "."),
        (becomes, 2, None, None, 1),
        (28.0, 0, None, 10.0, 1),
        (28.0, 1, 300.0, None, 1),
        (50.0, 0, None, 5.0, "."),
    ]
    table = pd.DataFrame(rows, columns=["TIME", "EVID", "AMT", "DV", "ADA"])
    return data(table.assign(ID="A", WT=70.0, AGE=40.0), carry=carry)


@pytest.mark.parametrize(("carry", "since"), [("locf", 20.0), ("nocb", 0.0)], ids=["locf", "nocb"])
def test_antibodies_that_appear_raise_clearance_from_then_on(fits, carry, since):
    """From the record on under locf; from the last record known to be negative under nocb."""
    own = model(Fold("CL", "ADA", LogNormal(2.45, cv=0.1)))
    fit = fits.fit_of(own, changing("locf"))
    found = predict(fit, changing(carry), seed=1)["predictions"]
    posterior = {name: fit["posterior"][name].values.ravel() for name in ("CL", "V", "eta")}
    k = posterior["CL"] * np.exp(posterior["eta"]) / posterior["V"]
    fold = fit["posterior"]["fold_CL_ADA"].values.ravel()

    def left(start, end):
        """Share of an amount that is left after an interval."""
        without = max(min(end, since) - start, 0.0)
        return np.exp(-k * (without + fold * (end - start - without)))

    volume = posterior["V"]
    twice = 300 / volume * left(0.0, 28.0)
    expected = {
        10.0: 300 / volume * left(0.0, 10.0),
        20.0: 300 / volume * left(0.0, 20.0),
        28.0: twice,
        50.0: (twice + 300 / volume) * left(28.0, 50.0),
    }
    assert found["TIME"].values.tolist() == list(expected)
    ipred = found["IPRED"].values.reshape(-1, 4)
    for column, values in enumerate(expected.values()):
        np.testing.assert_allclose(ipred[:, column], values, rtol=1e-8)
    clearance = found["row_parameters"].sel(parameter="CL").values.reshape(-1, 2)
    np.testing.assert_allclose(clearance[:, 1] / clearance[:, 0], fold, rtol=1e-12)


def test_draws_for_which_a_patient_is_impossible_get_no_weight():
    """A slope learnt from the young must not predict a negative clearance for the old."""
    own = model(LinearEffect("CL", "AGE", Normal(-0.015, 0.006), 40.0))
    population = PopulationDraws.from_prior(own, 400, np.random.default_rng(1))
    (patient,) = patients_of(population, data().select(["P3"]))
    possible = 1 + population.values["slope_CL_AGE"] * 45 > 0
    assert 10 < (~possible).sum() < 200
    modes = find_modes(population, patient)
    found = propose(population, patient, modes, each=4, rng=np.random.default_rng(2))
    assert not np.isnan(found.log_weight).any()
    assert (found.log_weight[~possible] == -np.inf).all()
    assert np.isfinite(found.log_weight[possible]).any(axis=1).all()


def test_predictions_are_nan_where_a_factor_is_impossible(fits):
    own = model(LinearEffect("CL", "AGE", Normal(-0.005, 0.0005), 40.0))
    fit = fits.fit_of(own, data())
    old = data(frame(ages=(30.0, 40.0, 400.0)))
    found = predict(fit, old, new_subjects=True, seed=1)["predictions"]
    ipred = found["IPRED"].values.reshape(-1, 9)
    assert np.isfinite(ipred[:, :6]).all()
    impossible = fit["posterior"]["slope_CL_AGE"].values.ravel() * 360 <= -1
    assert 0.9 < impossible.mean() <= 1.0
    assert not np.isfinite(ipred[impossible, 6:]).any()


# --- reports ------------------------------------------------------------------------------------


def test_the_report_names_all_covariates_and_writes_the_factor(fits):
    effect = CustomEffect(
        "V", ("AGE", "WT"), coefficients={"AGEING": Normal(0.0, 0.005)}, factor=custom
    )
    own = model(effect, Power("CL", "WT", 70.0))
    fit = fits.fit_of(own, data())
    (table,) = [t for t in model_tables(fit) if t.title == "Covariates"]
    texts = [[cell.text for cell in row] for row in table.rows]
    assert [row[:2] for row in texts] == [["AGE, WT", "V"], ["WT", "CL"]]
    assert "factor = 1 + (((AGEING * (AGE - 40)) * WT) / 70)" in texts[0][2]
    assert "steps" not in json.dumps(texts)
