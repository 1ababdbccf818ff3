"""What is observed and how: several outputs, assays, limits and autocorrelation, end to end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

from popk.dataset import DataError, read_dataset
from popk.design import check_fit
from popk.graph import build
from popk.individual import find_modes, patients_of, propose
from popk.model import ModelError, PopModel
from popk.observations import observations, readings
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.statistics import (
    IIV,
    NUMPY,
    Additive,
    Autocorrelated,
    ByAssay,
    Fixed,
    HalfNormal,
    LogNormal,
    Normal,
    PowerError,
    Proportional,
    StudentTError,
)
from popk.structure import DirectEffect, Emax, OneCompartment, concentrations

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
EFFECT = DirectEffect(OneCompartment(), response=Emax())
PRIOR = HalfNormal(0.3)
TWO = {"concentration": Proportional(PRIOR), "effect": Additive(HalfNormal(3.0))}


def model_with(error, structure=EFFECT, *, iiv=None):
    return PopModel(
        structure,
        typical={p.name: LogNormal(p.example, cv=0.3) for p in structure.parameters},
        iiv=IIV({"CL": HalfNormal(0.3)} if iiv is None else iiv),
        error=error,
        units=UNITS,
    )


def table(*rows, **options):
    """(ID, TIME, EVID, AMT, DV, then any other columns)."""
    names = ("ID", "TIME", "EVID", "AMT", "DV")
    frame = pd.DataFrame([dict(zip(names, row, strict=False)) | row[5] for row in rows])
    return read_dataset(frame, units=UNITS, **options)


def dose(subject=1, time=0.0, **more):
    return (subject, time, 1, 30.0, np.nan, {"CENS": 0} | more)


def seen(time, dv, subject=1, **more):
    return (subject, time, 0, np.nan, dv, {"CENS": 0} | more)


def both(**more):
    """Two subjects, each with concentrations (DVID 1) and effects (DVID 2)."""
    return table(*(
        row for subject in (1, 2)
        for row in (
            dose(subject, DVID=0),
            seen(1.0, 8.0, subject, DVID=1), seen(1.0, 70.0, subject, DVID=2),
            seen(3.0, 6.0, subject, DVID=1), seen(4.0, 64.0, subject, DVID=2),
        )
    ), **more)  # fmt: skip


def at_initial_point(built):
    """Log likelihood of each observation, and what the model's data say it rests on."""
    point = built.initial_point()
    value = built.compile_logp(vars=built.observed_RVs, sum=False, mode="FAST_COMPILE")
    gradient = built.compile_dlogp(mode="FAST_COMPILE")(point)
    assert np.isfinite(gradient).all()
    return value(point)[0], point


def by_numpy(model, data, point):
    """The same from popk's NumPy arithmetic, at the typical subject (z = 0)."""
    design = check_fit(model, data)
    values = {}
    for parameter in model.parameters:
        name = parameter.name
        given = point.get(name, point.get(f"{name}_log__"))
        values[name] = parameter.prior.median if given is None else given
        values[name] = np.exp(values[name]) if f"{name}_log__" in point else values[name]
    theta = np.array([[values[n] for n in model.structure.names]] * data.n_subjects, dtype=float)
    f = concentrations(model.structure, theta, design.events)
    observed = observations(model, data, design.events)
    return model.error.log_likelihood(observed, f, values, NUMPY), f, observed, values


LABS = ByAssay(
    {0: Proportional(PRIOR), 1: Proportional(PRIOR)}, scale={1: LogNormal(1.4, cv=0.1)}, label="LAB"
)


def assays():
    return table(
        dose(ASSAY=np.nan), *(seen(t, 9.0 - t, ASSAY=k) for t, k in ((1, 0), (2, 1), (3, 0))),
        dose(2, ASSAY=np.nan), *(seen(t, 9.0 - t, 2, ASSAY=k) for t, k in ((1, 1), (2, 1), (3, 0))),
    )  # fmt: skip


def limited():
    return table(
        dose(), seen(0.5, 8.4, CENS=-1), seen(2.0, 7.4), seen(30.0, 1.4, CENS=1),
        dose(2), seen(0.5, 8.5, 2), seen(2.0, 7.4, 2),
    )  # fmt: skip


ONE = OneCompartment()
CASES = [
    (model_with(TWO), both()),
    (model_with(LABS, ONE), assays()),
    (model_with(Additive(PRIOR, blq="M4"), ONE), limited()),
    (model_with(StudentTError(PowerError(PRIOR, Normal(0.7, 0.1)), LogNormal(5.0, cv=0.3)), ONE),
     limited()),
    (model_with({"concentration": Autocorrelated(Proportional(PRIOR), LogNormal(1.0, cv=0.5)),
                 "effect": Additive(HalfNormal(3.0))}), both()),
]  # fmt: skip
each = pytest.mark.parametrize(("model", "data"), CASES, ids=lambda x: getattr(x, "name", ""))


@each
def test_the_graph_computes_what_numpy_computes(model, data):
    value, point = at_initial_point(build(model, data))
    expected, *_ = by_numpy(model, data, point)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_each_output_is_judged_by_its_own_error():
    model, data = CASES[0]
    assert [p.name for p in model.parameters][-2:] == ["sigma_prop_concentration",
                                                       "sigma_add_effect"]  # fmt: skip
    assert [p.unit for p in model.parameters][-2:] == ["1", "1"]
    value, f, observed, values = by_numpy(model, data, build(model, data).initial_point())
    own = np.tile([0, 1, 0, 1], 2)
    assert observed.output.tolist() == own.tolist()
    sd = np.where(own, values["sigma_add_effect"], values["sigma_prop_concentration"] * f)
    np.testing.assert_allclose(value, stats.norm(f, sd).logpdf(observed.dv))


def test_the_patients_kernel_integrates_what_the_graph_says():
    """Marginal likelihood by importance sampling and on a grid, all kinds of errors."""
    rng = np.random.default_rng(3)
    for model, data in CASES:
        size = 20
        values = {p.name: np.full(size, p.prior.median) for p in model.parameters}
        population = PopulationDraws(model, values)
        omega = values["omega_CL"][0]
        eta = omega * np.linspace(-7.0, 7.0, 1401)
        sigma = {name: np.full((1401, 1), values[name][0]) for name, _ in model.error.priors}
        for patient in patients_of(population, data):
            modes = find_modes(population, patient)
            found = propose(population, patient, modes, each=400, rng=rng).log_marginal
            theta = np.tile([values[n][0] for n in model.structure.names], (1401, 1))
            theta[:, 0] *= np.exp(eta)
            f = patient.solver.ensemble(theta[:, None, :]).value
            each_one = model.error.log_likelihood(patient.observed, f, sigma, NUMPY).sum(axis=1)
            weight = stats.norm.pdf(eta, 0.0, omega) * (eta[1] - eta[0])
            exact = logsumexp(each_one, b=weight)
            estimate = logsumexp(found) - np.log(size)
            assert estimate == pytest.approx(exact, abs=0.02), (model.error, patient.subject)
            assert np.std(found) < 0.1


def test_predictions_have_a_dv_for_every_output_with_an_error(fits):
    known = PopModel(
        EFFECT, error={"effect": Additive(Fixed(0.1))}, units=UNITS,
        typical={p.name: Fixed(p.example) for p in EFFECT.parameters}, iiv=IIV({"CL": Fixed(0.1)}),
    )  # fmt: skip
    found = predict(fits.fit_of(known, both()), seed=1)["predictions"].to_dataset()
    effect = found["OUTPUT"].values == "effect"
    assert np.isfinite(found["DV"].values[..., effect]).all()
    assert np.isnan(found["DV"].values[..., ~effect]).all()
    assert np.isfinite(found["IPRED"]).all()
    residual = (found["DV"] - found["IPRED"]).values[..., effect]
    assert stats.kstest(residual.ravel() / 0.1, stats.norm.cdf).pvalue > 1e-4


def test_predictions_where_no_assay_is_said_are_the_references(fits):
    error = ByAssay(Proportional(Fixed(0.01)), scale={1: Fixed(2.0)})
    typical = {p.name: Fixed(p.example) for p in ONE.parameters}
    model = PopModel(ONE, typical=typical, iiv=IIV(), error=error, units=UNITS)
    data = assays()
    found = predict(fits.fit_of(model, data), seed=1)["predictions"].to_dataset()
    ratio = (found["DV"] / found["IPRED"]).mean(["chain", "draw"]).values
    np.testing.assert_allclose(ratio, [1, 2, 1, 2, 2, 1], atol=0.01)
    frame = data.to_frame().drop(columns="ASSAY")
    bare = read_dataset(frame, units=UNITS)
    found = predict(fits.fit_of(model, data), bare, seed=1)["predictions"].to_dataset()
    ratio = (found["DV"] / found["IPRED"]).mean(["chain", "draw"]).values
    np.testing.assert_allclose(ratio, 1.0, atol=0.01)


def test_what_follows_what():
    """Per subject, output and stretch of time; an observation that is left out breaks nothing."""
    model = model_with({
        "concentration": Autocorrelated(Proportional(PRIOR, blq="M1"), PRIOR),
        "effect": Additive(PRIOR),
    })  # fmt: skip
    data = table(
        dose(DVID=0), seen(1.0, 8.0, DVID=1), seen(1.0, 3.0, DVID=2),
        seen(2.0, 1.0, DVID=1, CENS=1),
        seen(4.0, 2.0, DVID=1), (1, 0.0, 4, 100.0, np.nan, {"CENS": 0, "DVID": 0}),
        seen(5.0, 8.0, DVID=1), seen(7.0, 8.0, DVID=1),
        dose(2, 8.0, DVID=0), seen(9.0, 8.0, 2, DVID=1),
    )  # fmt: skip
    events = check_fit(model, data).events
    found = observations(model, data, events)
    assert found.back.tolist() == [0, 0, 0, 3, 0, 1, 0]
    assert found.since.tolist() == [1.0, 1.0, 1.0, 3.0, 1.0, 2.0, 1.0]
    every = readings(model, data, events)
    assert every.back.tolist() == [0, 0, 2, 1, 0, 1, 0]
    assert every.since.tolist() == [1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0]
    assert np.isnan(every.dv).all()
    assert not every.status.any()
    assert np.isfinite(at_initial_point(build(model, data))[0]).all()


def refusal(error, data, structure=EFFECT):
    with pytest.raises((ModelError, DataError)) as caught:
        check_fit(model_with(error, structure), data)
    return str(caught.value)


def test_refusals_of_outputs():
    said = refusal(Proportional(PRIOR), both())
    assert "observations of concentration and effect" in said
    assert 'error={"concentration": ..., "effect": ...}' in said
    said = refusal({"effect": Additive(PRIOR)}, both())
    assert "observations of concentration, for which model model has no residual error" in said
    alone = table(dose(DVID=0), seen(1.0, 3.0, DVID=2))
    said = refusal(Additive(PRIOR), alone)
    assert "sigma_add of model model is an error of concentration, in its unit" in said
    assert 'error={"effect": ...}' in said
    assert check_fit(model_with({"effect": Additive(PRIOR)}), alone).outputs == (1,)
    early = table(seen(-1.0, 3.0, DVID=2), dose(DVID=0), seen(1.0, 3.0, DVID=1))
    assert "predicted effect is zero and Proportional error" in refusal(
        {"concentration": Additive(PRIOR), "effect": Proportional(PRIOR)}, early
    )
    assert check_fit(model_with(TWO), early).outputs == (0, 1)


def test_refusals_of_assays():
    assert "has no column ASSAY" in refusal(LABS, limited(), ONE).replace("have", "has")
    data = table(dose(ASSAY=np.nan), seen(1.0, 3.0, ASSAY=2))
    said = refusal(LABS, data, ONE)
    assert "row 2" in said
    assert "ASSAY is 2, for which the model has no error; it has the levels 0, 1" in said


def test_refusals_of_autocorrelation():
    error = Autocorrelated(Proportional(PRIOR), PRIOR)
    said = refusal(error, limited(), ONE)
    assert "CENS is -1" in said
    assert "CENS is 1" in said
    assert 'blq="M1"' in said
    left_out = Autocorrelated(Proportional(PRIOR, blq="M1"), PRIOR)
    assert "CENS is 1" not in refusal(left_out, limited(), ONE)
    twice = table(dose(), seen(1.0, 3.0), seen(1.0, 3.5))
    assert "TIME is 1, that of the observation of concentration before it" in refusal(
        error, twice, ONE
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"efect": Additive(PRIOR)}, "error names efect, of which DirectEffect has no output (it "
         "has concentration, effect)."),
        ({"effect": PRIOR}, "error['effect'] was given HalfNormal(0.3)"),
        ({}, "error names no output"),
        (Autocorrelated(Additive(PRIOR), Normal(1.0, 1.0)),
         "half_time has the prior Normal(1, 1); it needs one above zero"),
        (Proportional(0.3), "error (sigma_prop) was given 0.3; expected a prior"),
    ],
)  # fmt: skip
def test_errors_that_do_not_fit_the_structure(error, said):
    with pytest.raises(ModelError) as caught:
        model_with(error)
    assert said in str(caught.value)


@each
def test_models_survive_json(model, data):
    again = PopModel.from_json(model.to_json())
    assert again == model
    assert again.hash == model.hash
    assert str(again) == str(model)


def test_the_order_of_outputs_does_not_matter():
    turned = model_with(dict(reversed(TWO.items())))
    assert turned == model_with(TWO)
    assert turned.hash == model_with(TWO).hash
    assert "error: concentration Proportional, effect Additive" in str(turned)
    text = str(model_with(LABS, ONE))
    assert "error: by LAB (LAB0 Proportional, LAB1 Proportional)" in text
    assert "residual error, proportional SD, LAB 1" in text
    assert "LAB 1 over LAB 0, factor" in text
